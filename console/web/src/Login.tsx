import { useMutation } from '@tanstack/react-query';
import { Alert, Button, Card, Form, Input, Segmented } from 'antd';
import type { ReactNode } from 'react';

import { call, type Me } from './api/client';
import { sayProblem, useLanguage, type Language } from './i18n';

export function LanguageSwitch() {
  const { language, setLanguage } = useLanguage();
  return (
    <Segmented<Language>
      size="small"
      value={language}
      onChange={setLanguage}
      options={[{ value: 'zh', label: '中文' }, { value: 'en', label: 'English' }]}
    />
  );
}

function Door({ title, children }: { title: string; children: ReactNode }) {
  const { t } = useLanguage();
  return (
    <main className="door">
      <Card title={`${t.product} · ${title}`} extra={<LanguageSwitch />}>
        {children}
      </Card>
    </main>
  );
}

export function Login({ onDone }: { onDone: (me: Me) => void }) {
  const { t } = useLanguage();
  const login = useMutation({
    mutationFn: (body: { name: string; password: string }) => call('post', '/api/v1/login', { body }),
    onSuccess: onDone,
  });
  const must = [{ required: true, message: t.required }];
  return (
    <Door title={t.productLine}>
      <Form layout="vertical" requiredMark={false} onFinish={(values) => login.mutate(values)}>
        <Form.Item name="name" label={t.name} rules={must}>
          <Input autoFocus autoComplete="username" maxLength={128} />
        </Form.Item>
        <Form.Item name="password" label={t.password} rules={must}>
          <Input.Password autoComplete="current-password" maxLength={1024} />
        </Form.Item>
        {login.error && <Alert type="error" showIcon title={sayProblem(t, login.error)} style={{ marginBottom: 16 }} />}
        <Button type="primary" htmlType="submit" block loading={login.isPending}>
          {t.login}
        </Button>
      </Form>
    </Door>
  );
}

export function ChangePassword({ onDone }: { onDone: (me: Me) => void }) {
  const { t } = useLanguage();
  const change = useMutation({
    mutationFn: ({ old, chosen }: { old: string; chosen: string }) => call('post', '/api/v1/password', { body: { old, new: chosen } }),
    onSuccess: onDone,
  });
  const must = { required: true, message: t.required };
  return (
    <Door title={t.changePassword}>
      <Alert type="info" showIcon title={t.changeFirst} style={{ marginBottom: 16 }} />
      <Form layout="vertical" requiredMark={false} onFinish={(values) => change.mutate(values)}>
        <Form.Item name="old" label={t.oldPassword} rules={[must]}>
          <Input.Password autoFocus autoComplete="current-password" maxLength={1024} />
        </Form.Item>
        <Form.Item
          name="chosen"
          label={t.newPassword}
          dependencies={['old']}
          rules={[
            must,
            ({ getFieldValue }) => ({
              validator: (_, value: string | undefined) => {
                if (!value) return Promise.resolve();
                if ([...value].length < 12) return Promise.reject(new Error(t.tooShort));
                return value === getFieldValue('old') ? Promise.reject(new Error(t.notNew)) : Promise.resolve();
              },
            }),
          ]}
        >
          <Input.Password autoComplete="new-password" maxLength={1024} />
        </Form.Item>
        <Form.Item
          name="again"
          label={t.again}
          dependencies={['chosen']}
          rules={[
            must,
            ({ getFieldValue }) => ({
              validator: (_, value: string | undefined) =>
                !value || value === getFieldValue('chosen') ? Promise.resolve() : Promise.reject(new Error(t.notSame)),
            }),
          ]}
        >
          <Input.Password autoComplete="new-password" maxLength={1024} />
        </Form.Item>
        {change.error && <Alert type="error" showIcon title={sayProblem(t, change.error)} style={{ marginBottom: 16 }} />}
        <Button type="primary" htmlType="submit" block loading={change.isPending}>
          {t.changePassword}
        </Button>
      </Form>
    </Door>
  );
}
