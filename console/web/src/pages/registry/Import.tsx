import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Alert, Button, Card, Space } from 'antd';
import { useState } from 'react';

import { ApiError, call, type Imported } from '../../api/client';
import { sayProblem, useLanguage } from '../../i18n';
import { Changes, Mono, Small } from '../../parts';

/** A file is checked first, and written only when nothing in it is wrong: all of it or nothing. */
export function Import() {
  const { t, language } = useLanguage();
  const client = useQueryClient();
  const [file, setFile] = useState<File>();
  const send = (dry: boolean) => async (f: File) => {
    const content = await f.arrayBuffer().catch(() => Promise.reject(new ApiError({ code: 'file_changed', status: 0 }))); // a browser reads no other than what was chosen
    return call('post', '/api/v1/import', { query: { name: f.name, dry_run: dry }, file: new Blob([content]) });
  };
  const check = useMutation({ mutationFn: send(true), onMutate: () => write.reset() });
  const write = useMutation({ mutationFn: send(false), onSuccess: () => void client.invalidateQueries() });
  const planned = check.data && check.variables === file ? check.data : undefined; // of this very file
  const ready = planned !== undefined && planned.errors.length === 0 && planned.changed > 0;
  return (
    <section id="import">
      <Card size="small" title={t.import} extra={<Button size="small" href="/api/v1/template" download>{t.template}</Button>}>
        <Space orientation="vertical" style={{ width: '100%' }}>
          <div className="hint">{t.importHint}</div>
          <Space wrap>
            <input
              id="import-file"
              type="file"
              accept=".xlsx,.csv,.yaml,.yml"
              aria-label={t.chooseFile}
              onClick={(e) => (e.currentTarget.value = '')} // so that the same one can be chosen again
              onChange={(e) => {
                setFile(e.target.files?.[0]);
                check.reset();
                write.reset();
              }}
            />
            <Button id="import-check" disabled={!file} loading={check.isPending} onClick={() => file && check.mutate(file)}>{t.checkFile}</Button>
            <Button id="import-write" type="primary" disabled={!ready || write.isSuccess} loading={write.isPending} onClick={() => file && write.mutate(file)}>{t.writeFile}</Button>
          </Space>
          {check.error && <Alert type="error" showIcon title={sayProblem(t, check.error)} />}
          {write.error && <Alert type="error" showIcon title={sayProblem(t, write.error)} />}
          {write.data ? <Outcome of={write.data} language={language} /> : planned && <Outcome of={planned} language={language} />}
        </Space>
      </Card>
    </section>
  );
}

function Outcome({ of, language }: { of: Imported; language: 'zh' | 'en' }) {
  const { t } = useLanguage();
  if (of.errors.length > 0) {
    return (
      <>
        <Alert type="error" showIcon title={t.fileWrong(of.errors.length)} style={{ marginBottom: 12 }} />
        <Small
          title={t.mistakes}
          rows={of.errors}
          columns={[
            { title: t.sheet, dataIndex: 'sheet' },
            { title: t.row, dataIndex: 'row' },
            { title: t.column, dataIndex: 'column' },
            { title: t.reason, render: (_, e) => <Mono>{language === 'zh' ? e.zh : e.en}</Mono> },
          ]}
        />
      </>
    );
  }
  return (
    <>
      <Alert type={of.written ? 'success' : 'info'} showIcon title={of.written ? t.fileWritten(of.read, of.changed) : t.fileChecked(of.read, of.changed)} style={{ marginBottom: 12 }} />
      <Changes title={t.differences} changes={of.changes} keys />
    </>
  );
}
