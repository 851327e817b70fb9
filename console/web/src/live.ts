import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';

import type { LiveAlerts, LiveCounts } from './api/client';

/**
 * The counts as they are now, from the stream. Whatever they say has changed is
 * asked for again.
 */
export function useLive(): { live: LiveCounts | undefined; connected: boolean } {
  const client = useQueryClient();
  const [live, setLive] = useState<LiveCounts>();
  const [connected, setConnected] = useState(false);

  useEffect(() => {
    let source: EventSource;
    let timer: number | undefined;
    let before: LiveCounts | undefined;
    const stale = (kind: string) => void client.invalidateQueries({ queryKey: [kind] });
    const open = () => {
      source = new EventSource('/api/v1/stream');
      source.addEventListener('counts', (message: MessageEvent<string>) => {
        const now = JSON.parse(message.data) as LiveCounts;
        setConnected(true);
        setLive(now);
        if (before && before.total.mining_open !== now.total.mining_open) stale('mining');
        if (before && before.total.drift_open !== now.total.drift_open) stale('drift');
        before = now;
      });
      source.addEventListener('alerts', (message: MessageEvent<string>) => {
        if ((JSON.parse(message.data) as LiveAlerts).items.length > 0) stale('alerts');
      });
      source.addEventListener('trouble', () => setConnected(false));
      source.onerror = () => {
        setConnected(false);
        stale('me'); // the session may have ended
        if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
        timer = window.setTimeout(open, 3000);
      };
    };
    open();
    return () => {
      window.clearTimeout(timer);
      source.close();
    };
  }, [client]);
  return { live, connected };
}
