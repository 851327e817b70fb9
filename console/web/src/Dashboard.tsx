import { useMutation, useQuery } from '@tanstack/react-query';
import { Badge, Button, Result } from 'antd';
import { useEffect, type ReactNode } from 'react';

import { call, type Me } from './api/client';
import { sayTime, useLanguage } from './i18n';
import { useLive } from './live';
import { LanguageSwitch } from './Login';
import { AssetPage } from './pages/AssetPage';
import { DriftPage } from './pages/DriftPage';
import { Overview } from './pages/Overview';
import { RegistryPage } from './pages/RegistryPage';
import { ScanPage } from './pages/ScanPage';
import { Search } from './pages/Search';
import { type NamedUnits, UnitNames } from './parts';
import { hrefTo, useRoute } from './route';

/** The bar that is on every page, and the page that the address names. */
export function Dashboard({ me, onLeave }: { me: Me; onLeave: () => void }) {
  const { t } = useLanguage();
  const { page, asked } = useRoute();
  const { live, connected } = useLive();
  const counts = useQuery({ queryKey: ['counts'], queryFn: () => call('get', '/api/v1/counts'), refetchInterval: 15_000 });
  const units = useQuery({ queryKey: ['units'], queryFn: () => call('get', '/api/v1/units'), refetchInterval: 300_000 });
  const logout = useMutation({ mutationFn: () => call('post', '/api/v1/logout'), onSettled: onLeave });
  const names: NamedUnits = new Map(units.data?.items.map((u) => [u.code, u.name]));
  useEffect(() => {
    if (page) window.scrollTo(0, 0);
  }, [page]);

  const pages: Record<string, [string, ReactNode]> = {
    '': [t.overview, <Overview me={me} live={live} counts={counts} />],
    search: [t.assetSearch, <Search asked={asked} />],
    asset: [t.relations, <AssetPage asked={asked} />],
    drift: [t.drift, <DriftPage me={me} asked={asked} />],
    scans: [t.scans, <ScanPage me={me} asked={asked} />],
    registry: [t.registry, <RegistryPage me={me} asked={asked} />],
  };
  return (
    <UnitNames value={names}>
      <header className="bar">
        <span className="brand">{t.product}</span>
        <nav aria-label={t.pages}>
          {Object.entries(pages).map(([name, [title]]) => (
            <a key={name} href={hrefTo(name)} aria-current={name === page ? 'page' : undefined}>{title}</a>
          ))}
        </nav>
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
      <main className="page">{pages[page]?.[1] ?? <Result status="404" title={t.noSuchPage} />}</main>
    </UnitNames>
  );
}
