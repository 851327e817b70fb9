import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Alert, App, Button, Checkbox, Input, Space } from 'antd';
import { useState } from 'react';

import { call, type Listed, type Me } from '../../api/client';
import { sayProblem, sayTime, useLanguage } from '../../i18n';
import { Mono, Rows, Time, UnitName } from '../../parts';
import { EntryFacts, sayEntry } from './entry';
import { History, type Of } from './History';

export function Whitelist({ me, of }: { me: Me; of: Of }) {
  const { t } = useLanguage();
  const [ending, setEnding] = useState(false);
  const [text, setText] = useState('');
  const query = ending ? { unit: of.unit, within: '30d' } : { ...of };
  const asked = useQuery({ queryKey: ['whitelist', query], queryFn: () => call('get', '/api/v1/whitelist', { query }), placeholderData: keepPreviousData });
  const like = (w: Listed) => [w.key, w.unit, w.system, w.reason].some((s) => s?.toLowerCase().includes(text.toLowerCase()));
  const shown = asked.data && { items: asked.data.items.filter(like) };
  return (
    <Rows<Listed>
      id="whitelist"
      title={t.whitelist}
      extra={
        <Space>
          <Input size="small" allowClear value={text} aria-label={t.filter} placeholder={t.filter} onChange={(e) => setText(e.target.value)} />
          {!of.at && <Checkbox checked={ending} onChange={(e) => setEnding(e.target.checked)}>{t.endsSoon}</Checkbox>}
        </Space>
      }
      asked={{ ...asked, data: shown }}
      empty={t.noEntries}
      rowKey={(w) => w.key}
      pageSize={20}
      columns={[
        { title: t.kind, render: (_, w) => t.whitelistKinds[w.kind] ?? w.kind },
        { title: t.entry, render: (_, w) => <Mono>{sayEntry(w)}</Mono> },
        { title: t.service, render: (_, w) => w.service },
        { title: t.unit, render: (_, w) => <UnitName code={w.unit} /> },
        { title: t.system, render: (_, w) => w.system },
        { title: t.reason, render: (_, w) => <div className="cell">{w.reason}</div> },
        { title: t.until, render: (_, w) => (sayTime(w.until) ? <Time at={w.until} /> : t.noEnd) },
        { title: t.askedBy, render: (_, w) => w.asked_by },
        { title: t.approvedBy, render: (_, w) => w.approved_by },
      ]}
      drawerTitle={(w) => <>{t.whitelist} · <Mono>{sayEntry(w)}</Mono></>}
      drawer={(w) => (
        <>
          <EntryFacts of={w} />
          <History of={`whitelist/${w.key}`} />
          {me.role !== 'auditor' && !of.at && <Remove entry={w} />}
        </>
      )}
    />
  );
}

/** Asks that an entry be taken away; another person approves it. */
function Remove({ entry }: { entry: Listed }) {
  const { t } = useLanguage();
  const { message } = App.useApp();
  const client = useQueryClient();
  const ask = useMutation({
    mutationFn: ({ key: _, ...there }: Listed) => call('post', '/api/v1/requests', { body: { entry: there, remove: true } }),
    onSuccess: (q) => {
      message.success(t.askedFor(q.id));
      void client.invalidateQueries({ queryKey: ['requests'] });
    },
  });
  return (
    <>
      {ask.error && <Alert type="error" showIcon title={sayProblem(t, ask.error)} style={{ marginBottom: 12 }} />}
      <Button danger disabled={ask.isSuccess} loading={ask.isPending} onClick={() => ask.mutate(entry)}>{t.askRemoval}</Button>
    </>
  );
}
