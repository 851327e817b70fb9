import type { WhitelistEntry } from '../../api/client';
import { sayTime, useLanguage } from '../../i18n';
import { Facts, Mono, Time, UnitName } from '../../parts';

/** What an entry allows, as people write it. */
export function sayEntry(w: WhitelistEntry): string {
  if (w.kind === 'domain') return w.domain ?? '';
  const host = (w.host ?? '').replace(/\/(?:32|128)$/, '');
  if (w.kind === 'host') return host;
  return `${host.includes(':') ? `[${host}]` : host}:${w.port}/${w.transport ?? 'tcp'}`;
}

export function EntryFacts({ of: w }: { of: WhitelistEntry }) {
  const { t } = useLanguage();
  return (
    <Facts
      items={[
        [t.entry, <Mono>{sayEntry(w)}</Mono>],
        [t.kind, t.whitelistKinds[w.kind] ?? w.kind],
        [t.service, w.service],
        [t.unit, <UnitName code={w.unit} />],
        [t.system, w.system],
        [t.reason, w.reason],
        [t.since_, w.from && <Time at={w.from} />],
        [t.until, sayTime(w.until) || t.noEnd],
        [t.askedBy, w.asked_by],
        [t.approvedBy, w.approved_by],
      ]}
    />
  );
}
