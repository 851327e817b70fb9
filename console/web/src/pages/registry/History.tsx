import { useQuery } from '@tanstack/react-query';

import { call } from '../../api/client';
import { useLanguage } from '../../i18n';
import { Changes, Failure } from '../../parts';

/** Every change of one entry, the newest first. */
export function History({ of, title }: { of: string; title?: string }) {
  const { t } = useLanguage();
  const asked = useQuery({ queryKey: ['history', of], queryFn: () => call('get', '/api/v1/history', { query: { key: of } }) });
  if (asked.error) return <Failure of={asked} />;
  return <Changes title={title ?? t.history} changes={asked.data?.items} />;
}

/** As it was on a day, and of which unit with those below it. */
export interface Of {
  at: string | undefined;
  unit: string | undefined;
}
