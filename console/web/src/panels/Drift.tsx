import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Segmented } from 'antd';
import { useState } from 'react';

import { call, type Drift, type Me } from '../api/client';
import { DriftDetail } from '../DriftDetail';
import { useLanguage } from '../i18n';
import { sayKey } from '../keys';
import { Difference, Mono, Rows, Status, Time, UnitName } from '../parts';
import { hrefTo } from '../route';

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
      extra={
        <>
          <a href={hrefTo('drift')} style={{ marginRight: 12 }}>{t.toHandle}</a>
          <Segmented size="small" value={open} onChange={setOpen} options={[{ value: false, label: t.all }, { value: true, label: t.openOnly }]} />
        </>
      }
      asked={asked}
      empty={t.noDrift}
      rowKey={(d) => d.id}
      pageSize={8}
      columns={[
        { title: t.kind, render: (_, d) => t.driftKinds[d.kind] ?? d.kind },
        { title: t.status, render: (_, d) => <Status status={d.status} words={t.driftStatuses} /> },
        { title: t.asset, render: (_, d) => <Mono>{sayKey(d.asset)}</Mono> },
        { title: t.unit, render: (_, d) => <UnitName code={d.unit} /> },
        { title: `${t.expected} → ${t.observed}`, render: (_, d) => <Difference of={d} /> },
        { title: t.last, render: (_, d) => <Time at={d.last} /> },
      ]}
      drawerTitle={(d) => <>{t.driftKinds[d.kind] ?? d.kind} · <Mono>{sayKey(d.asset)}</Mono></>}
      drawer={(d) => <DriftDetail id={d.id} me={me} />}
    />
  );
}
