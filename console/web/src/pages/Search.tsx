import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Button, Card, Empty, Select, Space, Table, Tag } from 'antd';
import { useState } from 'react';

import { call, type AssetField, type Found } from '../api/client';
import { fieldNamed, narrowed } from '../complete';
import { useLanguage } from '../i18n';
import { Failure, Mono, Time, UnitName } from '../parts';
import { QueryInput } from '../QueryInput';
import { go, hrefTo, type Asked } from '../route';

const pageSize = 50;

/** The asset search: query, field and page stand in the address. */
export function Search({ asked }: { asked: Asked }) {
  const { t } = useLanguage();
  const query = asked.q ?? '';
  const by = asked.by ?? 'unit';
  const fields = useQuery({ queryKey: ['search-fields'], queryFn: () => call('get', '/api/v1/search/fields'), staleTime: Infinity });
  const pages = usePages(query);
  const found = useQuery({
    queryKey: ['search', query, pages.after],
    queryFn: () => call('get', '/api/v1/search', { query: { query, limit: pageSize, after: pages.after } }),
    placeholderData: keepPreviousData,
  });
  const counted = useQuery({
    queryKey: ['search-counts', query, by],
    queryFn: () => call('get', '/api/v1/search/aggregate', { query: { query, by, limit: 50 } }),
    placeholderData: keepPreviousData,
  });
  const known = fields.data?.items ?? [];
  const search = (q: string) => (q === query ? void (found.refetch(), counted.refetch()) : go('search', { ...asked, q }));
  const wrong = found.error !== null;
  const file = (format: string) => `/api/v1/search/export?${new URLSearchParams({ query, format })}`;
  return (
    <>
      <Card size="small" title={t.assetSearch}>
        <QueryInput id="search-query" query={query} fields={known} loading={found.isFetching} error={found.error} onSearch={search} />
        <div className="hint mono">{t.syntax}</div>
      </Card>
      <div className="searching">
        <section id="found">
          <Card
            size="small"
            title={wrong || !counted.data ? t.assets : t.assetCount(counted.data.total)}
            extra={!wrong && (
              <Space>
                <Button size="small" href={file('csv')} download>CSV</Button>
                <Button size="small" href={file('xlsx')} download>Excel</Button>
              </Space>
            )}
          >
            <FoundTable rows={wrong ? [] : found.data?.items} loading={found.isPending} />
            <nav className="pager" aria-label={t.paging}>
              <Button size="small" disabled={pages.number === 1} onClick={pages.back}>{t.previousPage}</Button>
              <span>{t.pageNumber(pages.number)}</span>
              <Button size="small" disabled={wrong || found.isPlaceholderData || !found.data?.next} onClick={() => found.data?.next && pages.on(found.data.next)}>{t.nextPage}</Button>
            </nav>
          </Card>
        </section>
        <section id="buckets">
          <Card size="small" title={t.countedBy}>
            <Select
              value={by}
              style={{ width: '100%' }}
              aria-label={t.countedBy}
              showSearch={{ optionFilterProp: 'label' }}
              options={known.filter(isCounted).map((f) => ({ value: f.name, label: [f.name, ...f.aliases].join(' ') }))}
              onChange={(by) => go('search', { ...asked, by })}
            />
            {counted.error && !wrong ? <Failure of={counted} /> : null}
            {!wrong && counted.data && (
              <Buckets
                counted={counted.data}
                field={fieldNamed(known, by)}
                href={(field, value) => {
                  const q = narrowed(query, field, value);
                  return q === undefined ? undefined : hrefTo('search', { ...asked, q });
                }}
              />
            )}
          </Card>
        </section>
      </div>
    </>
  );
}

// Days are counted as the store has them; and nobody counts pages by all their text.
const isCounted = (f: AssetField) => f.type !== 'time' && !['header', 'body', 'banner'].includes(f.name);

/** The pages of a search that were gone through, the first without a cursor. */
function usePages(query: string) {
  const [gone, setGone] = useState<{ query: string; cursors: string[] }>({ query, cursors: [] });
  const cursors = gone.query === query ? gone.cursors : [];
  return {
    number: cursors.length + 1,
    after: cursors.at(-1),
    on: (next: string) => setGone({ query, cursors: [...cursors, next] }),
    back: () => setGone({ query, cursors: cursors.slice(0, -1) }),
  };
}

