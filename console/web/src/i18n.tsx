import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';

import { ApiError } from './api/client';

export type Language = 'zh' | 'en';

const zh = {
  language: 'zh' as Language,
  product: '烽燧', productLine: '教育网络资产与威胁监测', name: '用户名', password: '口令', login: '登录', logout: '退出',
  changePassword: '修改口令', changeFirst: '首次登录，请先把一次性口令改成您自己的口令。', oldPassword: '当前口令', newPassword: '新口令（至少 12 个字符）',
  again: '再输入一次新口令', tooShort: '至少 12 个字符', notSame: '两次输入不一致', notNew: '新口令不能与当前口令相同', required: '必填',
  live: '实时', offline: '已断开，正在重连', updated: '更新于', everything: '全部单位', loading: '正在载入…', retry: '重试', close: '关闭',
  alerts: '告警', mining: '“挖矿”检测', drift: '差异', assets: '资产', events: '事件', byUnit: '各单位',
  latestAlerts: '最新告警', searchEvents: '事件检索', openOnly: '未关闭', all: '全部',
  eventsStored: '事件总数', lastHour: '近一小时', lastMinute: '近一分钟', alertsOpen: '未关闭告警', miningOpen: '“挖矿”主机', driftOpen: '待处理差异',
  assetsAlive: '在线资产', domains: '域名', hosts: '主机', services: '服务', deadLetters: '无法解析',
  level: '级别', title: '标题', unit: '单位', host: '主机', count: '次数', first: '首次', last: '最近', status: '状态', summary: '摘要', rule: '规则', tags: '标签',
  reason: '原因', group: '归并依据', satisfied: '命中条件', suppressed: '限流压下的后续告警', selection: '条件', field: '字段', value: '值', eventIds: '相关事件', id: '编号', raised: '发现时间', drill: '演练',
  pools: '矿池', coins: '币种', protocols: '协议', wallets: '钱包／矿工', confidence: '置信度', evidence: '证据', kind: '类型', time: '时间', detail: '内容', port: '端口', weight: '权重', event: '事件',
  asset: '资产', expected: '登记为', observed: '观测到', confirmed: '确认时间', closed: '关闭时间', nothingListed: '未登记',
  address: '地址', name_: '名称', service: '服务', product_: '产品', alive: '在线', gone: '离线', records: 'DNS 记录', names: '域名', sources: '来源', certificate: '证书', pageTitle: '网页标题', banner: '横幅',
  searchAssets: '检索资产，例如 ip = 192.0.2.0/24 && port = 22', searchEventsHint: '例如 source.ip = 192.0.2.0/24 && event.outcome = failure', search: '检索', since: '时间范围', h1: '近 1 小时', h24: '近 24 小时', d7: '近 7 天', d180: '近 180 天', ever: '不限',
  message: '内容', source: '来源地址', original: '原始日志', noAlerts: '没有告警', noMining: '没有发现“挖矿”', noDrift: '没有差异', noAssets: '没有资产', noEvents: '没有符合条件的事件', noCounts: '还没有数据', noSuchEvent: '没有这条事件（可能已过保存期）',
  allow: '列入白名单', allowReason: '批准理由（记入台账）', allowed: '已列入白名单，差异会自行关闭', rows: (n: number) => `最多显示 ${n} 条`, total: (n: number) => `共 ${n} 条`, syntax: '= 等于（地址可写网段，文本为包含）　== 全等　!= 不等　*= 通配 * ?　< <= > >=　&& || ! ( )',
  // The asset search.
  overview: '总览', pages: '页面', paging: '翻页', noSuchPage: '没有这个页面', assetSearch: '资产检索', completions: '补全', searchAssetsHint: '例如 title = "教务" && city = 郑州 && whitelisted = false',
  countedBy: '统计', assetCount: (n: number) => `${n.toLocaleString()} 项资产`, valueCount: (n: number) => `共 ${n.toLocaleString()} 个不同的值`, none: '（无）', yes: '是', no: '否',
  previousPage: '上一页', nextPage: '下一页', pageNumber: (n: number) => `第 ${n} 页`, protocol: '协议', system: '信息系统', marks: '标记',
  registered: '已登记', notRegistered: '未登记', whitelisted: '在白名单', notWhitelisted: '不在白名单', protection: (n: number) => `等保 ${n} 级`,
  exposures: { no_auth: '无需口令', directory_listing: '目录列表', default_page: '默认页面', certificate_expired: '证书过期', weak_tls: '弱 TLS', end_of_life: '已停止维护', plain_login: '明文登录', any: '任意', none: '无' } as Record<string, string>,
  // What is around an asset.
  relations: '关系图', show: '查看', assetKey: '地址、域名、证书或台账项', assetKeyHint: '地址、地址:端口、域名、证书 SHA-256，或 unit/代码、system/代码、network/网段', atTime: '当时', now: '现在',
  steps: (n: number) => `${n} 步`, alsoEnded: '含已结束的', nothingThere: '资产图里没有这一项', nothingThen: '当时资产图里没有这一项', asOf: (at: string) => `显示的是 ${at} 时的情况`, moreThings: (n: number) => `另有 ${n.toLocaleString()} 项相邻的未显示`,
  noRelations: '没有相连的项', from: '从', to: '到', relation: '关系', ended: '已结束', details: '详情', versions: '历次变化', since_: '自', until: '至',
  nodeKinds: { unit: '单位', system: '信息系统', network: '网段', domain: '域名', host: '主机', service: '服务', certificate: '证书', technology: '技术' } as Record<string, string>,
  edgeKinds: { resolves: '解析到', alias: '别名指向', ns: '名称服务器', mx: '邮件服务器', srv: '服务位置', ptr: '反向解析', serves: '提供', presents: '出示', names: '签给', runs: '使用', parent: '下属', owns: '拥有', operates: '运行', contains: '包含', registered: '登记有' } as Record<string, string>,
  evidenceSources: { registry: '台账', scan: '扫描' } as Record<string, string>,
  // What differs, and what is done about it.
  toHandle: '去处置', unitWithBelow: '单位（含下属）', severity: '严重程度', handling: '处置', notHandled: '尚未处置', overdue: '已逾期', due: '期限', searchDrift: '其他条件，例如 asset = 192.0.2.10', owner: '责任人', assignee: '经办人', assigneeHint: '经办人（可不填）',
  note: '说明', before: '此前', vantages: '看到它的扫描器', earlier: '此前的同一差异', history: '经过', by: '何人', step: '事项', decisions: '决定', handle: '处置', submit: '提交', decided: '已记录', askedFor: (id: string) => `已提出白名单申请 ${id}，待另一人审批`,
  decisionNames: { acknowledged: '签收', fixed: '已整改', accepted: '接受' },
  whatFollows: { acknowledged: '知道了，并指明由谁处理；期限不变。', fixed: '立即复扫；没有扫到才会关闭，扫到则退回。' },
  acceptByRequest: '成为一条白名单申请，由另一人审批。', acceptForGood: '就此接受现在的样子，作为新的基准。', acceptUntil: '接受到某日为止，一年以内；此日即为新的期限。',
  works: { acknowledged: '已签收', fixed: '称已整改', accepted: '已接受', requested: '已申请白名单' } as Record<string, string>,
  steps_: { still_seen: '复扫仍在', overdue: '逾期', waits: '等待下次扫描' } as Record<string, string>,
  closeReasons: {
    gone: '两次扫描都没有', back: '已恢复', whitelisted: '已列入白名单', registered: '已登记', 'not confirmed': '第二次没有看到', 'not seen any more': '日志久未再见', 'no longer whitelisted': '白名单不再要求', 'no longer registered': '台账不再登记',
    "covered by the host's drift": '并入整台主机的差异', 'another kind now': '由另一类差异接替', accepted: '已接受变更', upgraded: '升级', renewed: '换证',
  } as Record<string, string>,
  duties: { responsible: '负责人', security_officer: '安全员', liaison: '联系人' } as Record<string, string>,
  // The registry.
  registry: '登记备案', systems: '信息系统', requests: '申请与审批', whitelist: '白名单', units: '单位', networks: '网段', domainNames: '域名', import: '导入', export: '导出 Excel', asOfDay: '某日的台账', noEntries: '没有登记', code: '代码', state: '状态', classified: '等级保护', hosting: '部署',
  responsible: '负责人', critical: '关键信息基础设施', filing: '等保备案号', icp: 'ICP 备案号', dataClass: '数据分类', personalData: '个人信息', persons: (n: number) => `${n.toLocaleString()} 人`, vendor: '厂商',
  register: '登记系统', addUnit: '登记单位', addUnitBelow: '登记下级单位', addNetwork: '登记网段', addDomain: '登记域名', addContact: '登记联系人', remove: '停用', removeHint: (what: string) => `${what} 将从台账中移除；历史保留，仍可按日期回看。`, removed: '已从台账移除', authorise: '授权扫描', personName: '姓名', scanHint: '授权后，扫描会向其发送数据包', hoursHint: '北京时间，如 周一至周五 22:00-06:00；周六、周日。留空为任何时间', zeroIsFree: '0 为不限', change: '修改', kept: '已写入台账', onePerLine: '每行一个', host_: '地址或网段',
  systemStates: { applied: '申请', registered: '登记', changed: '变更', suspended: '暂停', retired: '注销' } as Record<string, string>,
  hostings: { own: '自建', education_cloud: '教育云', public_cloud: '公有云' } as Record<string, string>,
  dataClasses: { general: '一般', important: '重要', core: '核心' } as Record<string, string>,
  unitLevels: { province: '省', city: '市', university: '高校', county: '县', school: '学校' } as Record<string, string>,
  whitelistKinds: { domain: '域名', host: '主机', port: '端口' } as Record<string, string>,
  requestStates: { pending: '待审批', approved: '已批准', refused: '已拒绝', withdrawn: '已撤回' } as Record<string, string>,
  noRequests: '没有申请', wants: '申请', toAllow: '列入', toRemove: '撤销', entry: '条目', askedBy: '申请人', decidedBy: '审批人', approvedBy: '批准人', approve: '批准', refuse: '拒绝', withdraw: '撤回', ask: '提出申请', askRemoval: '申请撤销',
  domainName: '域名', transport: '传输', systemCode: '信息系统代码', noEnd: '长期', endsSoon: '30 天内到期', filter: '筛选', network: '网段', scanned: '扫描', authorised: '已授权', notAuthorised: '未授权', hours: '时段', exclude: '排除', rate: '速率（每秒）', hostRate: '单机速率（每秒）',
  above: '上级', division: '行政区划代码', schoolCode: '学校标识码', contacts: '联系人', duty: '职责', phone: '电话', email: '邮箱', deleted: '已删除', fields: '字段',
  template: '空白模板', importHint: 'Excel、CSV 或 YAML。先检查：逐行指出错误，列出将要发生的变化，什么也不写；无误后再写入，要么全部写入，要么不写。', chooseFile: '选择文件', checkFile: '检查', writeFile: '写入', fileWrong: (n: number) => `文件有 ${n} 处错误，什么也没有写入`, mistakes: '错误', sheet: '工作表', row: '行', column: '列',
  fileWritten: (read: number, changed: number) => `已写入：读入 ${read} 条，变更 ${changed} 条`, fileChecked: (read: number, changed: number) => `没有错误：读入 ${read} 条，将变更 ${changed} 条；尚未写入`, differences: '变化',
  // Scans.
  scans: '扫描', job: '任务', noScans: '没有扫描任务', activeOnly: '未结束', newestJobs: (shown: number, total: number) => (shown < total ? `最新 ${shown} 个，共 ${total.toLocaleString()} 个` : `共 ${total.toLocaleString()} 个`), scope: '范围', wholeUnit: '该单位全部授权范围', progress: '进度', shards: '分片', shardsDone: (done: number, all: number) => `${done.toLocaleString()}/${all.toLocaleString()} 片`,
  left: '约剩', seen: '观测', asker: '提出', askedAt: '提出时间', askers: { schedule: '定期计划', drift: '差异复核' } as Record<string, string>, scanners: '扫描器', scannersAlive: (n: number) => `${n} 台扫描器在运行`, noScanners: '没有扫描器在运行', idle: '空闲', attempts: '尝试', took: '用时', shard: '分片', firstShards: (n: number) => `先列最多 ${n} 片：进行中、出错、等待的在前`, errors: '错误', waitsUntil: '等到', expires: '过期',
  scanClasses: { interactive: '人工', confirm: '复核', periodic: '定期' } as Record<string, string>,
  jobStates: { done: '完成', partial: '结束，有未完成', stopped: '已停止', running: '进行中', queued: '排队', waiting: '等待时段或重试' } as Record<string, string>,
  shardStates: { done: '完成', failed: '失败', refused: '被拒', expired: '过期', running: '进行中', waiting: '等待', queued: '排队', retry: '失败，将重试', off_hours: '时段已过', stopped: '被停止', abandoned: '扫描器放弃' } as Record<string, string>,
  shardKinds: { names: '解析名称', sweep: '扫描端口', discover: '发现域名', confirm: '复核' } as Record<string, string>,
  startedAbove: '由上级单位发起', startedAboveHint: '只列出涉及您单位及下属的部分；由发起单位或其上级停止、恢复。', ownPart: '涉及本单位的授权范围', ownAndOthers: '含其他单位的地址，不列出',
  leftOut: '不扫描的', leftOutNone: '此范围内没有不扫描的', leftWhy: { not_authorised: '台账未授权扫描', excluded: '已排除', other_unit: '属于其他单位', too_large: 'IPv6 网段太大，只扫描已知的地址' } as Record<string, string>,
  newScan: '新建扫描', startScan: '开始扫描', estimate: '预估', scanStarted: (job: string) => `已开始：${job}`, scopeHint: '地址、网段或域名；不填则为该单位及其下级的全部授权范围', portsHint: '如 22,80,1000-2000,u:53；all 为全部；不填为常用端口', rateHint: '不填为扫描器自己的速率；台账的上限总是有效', discoverNames: '同时在授权域名中发现子域名',
  wouldScan: (shards: number, addresses: number, names: number, time: string) => `${shards.toLocaleString()} 个分片：扫描 ${addresses.toLocaleString()} 个地址的端口，询问 ${names.toLocaleString()} 个名称；约需 ${time}`, wouldWait: (shards: number, at: string) => `现在不在允许的时段内：${shards.toLocaleString()} 个分片要等到 ${at}`,
  stopJob: '停止任务', resumeJob: '恢复任务', stopAll: '停止一切扫描', resumeAll: '恢复扫描', stopAllHint: '所有扫描器在两秒内不再发包，之后的任务也不开始，直到有人恢复。', stopJobHint: '两秒内不再发包；未完成的分片保留，恢复后继续。', resumeAllHint: '所有未完成的任务将继续，各按自己的时段。', resumeJobHint: '未完成的分片将继续，按各自的时段。', whyStop: '原因（记入任务，大家可见）', stopped: '已停止', resumed: '已恢复', allStopped: '一切扫描已停止',
  duration: (d: number, h: number, m: number, s: number) => [d && `${d} 天`, h && `${h} 小时`, m && !d && `${m} 分`, s && !d && !h && `${s} 秒`].filter(Boolean).join(' '),
  levels: { informational: '提示', low: '低', medium: '中', high: '高', critical: '严重' } as Record<string, string>,
  statuses: { open: '未关闭', closed: '已关闭', suspected: '待复核' } as Record<string, string>,
  driftStatuses: { open: '已确认', closed: '已关闭', suspected: '待复核' } as Record<string, string>,
  who: '当时是谁', mac: 'MAC 地址', account: '账号', whoKinds: { lease: '地址租约', login: '登录', nat: '地址转换', block: '地址转换（端口块）' } as Record<string, string>,
  alertKinds: { rule: '规则', mining: '挖矿', drift: '差异' } as Record<string, string>,
  driftKinds: { unlisted_domain: '未登记域名', unlisted_host: '未登记主机', unlisted_port: '未登记端口', listed_gone: '已登记但消失', service_changed: '服务变化', unlisted_service: '端口上的服务未登记', whitelist_expired: '白名单已过期', zombie: '僵尸系统', domain_foreign_address: '双非：本校域名在外部地址', foreign_domain_own_address: '双非：外部域名在本校地址', unregistered_marks: '双非：外部站点带本校标识', product_changed: '产品变化', version_changed: '版本变化', certificate_changed: '证书变化', exposure: '脆弱暴露', dangling_name: '悬空域名' } as Record<string, string>,
  assetKinds: { domain: '域名', host: '主机', service: '服务' } as Record<string, string>,
  evidenceKinds: {
    pool_domain_dns: '解析矿池域名', pool_domain_tls: 'TLS 访问矿池', pool_domain_http: 'HTTP 访问矿池', pool_address: '连接矿池地址', stratum_method: 'Stratum 协议', getblocktemplate: '取块模板',
    miner_login: '矿机登录', eth_login: '以太坊矿机登录', web_miner: '网页挖矿', miner_process: '挖矿进程', miner_command_line: '挖矿命令行', device_verdict: '设备判定', pool_port: '矿池端口（弱）',
  } as Record<string, string>,
  roles: { admin: '管理员', analyst: '分析员', auditor: '审计员' } as Record<string, string>,
  problems: {
    wrong_password: '用户名或口令不对', too_many_attempts: '尝试次数过多，请过一分钟再试', login_required: '请先登录', store_unavailable: '数据存储暂时没有应答，正在重试', internal: '系统内部出错，详情见日志',
    scanners_unavailable: '与扫描器的联系暂时中断，请稍后再试', forbidden: '没有权限', not_found: '没有这一项，或不是您单位的', file_changed: '文件在选择之后有改动或已不在，请重新选择', unreachable: '连不上控制台', result_too_large: '结果太大或太慢，请缩短时间范围或减少条数', invalid: '请求有误',
  } as Record<string, string>,
  queryAt: (column: number, detail: string) => `检索语句第 ${column} 个字符有误：${detail}`,
};

