import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Button, Card, Drawer, Space, Spin, Tree, type TreeDataNode } from 'antd';
import { useState } from 'react';

import { call, type Me, type Unit } from '../../api/client';
import { useLanguage } from '../../i18n';
import { Facts, Failure, Mono, Small, UnitName } from '../../parts';
import { hrefTo } from '../../route';
import { EditContact, EditUnit, Retire } from './edit';
import { History, type Of } from './History';

/** The tree of units that the viewer sees. */
export function Units({ me, of }: { me: Me; of: Of }) {
  const { t } = useLanguage();
  const may = me.role === 'admin' && !of.at;
  const [chosen, setChosen] = useState<string>();
  const [open, setOpen] = useState<string[]>(); // undefined: the provinces
  const asked = useQuery({ queryKey: ['units', of], queryFn: () => call('get', '/api/v1/units', { query: { ...of } }), placeholderData: keepPreviousData });
  if (asked.error) return <Failure of={asked} />;
  if (!asked.data) return <Spin description={t.loading} />;
  const units = asked.data.items;
  const unit = units.find((u) => u.code === chosen);
  const show = (kept: Unit) => { // what was just registered, in its place
    const above: string[] = [];
    for (let at: Unit | undefined = kept; at?.parent && !above.includes(at.parent); at = units.find((u) => u.code === at?.parent)) above.push(at.parent);
    setOpen([...(open ?? []), ...above]);
    setChosen(kept.code);
  };
  return (
    <section id="units-tree">
      <Card size="small" title={`${t.units} · ${t.total(units.length)}`} extra={may && !me.unit && <EditUnit onKept={show} />}>
        <Tree
          treeData={treeOf(units, (u) => `${u.name} · ${u.code} · ${t.unitLevels[u.level] ?? u.level}`)}
          height={560}
          expandedKeys={open ?? units.filter((u) => u.level === 'province').map((u) => u.code)}
          onExpand={(keys) => setOpen(keys.map(String))}
          selectedKeys={chosen ? [chosen] : []}
          onSelect={(keys) => setChosen(keys[0]?.toString())}
        />
      </Card>
      <Drawer open={unit !== undefined} onClose={() => setChosen(undefined)} size={760} title={unit?.name} destroyOnHidden>
        {unit && <Whole unit={unit} may={may} own={unit.code === me.unit} of={of} onShow={show} />}
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

function Whole({ unit, may, own, of, onShow }: { unit: Unit; may: boolean; own: boolean; of: Of; onShow: (unit: Unit) => void }) {
  const { t } = useLanguage();
  const [past, setPast] = useState<string>(); // of whose duty it is shown
  const contacts = useQuery({ queryKey: ['contacts', unit.code, of.at], queryFn: () => call('get', '/api/v1/contacts', { query: { at: of.at, unit: unit.code } }) });
  return (
    <>
      <Space style={{ marginBottom: 12 }}>
        <a href={hrefTo('asset', { key: `unit/${unit.code}` })}>{t.relations}</a>
        {may && !own && <><EditUnit there={unit} /><Retire kind="units" of={unit.code} what={unit.name} /></>}
        {may && <><EditUnit above={unit.code} onKept={onShow} /><EditContact unit={unit.code} /></>}
      </Space>
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
          {
            title: '',
            render: (_, c) => (
              <Space>
                <Button size="small" aria-expanded={past === c.duty} onClick={() => setPast(past === c.duty ? undefined : c.duty)}>{t.history}</Button>
                {may && <><EditContact unit={unit.code} there={c} /><Retire kind="contacts" of={`${c.unit}/${c.duty}`} what={`${t.duties[c.duty] ?? c.duty} · ${c.name ?? ''}`} /></>}
              </Space>
            ),
          },
        ]}
      />
      {past && <History title={`${t.history} · ${t.duties[past] ?? past}`} of={`contact/${unit.code}/${past}`} />}
      <History of={`unit/${unit.code}`} />
    </>
  );
}
