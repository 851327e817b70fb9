import { useMutation, useQuery } from '@tanstack/react-query';
import { Badge, Button, Card, Statistic, Table } from 'antd';

import { call, type Counts, type Me, type UnitCounts } from './api/client';
import { sayTime, useLanguage } from './i18n';
import { useLive } from './live';
import { LanguageSwitch } from './Login';
import { Alerts } from './panels/Alerts';
import { Assets } from './panels/Assets';
import { DriftPanel } from './panels/Drift';
import { Events } from './panels/Events';
import { Mining } from './panels/Mining';
import { Failure, UnitName, type NamedUnits, UnitNames } from './parts';

/** Everything on one page: what there is now, and the newest of each kind. */
export function Dashboard({ me, onLeave }: { me: Me; onLeave: () => void }) {
  const { t } = useLanguage();
  const { live, connected } = useLive();
  const counts = useQuery({ queryKey: ['counts'], queryFn: () => call('get', '/api/v1/counts'), refetchInterval: 15_000 });
  const units = useQuery({ queryKey: ['units'], queryFn: () => call('get', '/api/v1/units'), refetchInterval: 300_000 });
  const logout = useMutation({ mutationFn: () => call('post', '/api/v1/logout'), onSettled: onLeave });
  const names: NamedUnits = new Map(units.data?.items.map((u) => [u.code, u.name]));
  const total = live?.total ?? counts.data?.total;

  return (
    <UnitNames value={names}>
      <header className="bar">
        <span className="brand">{t.product}</span>
        <a href="#alerts">{t.alerts}</a>
        <a href="#mining">{t.mining}</a>
        <a href="#drift">{t.drift}</a>
        <a href="#assets">{t.assets}</a>
        <a href="#events">{t.events}</a>
        <a href="#units">{t.byUnit}</a>
        <span className="push">
          <Badge status={connected ? 'success' : 'warning'} text={<span className="who">{connected ? t.live : t.offline}{live && ` · ${t.updated} ${sayTime(live.at).slice(11)}`}</span>} />
        </span>
        <span className="who">
          {me.name} · {t.roles[me.role] ?? me.role} · {me.unit ? (me.unit_name ?? me.unit) : t.everything}
        </span>
        <LanguageSwitch />
        <Button size="small" ghost onClick={() => logout.mutate()}>
          {t.logout}
        </Button>
      </header>
      <main className="page">
        {counts.error && !live && <Failure of={counts} />}
        <Numbers total={total} />
        <Alerts />
        <div className="pair">
          <Mining />
          <DriftPanel me={me} />
        </div>
        <Assets />
        <Events />
        <ByUnit rows={counts.data?.units} loading={counts.isPending} />
      </main>
    </UnitNames>
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
