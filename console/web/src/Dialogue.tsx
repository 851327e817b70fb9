import { useMutation } from '@tanstack/react-query';
import { Alert, App, Button, Form, Input, InputNumber, Modal, Select, type FormRule } from 'antd';
import { useContext, useState, type ReactNode } from 'react';

import { ApiError, type Mistake } from './api/client';
import { sayProblem, useLanguage } from './i18n';
import { UnitNames } from './parts';

interface DialogueProps<Filled, Answer> {
  label: string; // of the button that opens it
  title?: string;
  ok?: string;
  danger?: boolean;
  primary?: boolean;
  hint?: ReactNode;
  initial?: Partial<Filled>;
  /** The place of a field that the server calls by another name. */
  at?: Record<string, string[]>;
  /** What is shown before anything is sent; a change asks for it anew. */
  check?: { label: string; ask: (filled: Filled) => Promise<ReactNode> };
  send: (filled: Filled) => Promise<Answer>;
  onSent: (answer: Answer) => string; // what is said of it
  children?: ReactNode;
}

/** A button that opens a form. What the server says is wrong stands at the fields it is about. */
export function Dialogue<Filled extends object, Answer>(p: DialogueProps<Filled, Answer>) {
  const { t } = useLanguage();
  const { message } = App.useApp();
  const [open, setOpen] = useState(false);
  const [form] = Form.useForm<Filled>();
  const [checked, setChecked] = useState<ReactNode>();
  const [unplaced, setUnplaced] = useState(true); // not everything that is wrong stands at a field
  const failed = (error: Error) => setUnplaced(!place(error));
  const sent = useMutation({
    mutationFn: p.send,
    onSuccess: (answer) => {
      message.success(p.onSent(answer));
      setOpen(false);
    },
    onError: failed,
  });
  const check = useMutation({ mutationFn: async (filled: Filled) => p.check?.ask(filled), onSuccess: setChecked, onError: failed });
  const place = (error: Error): boolean => {
    const mistakes: Mistake[] = error instanceof ApiError ? (error.problem.fields ?? []) : [];
    const there = Object.keys(form.getFieldsValue() as object);
    const known = mistakes.filter((m) => p.at?.[m.field] || there.includes(m.field));
    const names = [...new Set(known.map((m) => m.field))];
    const at = (name: string) => p.at?.[name] ?? [name];
    form.setFields(names.map((name) => ({ name: at(name) as never, errors: known.filter((m) => m.field === name).map((m) => m[t.language]) })));
    const [first] = names.map((name) => document.getElementById(at(name).join('_'))).filter((e) => e !== null).sort(inOrder);
    first?.focus();
    return mistakes.length > 0 && known.length === mistakes.length;
  };
  const change = (changed: object = {}) => {
    const before = form.getFieldsError().filter((field) => field.errors.length > 0 && String(field.name[0]) in changed);
    form.setFields(before.map((field) => ({ name: field.name as never, errors: [] }))); // what the server said is of what was
    setChecked(undefined);
    check.reset();
    sent.reset();
  };
  const focusFirst = () => {
    const [first] = Object.keys(form.getFieldsValue() as object);
    if (first && !document.activeElement?.matches('input, textarea')) document.getElementById(first)?.focus();
  };
  const begin = () => {
    change();
    setOpen(true);
  };
  const error = sent.error ?? check.error;
  const busy = sent.isPending || check.isPending;
  const checking = p.check !== undefined && checked === undefined;
  return (
    <>
      <Button size={p.primary ? 'middle' : 'small'} danger={p.danger} type={p.primary ? 'primary' : undefined} onClick={begin}>{p.label}</Button>
      <Modal
        open={open}
        title={p.title ?? p.label}
        okText={checking ? p.check?.label : (p.ok ?? t.submit)}
        okButtonProps={{ danger: p.danger }}
        confirmLoading={busy}
        onOk={form.submit}
        onCancel={() => setOpen(false)}
        afterOpenChange={(shown) => shown && focusFirst()}
        destroyOnHidden
      >
        {p.hint && <p>{p.hint}</p>}
        <Form<Filled>
          form={form}
          layout="vertical"
          requiredMark={false}
          preserve={false}
          scrollToFirstError={{ focus: true }}
          initialValues={p.initial as never}
          onValuesChange={(changed: object) => change(changed)}
          onKeyPress={(e) => {
            const chooses = e.target instanceof HTMLElement && e.target.role === 'combobox'; // from a list: nothing is sent yet
            if (e.key === 'Enter' && (chooses || e.nativeEvent.repeat || busy)) e.preventDefault();
          }}
          onFinish={(filled) => (checking ? check.mutate(filled) : sent.mutate(filled))}
        >
          {p.children}
          {checked}
          <button type="submit" hidden aria-hidden /> {/* so that Enter sends */}
          {error && unplaced && <Alert type="error" showIcon title={sayProblem(t, error)} />}
        </Form>
      </Modal>
    </>
  );
}

