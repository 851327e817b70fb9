import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Card, Checkbox, Drawer, Empty, Input, Select, Table } from 'antd';

import { ApiError, call, type Drift, type Me } from '../api/client';
import { DriftDetail } from '../DriftDetail';
import { useLanguage } from '../i18n';
import { sayKey } from '../keys';
import { Difference, Failure, Level, Mono, Status, Time, UnitName, UnitSelect } from '../parts';
import { Mistake } from '../QueryInput';
import { go, hrefTo, type Asked } from '../route';

const most = 1000;

/** The query of what was chosen. The choices are our own words, and the text is the reader's. */
function queryOf({ status, kind, severity, work, late, text }: Asked): string {
  const chosen = [text && `(${text})`, status && `status = ${status}`, kind && `kind = ${kind}`, severity && `severity = ${severity}`];
  if (work) chosen.push(work === 'none' ? 'work = ""' : `work = ${work}`);
  if (late) chosen.push('overdue = true');
  return chosen.filter(Boolean).join(' && ');
}

/** Differences between registry and map, and what is done about each. */
export function DriftPage({ me, asked }: { me: Me; asked: Asked }) {
  const { t } = useLanguage();
  const chosen = { ...asked, status: asked.status ?? 'open' };
  const query = queryOf({ ...chosen, status: chosen.status === 'all' ? '' : chosen.status });
  const found = useQuery({
    queryKey: ['drift', query, asked.unit],
    queryFn: () => call('get', '/api/v1/drift', { query: { query, unit: asked.unit, limit: most } }),
    refetchInterval: 30_000,
    placeholderData: keepPreviousData,
  });
  const set = (more: Asked) => go('drift', { ...asked, ...more });
  const choose = (name: string, words: Record<string, string>, label: string) => (
    <Select
      value={chosen[name as keyof typeof chosen] || undefined}
      allowClear={name !== 'status'}
      placeholder={label}
      aria-label={label}
      style={{ minWidth: 130 }}
      popupMatchSelectWidth={false}
      options={Object.entries(words).map(([value, label]) => ({ value, label }))}
      onChange={(value: string | undefined) => set({ [name]: value })}
    />
  );
  const shown = found.data?.items.find((d) => d.id === asked.id);
  return (
    <section id="drift-page">
      <Card size="small" title={t.drift} extra={t.rows(most)}>
        <div className="choices">
          {choose('status', { all: t.all, ...t.driftStatuses }, t.status)}
          {choose('kind', t.driftKinds, t.kind)}
          {choose('severity', { critical: t.levels.critical!, high: t.levels.high!, medium: t.levels.medium!, low: t.levels.low! }, t.severity)}
          {choose('work', { none: t.notHandled, ...t.works }, t.handling)}
          <UnitSelect value={asked.unit} onChange={(unit) => set({ unit })} />
          <Checkbox checked={asked.late === 'true'} onChange={(e) => set({ late: e.target.checked ? 'true' : undefined })}>{t.overdue}</Checkbox>
          <Input.Search
            key={asked.text}
            id="drift-query"
            defaultValue={asked.text}
            allowClear
            maxLength={4000}
            style={{ flex: '1 1 240px' }}
            enterButton={t.search}
            aria-label={t.searchDrift}
            placeholder={t.searchDrift}
            onSearch={(text) => set({ text: text.trim() })}
          />
        </div>
        {found.error instanceof ApiError && found.error.problem.code === 'query' ? <Mistake query={query} error={found.error} /> : found.error ? <Failure of={found} /> : null}
        <Table<Drift>
          size="small"
          rowKey="id"
          loading={found.isPending && !found.error}
          dataSource={found.error ? [] : found.data?.items}
          scroll={{ x: 'max-content' }}
          locale={{ emptyText: <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={t.noDrift} /> }}
          pagination={{ defaultPageSize: 20, hideOnSinglePage: true, size: 'small', showTotal: t.total, showSizeChanger: false }}
          columns={[
            { title: t.severity, render: (_, d) => d.severity && <Level level={d.severity} />, sorter: (a, b) => weight(a.severity) - weight(b.severity) },
            { title: t.kind, render: (_, d) => <a href={hrefTo('drift', { ...asked, id: d.id })}>{t.driftKinds[d.kind] ?? d.kind}</a> },
            { title: t.asset, render: (_, d) => <div className="cell"><Mono>{sayKey(d.asset)}</Mono> {d.detail && (t.exposures[d.detail] ?? d.detail)}</div> },
            { title: t.unit, render: (_, d) => <UnitName code={d.unit} /> },
            { title: t.system, render: (_, d) => d.system },
            { title: t.status, render: (_, d) => <Status status={d.status} words={t.driftStatuses} /> },
            { title: t.handling, render: (_, d) => d.work && <>{t.works[d.work.state] ?? d.work.state}{d.work.assignee && ` · ${d.work.assignee}`}</> },
            { title: t.due, render: (_, d) => <span className={d.overdue ? 'late' : ''}><Time at={d.due} /></span>, sorter: (a, b) => (a.due ?? '9').localeCompare(b.due ?? '9') },
            { title: `${t.expected} → ${t.observed}`, render: (_, d) => <div className="cell"><Difference of={d} /></div> },
            { title: t.last, render: (_, d) => <Time at={d.last} />, sorter: (a, b) => a.last.localeCompare(b.last) },
          ]}
        />
      </Card>
      <Drawer
        open={asked.id !== undefined}
        onClose={() => set({ id: undefined })}
        size={760}
        title={shown ? <>{t.driftKinds[shown.kind] ?? shown.kind} · <Mono>{sayKey(shown.asset)}</Mono></> : t.drift}
        destroyOnHidden
      >
        {asked.id && <DriftDetail key={asked.id} id={asked.id} me={me} />}
      </Drawer>
    </section>
  );
}

const weight = (level: string | undefined) => ['informational', 'low', 'medium', 'high', 'critical'].indexOf(level ?? '');
