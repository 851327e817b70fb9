import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Input, Tag } from 'antd';
import { useState } from 'react';

import { call, type Asset } from '../api/client';
import { sayTime, useLanguage } from '../i18n';
import { Facts, Mono, Rows, Time, UnitName } from '../parts';
import { hrefTo } from '../route';

export function Assets() {
  const { t } = useLanguage();
  const [query, setQuery] = useState('');
  const asked = useQuery({
    queryKey: ['assets', query],
    queryFn: () => call('get', '/api/v1/assets', { query: { query, limit: 500 } }),
    refetchInterval: 60_000,
    placeholderData: keepPreviousData,
  });
  return (
    <Rows<Asset>
      id="assets"
      title={t.assets}
      extra={t.rows(500)}
      asked={asked}
      empty={t.noAssets}
      rowKey={(a) => a.key}
      pageSize={10}
      columns={[
        { title: t.kind, render: (_, a) => t.assetKinds[a.kind] ?? a.kind },
        { title: t.address, render: (_, a) => <Mono>{where(a)}</Mono> },
        { title: t.name_, width: 240, render: (_, a) => <Mono>{a.name ?? a.names?.slice(0, 2).join(', ')}</Mono> },
        { title: t.unit, render: (_, a) => <UnitName code={a.unit} /> },
        { title: t.service, render: (_, a) => a.service?.name },
        { title: t.product_, width: 220, render: (_, a) => [a.service?.product, a.service?.version].filter(Boolean).join(' ') },
        { title: t.status, render: (_, a) => <Tag color={a.alive ? 'green' : 'default'}>{a.alive ? t.alive : t.gone}</Tag> },
        { title: t.first, render: (_, a) => <Time at={a.first} /> },
        { title: t.last, render: (_, a) => <Time at={a.last} /> },
      ]}
      drawerTitle={(a) => <>{t.assetKinds[a.kind] ?? a.kind} · <Mono>{a.name || where(a)}</Mono></>}
      drawer={(a) => (
        <>
          <p><a href={hrefTo('asset', { key: a.key })}>{t.relations}</a></p>
          <AssetFacts asset={a} />
        </>
      )}
    >
      <Input.Search id="asset-query" allowClear enterButton={t.search} maxLength={4000} placeholder={t.searchAssets} onSearch={setQuery} loading={asked.isFetching} style={{ marginBottom: 12 }} />
    </Rows>
  );
}

function where(a: Asset): string {
  if (!a.ip) return a.addresses?.slice(0, 3).join(', ') ?? '';
  if (a.kind !== 'service') return a.ip;
  return `${a.ip.includes(':') ? `[${a.ip}]` : a.ip}:${a.port}/${a.transport}`;
}

export function AssetFacts({ asset: a }: { asset: Asset }) {
  const { t } = useLanguage();
  return (
    <Facts
      items={[
        [t.address, where(a) && <Mono>{where(a)}</Mono>],
        [t.name_, a.name && <Mono>{a.name}</Mono>],
        [t.names, a.names?.map((n) => <div key={n}><Mono>{n}</Mono></div>)],
        [t.unit, a.unit && <UnitName code={a.unit} />],
        [t.status, <Tag color={a.alive ? 'green' : 'default'}>{a.alive ? t.alive : t.gone}</Tag>],
        [t.service, a.service?.name],
        [t.product_, [a.service?.product, a.service?.version].filter(Boolean).join(' ')],
        [t.banner, a.service?.banner && <Mono>{a.service.banner}</Mono>],
        [t.pageTitle, a.service?.http && `${a.service.http.status} ${a.service.http.title ?? ''}`],
        [t.certificate, a.service?.tls && <Mono>{[a.service.tls.subject, a.service.tls.names?.join(', '), a.service.tls.not_after && `→ ${sayTime(a.service.tls.not_after)}`, a.service.tls.version].filter(Boolean).join('\n')}</Mono>],
        [t.records, a.records?.map((r) => <div key={r.type}><Mono>{r.type} {r.values?.join(', ')}</Mono></div>)],
        [t.sources, a.sources?.join(', ')],
        [t.first, <Time at={a.first} />],
        [t.last, <Time at={a.last} />],
        [t.id, <Mono>{a.key}</Mono>],
      ]}
    />
  );
}
