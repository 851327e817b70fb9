import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Descriptions, Drawer, Empty, Input, Select, Spin, Table, Tag, Tooltip } from 'antd';
import type { TableColumnsType } from 'antd';
import { createContext, useContext, useEffect, useState, type ReactNode } from 'react';

import { ApiError, call, type Alert as RaisedAlert, type Change, type Drift, type Event } from './api/client';
import { sayProblem, sayTime, useLanguage } from './i18n';

export type NamedUnits = Map<string, string>;

export const UnitNames = createContext<NamedUnits>(new Map());

/** A unit by its name, with its code at hand. */
export function UnitName({ code }: { code: string | undefined }) {
  const names = useContext(UnitNames);
  if (!code) return <span>—</span>;
  return <Tooltip title={code}><span>{names.get(code) ?? code}</span></Tooltip>;
}

const levelColors: Record<string, string> = { informational: 'default', low: 'blue', medium: 'gold', high: 'volcano', critical: 'red' };

export function Level({ level }: { level: string }) {
  const { t } = useLanguage();
  return <Tag color={levelColors[level] ?? 'default'} variant={level === 'critical' ? 'solid' : 'outlined'}>{t.levels[level] ?? level}</Tag>;
}

const statusColors: Record<string, string> = { open: 'red', closed: 'green', suspected: 'gold' };

export function Status({ status, words }: { status: string; words: Record<string, string> }) {
  return <Tag color={statusColors[status] ?? 'default'}>{words[status] ?? status}</Tag>;
}

/** What was expected and what was seen. Only of some kinds is nothing expected because nothing is listed. */
export function Difference({ of: d }: { of: Drift }) {
  const { t } = useLanguage();
  return <>{d.expected || (d.kind.startsWith('unlisted') ? t.nothingListed : '—')} → {d.observed || '—'}</>;
}

export function Time({ at }: { at: string | undefined }) {
  return <span className="one">{sayTime(at)}</span>;
}

interface Asked<T> {
  data: { items: T[] } | undefined;
  error: unknown;
  isPending: boolean;
  isFetching: boolean;
  refetch: () => unknown;
}

export function Failure({ of }: { of: Pick<Asked<unknown>, 'error' | 'refetch'> }) {
  const { t } = useLanguage();
  const mine = of.error instanceof ApiError && of.error.problem.status === 422; // no use in asking the same again
  return (
    <Alert
      type="error"
      showIcon
      style={{ marginBottom: 12 }}
      title={sayProblem(t, of.error)}
      action={!mine && <Button size="small" onClick={() => void of.refetch()}>{t.retry}</Button>}
    />
  );
}

interface RowsProps<T> {
  id: string;
  title: string;
  extra?: ReactNode;
  children?: ReactNode;
  asked: Asked<T>;
  empty: string;
  rowKey: (row: T) => string;
  columns: TableColumnsType<T>;
  pageSize: number;
  drawerTitle: (row: T) => ReactNode;
  drawer: (row: T) => ReactNode;
}

/** A card with rows, each of which opens a drawer with the whole of it. */
export function Rows<T extends object>(p: RowsProps<T>) {
  const { t } = useLanguage();
  const [shown, setShown] = useState<string>();
  const row = p.asked.data?.items.find((r) => p.rowKey(r) === shown);
  return (
    <section id={p.id}>
      <Card size="small" title={p.title} extra={p.extra}>
        {p.children}
        {p.asked.error ? <Failure of={p.asked} /> : null}
        <Table<T>
          className="rows"
          size="small"
          rowKey={p.rowKey}
          columns={p.columns}
          dataSource={p.asked.error ? [] : p.asked.data?.items}
          loading={p.asked.isPending && !p.asked.error}
          locale={{ emptyText: <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={p.asked.error ? '' : p.empty} /> }}
          scroll={{ x: 'max-content' }}
          onRow={(r) => ({
            tabIndex: 0,
            onClick: () => setShown(p.rowKey(r)),
            onKeyDown: (e) => e.key === 'Enter' && e.target === e.currentTarget && setShown(p.rowKey(r)),
          })}
          pagination={{ defaultPageSize: p.pageSize, hideOnSinglePage: true, size: 'small', showTotal: t.total, showSizeChanger: false }}
        />
      </Card>
      <Drawer open={row !== undefined} onClose={() => setShown(undefined)} size={760} title={row && p.drawerTitle(row)} destroyOnHidden>
        {row && p.drawer(row)}
      </Drawer>
    </section>
  );
}

