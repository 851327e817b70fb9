import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Card, Drawer, Spin, Tree, type TreeDataNode } from 'antd';
import { useState } from 'react';

import { call, type Unit } from '../../api/client';
import { useLanguage } from '../../i18n';
import { Facts, Failure, Mono, Small, UnitName } from '../../parts';
import { hrefTo } from '../../route';
import { History, type Of } from './History';

/** The tree of units that the viewer sees. */
export function Units({ of }: { of: Of }) {
  const { t } = useLanguage();
  const [chosen, setChosen] = useState<string>();
  const asked = useQuery({ queryKey: ['units', of], queryFn: () => call('get', '/api/v1/units', { query: { ...of } }), placeholderData: keepPreviousData });
  if (asked.error) return <Failure of={asked} />;
  if (!asked.data) return <Spin description={t.loading} />;
  const units = asked.data.items;
  const unit = units.find((u) => u.code === chosen);
  return (
    <section id="units-tree">
      <Card size="small" title={`${t.units} · ${t.total(units.length)}`}>
        <Tree
          treeData={treeOf(units, (u) => `${u.name} · ${u.code} · ${t.unitLevels[u.level] ?? u.level}`)}
          height={560}
          defaultExpandedKeys={units.filter((u) => u.level === 'province').map((u) => u.code)}
          selectedKeys={chosen ? [chosen] : []}
          onSelect={(keys) => setChosen(keys[0]?.toString())}
        />
      </Card>
      <Drawer open={unit !== undefined} onClose={() => setChosen(undefined)} size={760} title={unit?.name} destroyOnHidden>
        {unit && <Whole unit={unit} of={of} />}
      </Drawer>
    </section>
  );
}

/** Who has no parent among them is a root. */
function treeOf(units: readonly Unit[], say: (u: Unit) => string): TreeDataNode[] {
  const nodes = new Map(units.map((u) => [u.code, { key: u.code, title: say(u), children: [] as TreeDataNode[] }]));
  const roots: TreeDataNode[] = [];
  for (const u of units) (nodes.get(u.parent ?? '')?.children ?? roots).push(nodes.get(u.code)!);
  return roots;
}

function Whole({ unit, of }: { unit: Unit; of: Of }) {
  const { t } = useLanguage();
  const contacts = useQuery({ queryKey: ['contacts', unit.code, of.at], queryFn: () => call('get', '/api/v1/contacts', { query: { at: of.at, unit: unit.code } }) });
  return (
    <>
      <p><a href={hrefTo('asset', { key: `unit/${unit.code}` })}>{t.relations}</a></p>
      <Facts
        items={[
          [t.code, <Mono>{unit.code}</Mono>], [t.name_, unit.name], [t.level, t.unitLevels[unit.level] ?? unit.level],
          [t.above, unit.parent && <UnitName code={unit.parent} />], [t.division, unit.division], [t.schoolCode, unit.school_code],
        ]}
      />
      {contacts.error ? <Failure of={contacts} /> : null}
      <Small
        title={t.contacts}
        rows={contacts.data?.items.filter((c) => c.unit === unit.code)}
        columns={[
          { title: t.duty, render: (_, c) => t.duties[c.duty] ?? c.duty },
          { title: t.name_, dataIndex: 'name' },
          { title: t.phone, dataIndex: 'phone' },
          { title: t.email, dataIndex: 'email' },
        ]}
      />
      <History of={`unit/${unit.code}`} />
    </>
  );
}
