import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { Alert, Card, Checkbox, Drawer, Empty, Form, Progress, Select, Space, Spin, Table, Tag } from 'antd';

import { call, type Me, type ScanJob, type ScanLeftOut, type ScanStop, type StartedScan, type StartScan } from '../api/client';
import { Dialogue, LinesField, linesOf, NumberField, TextField, UnitField } from '../Dialogue';
import { sayDuration, sayTime, useLanguage } from '../i18n';
import { Facts, Failure, Mono, Small, Time, UnitName, UnitSelect } from '../parts';
import { go, hrefTo, type Asked } from '../route';

const every = 2000; // ms: what is shown of scans is so old at most

/** Who is scanned, for whom and how far it is; and the way to begin and to stop. */
export function ScanPage({ me, asked }: { me: Me; asked: Asked }) {
  const { t } = useLanguage();
  const set = (more: Asked) => go('scans', { ...asked, ...more });
  const query = { active: asked.active === 'true' || undefined, class: asked.class as ScanJob['class'] | undefined, unit: asked.unit };
  const found = useQuery({
    queryKey: ['scans', query],
    queryFn: () => call('get', '/api/v1/scan-jobs', { query: query as never }),
    refetchInterval: every,
    placeholderData: keepPreviousData,
  });
  const all = me.role === 'admin' && !me.unit;
  const agents = found.data?.agents ?? [];
  return (
    <section id="scans">
      <Card
        id="jobs"
        size="small"
        title={t.scans}
        extra={
          <Space wrap>
            {me.role === 'admin' && <NewScan me={me} />}
            {all && !found.data?.stopped && <Stop job="*" label={t.stopAll} hint={t.stopAllHint} />}
          </Space>
        }
      >
        {found.data?.stopped && (
          <Alert
            id="all-stopped"
            type="error"
            showIcon
            style={{ marginBottom: 12 }}
            title={t.allStopped}
            description={<StopFacts of={found.data.stopped} />}
            action={all && <Resume job="*" label={t.resumeAll} hint={t.resumeAllHint} />}
          />
        )}
        <div className="choices">
          <Select
            value={asked.class || undefined}
            allowClear
            placeholder={t.kind}
            aria-label={t.kind}
            style={{ minWidth: 130 }}
            options={Object.entries(t.scanClasses).map(([value, label]) => ({ value, label }))}
            onChange={(value: string | undefined) => set({ class: value })}
          />
          <UnitSelect value={asked.unit} onChange={(unit) => set({ unit })} />
          <Checkbox checked={asked.active === 'true'} onChange={(e) => set({ active: e.target.checked ? 'true' : undefined })}>{t.activeOnly}</Checkbox>
          {found.data && <span className="hint" style={{ margin: 0 }}>{t.newestJobs(found.data.items.length, found.data.total)}</span>}
        </div>
        {found.error ? <Failure of={found} /> : null}
        <Table<ScanJob>
          size="small"
          rowKey="job"
          loading={found.isPending && !found.error}
          dataSource={found.error ? [] : found.data?.items}
          scroll={{ x: 'max-content' }}
          locale={{ emptyText: <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={found.error ? '' : t.noScans} /> }}
          pagination={{ defaultPageSize: 20, hideOnSinglePage: true, size: 'small', showTotal: t.total, showSizeChanger: false }}
          columns={[
            { title: t.job, render: (_, j) => <a href={hrefTo('scans', { ...asked, job: j.job })}><Time at={j.created} /></a> },
            { title: t.kind, render: (_, j) => t.scanClasses[j.class] ?? j.class },
            { title: t.asker, render: (_, j) => t.askers[j.by] ?? j.by },
            { title: t.unit, render: (_, j) => <JobUnit of={j} /> },
            { title: t.scope, render: (_, j) => <Scope of={j} most={2} /> },
            { title: t.state, render: (_, j) => <JobState of={j} /> },
            { title: t.progress, render: (_, j) => <HowFar of={j} /> },
            { title: t.left, render: (_, j) => <Left of={j} /> },
            { title: t.seen, align: 'right', render: (_, j) => (j.above ? '—' : j.observations.toLocaleString()) },
            { title: t.reason, render: (_, j) => <div className="cell">{j.reason}</div> },
          ]}
        />
      </Card>
      <Card size="small" id="scanners" title={`${t.scanners} · ${agents.length > 0 ? t.scannersAlive(agents.length) : t.noScanners}`} style={{ marginTop: 16 }}>
        <Small
          rows={agents}
          columns={[
            { title: t.name_, dataIndex: 'scanner' },
            { title: t.host, dataIndex: 'host' },
            { title: t.rate, render: (_, a) => a.rate.toLocaleString() },
            { title: t.since_, render: (_, a) => <Time at={a.started} /> },
            { title: t.shard, render: (_, a) => (a.shard ? <Mono>{a.shard}</Mono> : t.idle) },
          ]}
        />
      </Card>
      <Drawer open={asked.job !== undefined} onClose={() => set({ job: undefined })} size={920} title={<>{t.job} · <Mono>{asked.job}</Mono></>} destroyOnHidden>
        {asked.job && <Job key={asked.job} id={asked.job} me={me} allStopped={found.data?.stopped !== undefined} />}
      </Drawer>
    </section>
  );
}

