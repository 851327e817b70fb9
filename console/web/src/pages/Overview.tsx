import type { UseQueryResult } from '@tanstack/react-query';
import { Card, Statistic, Table } from 'antd';

import type { AllCounts, Counts, LiveCounts, Me, UnitCounts } from '../api/client';
import { useLanguage } from '../i18n';
import { Alerts } from '../panels/Alerts';
import { Assets } from '../panels/Assets';
import { DriftPanel } from '../panels/Drift';
import { Events } from '../panels/Events';
import { Mining } from '../panels/Mining';
import { Failure, UnitName } from '../parts';

/** What there is now, and the newest of each kind. */
export function Overview({ me, live, counts }: { me: Me; live: LiveCounts | undefined; counts: UseQueryResult<AllCounts> }) {
  return (
    <>
      {counts.error && !live && <Failure of={counts} />}
      <Numbers total={live?.total ?? counts.data?.total} />
      <Alerts />
      <div className="pair">
        <Mining />
        <DriftPanel me={me} />
      </div>
      <Assets />
      <Events />
      <ByUnit rows={counts.data?.units} loading={counts.isPending} />
    </>
  );
}

function Numbers({ total }: { total: Counts | undefined }) {
  const { t } = useLanguage();
  const number = (n: number | undefined) => (n ?? 0).toLocaleString();
  const card = (href: string, title: string, value: number | undefined, small: string, alarm = false) => (
    <a href={href} data-count={href.slice(1)}>
      <Card size="small" hoverable loading={!total}>
        <Statistic title={title} value={value ?? 0} styles={{ content: { color: alarm && value ? '#c41d1d' : undefined } }} />
        <div className="small">{small}</div>
      </Card>
    </a>
  );
  return (
    <section className="counts">
      {card('#alerts', t.alertsOpen, total?.alerts_open, '', true)}
      {card('#mining', t.miningOpen, total?.mining_open, '', true)}
      {card('#drift', t.driftOpen, total?.drift_open, '', true)}
      {card('#assets', t.assetsAlive, total && total.domains + total.hosts + total.services,
        `${t.domains} ${number(total?.domains)} · ${t.hosts} ${number(total?.hosts)} · ${t.services} ${number(total?.services)}`)}
      {card('#events', t.eventsStored, total?.events, `${t.lastMinute} ${number(total?.events_last_minute)} · ${t.lastHour} ${number(total?.events_last_hour)}`)}
      {card('#units', t.deadLetters, total?.dead_letters, '')}
    </section>
  );
}

function ByUnit({ rows, loading }: { rows: UnitCounts[] | undefined; loading: boolean }) {
  const { t } = useLanguage();
  const number = (key: keyof Counts, title: string) => ({
    key, title, dataIndex: key, align: 'right' as const,
    sorter: (a: UnitCounts, b: UnitCounts) => a[key] - b[key],
    render: (n: number) => n.toLocaleString(),
  });
  return (
    <section id="units">
      <Card size="small" title={t.byUnit}>
        <Table<UnitCounts>
          size="small"
          rowKey="unit"
          loading={loading}
          dataSource={rows}
          locale={{ emptyText: t.noCounts }}
          scroll={{ x: 'max-content' }}
          pagination={{ defaultPageSize: 10, hideOnSinglePage: true, size: 'small' }}
          columns={[
            { title: t.unit, dataIndex: 'unit', render: (code: string) => <UnitName code={code} /> },
            number('alerts_open', t.alertsOpen),
            number('mining_open', t.miningOpen),
            number('drift_open', t.driftOpen),
            number('domains', t.domains),
            number('hosts', t.hosts),
            number('services', t.services),
            number('events', t.eventsStored),
            number('events_last_hour', t.lastHour),
            number('dead_letters', t.deadLetters),
          ]}
        />
      </Card>
    </section>
  );
}