export function where(f: Found): string {
  return f.ip ?? f.host?.[0] ?? f.key;
}

function FoundTable({ rows, loading }: { rows: Found[] | undefined; loading: boolean }) {
  const { t } = useLanguage();
  return (
    <Table<Found>
      size="small"
      rowKey="key"
      loading={loading}
      dataSource={rows}
      pagination={false}
      scroll={{ x: 'max-content' }}
      locale={{ emptyText: <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={t.noAssets} /> }}
      columns={[
        { title: t.address, render: (_, f) => <a href={hrefTo('asset', { key: f.key })}><Mono>{where(f)}</Mono></a> },
        { title: t.port, render: (_, f) => (f.port ? <Mono>{f.port}/{f.transport}</Mono> : t.assetKinds[f.kind] ?? f.kind) },
        { title: t.protocol, render: (_, f) => f.protocol },
        { title: t.pageTitle, render: (_, f) => <div className="cell">{f.title}</div> },
        { title: t.names, render: (_, f) => <div className="cell"><Mono>{f.host?.slice(0, 2).join('\n')}{(f.host?.length ?? 0) > 2 && ` +${(f.host?.length ?? 0) - 2}`}</Mono></div> },
        { title: t.product_, render: (_, f) => <div className="cell">{[f.product, f.version].filter(Boolean).join(' ')}</div> },
        { title: t.unit, render: (_, f) => <UnitName code={f.unit} /> },
        { title: t.system, render: (_, f) => <div className="cell">{f.system}{f.level ? ` · ${t.protection(f.level)}` : ''}</div> },
        { title: t.marks, render: (_, f) => <Marks of={f} /> },
        { title: t.last, render: (_, f) => <Time at={f.last} /> },
      ]}
    />
  );
}

function Marks({ of }: { of: Found }) {
  const { t } = useLanguage();
  return (
    <div className="cell">
      {!of.alive && <Tag>{t.gone}</Tag>}
      <Tag color={of.registered ? 'green' : 'default'}>{of.registered ? t.registered : t.notRegistered}</Tag>
      <Tag color={of.whitelisted ? 'green' : 'default'}>{of.whitelisted ? t.whitelisted : t.notWhitelisted}</Tag>
      {of.drift?.map((kind) => <Tag key={kind} color="red">{t.driftKinds[kind] ?? kind}</Tag>)}
      {of.exposure?.map((kind) => <Tag key={kind} color="volcano">{t.exposures[kind] ?? kind}</Tag>)}
    </div>
  );
}

interface BucketsProps {
  counted: { values: number; buckets: { value: string; count: number }[] };
  field: AssetField | undefined;
  href: (field: AssetField, value: string) => string | undefined;
}

/** How many assets there are of each value; a value narrows the search to it. */
function Buckets({ counted, field, href }: BucketsProps) {
  const { t } = useLanguage();
  const most = counted.buckets[0]?.count ?? 1;
  return (
    <>
      <ol className="buckets">
        {field && counted.buckets.map((b) => (
          <li key={b.value}>
            <a href={href(field, b.value)}>
              <span className="name"><BucketName field={field} value={b.value} /></span>
              <span className="number">{b.count.toLocaleString()}</span>
            </a>
            <div className="share" style={{ width: `${(100 * b.count) / most}%` }} />
          </li>
        ))}
      </ol>
      <div className="hint">{t.valueCount(counted.values)}</div>
    </>
  );
}

function BucketName({ field, value }: { field: AssetField; value: string }) {
  const { t } = useLanguage();
  if (value === '') return <>{t.none}</>;
  if (field.name === 'unit') return <UnitName code={value} />;
  if (field.type === 'bool') return <>{value === 'true' ? t.yes : t.no}</>;
  const words: Record<string, Record<string, string>> = { drift: t.driftKinds, exposure: t.exposures, kind: t.assetKinds };
  return <>{words[field.name]?.[value] ?? value}</>;
}
