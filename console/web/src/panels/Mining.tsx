import { useQuery } from '@tanstack/react-query';
import { Progress, Tag } from 'antd';

import { call, type MiningDetection } from '../api/client';
import { useLanguage } from '../i18n';
import { EventIds, Facts, Mono, Rows, Small, Status, Time, UnitName, Who } from '../parts';

const percent = (p: number) => Math.floor(p * 100); // never says 100 % of what is not certain

function Confidence({ value }: { value: number }) {
  return <Progress percent={percent(value)} size="small" status="normal" strokeColor={value >= 0.8 ? '#c41d1d' : '#d48806'} style={{ width: 110, margin: 0 }} />;
}

export function Mining() {
  const { t } = useLanguage();
  const asked = useQuery({
    queryKey: ['mining'],
    queryFn: () => call('get', '/api/v1/mining', { query: { limit: 100 } }),
    refetchInterval: 30_000,
  });
  return (
    <Rows<MiningDetection>
      id="mining"
      title={t.mining}
      asked={asked}
      empty={t.noMining}
      rowKey={(d) => d.id}
      pageSize={8}
      columns={[
        { title: t.host, render: (_, d) => <><Mono>{d.host}</Mono> {d.drill && <Tag>{t.drill}</Tag>}</> },
        { title: t.unit, render: (_, d) => <UnitName code={d.unit} /> },
        { title: t.pools, width: 190, render: (_, d) => <Mono>{d.pools?.slice(0, 2).join(', ')}{(d.pools?.length ?? 0) > 2 && ` +${(d.pools?.length ?? 0) - 2}`}</Mono> },
        { title: t.confidence, render: (_, d) => <Confidence value={d.confidence} /> },
        { title: t.last, render: (_, d) => <Time at={d.last} /> },
      ]}
      drawerTitle={(d) => <>{t.mining} · <Mono>{d.host}</Mono></>}
      drawer={(d) => (
        <>
          <Facts
            items={[
              [t.host, <Mono>{d.host}</Mono>],
              [t.unit, d.unit && <UnitName code={d.unit} />],
              [t.status, <Status status={d.status} words={t.statuses} />],
              [t.confidence, <Confidence value={d.confidence} />],
              [t.pools, d.pools?.map((p) => <div key={p}><Mono>{p}</Mono></div>)],
              [t.coins, d.coins?.join(', ')],
              [t.protocols, d.protocols?.join(', ')],
              [t.wallets, d.wallets?.map((w) => <div key={w}><Mono>{w}</Mono></div>)],
              [t.first, <Time at={d.first} />],
              [t.last, <Time at={d.last} />],
              [t.raised, <Time at={d.raised} />],
              [t.id, <Mono>{d.id}</Mono>],
            ]}
          />
          <Who who={d.who} />
          <Small
            title={`${t.evidence} (${d.count.toLocaleString()})`}
            rows={d.evidence}
            columns={[
              { title: t.time, dataIndex: 'time', render: (v: string) => <Time at={v} /> },
              { title: t.kind, dataIndex: 'kind', render: (v: string) => t.evidenceKinds[v] ?? v },
              { title: t.detail, width: 200, render: (_, e) => <Mono>{e.detail ?? e.pool}{e.port ? ` :${e.port}` : ''}</Mono> },
              { title: t.weight, align: 'right', render: (_, e) => `${percent(e.weight)}%` },
              { title: t.event, width: 180, render: (_, e) => <EventIds ids={[e.event_id]} /> },
            ]}
          />
        </>
      )}
    />
  );
}
