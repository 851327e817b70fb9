import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Segmented, Tag } from 'antd';
import { useState } from 'react';

import { call, type Alert } from '../api/client';
import { sayTitle, useLanguage } from '../i18n';
import { EventIds, Facts, Level, Mono, Rows, Small, Status, Time, UnitName, Who } from '../parts';

export function Alerts() {
  const { t, language } = useLanguage();
  const [open, setOpen] = useState(false);
  const query = open ? 'status = open' : '';
  const asked = useQuery({
    queryKey: ['alerts', query],
    queryFn: () => call('get', '/api/v1/alerts', { query: { query, limit: 100 } }),
    refetchInterval: 30_000,
    placeholderData: keepPreviousData,
  });
  return (
    <Rows<Alert>
      id="alerts"
      title={t.latestAlerts}
      extra={<Segmented size="small" value={open} onChange={setOpen} options={[{ value: false, label: t.all }, { value: true, label: t.openOnly }]} />}
      asked={asked}
      empty={t.noAlerts}
      rowKey={(a) => a.id}
      pageSize={10}
      columns={[
        { title: t.level, width: 80, render: (_, a) => <Level level={a.rule.level} /> },
        { title: t.title, width: 360, render: (_, a) => <>{sayTitle(language, a.rule.title)} {a.drill && <Tag>{t.drill}</Tag>}</> },
        { title: t.unit, render: (_, a) => <UnitName code={a.unit} /> },
        { title: t.host, render: (_, a) => <Mono>{a.host}</Mono> },
        { title: t.count, align: 'right', render: (_, a) => a.count.toLocaleString() },
        { title: t.status, render: (_, a) => <Status status={a.status} words={t.statuses} /> },
        { title: t.first, render: (_, a) => <Time at={a.first} /> },
        { title: t.last, render: (_, a) => <Time at={a.last} /> },
      ]}
      drawerTitle={(a) => <><Level level={a.rule.level} /> {sayTitle(language, a.rule.title)}</>}
      drawer={(a) => (
        <>
          <Facts
            items={[
              [t.summary, a.summary && <Mono>{a.summary}</Mono>],
              [t.status, <Status status={a.status} words={t.statuses} />],
              [t.reason, a.reason],
              [t.kind, t.alertKinds[a.kind] ?? a.kind],
              [t.unit, a.unit && <UnitName code={a.unit} />],
              [t.host, a.host && <Mono>{a.host}</Mono>],
              [t.group, a.group?.map((g) => <div key={g.field}><Mono>{g.field} = {g.value}</Mono></div>)],
              [t.count, a.count.toLocaleString()],
              [t.suppressed, a.suppressed ? a.suppressed.toLocaleString() : null],
              [t.first, <Time at={a.first} />],
              [t.last, <Time at={a.last} />],
              [t.raised, <Time at={a.raised} />],
              [t.rule, <Mono>{a.rule.id}</Mono>],
              [t.tags, a.rule.tags?.map((tag) => <Tag key={tag}>{tag}</Tag>)],
              [t.id, <Mono>{a.id}</Mono>],
            ]}
          />
          <Who who={a.who} />
          <Small
            title={t.satisfied}
            rows={a.satisfied}
            columns={[
              { title: t.selection, dataIndex: 'selection' },
              { title: t.field, dataIndex: 'field', render: (v: string) => <Mono>{v}</Mono> },
              { title: t.value, dataIndex: 'value', render: (v: string) => <Mono>{v}</Mono> },
            ]}
          />
          <Facts items={[[t.eventIds, a.event_ids && a.event_ids.length > 0 && <EventIds ids={a.event_ids} />]]} />
        </>
      )}
    />
  );
}
