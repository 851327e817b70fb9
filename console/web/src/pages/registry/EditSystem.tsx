import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Alert, App, Button, Checkbox, Form, Input, InputNumber, Modal, Select } from 'antd';
import { useContext, useState } from 'react';

import { call, type System } from '../../api/client';
import { sayProblem, useLanguage } from '../../i18n';
import { UnitNames } from '../../parts';

// What has several values is written one on a line.
type Lines = 'domains' | 'addresses' | 'ports';
type Filled = Omit<System, Lines> & Record<Lines, string | undefined>;

const linesOf = (text: string | undefined) => text?.split(/[\s,，、]+/).filter(Boolean) ?? [];
const asPrefix = (s: string) => (s.includes('/') ? s : `${s}/${s.includes(':') ? 128 : 32}`);
const asText = (list: readonly string[] | null | undefined) => list?.map((s) => s.replace(/(?<=\.\d+)\/32$|(?<=:[0-9a-f]*)\/128$/i, '')).join('\n');

/** Registers an information system, or changes one. The registry says which step of its life may follow. */
export function EditSystem({ there }: { there?: System }) {
  const { t } = useLanguage();
  const { message } = App.useApp();
  const client = useQueryClient();
  const units = useContext(UnitNames);
  const [open, setOpen] = useState(false);
  const [form] = Form.useForm<Filled>();
  const put = useMutation({
    mutationFn: (f: Filled) =>
      call('put', '/api/v1/systems', {
        body: { ...there, ...f, level: f.level ?? 0, people: f.people ?? 0, domains: linesOf(f.domains), addresses: linesOf(f.addresses).map(asPrefix), ports: linesOf(f.ports).map((p) => (p.includes('/') ? p : `${p}/tcp`)) },
      }),
    onSuccess: () => {
      message.success(t.kept);
      setOpen(false);
      for (const kind of ['systems', 'history']) void client.invalidateQueries({ queryKey: [kind] });
    },
  });
  const must = [{ required: true, message: t.required }];
  const choices = (words: Record<string, string>) => <Select options={Object.entries(words).map(([value, label]) => ({ value, label }))} />;
  const initial: Partial<Filled> = there
    ? { ...there, domains: asText(there.domains), addresses: asText(there.addresses), ports: asText(there.ports) }
    : { state: 'registered', hosting: 'own' };
  const begin = () => {
    put.reset();
    setOpen(true);
  };
  return (
    <>
      <Button size="small" onClick={begin}>{there ? t.change : t.register}</Button>
      <Modal open={open} title={there ? t.change : t.register} okText={t.submit} confirmLoading={put.isPending} onOk={form.submit} onCancel={() => setOpen(false)} destroyOnHidden>
        <Form<Filled> form={form} layout="vertical" requiredMark={false} preserve={false} initialValues={initial} onFinish={(f) => put.mutate(f)}>
          <Form.Item name="code" label={t.code} rules={must}><Input maxLength={64} disabled={there !== undefined} /></Form.Item>
          <Form.Item name="name" label={t.name_} rules={must}><Input maxLength={200} /></Form.Item>
          <Form.Item name="unit" label={t.unit} rules={must}>
            <Select showSearch={{ optionFilterProp: 'label' }} options={[...units].map(([code, name]) => ({ value: code, label: `${name} ${code}` }))} />
          </Form.Item>
          <Form.Item name="state" label={t.state}>{choices(t.systemStates)}</Form.Item>
          <Form.Item name="level" label={t.classified}><InputNumber min={0} max={5} precision={0} /></Form.Item>
          <Form.Item name="filing" label={t.filing}><Input maxLength={200} /></Form.Item>
          <Form.Item name="icp" label={t.icp}><Input maxLength={200} /></Form.Item>
          <Form.Item name="critical" valuePropName="checked"><Checkbox>{t.critical}</Checkbox></Form.Item>
          <Form.Item name="data" label={t.dataClass}>{choices(t.dataClasses)}</Form.Item>
          <Form.Item name="people" label={t.personalData}><InputNumber min={0} precision={0} /></Form.Item>
          <Form.Item name="hosting" label={t.hosting}>{choices(t.hostings)}</Form.Item>
          <Form.Item name="vendor" label={t.vendor}><Input maxLength={200} /></Form.Item>
          <Form.Item name="domains" label={`${t.names} (${t.onePerLine})`}><Input.TextArea autoSize maxLength={10_000} /></Form.Item>
          <Form.Item name="addresses" label={`${t.host_} (${t.onePerLine})`}><Input.TextArea autoSize maxLength={10_000} /></Form.Item>
          <Form.Item name="ports" label={`${t.port} (${t.onePerLine})`}><Input.TextArea autoSize maxLength={4000} placeholder="443/tcp" /></Form.Item>
          <Form.Item name={['responsible', 'name']} label={t.responsible}><Input maxLength={100} /></Form.Item>
          <Form.Item name={['responsible', 'phone']} label={t.phone}><Input maxLength={50} /></Form.Item>
          <Form.Item name={['responsible', 'email']} label={t.email}><Input maxLength={200} /></Form.Item>
          <Form.Item name="note" label={t.note}><Input.TextArea autoSize maxLength={1000} /></Form.Item>
          {put.error && <Alert type="error" showIcon title={sayProblem(t, put.error)} />}
        </Form>
      </Modal>
    </>
  );
}
