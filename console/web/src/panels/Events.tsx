import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Input, Select, Space } from 'antd';
import { useState } from 'react';

import { call, type Event } from '../api/client';
import { useLanguage } from '../i18n';
import { EventFields, Mono, Rows, Time, UnitName } from '../parts';

const text = (e: Event, ...names: string[]) => {
  for (const name of names) {
    const value = e[name];
    if (value !== undefined && value !== '') return String(value);
  }
  return '';
};

export function Events() {
  const { t } = useLanguage();
  const [query, setQuery] = useState('');
  const [since, setSince] = useState('24h');
  const asked = useQuery({
    queryKey: ['events', query, since],
    queryFn: () => call('get', '/api/v1/events', { query: { query, since, limit: 100 } }),
    placeholderData: keepPreviousData,
  });
  return (
    <Rows<Event>
      id="events"
      title={t.searchEvents}
      extra={t.rows(100)}
      asked={asked}
      empty={t.noEvents}
      rowKey={(e) => text(e, 'event.id')}
      pageSize={10}
      columns={[
        { title: t.time, render: (_, e) => <Time at={text(e, '@timestamp')} /> },
        { title: t.unit, render: (_, e) => <UnitName code={text(e, 'organization.id')} /> },
        { title: t.host, render: (_, e) => <Mono>{text(e, 'host.name', 'host.ip', 'fengsui.source')}</Mono> },
        { title: t.source, render: (_, e) => <Mono>{text(e, 'source.ip')}</Mono> },
        { title: t.message, width: 760, render: (_, e) => <Mono>{text(e, 'message', 'event.original').slice(0, 300)}</Mono> },
      ]}
      drawerTitle={(e) => <>{t.event} · <Time at={text(e, '@timestamp')} /></>}
      drawer={(e) => <EventFields event={e} />}
    >
      <Space.Compact block>
        <Select
          value={since}
          onChange={setSince}
          aria-label={t.since}
          style={{ width: 150 }}
          options={[
            { value: '1h', label: t.h1 },
            { value: '24h', label: t.h24 },
            { value: '7d', label: t.d7 },
            { value: '180d', label: t.d180 },
            { value: '', label: t.ever },
          ]}
        />
        <Input.Search
          id="event-query"
          allowClear
          enterButton={t.search}
          maxLength={16384}
          placeholder={t.searchEventsHint}
          loading={asked.isFetching}
          onSearch={(value) => (value === query ? void asked.refetch() : setQuery(value))}
        />
      </Space.Compact>
      <div className="hint mono">{t.syntax}</div>
    </Rows>
  );
}
