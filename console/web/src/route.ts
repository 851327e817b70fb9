import { useMemo, useSyncExternalStore } from 'react';

/** What a page was asked for. It stands in the address behind the #, so that it can be sent to a colleague. */
export type Asked = Record<string, string | undefined>;

export interface Route {
  page: string; // empty: the overview
  asked: Asked;
}

function routeOf(hash: string): Route {
  const [, page = '', query = ''] = /^#\/([a-z]*)(?:\?(.*))?$/s.exec(hash) ?? [];
  return { page, asked: Object.fromEntries(new URLSearchParams(query)) };
}

export function hrefTo(page: string, asked: Asked = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) {
    if (value) query.set(name, value);
  }
  return query.size > 0 ? `#/${page}?${query}` : `#/${page}`;
}

export function go(page: string, asked: Asked = {}): void {
  window.location.hash = hrefTo(page, asked);
}

const subscribe = (changed: () => void) => {
  window.addEventListener('hashchange', changed);
  return () => window.removeEventListener('hashchange', changed);
};

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => window.location.hash);
  return useMemo(() => routeOf(hash), [hash]);
}