/** What is known of a thing; what is not known is left out. */
export function Facts({ items }: { items: [string, ReactNode][] }) {
  const known = items.filter(([, value]) => value !== undefined && value !== null && value !== '' && value !== false && !(Array.isArray(value) && value.length === 0));
  return (
    <Descriptions
      size="small"
      bordered
      column={1}
      styles={{ label: { width: 150 } }}
      style={{ marginBottom: 16 }}
      items={known.map(([label, children]) => ({ key: label, label, children }))}
    />
  );
}

export function Mono({ children }: { children: ReactNode }) {
  return <span className="mono wrap">{children}</span>;
}

/** A table within a drawer. */
export function Small<T extends object>({ title, rows, columns }: { title?: string; rows: T[] | null | undefined; columns: TableColumnsType<T> }) {
  if (!rows || rows.length === 0) return null;
  const numbers = new Map(rows.map((row, n) => [row, n]));
  return (
    <Table<T>
      size="small"
      title={title ? () => <strong>{title}</strong> : undefined}
      rowKey={(row) => numbers.get(row) ?? 0}
      columns={columns}
      dataSource={rows}
      scroll={{ x: 'max-content' }}
      pagination={{ defaultPageSize: 20, hideOnSinglePage: true, size: 'small' }}
      style={{ marginBottom: 16 }}
    />
  );
}

/** Who was behind the addresses of an alert, each with the event that says so. */
export function Who({ who }: { who: RaisedAlert['who'] }) {
  const { t } = useLanguage();
  return (
    <Small
      title={t.who}
      rows={who}
      columns={[
        { title: t.time, render: (_, w) => <Time at={w.at} /> },
        { title: t.kind, render: (_, w) => t.whoKinds[w.kind] ?? w.kind },
        { title: t.address, render: (_, w) => <Mono>{w.address}{w.port ? ` :${w.port}` : ''}{w.inside && ` → ${w.inside}`}</Mono> },
        { title: t.mac, render: (_, w) => <Mono>{w.mac}</Mono> },
        { title: t.account, render: (_, w) => <Mono>{w.user}</Mono> },
        { title: t.host, render: (_, w) => <Mono>{w.host}</Mono> },
        { title: t.unit, render: (_, w) => w.unit && <UnitName code={w.unit} /> },
        { title: t.event, render: (_, w) => <EventIds ids={[w.event_id]} /> },
      ]}
    />
  );
}

/** Ids of events, each of which opens the event. */
export function EventIds({ ids }: { ids: readonly string[] | null | undefined }) {
  const [shown, setShown] = useState<string>();
  if (!ids || ids.length === 0) return null;
  return (
    <>
      {ids.map((id) => (
        <Button key={id} type="link" size="small" style={{ height: 'auto', padding: 0, marginRight: 12, whiteSpace: 'normal', textAlign: 'left' }} onClick={() => setShown(id)}>
          <Mono>{id}</Mono>
        </Button>
      ))}
      <EventDrawer id={shown} onClose={() => setShown(undefined)} />
    </>
  );
}

function EventDrawer({ id, onClose }: { id: string | undefined; onClose: () => void }) {
  const { t } = useLanguage();
  const quoted = `"${(id ?? '').replace(/[\\"]/g, '\\$&')}"`;
  const event = useQuery({
    queryKey: ['event', id],
    queryFn: () => call('get', '/api/v1/events', { query: { query: `event.id == ${quoted}`, limit: 1 } }),
    enabled: id !== undefined,
    staleTime: Infinity,
  });
  const found = event.data?.items[0];
  return (
    <Drawer open={id !== undefined} onClose={onClose} size={700} title={<><span>{t.event} </span><Mono>{id}</Mono></>}>
      {event.error && <Failure of={event} />}
      {event.isLoading && <Spin />}
      {event.data && (found ? <EventFields event={found} /> : <Empty description={t.noSuchEvent} />)}
    </Drawer>
  );
}

