import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { App as AntApp, ConfigProvider } from 'antd';
import enUS from 'antd/locale/en_US';
import zhCN from 'antd/locale/zh_CN';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { ApiError } from './api/client';
import { App } from './App';
import { LanguageProvider, useLanguage } from './i18n';
import './style.css';

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // A mistake does not mend by itself; a store that is starting does.
      retry: (failures, error) => failures < 2 && error instanceof ApiError && (error.problem.status === 0 || error.problem.status >= 500),
      staleTime: 1000,
    },
  },
});

function Root() {
  const { language } = useLanguage();
  return (
    <ConfigProvider
      locale={language === 'zh' ? zhCN : enUS}
      theme={{ token: { colorPrimary: '#a8471f', colorInfo: '#1f6fa8', borderRadius: 4 }, components: { Table: { cellPaddingBlockSM: 6 } } }}
    >
      <AntApp>
        <App />
      </AntApp>
    </ConfigProvider>
  );
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <LanguageProvider>
        <Root />
      </LanguageProvider>
    </QueryClientProvider>
  </StrictMode>,
);
