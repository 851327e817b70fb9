import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Checkbox, Input, Segmented, Spin, Table, Tag } from 'antd';

import { ApiError, call, type Graph, type GraphLink } from '../api/client';
import { GraphPicture } from '../GraphPicture';
import { sayTime, useLanguage } from '../i18n';
import { keyOf, kindOf, sayKey } from '../keys';
import { AssetFacts } from '../panels/Assets';
import { Facts, Failure, Moment, Mono, Small, Time, UnitName } from '../parts';
import { go, hrefTo, type Asked } from '../route';

const assets = ['domain', 'host', 'service'];

/** A thing of the map with what it is connected with, now or at a past time. */
export function AssetPage({ asked }: { asked: Asked }) {
  const { t } = useLanguage();
  const key = asked.key ?? '';
  const query = { around: key, depth: Number(asked.depth) || 1, at: asked.at, past: asked.past === 'true' };
  const graph = useQuery({
    queryKey: ['graph', query],
    queryFn: () => call('get', '/api/v1/graph', { query }),
    enabled: key !== '',
    placeholderData: keepPreviousData,
  });
  const set = (more: Asked) => go('asset', { ...asked, ...more });
  const gone = graph.error instanceof ApiError && graph.error.problem.status === 404;
  const shown = graph.error || graph.data?.root !== key ? undefined : graph.data;
  return (
    <section id="asset">
      <Card size="small" title={key ? <>{t.nodeKinds[kindOf(key)] ?? t.asset} · <Mono>{titleOf(shown, key)}</Mono></> : t.relations}>
        <div className="choices">
          <Input.Search
            key={key}
            id="asset-key"
            defaultValue={key}
            maxLength={300}
            enterButton={t.show}
            aria-label={t.assetKey}
            placeholder={t.assetKeyHint}
            onSearch={(text) => text.trim() && set({ key: keyOf(text) })}
          />
          <Moment type="datetime-local" label={t.atTime} value={forInput(asked.at)} onChange={(at) => set({ at: at && new Date(at).toISOString() })} />
          {asked.at && <Button onClick={() => set({ at: undefined })}>{t.now}</Button>}
          <Segmented
            value={query.depth}
            onChange={(depth) => set({ depth: String(depth) })}
            options={[1, 2, 3].map((n) => ({ value: n, label: t.steps(n) }))}
          />
          <Checkbox checked={query.past} onChange={(e) => set({ past: e.target.checked ? 'true' : undefined })}>{t.alsoEnded}</Checkbox>
        </div>
        {gone && <Alert type="info" showIcon title={asked.at ? t.nothingThen : t.nothingThere} />}
        {graph.error && !gone ? <Failure of={graph} /> : null}
        {key !== '' && graph.isPending && <Spin description={t.loading} />}
        {shown && (
          <>
            {asked.at && <Alert type="warning" showIcon style={{ marginBottom: 12 }} title={t.asOf(sayTime(shown.at))} />}
            <GraphPicture graph={shown} href={(to) => hrefTo('asset', { ...asked, key: to })} />
            {shown.more > 0 && <div className="hint">{t.moreThings(shown.more)}</div>}
            <Links graph={shown} href={(to) => hrefTo('asset', { ...asked, key: to })} />
          </>
        )}
      </Card>
      {shown && <Root graph={shown} asked={asked} />}
    </section>
  );
}

/** A moment as an input of the reader's own time has it. */
function forInput(at: string | undefined): string {
  return sayTime(at).slice(0, 16).replace(' ', 'T');
}

export function titleOf(graph: Graph | undefined, key: string): string {
  return graph?.nodes.find((n) => n.key === key)?.title ?? sayKey(key);
}

/** Every edge, with who saw it, when and how often. */
function Links({ graph, href }: { graph: Graph; href: (key: string) => string }) {
  const { t } = useLanguage();
  const end = (key: string) => {
    const text = <>{t.nodeKinds[kindOf(key)] ?? kindOf(key)} <Mono>{titleOf(graph, key)}</Mono></>;
    return key === graph.root ? text : <a href={href(key)}>{text}</a>;
  };
  return (
    <Table<GraphLink>
      size="small"
      id="links"
      rowKey={(l) => `${l.from} ${l.kind} ${l.to}`}
      dataSource={graph.links}
      scroll={{ x: 'max-content' }}
      locale={{ emptyText: t.noRelations }}
      pagination={{ defaultPageSize: 20, hideOnSinglePage: true, size: 'small', showTotal: t.total }}
      columns={[
        { title: t.from, render: (_, l) => <div className="cell">{end(l.from)}</div> },
        { title: t.relation, render: (_, l) => <>{t.edgeKinds[l.kind] ?? l.kind} {!l.current && <Tag>{t.ended}</Tag>}</> },
        { title: t.to, render: (_, l) => <div className="cell">{end(l.to)}</div> },
        {
          title: `${t.evidence}: ${t.sources} × ${t.count}, ${t.first} – ${t.last}`,
          render: (_, l) => l.evidence.map((e) => (
            <div key={e.source} className="one">
              {t.evidenceSources[e.source] ?? e.source}
              {e.count ? <> × {e.count.toLocaleString()}, <Time at={e.first} /> – <Time at={e.last} /></> : null}
            </div>
          )),
        },
      ]}
    />
  );
}

/** What is known of the thing itself, and what it was before. */
function Root({ graph, asked }: { graph: Graph; asked: Asked }) {
  const { t } = useLanguage();
  const node = graph.nodes.find((n) => n.key === graph.root);
  const isAsset = assets.includes(kindOf(graph.root));
  const history = useQuery({
    queryKey: ['asset-history', graph.root],
    queryFn: () => call('get', '/api/v1/asset-history', { query: { key: graph.root } }),
    enabled: isAsset,
  });
  const seen = !(history.error instanceof ApiError && history.error.problem.status === 404); // what was only spoken of has no history
  return (
    <Card size="small" title={t.details} id="asset-details">
      {node?.asset
        ? <AssetFacts asset={node.asset} />
        : <Facts items={[[t.name_, node?.title], [t.unit, node?.unit && <UnitName code={node.unit} />], [t.id, <Mono>{graph.root}</Mono>]]} />}
      {isAsset && history.error && seen ? <Failure of={history} /> : null}
      <Small
        title={t.versions}
        rows={history.data?.items}
        columns={[
          { title: t.since_, render: (_, v) => <a href={hrefTo('asset', { ...asked, at: v.since ?? v.first })}><Time at={v.since ?? v.first} /></a> },
          { title: t.until, render: (_, v) => (sayTime(v.until) ? <Time at={v.until} /> : t.now) },
          { title: t.status, render: (_, v) => (v.alive ? t.alive : t.gone) },
          { title: t.unit, render: (_, v) => <UnitName code={v.unit} /> },
          { title: t.product_, render: (_, v) => [v.service?.name, v.service?.product, v.service?.version].filter(Boolean).join(' ') },
          { title: t.pageTitle, render: (_, v) => v.service?.http?.title },
          { title: t.certificate, render: (_, v) => <Mono>{v.service?.tls?.sha256?.slice(0, 12)}</Mono> },
          { title: t.address, render: (_, v) => <Mono>{v.addresses?.join('\n')}</Mono> },
        ]}
      />
    </Card>
  );
}