type Words = typeof zh;

const en: Words = {
  language: 'en',
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
  overview: 'Overview', pages: 'Pages', paging: 'Paging', noSuchPage: 'There is no such page', assetSearch: 'Asset search', completions: 'Completions', searchAssetsHint: 'such as title = "login" && city = 郑州 && whitelisted = false',
  countedBy: 'Counted by', assetCount: (n) => `${n.toLocaleString()} assets`, valueCount: (n) => `${n.toLocaleString()} different values`, none: '(none)', yes: 'yes', no: 'no',
  previousPage: 'Previous', nextPage: 'Next', pageNumber: (n) => `Page ${n}`, protocol: 'Protocol', system: 'System', marks: 'Marks',
  registered: 'registered', notRegistered: 'not registered', whitelisted: 'whitelisted', notWhitelisted: 'not whitelisted', protection: (n) => `level ${n}`,
  exposures: { no_auth: 'no password', directory_listing: 'directory listing', default_page: 'default page', certificate_expired: 'certificate expired', weak_tls: 'weak TLS', end_of_life: 'end of life', plain_login: 'login in clear', any: 'any', none: 'none' },
  relations: 'Relations', show: 'Show', assetKey: 'An address, a name, a certificate, or an entry of the registry', assetKeyHint: "address, address:port, name, certificate's SHA-256, or unit/CODE, system/CODE, network/PREFIX", atTime: 'As it was at', now: 'Now',
  steps: (n) => (n === 1 ? '1 step' : `${n} steps`), alsoEnded: 'also what has ended', nothingThere: 'There is no such thing in the map', nothingThen: 'There was no such thing in the map then', asOf: (at) => `As it was at ${at}`, moreThings: (n) => `${n.toLocaleString()} more neighbours are not shown`,
  noRelations: 'Nothing is connected with it', from: 'From', to: 'To', relation: 'Relation', ended: 'ended', details: 'Details', versions: 'What it was', since_: 'Since', until: 'Until',
  nodeKinds: { unit: 'unit', system: 'system', network: 'network', domain: 'domain', host: 'host', service: 'service', certificate: 'certificate', technology: 'technology' },
  edgeKinds: { resolves: 'resolves to', alias: 'is an alias of', ns: 'has the name server', mx: 'has the mail server', srv: 'has the service at', ptr: 'is by reverse', serves: 'serves', presents: 'presents', names: 'is good for', runs: 'runs', parent: 'is above', owns: 'owns', operates: 'operates', contains: 'contains', registered: 'is registered with' },
  evidenceSources: { registry: 'registry', scan: 'scan' },
  toHandle: 'Handle', unitWithBelow: 'Unit, with those below', severity: 'Severity', handling: 'Handling', notHandled: 'nobody yet', overdue: 'overdue', due: 'Due', searchDrift: 'other conditions, such as asset = 192.0.2.10', owner: 'Owner', assignee: 'Assignee', assigneeHint: 'Who handles it (may be left out)',
  note: 'Note', before: 'Before', vantages: 'Scanners that saw it', earlier: 'The same, earlier', history: 'History', by: 'Who', step: 'What', decisions: 'Decisions', handle: 'Handle', submit: 'Submit', decided: 'Kept', askedFor: (id) => `Request ${id} for the whitelist waits for another person's approval`,
  decisionNames: { acknowledged: 'Acknowledge', fixed: 'Fixed', accepted: 'Accept' },
  whatFollows: { acknowledged: 'It is known, and who handles it. The due time stays.', fixed: 'It is scanned at once. Only a clean scan closes it; another sends it back.' },
  acceptByRequest: 'It becomes a request for the whitelist, which another person approves.', acceptForGood: 'What is there now is accepted for good, as the new baseline.', acceptUntil: 'Accepted until a day within a year, which then is its due time.',
  works: { acknowledged: 'acknowledged', fixed: 'said to be fixed', accepted: 'accepted', requested: 'whitelist asked for' },
  steps_: { still_seen: 'still seen', overdue: 'overdue', waits: 'waits for the next scan' },
  closeReasons: {},
  duties: { responsible: 'responsible', security_officer: 'security officer', liaison: 'liaison' },
  registry: 'Registry', systems: 'Systems', requests: 'Requests', whitelist: 'Whitelist', units: 'Units', networks: 'Networks', domainNames: 'Domains', import: 'Import', export: 'Export to Excel', asOfDay: 'As of a day', noEntries: 'Nothing is registered', code: 'Code', state: 'State', classified: 'Classified protection', hosting: 'Hosting',
  responsible: 'Responsible', critical: 'critical infrastructure', filing: 'Filing number', icp: 'ICP filing', dataClass: 'Class of data', personalData: 'Personal data', persons: (n) => `${n.toLocaleString()} persons`, vendor: 'Vendor',
  register: 'Register a system', addUnit: 'Register a unit', addUnitBelow: 'Register a unit below', addNetwork: 'Register a network', addDomain: 'Register a domain', addContact: 'Register a contact', remove: 'Retire', removeHint: (what) => `${what} leaves the registry; its history stays, and any past day shows it.`, removed: 'It has left the registry', authorise: 'Authorise scans', personName: 'Name', scanHint: 'once authorised, scans send packets to it', hoursHint: "China's time, such as mon-fri 22:00-06:00; sat,sun. Empty: always", zeroIsFree: '0: no bound', change: 'Change', kept: 'Written to the registry', onePerLine: 'one on a line', host_: 'Addresses or networks',
  systemStates: { applied: 'applied', registered: 'registered', changed: 'changed', suspended: 'suspended', retired: 'retired' },
  hostings: { own: 'own', education_cloud: 'education cloud', public_cloud: 'public cloud' },
  dataClasses: { general: 'general', important: 'important', core: 'core' },
  unitLevels: { province: 'province', city: 'city', university: 'university', county: 'county', school: 'school' },
  whitelistKinds: { domain: 'domain', host: 'host', port: 'port' },
  requestStates: { pending: 'pending', approved: 'approved', refused: 'refused', withdrawn: 'withdrawn' },
  noRequests: 'No requests', wants: 'Wants', toAllow: 'to allow', toRemove: 'to remove', entry: 'Entry', askedBy: 'Asked by', decidedBy: 'Decided by', approvedBy: 'Approved by', approve: 'Approve', refuse: 'Refuse', withdraw: 'Withdraw', ask: 'Ask for an entry', askRemoval: 'Ask for its removal',
  domainName: 'Domain', transport: 'Transport', systemCode: "System's code", noEnd: 'no end', endsSoon: 'ends within 30 days', filter: 'Filter', network: 'Network', scanned: 'Scans', authorised: 'authorised', notAuthorised: 'not authorised', hours: 'Hours', exclude: 'Exclusions', rate: 'Rate (per second)', hostRate: 'Rate per host (per second)',
  above: 'Below', division: 'Division code', schoolCode: 'School code', contacts: 'Contacts', duty: 'Duty', phone: 'Phone', email: 'E-mail', deleted: 'deleted', fields: 'Fields',
  template: 'Empty template', importHint: 'Excel, CSV or YAML. It is checked first: mistakes by row, and what would change; nothing is written. Then all of it is written, or nothing.', chooseFile: 'File', checkFile: 'Check', writeFile: 'Write', fileWrong: (n) => `${n} mistakes in the file; nothing is written`, mistakes: 'Mistakes', sheet: 'Sheet', row: 'Row', column: 'Column',
  fileWritten: (read, changed) => `Written: ${read} entries read, ${changed} changed`, fileChecked: (read, changed) => `No mistakes: ${read} entries read, ${changed} would change; nothing is written yet`, differences: 'What changes',
  scans: 'Scans', job: 'Job', noScans: 'No scan jobs', activeOnly: 'Not over', newestJobs: (shown, total) => (shown < total ? `the newest ${shown} of ${total.toLocaleString()}` : `${total.toLocaleString()} jobs`), scope: 'Scope', wholeUnit: 'all that is authorised', progress: 'Progress', shards: 'Shards', shardsDone: (done, all) => `${done.toLocaleString()} of ${all.toLocaleString()}`,
  left: 'Left, about', seen: 'Observations', asker: 'Asked by', askedAt: 'Asked', askers: { schedule: 'the schedule', drift: 'a second look at drift' }, scanners: 'Scanners', scannersAlive: (n) => (n === 1 ? '1 scanner lives' : `${n} scanners live`), noScanners: 'No scanner lives', idle: 'idle', attempts: 'Attempts', took: 'Took', shard: 'Shard', firstShards: (n) => `at most ${n}: those that run, went wrong or wait come first`, errors: 'Errors', waitsUntil: 'Waits until', expires: 'Expires',
  scanClasses: { interactive: 'interactive', confirm: 'second look', periodic: 'periodic' },
  jobStates: { done: 'done', partial: 'over, not all done', stopped: 'stopped', running: 'running', queued: 'queued', waiting: 'waits for hours or another attempt' },
  shardStates: { done: 'done', failed: 'failed', refused: 'refused', expired: 'expired', running: 'running', waiting: 'waits', queued: 'queued', retry: 'failed, is tried again', off_hours: 'its hours are over', stopped: 'stopped', abandoned: 'given up by its scanner' },
  shardKinds: { names: 'names', sweep: 'ports', discover: 'discovery', confirm: 'second look' },
  startedAbove: 'started by a unit above', startedAboveHint: 'Only the part that looks at your units is shown; the unit that started it, or one above it, stops it and lets it go on.', ownPart: 'what is authorised of your units', ownAndOthers: 'addresses of other units, too: not told',
  leftOut: 'Not scanned', leftOutNone: 'Nothing within this scope is left out', leftWhy: { not_authorised: 'the registry does not authorise it', excluded: 'excluded', other_unit: 'of another unit', too_large: 'an IPv6 network too large: known addresses alone' },
  newScan: 'New scan', startScan: 'Start the scan', estimate: 'Estimate', scanStarted: (job) => `Started: ${job}`, scopeHint: 'addresses, networks or domain names; without any: all that is authorised of the unit and those below it', portsHint: 'such as 22,80,1000-2000,u:53; all; empty: the usual ones', rateHint: "empty: the scanner's own; the registry's bounds hold in any case", discoverNames: 'Look for names in the authorised domains, too',
  wouldScan: (shards, addresses, names, time) => `${shards.toLocaleString()} shards: the ports of ${addresses.toLocaleString()} addresses and ${names.toLocaleString()} names; about ${time}`, wouldWait: (shards, at) => `It is not within the allowed hours: ${shards.toLocaleString()} shards wait until ${at}`,
  stopJob: 'Stop the job', resumeJob: 'Go on', stopAll: 'Stop all scanning', resumeAll: 'Go on with scanning', stopAllHint: 'No scanner sends anything two seconds later, and no later job begins, until somebody takes it back.', stopJobHint: 'Nothing is sent for it two seconds later; what is not done stays and goes on when it is resumed.', resumeAllHint: 'Every job that is not over goes on, each in its hours.', resumeJobHint: 'What is not done goes on, each in its hours.', whyStop: 'Why (shown to all with the job)', stopped: 'Stopped', resumed: 'Goes on', allStopped: 'All scanning is stopped',
  duration: (d, h, m, s) => [d && `${d} d`, h && `${h} h`, m && !d && `${m} min`, s && !d && !h && `${s} s`].filter(Boolean).join(' '),
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
    scanners_unavailable: 'The scanners cannot be reached; try again soon', forbidden: 'You may not do this', not_found: 'There is no such thing, or it is not of your units', file_changed: 'The file has changed or gone since it was chosen: choose it again', unreachable: 'The console cannot be reached', result_too_large: 'The answer is too large or too slow: ask for a shorter time or fewer rows', invalid: 'The request is wrong',
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
  const { code, column, detail, errors, fields } = error.problem;
  if (code === 'query') return t.queryAt(column ?? 1, fields?.[0]?.[t.language] ?? detail ?? '');
  const known = t.problems[code];
  if (known !== undefined && code !== 'invalid' && code !== 'forbidden') return known;
  return [known, fields?.map((m) => m[t.language]).join('; ') || errors?.join('; ') || detail].filter(Boolean).join(': ');
}

/** A rule's title is Chinese, " / ", English. */
export function sayTitle(language: Language, title: string): string {
  const [chinese, english, more] = title.split(' / ');
  if (english === undefined || more !== undefined) return title;
  return (language === 'zh' ? chinese : english) ?? title;
}

/** A number of seconds, in the two units that matter. */
export function sayDuration(t: Words, seconds: number): string {
  const s = Math.max(Math.round(seconds), 1);
  return t.duration(Math.floor(s / 86_400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60, s % 60);
}

const pad = (n: number) => String(n).padStart(2, '0');

/** A time in the reader's own zone, to the second. */
export function sayTime(time: string | undefined): string {
  const t = new Date(time ?? '');
  if (Number.isNaN(t.getTime()) || t.getUTCFullYear() < 1971) return '';
  return `${t.getFullYear()}-${pad(t.getMonth() + 1)}-${pad(t.getDate())} ${pad(t.getHours())}:${pad(t.getMinutes())}:${pad(t.getSeconds())}`;
}
