import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { App, Button, Card, Input, Segmented, Space, Spin } from 'antd';
import { useState } from 'react';

import { call, type Drift, type DriftDecision, type DriftItem, type Me, type WhitelistEntry } from './api/client';
import { sayTime, useLanguage } from './i18n';
import { thingOf } from './keys';
import { Changes, Facts, Failure, Level, Moment, Mono, Small, Status, Time, UnitName, useMistakes } from './parts';
import { hrefTo } from './route';

/** One difference, whole: what was seen, who answers for it, what was decided, and what can be. */
export function DriftDetail({ id, me }: { id: string; me: Me }) {
  const { t } = useLanguage();
  const asked = useQuery({ queryKey: ['drift', 'item', id], queryFn: () => call('get', '/api/v1/drift-item', { query: { id } }) });
  if (asked.error) return <Failure of={asked} />;
  const d = asked.data;
  if (!d) return <Spin description={t.loading} />;
  const thing = thingOf(d.asset);
  const mayDecide = d.status !== 'closed' && me.role !== 'auditor';
  return (
    <div id="drift-item">
      <Facts
        items={[
          [t.status, <Status status={d.status} words={t.driftStatuses} />],
          [t.severity, d.severity && <Level level={d.severity} />],
          [t.reason, d.reason && (t.closeReasons[d.reason] ?? d.reason)],
          [t.asset, thing ? <a href={hrefTo('asset', { key: thing })}><Mono>{d.asset}</Mono></a> : <Mono>{d.asset}</Mono>],
          [t.detail, d.detail && <Mono>{t.exposures[d.detail] ?? d.detail}</Mono>],
          [t.unit, d.unit && <UnitName code={d.unit} />],
          [t.system, d.system && <a href={hrefTo('asset', { key: `system/${d.system}` })}>{d.system}</a>],
          [t.owner, d.owner && <Owner of={d.owner} />],
          [t.due, d.due && <><Time at={d.due} /> {d.overdue && <strong className="late">{t.overdue}</strong>}</>],
          [t.handling, d.work && `${t.works[d.work.state] ?? d.work.state} · ${d.work.by} · ${sayTime(d.work.at)}`],
          [t.assignee, d.work?.assignee],
          [t.until, d.work?.until && <Time at={d.work.until} />],
          [t.note, d.work?.note],
          [t.expected, d.expected || (isListable(d.kind) && t.nothingListed)],
          [t.observed, d.observed],
          [t.before, d.baseline && [d.baseline.name, d.baseline.product, d.baseline.version].filter(Boolean).join(' ')],
          [t.first, <Time at={d.first} />],
          [t.confirmed, d.confirmed && <Time at={d.confirmed} />],
          [t.closed, d.closed && <Time at={d.closed} />],
          [t.last, <Time at={d.last} />],
          [t.vantages, d.vantages?.join(', ')],
          [t.evidence, d.evidence?.map((e) => <div key={e}><Mono>{e}</Mono></div>)],
          [t.earlier, d.previous && <a href={hrefTo('drift', { id: d.previous })}><Mono>{d.previous}</Mono> × {d.times}</a>],
          [t.id, <Mono>{d.id}</Mono>],
        ]}
      />
      {mayDecide && <Decide drift={d} me={me} />}
      <Small
        title={t.history}
        rows={d.history}
        columns={[
          { title: t.time, render: (_, s) => <Time at={s.at} /> },
          { title: t.by, render: (_, s) => (s.who === 'fengsui' ? t.product : s.who) },
          { title: t.step, render: (_, s) => t.driftStatuses[s.what] ?? t.works[s.what] ?? t.steps_[s.what] ?? s.what },
          { title: t.reason, render: (_, s) => <div className="cell">{s.why && (t.closeReasons[s.why] ?? s.why)}</div> },
        ]}
      />
      <Changes title={t.decisions} changes={d.decisions} />
      {me.role === 'admin' && d.status !== 'closed' && <Allow drift={d} />}
    </div>
  );
}

function Owner({ of }: { of: NonNullable<DriftItem['owner']> }) {
  const { t } = useLanguage();
  return <>{of.name} · {t.duties[of.duty] ?? of.duty} · <UnitName code={of.unit} />{of.phone && ` · ${of.phone}`}{of.email && ` · ${of.email}`}</>;
}

const isChange = (kind: string) => ['service_changed', 'product_changed', 'version_changed', 'certificate_changed'].includes(kind);
const isListable = (kind: string) => ['unlisted_domain', 'unlisted_host', 'unlisted_port', 'unlisted_service', 'whitelist_expired'].includes(kind);

type Decision = 'acknowledged' | 'fixed' | 'accepted';

