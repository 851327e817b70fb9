import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Space, Tag } from 'antd';

import { call, type Domain, type Me, type Network } from '../../api/client';
import { useLanguage } from '../../i18n';
import { Facts, Mono, Rows, UnitName } from '../../parts';
import { hrefTo } from '../../route';
import { EditDomain, EditNetwork, Retire } from './edit';
import { History, type Of } from './History';

/** What belongs to whom, and may be scanned, is said by who administers everything. */
const mayScope = (me: Me, of: Of) => me.role === 'admin' && !me.unit && !of.at;

/** Address blocks of units: the authorised scope of scans. */
export function Networks({ me, of }: { me: Me; of: Of }) {
  const { t } = useLanguage();
  const may = mayScope(me, of);
  const asked = useQuery({ queryKey: ['networks', of], queryFn: () => call('get', '/api/v1/networks', { query: { ...of } }), placeholderData: keepPreviousData });
  return (
    <Rows<Network>
      id="networks"
      title={t.networks}
      extra={may && <EditNetwork />}
      asked={asked}
      empty={t.noEntries}
      rowKey={(n) => n.prefix}
      pageSize={20}
      columns={[
        { title: t.network, render: (_, n) => <Mono>{n.prefix}</Mono> },
        { title: t.name_, render: (_, n) => n.name },
        { title: t.unit, render: (_, n) => <UnitName code={n.unit} /> },
        { title: t.scanned, render: (_, n) => <Scanned scan={n.scan} /> },
        { title: t.hours, render: (_, n) => n.hours },
        { title: t.exclude, render: (_, n) => <Mono>{n.exclude?.join('\n')}</Mono> },
      ]}
      drawerTitle={(n) => <>{t.network} · <Mono>{n.prefix}</Mono></>}
      drawer={(n) => (
        <>
          <Space style={{ marginBottom: 12 }}><a href={hrefTo('asset', { key: `network/${n.prefix}` })}>{t.relations}</a>{may && <><EditNetwork there={n} /><Retire kind="networks" of={n.prefix} what={n.prefix} /></>}</Space>
          <Facts
            items={[
              [t.network, <Mono>{n.prefix}</Mono>], [t.name_, n.name], [t.unit, <UnitName code={n.unit} />], [t.scanned, <Scanned scan={n.scan} />],
              [t.hours, n.hours], [t.exclude, n.exclude && <Mono>{n.exclude.join('\n')}</Mono>], [t.rate, n.rate], [t.hostRate, n.host_rate],
            ]}
          />
          <History of={`network/${n.prefix}`} />
        </>
      )}
    />
  );
}

/** Domains of units, each with every name below it. */
export function Domains({ me, of }: { me: Me; of: Of }) {
  const { t } = useLanguage();
  const may = mayScope(me, of);
  const asked = useQuery({ queryKey: ['domains', of], queryFn: () => call('get', '/api/v1/domains', { query: { ...of } }), placeholderData: keepPreviousData });
  return (
    <Rows<Domain>
      id="domains"
      title={t.domainNames}
      extra={may && <EditDomain />}
      asked={asked}
      empty={t.noEntries}
      rowKey={(d) => d.name}
      pageSize={20}
      columns={[
        { title: t.domainName, render: (_, d) => <Mono>{d.name}</Mono> },
        { title: t.unit, render: (_, d) => <UnitName code={d.unit} /> },
        { title: t.scanned, render: (_, d) => <Scanned scan={d.scan} /> },
        { title: t.hours, render: (_, d) => d.hours },
        { title: t.exclude, render: (_, d) => <Mono>{d.exclude?.join('\n')}</Mono> },
      ]}
      drawerTitle={(d) => <>{t.domainName} · <Mono>{d.name}</Mono></>}
      drawer={(d) => (
        <>
          <Space style={{ marginBottom: 12 }}><a href={hrefTo('asset', { key: `domain/${d.name}` })}>{t.relations}</a>{may && <><EditDomain there={d} /><Retire kind="domains" of={d.name} what={d.name} /></>}</Space>
          <Facts items={[[t.domainName, <Mono>{d.name}</Mono>], [t.unit, <UnitName code={d.unit} />], [t.scanned, <Scanned scan={d.scan} />], [t.hours, d.hours], [t.exclude, d.exclude && <Mono>{d.exclude.join('\n')}</Mono>], [t.rate, d.rate]]} />
          <History of={`domain/${d.name}`} />
        </>
      )}
    />
  );
}

function Scanned({ scan }: { scan: boolean }) {
  const { t } = useLanguage();
  return <Tag color={scan ? 'green' : 'default'}>{scan ? t.authorised : t.notAuthorised}</Tag>;
}