const stateColors: Record<string, string> = { done: 'green', partial: 'volcano', failed: 'volcano', refused: 'volcano', expired: 'volcano', stopped: 'red', running: 'blue', queued: 'default', waiting: 'gold' };

function JobState({ of: j }: { of: ScanJob }) {
  const { t } = useLanguage();
  return <Tag color={stateColors[j.state] ?? 'default'}>{t.jobStates[j.state] ?? j.state}</Tag>;
}

/** The unit that a job is of; and that it is above the viewer's. */
function JobUnit({ of: j }: { of: ScanJob }) {
  const { t } = useLanguage();
  return <><UnitName code={j.unit} /> {j.above && <Tag color="purple">{t.startedAbove}</Tag>}</>;
}

function Scope({ of: j, most }: { of: ScanJob; most?: number }) {
  const { t } = useLanguage();
  if (!j.scope || j.scope.length === 0) return <>{j.class === 'confirm' ? '—' : j.above ? t.ownPart : t.wholeUnit}</>;
  const shown = j.scope.slice(0, most);
  return <div className="cell"><Mono>{shown.join('\n')}{j.scope.length > shown.length && ` +${j.scope.length - shown.length}`}</Mono></div>;
}

function HowFar({ of: j }: { of: ScanJob }) {
  const { t } = useLanguage();
  const wrong = j.failed + j.refused + j.expired > 0;
  return (
    <div style={{ minWidth: 150 }}>
      <Progress size="small" percent={Math.floor(j.percent)} status={wrong ? 'exception' : j.state === 'running' ? 'active' : 'normal'} format={(percent) => `${percent}%`} aria-label={t.progress} />
      <div className="small">{t.shardsDone(j.done, j.shards)}</div>
    </div>
  );
}

function Left({ of: j }: { of: ScanJob }) {
  const { t } = useLanguage();
  if (j.state === 'waiting' && sayTime(j.next)) return <>{t.waitsUntil} <Time at={j.next} /></>;
  return <span className="one">{j.seconds_left ? sayDuration(t, j.seconds_left) : '—'}</span>;
}

function StopFacts({ of: s }: { of: ScanStop }) {
  return <>{[sayTime(s.time), s.by, s.reason].filter(Boolean).join(' · ')}</>;
}

