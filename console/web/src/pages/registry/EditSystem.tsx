import { Checkbox, Form, Input } from 'antd';

import { call, type System } from '../../api/client';
import { asPrefix, asText, ChoiceField, Dialogue, LinesField, linesOf, NumberField, TextField, UnitField } from '../../Dialogue';
import { useLanguage } from '../../i18n';
import { useWritten } from './edit';

// What has several values is written one on a line.
type Lines = 'domains' | 'addresses' | 'ports';
type Filled = Omit<System, Lines> & Record<Lines, string | undefined>;

/** Registers an information system, or changes one. The registry says which step of its life may follow. */
export function EditSystem({ there }: { there?: System }) {
  const { t } = useLanguage();
  const written = useWritten('systems');
  const initial: Partial<Filled> = there
    ? { ...there, domains: asText(there.domains), addresses: asText(there.addresses), ports: asText(there.ports) }
    : { state: 'registered', hosting: 'own' };
  return (
    <Dialogue<Filled, System>
      label={there ? t.change : t.register}
      initial={initial}
      at={{ responsible: ['responsible', 'name'], phone: ['responsible', 'phone'], email: ['responsible', 'email'] }}
      send={(f) =>
        call('put', '/api/v1/systems', {
          body: { ...there, ...f, level: f.level ?? 0, people: f.people ?? 0, domains: linesOf(f.domains), addresses: linesOf(f.addresses).map(asPrefix), ports: linesOf(f.ports).map((p) => (p.includes('/') ? p : `${p}/tcp`)) },
        })
      }
      onSent={written}
    >
      <TextField name="code" label={t.code} most={64} needed disabled={there !== undefined} />
      <TextField name="name" label={t.name_} needed />
      <UnitField label={t.unit} />
      <ChoiceField name="state" label={t.state} words={t.systemStates} />
      <NumberField name="level" label={t.classified} max={5} />
      <TextField name="filing" label={t.filing} />
      <TextField name="icp" label={t.icp} />
      <Form.Item name="critical" valuePropName="checked"><Checkbox>{t.critical}</Checkbox></Form.Item>
      <ChoiceField name="data" label={t.dataClass} words={t.dataClasses} />
      <NumberField name="people" label={t.personalData} />
      <ChoiceField name="hosting" label={t.hosting} words={t.hostings} />
      <TextField name="vendor" label={t.vendor} />
      <LinesField name="domains" label={t.names} />
      <LinesField name="addresses" label={t.host_} />
      <LinesField name="ports" label={t.port} most={4000} hint="443/tcp" />
      <TextField name={['responsible', 'name']} label={t.responsible} most={100} />
      <TextField name={['responsible', 'phone']} label={t.phone} most={50} />
      <TextField name={['responsible', 'email']} label={t.email} />
      <Form.Item name="note" label={t.note}><Input.TextArea autoSize maxLength={1000} /></Form.Item>
    </Dialogue>
  );
}
