import { useQueryClient } from '@tanstack/react-query';
import { Form, Input, Select } from 'antd';

import { call, type Request, type WhitelistEntry } from '../../api/client';
import { asPrefix, ChoiceField, Dialogue, NumberField, TextField, UnitField } from '../../Dialogue';
import { useLanguage } from '../../i18n';

/** Asks for an entry on the whitelist. The registry checks it; another person approves it. */
export function Ask() {
  const { t } = useLanguage();
  const client = useQueryClient();
  return (
    <Dialogue<WhitelistEntry, Request>
      label={t.ask}
      initial={{ kind: 'port', transport: 'tcp' }}
      send={(f) =>
        call('post', '/api/v1/requests', {
          body: { entry: { ...f, host: f.host && asPrefix(f.host.trim()), until: f.until ? new Date(`${f.until}T23:59:59`).toISOString() : undefined } },
        })
      }
      onSent={(q) => {
        void client.invalidateQueries({ queryKey: ['requests'] });
        return t.askedFor(q.id);
      }}
    >
      <ChoiceField name="kind" label={t.kind} words={t.whitelistKinds} />
      <Allowed />
      <UnitField label={t.unit} />
      <TextField name="system" label={t.systemCode} most={64} />
      <TextField name="reason" label={t.reason} most={500} needed />
      <Form.Item name="until" label={t.until}><Input type="date" /></Form.Item>
    </Dialogue>
  );
}

/** What is to be allowed, by its kind. */
function Allowed() {
  const { t } = useLanguage();
  const kind = Form.useWatch<WhitelistEntry['kind'] | undefined>('kind', Form.useFormInstance()) ?? 'port';
  if (kind === 'domain') return <TextField name="domain" label={t.domainName} most={255} needed hint="www.example.edu.cn" />;
  return (
    <>
      <TextField name="host" label={t.address} most={50} needed hint="192.0.2.10" />
      {kind === 'port' && (
        <>
          <NumberField name="port" label={t.port} min={1} max={65535} needed />
          <Form.Item name="transport" label={t.transport}><Select options={['tcp', 'udp'].map((value) => ({ value, label: value }))} /></Form.Item>
          <TextField name="service" label={t.service} most={64} hint="https" />
        </>
      )}
    </>
  );
}
