import { Alert, Button, Card, Tabs } from 'antd';

import type { Me } from '../api/client';
import { useLanguage } from '../i18n';
import { Moment, UnitSelect } from '../parts';
import { go, type Asked } from '../route';
import { Domains, Networks } from './registry/Scope';
import { Import } from './registry/Import';
import { Requests } from './registry/Requests';
import { Systems } from './registry/Systems';
import { Units } from './registry/Units';
import { Whitelist } from './registry/Whitelist';

/** What should be: who owns what, what is allowed, and who asks for more; today or on any past day. */
export function RegistryPage({ me, asked }: { me: Me; asked: Asked }) {
  const { t } = useLanguage();
  const tab = asked.tab ?? 'systems';
  const set = (more: Asked) => go('registry', { ...asked, ...more });
  const of = { at: asked.at, unit: asked.unit };
  const tabs = [
    { key: 'systems', label: t.systems, children: <Systems me={me} of={of} /> },
    { key: 'requests', label: t.requests, children: <Requests me={me} state={asked.state} onState={(state) => set({ state })} /> },
    { key: 'whitelist', label: t.whitelist, children: <Whitelist me={me} of={of} /> },
    { key: 'units', label: t.units, children: <Units me={me} of={of} /> },
    { key: 'networks', label: t.networks, children: <Networks me={me} of={of} /> },
    { key: 'domains', label: t.domainNames, children: <Domains me={me} of={of} /> },
  ];
  if (me.role === 'admin' && !me.unit) tabs.push({ key: 'import', label: t.import, children: <Import /> }); // who else sends a file is refused
  const file = (query: Asked) => `/api/v1/export?${new URLSearchParams(Object.entries(query).filter((e): e is [string, string] => Boolean(e[1])))}`;
  return (
    <section id="registry">
      <Card size="small" title={t.registry}>
        <div className="choices">
          <label>{t.asOfDay} <Moment type="date" label={t.asOfDay} value={asked.at ?? ''} max={today()} onChange={(at) => set({ at })} /></label>
          {asked.at && <Button onClick={() => set({ at: undefined })}>{t.now}</Button>}
          <UnitSelect value={asked.unit} onChange={(unit) => set({ unit })} />
          <Button href={file({ format: 'xlsx', at: asked.at, unit: asked.unit })} download>{t.export}</Button>
        </div>
        {asked.at && <Alert type="warning" showIcon style={{ marginBottom: 12 }} title={t.asOf(asked.at)} />}
        <Tabs activeKey={tab} destroyOnHidden onChange={(tab) => set({ tab })} items={tabs} />
      </Card>
    </section>
  );
}

function today(): string {
  const d = new Date();
  return new Date(d.getTime() - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
}