export function EventFields({ event }: { event: Event }) {
  const say = (name: string, value: unknown) =>
    Array.isArray(value) ? value.join(', ') : name === '@timestamp' || name === 'event.created' || name === 'event.ingested' ? `${sayTime(String(value))}  (${String(value)})` : String(value);
  return (
    <Descriptions
      size="small"
      bordered
      column={1}
      styles={{ label: { width: 220 } }}
      items={Object.entries(event).map(([name, value]) => ({
        key: name,
        label: <span className="mono">{name}</span>,
        children: <Mono>{say(name, value)}</Mono>,
      }))}
    />
  );
}

/** What an input shows of being wrong. */
type Wrong = { status?: 'error'; 'aria-invalid'?: true; 'aria-describedby'?: string };

/** What the server says is wrong, at the inputs of a small form that it is about, by their ids; the first of them has the cursor. */
export function useMistakes(error: Error | null, ids: string[]) {
  const { t, language } = useLanguage();
  const mistakes = error instanceof ApiError ? (error.problem.fields ?? []) : [];
  const first = ids.find((id) => mistakes.some((m) => m.field === id));
  useEffect(() => {
    if (error && first) document.getElementById(first)?.focus();
  }, [error, first]);
  const of = (id: string) => mistakes.filter((m) => m.field === id).map((m) => m[language]).join('; ');
  const placed = mistakes.length > 0 && mistakes.every((m) => ids.includes(m.field));
  return {
    wrong: (id: string): Wrong => (of(id) ? { status: 'error', 'aria-invalid': true, 'aria-describedby': `${id}-mistake` } : {}),
    at: (id: string) => of(id) && <div id={`${id}-mistake`} role="alert" className="mistake">{of(id)}</div>,
    rest: error && !placed && <Alert type="error" showIcon title={sayProblem(t, error)} />,
  };
}

/** A day or a time, told once it is whole: a year that is being written is none yet. */
export function Moment({ type, id, label, value, min, max, wrong, onChange }: { type: 'date' | 'datetime-local'; id?: string; label: string; value: string; min?: string; max?: string; wrong?: Wrong; onChange: (value: string) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  return (
    <Input
      type={type}
      id={id}
      style={{ width: 'auto' }}
      aria-label={label}
      {...wrong}
      value={text}
      min={min}
      max={max}
      onChange={(e) => {
        setText(e.target.value);
        if (e.target.value === '' || e.target.value >= '1971') onChange(e.target.value);
      }}
    />
  );
}

/** One of the units that somebody sees, or none. */
export function UnitSelect({ value, onChange }: { value: string | undefined; onChange: (code: string | undefined) => void }) {
  const { t } = useLanguage();
  const names = useContext(UnitNames);
  return (
    <Select
      value={value || undefined}
      allowClear
      showSearch={{ optionFilterProp: 'label' }}
      placeholder={t.unitWithBelow}
      aria-label={t.unitWithBelow}
      style={{ minWidth: 200 }}
      options={[...names].map(([code, name]) => ({ value: code, label: `${name} ${code}` }))}
      onChange={(code: string | undefined) => onChange(code)}
    />
  );
}

/** Changes of entries of the registry, each with the fields that it changed. */
export function Changes({ title, changes, keys }: { title: string; changes: readonly Change[] | undefined; keys?: boolean }) {
  const { t } = useLanguage();
  const columns: TableColumnsType<Change> = [
    { title: t.fields, render: (_, c) => c.fields.map((f) => <Field key={f.field} of={f} />) },
  ];
  if (keys) columns.unshift({ title: t.id, render: (_, c) => <Mono>{c.key}</Mono> });
  else columns.unshift({ title: t.time, render: (_, c) => <Time at={c.at} /> }, { title: t.by, render: (_, c) => <>{c.who} {c.deleted && <Tag color="red">{t.deleted}</Tag>}</> });
  return <Small title={title} rows={changes as Change[] | undefined} columns={columns} />;
}

function Field({ of }: { of: Change['fields'][number] }) {
  return (
    <div className="mono wrap">
      {of.field}: {of.before && <del>{of.before}</del>} {of.after && <ins>{of.after}</ins>}
    </div>
  );
}