/** The decisions that the viewer may take. None of them closes what is still seen. */
function Decide({ drift, me }: { drift: Drift; me: Me }) {
  const { t } = useLanguage();
  const { message } = App.useApp();
  const client = useQueryClient();
  const [state, setState] = useState<Decision>('acknowledged');
  const [assignee, setAssignee] = useState('');
  const [until, setUntil] = useState('');
  const [note, setNote] = useState('');
  const decide = useMutation({
    mutationFn: (body: DriftDecision) => call('post', '/api/v1/drift-decisions', { body }),
    onSuccess: (kept) => {
      message.success(kept.request ? t.askedFor(kept.request.id) : t.decided);
      setNote('');
      void client.invalidateQueries({ queryKey: ['drift'] });
      void client.invalidateQueries({ queryKey: ['requests'] });
    },
  });
  const mistakes = useMistakes(decide.error, ['assignee', 'until', 'note']);
  const change = <V,>(set: (value: V) => void) => (value: V) => {
    set(value);
    decide.reset(); // what the server said is of what was
  };
  const choices: Decision[] = me.role === 'admin' ? ['acknowledged', 'fixed', 'accepted'] : ['acknowledged', 'fixed'];
  const accepting = state === 'accepted';
  const what = accepting ? (isListable(drift.kind) ? t.acceptByRequest : isChange(drift.kind) ? t.acceptForGood : t.acceptUntil) : t.whatFollows[state];
  return (
    <Card size="small" title={t.handle} className="decide" style={{ marginBottom: 16 }}>
      <Space orientation="vertical" style={{ width: '100%' }}>
        <Segmented<Decision> value={state} onChange={change(setState)} options={choices.map((c) => ({ value: c, label: t.decisionNames[c] }))} />
        <div className="hint">{what}</div>
        {state === 'acknowledged' && <Input id="assignee" value={assignee} maxLength={128} placeholder={t.assigneeHint} aria-label={t.assignee} {...mistakes.wrong('assignee')} onChange={(e) => change(setAssignee)(e.target.value)} />}
        {mistakes.at('assignee')}
        {accepting && !isChange(drift.kind) && <label>{t.until} <Moment type="date" id="until" label={t.until} value={until} wrong={mistakes.wrong('until')} onChange={change(setUntil)} /></label>}
        {mistakes.at('until')}
        <Input.TextArea id="note" value={note} maxLength={1000} rows={2} placeholder={t.note} aria-label={t.note} {...mistakes.wrong('note')} onChange={(e) => change(setNote)(e.target.value)} />
        {mistakes.at('note')}
        {mistakes.rest}
        <Button
          type="primary"
          loading={decide.isPending}
          onClick={() =>
            decide.mutate({
              id: drift.id,
              state,
              note: note.trim() || undefined,
              assignee: (state === 'acknowledged' ? assignee.trim() : drift.work?.assignee) || undefined, // a decision replaces the one before
              until: accepting && until ? new Date(`${until}T23:59:59`).toISOString() : undefined,
            })
          }
        >
          {t.submit}
        </Button>
      </Space>
    </Card>
  );
}

/** The whitelist entry that explains a difference, where one can. */
function entryFor(d: Drift, reason: string): WhitelistEntry | undefined {
  const [, what = '', transport = '', port = ''] = d.asset.split('/');
  const unit = d.unit ?? '';
  const host = `${what}/${what.includes(':') ? 128 : 32}`;
  switch (d.kind) {
    case 'unlisted_domain':
      return { kind: 'domain', domain: what, unit, reason };
    case 'unlisted_host':
      return { kind: 'host', host, unit, reason };
    case 'unlisted_port':
      return { kind: 'port', host, port: Number(port), transport, unit, reason };
    default:
      return undefined;
  }
}

/** An administrator alone puts it on the whitelist; the entry says so. */
function Allow({ drift }: { drift: Drift }) {
  const { t } = useLanguage();
  const { message } = App.useApp();
  const client = useQueryClient();
  const [reason, setReason] = useState('');
  const entry = entryFor(drift, reason);
  const put = useMutation({
    mutationFn: (body: WhitelistEntry) => call('put', '/api/v1/whitelist', { body }),
    onSuccess: () => {
      message.success(t.allowed);
      void client.invalidateQueries({ queryKey: ['drift'] });
    },
  });
  const mistakes = useMistakes(put.error, ['reason']);
  if (!entry?.unit) return null;
  return (
    <>
      {mistakes.rest}
      <Space.Compact block>
        <Input id="reason" value={reason} maxLength={500} placeholder={t.allowReason} aria-label={t.allowReason} {...mistakes.wrong('reason')} onChange={(e) => setReason(e.target.value)} />
        <Button disabled={!reason.trim() || put.isSuccess} loading={put.isPending} onClick={() => put.mutate(entry)}>
          {t.allow}
        </Button>
      </Space.Compact>
      {mistakes.at('reason')}
    </>
  );
}