/** A job, whole, as it goes on. */
function Job({ id, me, allStopped }: { id: string; me: Me; allStopped: boolean }) {
  const { t } = useLanguage();
  const asked = useQuery({ queryKey: ['scans', 'job', id], queryFn: () => call('get', '/api/v1/scan-job', { query: { job: id } }), refetchInterval: every });
  if (asked.error) return <Failure of={asked} />;
  if (!asked.data) return <Spin description={t.loading} />;
  const { job: j, shards, left_out: left } = asked.data;
  const over = j.state === 'done' || j.state === 'partial';
  const counts: [string, number][] = [['done', j.done], ['running', j.running], ['queued', j.queued], ['waiting', j.waiting], ['failed', j.failed], ['refused', j.refused], ['expired', j.expired]];
  return (
    <div id="scan-job">
      {j.above && <Alert type="info" showIcon style={{ marginBottom: 12 }} title={t.startedAbove} description={t.startedAboveHint} />}
      {me.role === 'admin' && !j.above && !over && !allStopped && (
        <p>{j.stopped ? <Resume job={j.job} label={t.resumeJob} hint={t.resumeJobHint} /> : <Stop job={j.job} label={t.stopJob} hint={t.stopJobHint} />}</p>
      )}
      <Facts
        items={[
          [t.state, <JobState of={j} />],
          [t.stopped, j.stopped && <StopFacts of={j.stopped} />],
          [t.progress, <HowFar of={j} />],
          [t.left, !over && (!j.above || j.state === 'waiting') && <Left of={j} />],
          [t.shards, counts.filter(([, n]) => n > 0).map(([state, n]) => <Tag key={state} color={stateColors[state]}>{t.shardStates[state]} {n.toLocaleString()}</Tag>)],
          [t.seen, !j.above && j.observations.toLocaleString()],
          [t.kind, t.scanClasses[j.class] ?? j.class],
          [t.asker, t.askers[j.by] ?? j.by],
          [t.reason, j.reason],
          [t.unit, <JobUnit of={j} />],
          [t.scope, <Scope of={j} />],
          [t.askedAt, <Time at={j.created} />],
          [t.expires, !over && <Time at={j.expires} />],
          [t.scanners, j.agents?.join(', ')],
          [t.errors, j.errors?.map((e) => <div key={e}><Mono>{e}</Mono></div>)],
        ]}
      />
      <Small
        title={`${t.shards}${shards.length < j.shards ? ` · ${t.firstShards(shards.length)}` : ''}`}
        rows={shards}
        columns={[
          { title: t.shard, dataIndex: 'shard' },
          { title: t.kind, render: (_, s) => t.shardKinds[s.kind] ?? s.kind },
          { title: t.state, render: (_, s) => <Tag color={stateColors[s.state] ?? 'default'}>{t.shardStates[s.state] ?? s.state}</Tag> },
          { title: t.scope, render: (_, s) => <div className="cell">{s.about ? <Mono>{s.about}</Mono> : t.ownAndOthers}</div> },
          { title: t.hours, render: (_, s) => s.hours },
          { title: t.scanners, render: (_, s) => s.scanner },
          { title: t.attempts, align: 'right', dataIndex: 'attempts' },
          { title: t.took, render: (_, s) => (s.seconds ? sayDuration(t, s.seconds) : sayTime(s.next) ? <>{t.waitsUntil} <Time at={s.next} /></> : sayTime(s.since) && <>{t.since_} <Time at={s.since} /></>) },
          { title: t.seen, align: 'right', render: (_, s) => s.observations?.toLocaleString() },
          { title: t.errors, render: (_, s) => <div className="cell">{s.state !== s.outcome && s.outcome && `${t.shardStates[s.outcome] ?? s.outcome} `}<Mono>{s.error}</Mono></div> },
        ]}
      />
      {!j.above && j.class !== 'confirm' && <LeftOut of={left} />}
    </div>
  );
}

