import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Tag } from 'antd';

import { call, type Me, type System } from '../../api/client';
import { useLanguage } from '../../i18n';
import { Facts, Mono, Rows, UnitName } from '../../parts';
import { hrefTo } from '../../route';
import { Retire } from './edit';
import { EditSystem } from './EditSystem';
import { History, type Of } from './History';

export function Systems({ me, of }: { me: Me; of: Of }) {
  const { t } = useLanguage();
  const may = me.role === 'admin' && !of.at;
  const asked = useQuery({ queryKey: ['systems', of], queryFn: () => call('get', '/api/v1/systems', { query: { ...of } }), placeholderData: keepPreviousData });
  return (
    <Rows<System>
      id="systems"
      title={t.systems}
      extra={may && <EditSystem />}
      asked={asked}
      empty={t.noEntries}
      rowKey={(s) => s.code}
      pageSize={20}
      columns={[
        { title: t.code, render: (_, s) => <Mono>{s.code}</Mono> },
        { title: t.name_, render: (_, s) => <div className="cell">{s.name} {s.critical && <Tag color="volcano">{t.critical}</Tag>}</div> },
        { title: t.unit, render: (_, s) => <UnitName code={s.unit} /> },
        { title: t.state, render: (_, s) => <State of={s.state} /> },
        { title: t.classified, render: (_, s) => (s.level ? t.protection(s.level) : '—'), sorter: (a, b) => (a.level ?? 0) - (b.level ?? 0) },
        { title: t.hosting, render: (_, s) => t.hostings[s.hosting] ?? s.hosting },
        { title: t.names, render: (_, s) => <div className="cell"><Mono>{some(s.domains)}</Mono></div> },
        { title: t.address, render: (_, s) => <Mono>{some(s.addresses)}</Mono> },
        { title: t.responsible, render: (_, s) => s.responsible?.name },
      ]}
      drawerTitle={(s) => <>{t.system} · {s.name}</>}
      drawer={(s) => (
        <>
          <p><a href={hrefTo('asset', { key: `system/${s.code}`, depth: '2' })}>{t.relations}</a> {may && <><EditSystem there={s} /> <Retire kind="systems" of={s.code} what={s.name} /></>}</p>
          <Facts
            items={[
              [t.code, <Mono>{s.code}</Mono>],
              [t.name_, s.name],
              [t.unit, <UnitName code={s.unit} />],
              [t.state, <State of={s.state} />],
              [t.classified, s.level ? t.protection(s.level) : null],
              [t.filing, s.filing],
              [t.icp, s.icp],
              [t.critical, s.critical && t.yes],
              [t.dataClass, s.data && (t.dataClasses[s.data] ?? s.data)],
              [t.personalData, s.people ? t.persons(s.people) : null],
              [t.vendor, s.vendor],
              [t.hosting, t.hostings[s.hosting] ?? s.hosting],
              [t.names, lines(s.domains)],
              [t.address, lines(s.addresses)],
              [t.port, s.ports?.join(', ')],
              [t.responsible, s.responsible && [s.responsible.name, s.responsible.phone, s.responsible.email].filter(Boolean).join(' · ')],
              [t.note, s.note],
            ]}
          />
          <History of={`system/${s.code}`} />
        </>
      )}
    />
  );
}

const stateColors: Record<string, string> = { applied: 'blue', registered: 'green', changed: 'gold', suspended: 'orange', retired: 'default' };

function State({ of }: { of: string }) {
  const { t } = useLanguage();
  return <Tag color={stateColors[of] ?? 'default'}>{t.systemStates[of] ?? of}</Tag>;
}

const some = (list: readonly string[] | null | undefined) => `${list?.slice(0, 2).join('\n') ?? ''}${(list?.length ?? 0) > 2 ? ` +${(list?.length ?? 0) - 2}` : ''}`;

const lines = (list: readonly string[] | null | undefined) => list && list.length > 0 && <Mono>{list.join('\n')}</Mono>;
