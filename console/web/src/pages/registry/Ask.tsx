import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Alert, App, Button, Form, Input, InputNumber, Modal, Select } from 'antd';
import { useContext, useState } from 'react';

import { call, type WhitelistEntry } from '../../api/client';
import { sayProblem, useLanguage } from '../../i18n';
import { UnitNames } from '../../parts';

type Filled = Partial<WhitelistEntry> & { kind: WhitelistEntry['kind']; unit: string };

/** Asks for an entry on the whitelist. The registry checks it; another person approves it. */
export function Ask() {
  const { t } = useLanguage();
  const { message } = App.useApp();
  const client = useQueryClient();
  const units = useContext(UnitNames);
  const [open, setOpen] = useState(false);
  const [form] = Form.useForm<Filled>();
  const kind = Form.useWatch('kind', form) ?? 'port';
  const ask = useMutation({
    mutationFn: (entry: WhitelistEntry) => call('post', '/api/v1/requests', { body: { entry } }),
    onSuccess: (q) => {
      message.success(t.askedFor(q.id));
      setOpen(false);
      form.resetFields();
      void client.invalidateQueries({ queryKey: ['requests'] });
    },
  });
  const must = [{ required: true, message: t.required }];
  const send = (f: Filled) =>
    ask.mutate({
      ...f,
      host: f.host && !f.host.includes('/') ? `${f.host.trim()}/${f.host.includes(':') ? 128 : 32}` : f.host,
      until: f.until ? new Date(`${f.until}T23:59:59`).toISOString() : undefined,
    });
  return (
    <>
      <Button size="small" onClick={() => setOpen(true)}>{t.ask}</Button>
      <Modal open={open} title={t.ask} okText={t.submit} confirmLoading={ask.isPending} onOk={form.submit} onCancel={() => setOpen(false)} destroyOnHidden>
        <Form form={form} layout="vertical" requiredMark={false} initialValues={{ kind: 'port', transport: 'tcp' }} onFinish={send} preserve={false}>
          <Form.Item name="kind" label={t.kind}>
            <Select options={Object.entries(t.whitelistKinds).map(([value, label]) => ({ value, label }))} />
          </Form.Item>
          {kind === 'domain' && <Form.Item name="domain" label={t.domainName} rules={must}><Input maxLength={255} placeholder="www.example.edu.cn" /></Form.Item>}
          {kind !== 'domain' && <Form.Item name="host" label={t.address} rules={must}><Input maxLength={50} placeholder="192.0.2.10" /></Form.Item>}
          {kind === 'port' && (
            <>
              <Form.Item name="port" label={t.port} rules={must}><InputNumber min={1} max={65535} precision={0} /></Form.Item>
              <Form.Item name="transport" label={t.transport}><Select options={['tcp', 'udp'].map((value) => ({ value, label: value }))} /></Form.Item>
              <Form.Item name="service" label={t.service}><Input maxLength={64} placeholder="https" /></Form.Item>
            </>
          )}
          <Form.Item name="unit" label={t.unit} rules={must}>
            <Select showSearch={{ optionFilterProp: 'label' }} options={[...units].map(([code, name]) => ({ value: code, label: `${name} ${code}` }))} />
          </Form.Item>
          <Form.Item name="system" label={t.systemCode}><Input maxLength={64} /></Form.Item>
          <Form.Item name="reason" label={t.reason} rules={must}><Input.TextArea maxLength={500} rows={2} /></Form.Item>
          <Form.Item name="until" label={t.until}><Input type="date" /></Form.Item>
          {ask.error && <Alert type="error" showIcon title={sayProblem(t, ask.error)} />}
        </Form>
      </Modal>
    </>
  );
}
