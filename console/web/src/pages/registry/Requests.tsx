import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Alert, App, Button, Input, Select, Space, Tag } from 'antd';
import { useState } from 'react';

import { call, type Me, type Request } from '../../api/client';
import { sayProblem, useLanguage } from '../../i18n';
import { Facts, Mono, Rows, Time, UnitName } from '../../parts';
import { Ask } from './Ask';
import { EntryFacts, sayEntry } from './entry';

const stateColors: Record<string, string> = { pending: 'gold', approved: 'green', refused: 'red', withdrawn: 'default' };

/** What people ask the whitelist for, and what others decided about it. */
export function Requests({ me, state = 'pending', onState }: { me: Me; state: string | undefined; onState: (state: string) => void }) {
  const { t } = useLanguage();
  const asked = useQuery({
    queryKey: ['requests', state],
    queryFn: () => call('get', '/api/v1/requests', { query: { state: state === 'all' ? undefined : (state as Request['state'] as 'pending') } }),
    refetchInterval: 30_000,
  });
  return (
    <Rows<Request>
      id="requests"
      title={t.requests}
      extra={
        <Space>
          {me.role !== 'auditor' && <Ask />}
          <Select size="small" value={state} aria-label={t.state} popupMatchSelectWidth={false} onChange={onState} options={[...Object.entries(t.requestStates), ['all', t.all] as const].map(([value, label]) => ({ value, label }))} />
        </Space>
      }
      asked={asked}
      empty={t.noRequests}
      rowKey={(q) => q.id}
      pageSize={20}
      columns={[
        { title: t.state, render: (_, q) => <Tag color={stateColors[q.state] ?? 'default'}>{t.requestStates[q.state] ?? q.state}</Tag> },
        { title: t.wants, render: (_, q) => (q.remove ? t.toRemove : t.toAllow) },
        { title: t.entry, render: (_, q) => <Mono>{sayEntry(q.entry)}</Mono> },
        { title: t.unit, render: (_, q) => <UnitName code={q.entry.unit} /> },
        { title: t.reason, render: (_, q) => <div className="cell">{q.entry.reason}</div> },
        { title: t.until, render: (_, q) => <Time at={q.entry.until} /> },
        { title: t.askedBy, render: (_, q) => q.asked_by },
        { title: t.time, render: (_, q) => <Time at={q.asked} /> },
        { title: t.decidedBy, render: (_, q) => q.decided_by },
      ]}
      drawerTitle={(q) => <>{q.remove ? t.toRemove : t.toAllow} · <Mono>{sayEntry(q.entry)}</Mono></>}
      drawer={(q) => (
        <>
          <Facts
            items={[
              [t.state, <Tag color={stateColors[q.state] ?? 'default'}>{t.requestStates[q.state] ?? q.state}</Tag>],
              [t.askedBy, <>{q.asked_by} · <Time at={q.asked} /></>],
              [t.decidedBy, q.decided_by && <>{q.decided_by} · <Time at={q.decided} /></>],
              [t.note, q.note],
              [t.id, <Mono>{q.id}</Mono>],
            ]}
          />
          <EntryFacts of={q.entry} />
          {q.state === 'pending' && <Decide request={q} me={me} />}
        </>
      )}
    />
  );
}

/** Who has asked may withdraw; any other administrator approves or refuses. */
function Decide({ request, me }: { request: Request; me: Me }) {
  const { t } = useLanguage();
  const { message } = App.useApp();
  const client = useQueryClient();
  const [note, setNote] = useState('');
  const decide = useMutation({
    mutationFn: (state: 'approved' | 'refused' | 'withdrawn') => call('post', '/api/v1/decisions', { body: { id: request.id, state, note: note.trim() || undefined } }),
    onSuccess: (q) => {
      message.success(`${t.requestStates[q.state] ?? q.state}: ${sayEntry(q.entry)}`);
      for (const kind of ['requests', 'whitelist', 'history']) void client.invalidateQueries({ queryKey: [kind] });
    },
  });
  const mine = request.asked_by === me.name;
  if (!mine && me.role !== 'admin') return null;
  const button = (state: 'approved' | 'refused' | 'withdrawn', label: string, type: 'primary' | 'default' = 'default') => (
    <Button type={type} danger={state === 'refused'} data-decision={state} loading={decide.isPending && decide.variables === state} disabled={decide.isPending} onClick={() => decide.mutate(state)}>{label}</Button>
  );
  return (
    <Space orientation="vertical" style={{ width: '100%' }}>
      <Input.TextArea id="decision-note" value={note} maxLength={1000} rows={2} placeholder={t.note} aria-label={t.note} onChange={(e) => setNote(e.target.value)} />
      {decide.error && <Alert type="error" showIcon title={sayProblem(t, decide.error)} />}
      <Space>{mine ? button('withdrawn', t.withdraw) : <>{button('approved', t.approve, 'primary')}{button('refused', t.refuse)}</>}</Space>
    </Space>
  );
}