/** Says to the scanners that they stop, after somebody has confirmed it. */
function Stop({ job, label, hint }: { job: string; label: string; hint: string }) {
  const { t } = useLanguage();
  const client = useQueryClient();
  return (
    <Dialogue<{ reason?: string }, unknown>
      label={label}
      hint={hint}
      ok={label}
      danger
      primary
      send={({ reason }) => call('post', '/api/v1/scan-stops', { body: { job, reason: reason?.trim() || undefined } })}
      onSent={() => {
        void client.invalidateQueries({ queryKey: ['scans'] });
        return t.stopped;
      }}
    >
      <TextField name="reason" label={t.whyStop} most={1000} />
    </Dialogue>
  );
}

function Resume({ job, label, hint }: { job: string; label: string; hint: string }) {
  const { t } = useLanguage();
  const client = useQueryClient();
  return (
    <Dialogue<object, unknown>
      label={label}
      hint={hint}
      ok={label}
      send={() => call('delete', '/api/v1/scan-stops', { query: { job } })}
      onSent={() => {
        void client.invalidateQueries({ queryKey: ['scans'] });
        return t.resumed;
      }}
    />
  );
}

interface Wanted {
  unit: string;
  scope?: string;
  ports?: string;
  rate?: number | null;
  discover?: boolean;
  reason?: string;
}

/** Begins an interactive job: first it is planned and told what it would do. */
function NewScan({ me }: { me: Me }) {
  const { t } = useLanguage();
  const client = useQueryClient();
  const ask = (w: Wanted, dry: boolean) => {
    const body: Omit<StartScan, '$schema'> = {
      unit: w.unit, scope: linesOf(w.scope), ports: w.ports?.trim() || undefined, rate: w.rate ?? undefined, discover: w.discover, reason: w.reason?.trim() || undefined, dry_run: dry,
    };
    return call('post', '/api/v1/scan-jobs', { body });
  };
  return (
    <Dialogue<Wanted, StartedScan>
      label={t.newScan}
      ok={t.startScan}
      primary
      initial={{ unit: me.unit, discover: true }}
      check={{ label: t.estimate, ask: async (w) => <Would of={await ask(w, true)} /> }}
      send={(w) => ask(w, false)}
      onSent={(s) => {
        void client.invalidateQueries({ queryKey: ['scans'] });
        go('scans', { job: s.job });
        return t.scanStarted(s.job ?? '');
      }}
    >
      <UnitField label={t.unitWithBelow} />
      <LinesField name="scope" label={t.scope} extra={t.scopeHint} />
      <TextField name="ports" label={t.port} most={4096} extra={t.portsHint} />
      <NumberField name="rate" label={t.rate} min={1} extra={t.rateHint} />
      <Form.Item name="discover" valuePropName="checked"><Checkbox>{t.discoverNames}</Checkbox></Form.Item>
      <TextField name="reason" label={t.reason} most={1000} />
    </Dialogue>
  );
}

/** What a job would do. */
function Would({ of: s }: { of: StartedScan }) {
  const { t } = useLanguage();
  return (
    <div id="would">
      <Alert
        type={s.waiting > 0 ? 'warning' : 'info'}
        showIcon
        style={{ marginBottom: 12 }}
        title={t.wouldScan(s.shards, s.addresses, s.names, sayDuration(t, s.seconds))}
        description={s.waiting > 0 && t.wouldWait(s.waiting, sayTime(s.not_before))}
      />
      <LeftOut of={s.left_out} />
    </div>
  );
}

/** What a scan does not look at, and why. */
function LeftOut({ of }: { of: ScanLeftOut[] }) {
  const { t } = useLanguage();
  if (of.length === 0) return <p className="hint">{t.leftOutNone}</p>;
  return (
    <Small
      title={t.leftOut}
      rows={of}
      columns={[
        { title: t.scope, render: (_, l) => <Mono>{l.what}</Mono> },
        { title: t.reason, render: (_, l) => t.leftWhy[l.why] ?? l.why },
      ]}
    />
  );
}
