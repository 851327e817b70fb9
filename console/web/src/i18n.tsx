import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';

import { ApiError } from './api/client';

export type Language = 'zh' | 'en';

const zh = {
  product: '烽燧', productLine: '教育网络资产与威胁监测', name: '用户名', password: '口令', login: '登录', logout: '退出',
  changePassword: '修改口令', changeFirst: '首次登录，请先把一次性口令改成您自己的口令。', oldPassword: '当前口令', newPassword: '新口令（至少 12 个字符）',
  again: '再输入一次新口令', tooShort: '至少 12 个字符', notSame: '两次输入不一致', notNew: '新口令不能与当前口令相同', required: '必填',
  live: '实时', offline: '已断开，正在重连', updated: '更新于', everything: '全部单位', loading: '正在载入…', retry: '重试', close: '关闭',
  alerts: '告警', mining: '“挖矿”检测', drift: '资产漂移', assets: '资产', events: '事件', byUnit: '各单位',
  latestAlerts: '最新告警', searchEvents: '事件检索', openOnly: '未关闭', all: '全部',
  eventsStored: '事件总数', lastHour: '近一小时', lastMinute: '近一分钟', alertsOpen: '未关闭告警', miningOpen: '“挖矿”主机', driftOpen: '待处理漂移',
  assetsAlive: '在线资产', domains: '域名', hosts: '主机', services: '服务', deadLetters: '无法解析',
  level: '级别', title: '标题', unit: '单位', host: '主机', count: '次数', first: '首次', last: '最近', status: '状态', summary: '摘要', rule: '规则', tags: '标签',
  reason: '原因', group: '归并依据', satisfied: '命中条件', suppressed: '限流压下的后续告警', selection: '条件', field: '字段', value: '值', eventIds: '相关事件', id: '编号', raised: '发现时间', drill: '演练',
  pools: '矿池', coins: '币种', protocols: '协议', wallets: '钱包／矿工', confidence: '置信度', evidence: '证据', kind: '类型', time: '时间', detail: '内容', port: '端口', weight: '权重', event: '事件',
  asset: '资产', expected: '登记为', observed: '观测到', confirmed: '确认时间', closed: '关闭时间', nothingListed: '未登记',
  address: '地址', name_: '名称', service: '服务', product_: '产品', alive: '在线', gone: '离线', records: 'DNS 记录', names: '域名', sources: '来源', certificate: '证书', pageTitle: '网页标题', banner: '横幅',
  searchAssets: '检索资产，例如 ip = 192.0.2.0/24 && port = 22', searchEventsHint: '例如 source.ip = 192.0.2.0/24 && event.outcome = failure', search: '检索', since: '时间范围', h1: '近 1 小时', h24: '近 24 小时', d7: '近 7 天', d180: '近 180 天', ever: '不限',
  message: '内容', source: '来源地址', original: '原始日志', noAlerts: '没有告警', noMining: '没有发现“挖矿”', noDrift: '没有漂移', noAssets: '没有资产', noEvents: '没有符合条件的事件', noCounts: '还没有数据', noSuchEvent: '没有这条事件（可能已过保存期）',
  allow: '列入白名单', allowReason: '批准理由（记入台账）', allowed: '已列入白名单，漂移会自行关闭', rows: (n: number) => `最多显示 ${n} 条`, total: (n: number) => `共 ${n} 条`, syntax: '= 等于（地址可写网段，文本为包含）　== 全等　!= 不等　*= 通配 * ?　< <= > >=　&& || ! ( )',
  levels: { informational: '提示', low: '低', medium: '中', high: '高', critical: '严重' } as Record<string, string>,
  statuses: { open: '未关闭', closed: '已关闭', suspected: '待复核' } as Record<string, string>,
  driftStatuses: { open: '已确认', closed: '已关闭', suspected: '待复核' } as Record<string, string>,
  who: '当时是谁', mac: 'MAC 地址', account: '账号', whoKinds: { lease: '地址租约', login: '登录', nat: '地址转换', block: '地址转换（端口块）' } as Record<string, string>,
  alertKinds: { rule: '规则', mining: '挖矿', drift: '漂移' } as Record<string, string>,
  driftKinds: { unlisted_domain: '未登记域名', unlisted_host: '未登记主机', unlisted_port: '未登记端口', listed_gone: '已登记但消失', service_changed: '服务变化', unlisted_service: '端口上的服务未登记', whitelist_expired: '白名单已过期', zombie: '僵尸系统', domain_foreign_address: '双非：本校域名在外部地址', foreign_domain_own_address: '双非：外部域名在本校地址', unregistered_marks: '双非：外部站点带本校标识', product_changed: '产品变化', version_changed: '版本变化', certificate_changed: '证书变化', exposure: '脆弱暴露', dangling_name: '悬空域名' } as Record<string, string>,
  assetKinds: { domain: '域名', host: '主机', service: '服务' } as Record<string, string>,
  evidenceKinds: {
    pool_domain_dns: '解析矿池域名', pool_domain_tls: 'TLS 访问矿池', pool_domain_http: 'HTTP 访问矿池', pool_address: '连接矿池地址', stratum_method: 'Stratum 协议', getblocktemplate: '取块模板',
    miner_login: '矿机登录', eth_login: '以太坊矿机登录', web_miner: '网页挖矿', miner_process: '挖矿进程', miner_command_line: '挖矿命令行', device_verdict: '设备判定', pool_port: '矿池端口（弱）',
  } as Record<string, string>,
  roles: { admin: '管理员', analyst: '分析员', auditor: '审计员' } as Record<string, string>,
  problems: {
    wrong_password: '用户名或口令不对', too_many_attempts: '尝试次数过多，请过一分钟再试', login_required: '请先登录', store_unavailable: '数据存储暂时没有应答，正在重试', internal: '系统内部出错，详情见日志',
    forbidden: '没有权限', unreachable: '连不上控制台', result_too_large: '结果太大或太慢，请缩短时间范围或减少条数', invalid: '请求有误',
  } as Record<string, string>,
  queryAt: (column: number, detail: string) => `检索语句第 ${column} 个字符有误：${detail}`,
};

