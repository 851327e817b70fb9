import { useQueryClient } from '@tanstack/react-query';
import { Checkbox, Form } from 'antd';
import type { ReactNode } from 'react';

import { call, type Contact, type Domain, type Network, type Unit } from '../../api/client';
import { asPrefix, asText, ChoiceField, Dialogue, LinesField, linesOf, NumberField, TextField, UnitField } from '../../Dialogue';
import { useLanguage } from '../../i18n';

type Kind = 'units' | 'networks' | 'domains' | 'systems' | 'contacts';

/** Has what is shown of a kind of entry read anew, and says so. */
export function useWritten(kind: Kind, gone = false): () => string {
  const { t } = useLanguage();
  const client = useQueryClient();
  return () => {
    for (const key of [kind, 'history']) void client.invalidateQueries({ queryKey: [key] });
    return gone ? t.removed : t.kept;
  };
}

/** Takes an entry out of the registry, after somebody has confirmed it. */
export function Retire({ kind, of, what }: { kind: Kind; of: string; what: string }) {
  const { t } = useLanguage();
  const written = useWritten(kind, true);
  return <Dialogue<object, void> label={t.remove} title={`${t.remove} · ${what}`} ok={t.remove} danger hint={t.removeHint(what)} send={() => call('delete', `/api/v1/${kind}`, { query: { key: of } })} onSent={written} />;
}

/** Changes a unit, or registers one, below another if it is given. */
export function EditUnit({ there, above, onKept }: { there?: Unit; above?: string; onKept?: (unit: Unit) => void }) {
  const { t } = useLanguage();
  const written = useWritten('units');
  return (
    <Dialogue<Unit, Unit>
      label={there ? t.change : above ? t.addUnitBelow : t.addUnit}
      initial={there ?? { level: 'school', parent: above }}
      send={(f) => call('put', '/api/v1/units', { body: { ...there, ...f } })}
      onSent={(unit) => {
        onKept?.(unit);
        return written();
      }}
    >
      <TextField name="code" label={t.code} most={64} needed disabled={there !== undefined} />
      <TextField name="name" label={t.name_} needed />
      <ChoiceField name="level" label={t.level} words={t.unitLevels} />
      <UnitField name="parent" label={t.above} optional />
      <TextField name="division" label={t.division} most={6} hint="410100" />
      <TextField name="school_code" label={t.schoolCode} most={10} />
    </Dialogue>
  );
}

type Listed<T extends { exclude?: unknown }> = Omit<T, 'exclude'> & { exclude?: string };

/** What networks and domains have in common: whose they are, and how they may be scanned. */
function Policy({ excludeHint, children }: { excludeHint: string; children?: ReactNode }) {
  const { t } = useLanguage();
  return (
    <>
      <UnitField label={t.unit} />
      <Form.Item name="scan" valuePropName="checked" extra={t.scanHint}><Checkbox>{t.authorise}</Checkbox></Form.Item>
      <LinesField name="exclude" label={t.exclude} hint={excludeHint} />
      <TextField name="hours" label={t.hours} most={250} hint={t.hoursHint} />
      <NumberField name="rate" label={`${t.rate} · ${t.zeroIsFree}`} />
      {children}
    </>
  );
}

export function EditNetwork({ there }: { there?: Network }) {
  const { t } = useLanguage();
  const written = useWritten('networks');
  return (
    <Dialogue<Listed<Network>, Network>
      label={there ? t.change : t.addNetwork}
      initial={there ? { ...there, exclude: asText(there.exclude) } : { scan: false }}
      send={(f) => call('put', '/api/v1/networks', { body: { ...there, ...f, prefix: asPrefix(f.prefix.trim()), scan: f.scan ?? false, rate: f.rate ?? 0, host_rate: f.host_rate ?? 0, exclude: linesOf(f.exclude).map(asPrefix) } })}
      onSent={written}
    >
      <TextField name="prefix" label={t.network} most={50} needed disabled={there !== undefined} hint="192.0.2.0/24" />
      <TextField name="name" label={t.name_} />
      <Policy excludeHint="192.0.2.250"><NumberField name="host_rate" label={`${t.hostRate} · ${t.zeroIsFree}`} /></Policy>
    </Dialogue>
  );
}

export function EditDomain({ there }: { there?: Domain }) {
  const { t } = useLanguage();
  const written = useWritten('domains');
  return (
    <Dialogue<Listed<Domain>, Domain>
      label={there ? t.change : t.addDomain}
      initial={there ? { ...there, exclude: asText(there.exclude) } : { scan: false }}
      send={(f) => call('put', '/api/v1/domains', { body: { ...there, ...f, scan: f.scan ?? false, rate: f.rate ?? 0, exclude: linesOf(f.exclude) } })}
      onSent={written}
    >
      <TextField name="name" label={t.domainName} most={255} needed disabled={there !== undefined} hint="example.edu.cn" />
      <Policy excludeHint="vpn.example.edu.cn" />
    </Dialogue>
  );
}

/** The person of a unit for a duty; there is one for each. */
export function EditContact({ unit, there }: { unit: string; there?: Contact }) {
  const { t } = useLanguage();
  const written = useWritten('contacts');
  return (
    <Dialogue<Contact, Contact> label={there ? t.change : t.addContact} initial={there ?? { duty: 'liaison' }} send={(f) => call('put', '/api/v1/contacts', { body: { ...there, ...f, unit } })} onSent={written}>
      <ChoiceField name="duty" label={t.duty} words={t.duties} disabled={there !== undefined} />
      <TextField name="name" label={t.personName} most={64} needed />
      <TextField name="phone" label={t.phone} most={32} />
      <TextField name="email" label={t.email} most={254} />
    </Dialogue>
  );
}