/** As they stand in the form, whatever order the server tells them in. */
const inOrder = (a: Node, b: Node) => (a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1);

/** A field that has to be filled. */
const must = (t: { required: string }): FormRule => ({ required: true, message: t.required });

/** One of the units that somebody sees. */
export function UnitField({ name = 'unit', label, optional }: { name?: string; label: string; optional?: boolean }) {
  const { t } = useLanguage();
  const units = useContext(UnitNames);
  return (
    <Form.Item name={name} label={label} rules={optional ? [] : [must(t)]}>
      <Select allowClear={optional} showSearch={{ optionFilterProp: 'label' }} options={[...units].map(([code, unit]) => ({ value: code, label: `${unit} ${code}` }))} />
    </Form.Item>
  );
}

/** One of several words. */
export function ChoiceField({ name, label, words, disabled }: { name: string; label: string; words: Record<string, string>; disabled?: boolean }) {
  return (
    <Form.Item name={name} label={label}>
      <Select disabled={disabled} options={Object.entries(words).map(([value, word]) => ({ value, label: word }))} />
    </Form.Item>
  );
}

/** A text, which has to be filled where it must. */
export function TextField({ name, label, most = 200, needed, disabled, hint, extra }: { name: string | string[]; label: string; most?: number; needed?: boolean; disabled?: boolean; hint?: string; extra?: string }) {
  const { t } = useLanguage();
  return <Form.Item name={name} label={label} rules={needed ? [must(t)] : []} extra={extra}><Input maxLength={most} disabled={disabled} placeholder={hint} /></Form.Item>;
}

/** A whole number. */
export function NumberField({ name, label, min = 0, max, needed, extra }: { name: string; label: string; min?: number; max?: number; needed?: boolean; extra?: string }) {
  const { t } = useLanguage();
  return <Form.Item name={name} label={label} rules={needed ? [must(t)] : []} extra={extra}><InputNumber min={min} max={max} precision={0} style={{ width: 160 }} /></Form.Item>;
}

/** What has several values is written one on a line. */
export function LinesField({ name, label, most = 10_000, hint, extra }: { name: string; label: string; most?: number; hint?: string; extra?: string }) {
  const { t } = useLanguage();
  return <Form.Item name={name} label={`${label} (${t.onePerLine})`} extra={extra}><Input.TextArea autoSize={{ minRows: 2, maxRows: 12 }} maxLength={most} placeholder={hint} /></Form.Item>;
}

export const linesOf = (text: string | undefined) => text?.split(/[\s,，、;；]+/).filter(Boolean) ?? [];
export const asPrefix = (s: string) => (s.includes('/') ? s : `${s}/${s.includes(':') ? 128 : 32}`);
export const asText = (list: readonly string[] | null | undefined) => list?.map((s) => s.replace(/(?<=\.\d+)\/32$|(?<=:[0-9a-f]*)\/128$/i, '')).join('\n');