type Words = typeof zh;

const en: Words = {
  product: 'Fengsui', productLine: 'assets and threats of education networks', name: 'Name', password: 'Password', login: 'Log in', logout: 'Log out',
  changePassword: 'Change password', changeFirst: 'This is your first login: replace the one-time password by one of your own.', oldPassword: 'Current password', newPassword: 'New password (at least 12 characters)',
  again: 'New password, again', tooShort: 'At least 12 characters', notSame: 'The two are not the same', notNew: 'The new password is the current one', required: 'Required',
  live: 'Live', offline: 'Disconnected, trying again', updated: 'Updated', everything: 'All units', loading: 'Loading…', retry: 'Try again', close: 'Close',
  alerts: 'Alerts', mining: 'Mining', drift: 'Drift', assets: 'Assets', events: 'Events', byUnit: 'By unit',
  latestAlerts: 'Latest alerts', searchEvents: 'Event search', openOnly: 'Open', all: 'All',
  eventsStored: 'Events', lastHour: 'last hour', lastMinute: 'last minute', alertsOpen: 'Open alerts', miningOpen: 'Mining hosts', driftOpen: 'Open drift',
  assetsAlive: 'Live assets', domains: 'domains', hosts: 'hosts', services: 'services', deadLetters: 'Unparsed',
  level: 'Level', title: 'Title', unit: 'Unit', host: 'Host', count: 'Count', first: 'First', last: 'Last', status: 'Status', summary: 'Summary', rule: 'Rule', tags: 'Tags',
  reason: 'Reason', group: 'Grouped by', satisfied: 'What satisfied the rule', suppressed: 'Further alerts that a throttle kept back', selection: 'Selection', field: 'Field', value: 'Value', eventIds: 'Events', id: 'Id', raised: 'Raised', drill: 'drill',
  pools: 'Pools', coins: 'Coins', protocols: 'Protocols', wallets: 'Wallets / workers', confidence: 'Confidence', evidence: 'Evidence', kind: 'Kind', time: 'Time', detail: 'Detail', port: 'Port', weight: 'Weight', event: 'Event',
  asset: 'Asset', expected: 'Expected', observed: 'Observed', confirmed: 'Confirmed', closed: 'Closed', nothingListed: 'not listed',
  address: 'Address', name_: 'Name', service: 'Service', product_: 'Product', alive: 'alive', gone: 'gone', records: 'DNS records', names: 'Names', sources: 'Seen by', certificate: 'Certificate', pageTitle: 'Page title', banner: 'Banner',
  searchAssets: 'Search assets, such as ip = 192.0.2.0/24 && port = 22', searchEventsHint: 'such as source.ip = 192.0.2.0/24 && event.outcome = failure', search: 'Search', since: 'Since', h1: '1 hour', h24: '24 hours', d7: '7 days', d180: '180 days', ever: 'Ever',
  message: 'Message', source: 'Source', original: 'Original line', noAlerts: 'No alerts', noMining: 'No mining found', noDrift: 'No drift', noAssets: 'No assets', noEvents: 'No events match', noCounts: 'Nothing yet', noSuchEvent: 'There is no such event (it may be past its retention)',
  allow: 'Put on the whitelist', allowReason: 'Reason (kept in the registry)', allowed: 'On the whitelist; the drift closes by itself', rows: (n) => `at most ${n} rows`, total: (n) => `${n} rows`, syntax: '= equal (within a network; contained in a text)   == to the letter   != not   *= with * ?   < <= > >=   && || ! ( )',
  levels: { informational: 'info', low: 'low', medium: 'medium', high: 'high', critical: 'critical' },
  statuses: { open: 'open', closed: 'closed', suspected: 'suspected' },
  driftStatuses: { open: 'confirmed', closed: 'closed', suspected: 'suspected' },
  who: 'Who it was then', mac: 'MAC address', account: 'Account', whoKinds: { lease: 'lease', login: 'login', nat: 'translation', block: 'translation (block of ports)' },
  alertKinds: { rule: 'rule', mining: 'mining', drift: 'drift' },
  driftKinds: { unlisted_domain: 'unlisted domain', unlisted_host: 'unlisted host', unlisted_port: 'unlisted port', listed_gone: 'listed, gone', service_changed: 'service changed', unlisted_service: 'unlisted service', whitelist_expired: 'whitelist expired', zombie: 'zombie system', domain_foreign_address: 'own domain, foreign address', foreign_domain_own_address: 'foreign domain, own address', unregistered_marks: 'foreign site, own marks', product_changed: 'product changed', version_changed: 'version changed', certificate_changed: 'certificate changed', exposure: 'exposure', dangling_name: 'dangling name' },
  assetKinds: { domain: 'domain', host: 'host', service: 'service' },
  evidenceKinds: {
    pool_domain_dns: 'pool name asked for', pool_domain_tls: 'TLS to a pool', pool_domain_http: 'HTTP to a pool', pool_address: "pool's address", stratum_method: 'Stratum', getblocktemplate: 'block template',
    miner_login: 'miner login', eth_login: 'Ethereum miner login', web_miner: 'web miner', miner_process: 'miner process', miner_command_line: 'miner command line', device_verdict: "device's verdict", pool_port: 'pool port (weak)',
  },
  roles: { admin: 'administrator', analyst: 'analyst', auditor: 'auditor' },
  problems: {
    wrong_password: 'Name or password is wrong', too_many_attempts: 'Too many attempts; wait a minute', login_required: 'Log in first', store_unavailable: 'The store does not answer; trying again', internal: 'Something failed inside; the log says what',
    forbidden: 'You may not do this', unreachable: 'The console cannot be reached', result_too_large: 'The answer is too large or too slow: ask for a shorter time or fewer rows', invalid: 'The request is wrong',
  },
  queryAt: (column, detail) => `The query is wrong at character ${column}: ${detail}`,
};

