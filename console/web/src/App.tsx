import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Button, Result, Spin } from 'antd';

import { ApiError, call, type Me } from './api/client';
import { Dashboard } from './Dashboard';
import { sayProblem, useLanguage } from './i18n';
import { ChangePassword, Login } from './Login';

/** Who is logged in decides what there is to see. */
export function App() {
  const { t } = useLanguage();
  const client = useQueryClient();
  const me = useQuery({ queryKey: ['me'], queryFn: () => call('get', '/api/v1/me'), refetchInterval: 60_000 });

  const enter = (who: Me) => {
    client.removeQueries({ predicate: (query) => query.queryKey[0] !== 'me' }); // of whoever was here before
    client.setQueryData(['me'], who);
  };
  if (me.error instanceof ApiError && me.error.problem.status === 401) return <Login onDone={enter} />;
  if (me.data?.one_time) return <ChangePassword onDone={enter} />;
  if (me.data) return <Dashboard me={me.data} onLeave={() => client.resetQueries({ queryKey: ['me'] })} />;
  if (me.error) {
    return (
      <Result
        status="warning"
        title={sayProblem(t, me.error)}
        extra={<Button onClick={() => void me.refetch()}>{t.retry}</Button>}
      />
    );
  }
  return <Spin fullscreen description={t.loading} />;
}
