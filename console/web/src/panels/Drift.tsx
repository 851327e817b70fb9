import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Alert as Notice, App, Button, Input, Segmented, Space } from 'antd';
import { useState } from 'react';

import { call, type Drift, type Me, type WhitelistEntry } from '../api/client';
import { sayProblem, useLanguage } from '../i18n';
import { Facts, Mono, Rows, Status, Time, UnitName } from '../parts';

export function DriftPanel({ me }: { me: Me }) {
  const { t } = useLanguage();
  const [open, setOpen] = useState(false);
  const query = open ? 'status = open' : '';
  const asked = useQuery({
    queryKey: ['drift', query],
    queryFn: () => call('get', '/api/v1/drift', { query: { query, limit: 100 } }),
    refetchInterval: 30_000,
    placeholderData: keepPreviousData,
  });
  return (
    <Rows<Drift>
      id="drift"
      title={t.drift}
      extra={<Segmented size="small" value={open} onChange={setOpen} options={[{ value: false, label: t.all }, { value: true, label: t.openOnly }]} />}
      asked={asked}
      empty={t.noDrift}
      rowKey={(d) => d.id}
      pageSize={8}
      columns={[
        { title: t.kind, render: (_, d) => t.driftKinds[d.kind] ?? d.kind },
        { title: t.status, render: (_, d) => <Status status={d.status} words={t.driftStatuses} /> },
        { title: t.asset, render: (_, d) => <Mono>{sayAsset(d.asset)}</Mono> },
        { title: t.unit, render: (_, d) => <UnitName code={d.unit} /> },
        { title: `${t.expected} → ${t.observed}`, render: (_, d) => <>{d.expected || t.nothingListed} → {d.observed || '—'}</> },
        { title: t.last, render: (_, d) => <Time at={d.last} /> },
      ]}
      drawerTitle={(d) => <>{t.driftKinds[d.kind] ?? d.kind} · <Mono>{sayAsset(d.asset)}</Mono></>}
      drawer={(d) => (
        <>
          <Facts
            items={[
              [t.status, <Status status={d.status} words={t.driftStatuses} />],
              [t.reason, d.reason],
              [t.asset, <Mono>{d.asset}</Mono>],
              [t.unit, d.unit && <UnitName code={d.unit} />],
              [t.expected, d.expected || t.nothingListed],
              [t.observed, d.observed],
              [t.first, <Time at={d.first} />],
              [t.confirmed, d.confirmed && <Time at={d.confirmed} />],
              [t.closed, d.closed && <Time at={d.closed} />],
              [t.last, <Time at={d.last} />],
              [t.evidence, d.evidence?.map((e) => <div key={e}><Mono>{e}</Mono></div>)],
              [t.id, <Mono>{d.id}</Mono>],
            ]}
          />
          {me.role === 'admin' && d.status !== 'closed' && <Allow drift={d} />}
        </>
      )}
    />
  );
}

/** An asset's key as people write it. */
function sayAsset(key: string): string {
  const [kind, what, transport, port] = key.split('/');
  if (kind === 'service' && what && transport && port) return `${what.includes(':') ? `[${what}]` : what}:${port}/${transport}`;
  return kind === 'host' || kind === 'domain' ? key.slice(kind.length + 1) : key;
}

/** The whitelist entry that explains a drift, where one can. */
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
  if (!entry?.unit) return null;
  return (
    <>
      {put.error && <Notice type="error" showIcon title={sayProblem(t, put.error)} style={{ marginBottom: 12 }} />}
      <Space.Compact block>
        <Input value={reason} maxLength={500} placeholder={t.allowReason} onChange={(e) => setReason(e.target.value)} />
        <Button type="primary" disabled={!reason.trim() || put.isSuccess} loading={put.isPending} onClick={() => put.mutate(entry)}>
          {t.allow}
        </Button>
      </Space.Compact>
    </>
  );
}