const languages: Record<Language, Words> = { zh, en };

interface Spoken {
  language: Language;
  setLanguage: (language: Language) => void;
  t: Words;
}

const Context = createContext<Spoken>({ language: 'zh', setLanguage: () => undefined, t: zh });

const remembered = 'fengsui.language';

export function LanguageProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(() => (localStorage.getItem(remembered) === 'en' ? 'en' : 'zh'));
  useEffect(() => {
    localStorage.setItem(remembered, language);
    document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
    document.title = language === 'zh' ? '烽燧 · 控制台' : 'Fengsui console';
  }, [language]);
  const spoken = useMemo(() => ({ language, setLanguage, t: languages[language] }), [language]);
  return <Context value={spoken}>{children}</Context>;
}

export const useLanguage = () => useContext(Context);

/** What went wrong, in the reader's words. */
export function sayProblem(t: Words, error: unknown): string {
  if (!(error instanceof ApiError)) return String(error);
  const { code, column, detail, errors } = error.problem;
  if (code === 'query') return t.queryAt(column ?? 1, detail ?? '');
  const known = t.problems[code];
  if (known !== undefined && code !== 'invalid' && code !== 'forbidden') return known;
  return [known, errors?.join('; ') || detail].filter(Boolean).join(': ');
}

/** A rule's title is Chinese, " / ", English. */
export function sayTitle(language: Language, title: string): string {
  const [chinese, english, more] = title.split(' / ');
  if (english === undefined || more !== undefined) return title;
  return (language === 'zh' ? chinese : english) ?? title;
}

const pad = (n: number) => String(n).padStart(2, '0');

/** A time in the reader's own zone, to the second. */
export function sayTime(time: string | undefined): string {
  const t = new Date(time ?? '');
  if (Number.isNaN(t.getTime()) || t.getUTCFullYear() < 1971) return '';
  return `${t.getFullYear()}-${pad(t.getMonth() + 1)}-${pad(t.getDate())} ${pad(t.getHours())}:${pad(t.getMinutes())}:${pad(t.getSeconds())}`;
}
