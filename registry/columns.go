package registry

// column is one column of a table: its names, what it is for, and the words it
// may hold.
type column struct {
	name, title string
	must        bool
	help        string // in Chinese, as in the template
	example     string
	words       words
	free, day   bool // free text; a day, or a time
}

// words are the values of a column with the Chinese words for each; the first
// is the one that is written.
type words []struct {
	value string
	zh    []string
}

// value reads a word of either language.
func (w words) value(s string) string {
	for _, one := range w {
		for _, zh := range one.zh {
			if s == zh {
				return one.value
			}
		}
	}
	return s
}

// zh is the Chinese word for a value, or the value.
func (w words) zh(s string) string {
	for _, one := range w {
		if one.value == s {
			return one.zh[0]
		}
	}
	return s
}

var (
	levelWords = words{
		{"province", []string{"省", "省级"}},
		{"city", []string{"市", "市级"}},
		{"university", []string{"高校", "大学"}},
		{"county", []string{"县", "县级", "区县"}},
		{"school", []string{"学校", "中小学"}},
	}
	truthWords = words{{"true", []string{"是"}}, {"false", []string{"否"}}}
	kindWords  = words{{"domain", []string{"域名"}}, {"host", []string{"主机"}}, {"port", []string{"端口"}}}
	dutyWords  = words{
		{"responsible", []string{"负责人", "责任人"}},
		{"security_officer", []string{"安全员", "网络安全员"}},
		{"liaison", []string{"联系人"}},
	}
	stateWords = words{
		{"applied", []string{"申请", "申请中"}},
		{"registered", []string{"登记", "已登记", "在用"}},
		{"changed", []string{"变更", "变更中"}},
		{"suspended", []string{"暂停", "停用"}},
		{"retired", []string{"注销", "下线"}},
	}
	hostingWords = words{
		{"own", []string{"自建", "本地"}},
		{"education_cloud", []string{"教育云"}},
		{"public_cloud", []string{"公有云"}},
	}
	dataWords = words{
		{"general", []string{"一般", "一般数据"}},
		{"important", []string{"重要", "重要数据"}},
		{"core", []string{"核心", "核心数据"}},
	}
	protectionWords = words{
		{"1", []string{"一级", "第一级", "一"}},
		{"2", []string{"二级", "第二级", "二"}},
		{"3", []string{"三级", "第三级", "三"}},
		{"4", []string{"四级", "第四级", "四"}},
		{"5", []string{"五级", "第五级", "五"}},
		{"0", []string{"未定级", "无"}},
	}
	transportWords = words{{"tcp", []string{"tcp", "TCP"}}, {"udp", []string{"udp", "UDP"}}}
)

var (
	unitColumn  = column{name: "unit", title: "单位代码", must: true, help: "所属单位，须已在台账或本文件“单位”表中", example: "10001"}
	hoursColumn = column{name: "hours", title: "扫描时段", help: "北京时间，如 22:00-06:00，或“周一至周五 22:00-06:00；周六、周日”；留空为任何时间", example: "周一至周五 22:00-06:00；周六、周日"}
	unitColumns = []column{
		{name: "code", title: "单位代码", must: true, help: "唯一；最长 64 字节，不含空格与斜杠", example: "10001"},
		{name: "name", title: "单位名称", must: true, example: "某某大学", free: true},
		{name: "level", title: "级别", must: true, example: "高校", words: levelWords},
		{name: "parent", title: "上级单位代码", help: "只有最上级单位留空", example: "41"},
		{name: "division", title: "行政区划代码", help: "所在地，六位（GB/T 2260）", example: "410102"},
		{name: "school_code", title: "学校标识码", help: "学校与高校，十位", example: "4141010001"},
	}
	networkColumns = []column{
		{name: "prefix", title: "网段", must: true, help: "IPv4 或 IPv6 地址或网段", example: "192.0.2.0/24"},
		unitColumn,
		{name: "name", title: "名称", example: "主校区", free: true},
		{name: "scan", title: "授权扫描", help: "填“是”即授权对该网段扫描；留空为否", example: "否", words: truthWords},
		{name: "exclude", title: "排除地址", help: "网段内永不扫描的地址或网段，可填多个，以空格、换行、逗号或顿号分开", example: "192.0.2.250 192.0.2.64/28"},
		hoursColumn,
		{name: "rate", title: "扫描速率", help: "所有扫描器合计每秒发往该网段的包数上限；留空不另设限", example: "1000"},
		{name: "host_rate", title: "单机速率", help: "每秒发往同一地址的包数上限；留空不另设限", example: "50"},
	}
	domainColumns = []column{
		{name: "name", title: "域名", must: true, help: "包含其下所有名称", example: "example.edu.cn"},
		unitColumn,
		{name: "scan", title: "授权扫描", help: "填“是”即授权查询与扫描；留空为否", example: "否", words: truthWords},
		{name: "exclude", title: "排除名称", help: "永不查询的名称，连同其下所有；可填多个", example: "secret.example.edu.cn"},
		hoursColumn,
		{name: "rate", title: "查询速率", help: "所有扫描器合计每秒查询该域名的次数上限；留空不另设限", example: "100"},
	}
	systemColumns = []column{
		{name: "code", title: "系统代码", must: true, help: "唯一；最长 64 字节，不含空格与斜杠", example: "10001-portal"},
		{name: "name", title: "系统名称", must: true, example: "门户网站", free: true},
		unitColumn,
		{name: "state", title: "状态", help: "留空为登记", example: "登记", words: stateWords},
		{name: "level", title: "等级保护级别", example: "三级", words: protectionWords},
		{name: "filing", title: "等保备案编号", example: "41010000001-00001"},
		{name: "icp", title: "ICP备案号", example: "豫ICP备00000001号-1"},
		{name: "critical", title: "关键信息基础设施", help: "留空为否", example: "否", words: truthWords},
		{name: "data", title: "数据分级", example: "一般", words: dataWords},
		{name: "people", title: "个人信息规模", help: "涉及的人数", example: "30000"},
		{name: "vendor", title: "建设厂商", free: true},
		{name: "hosting", title: "部署方式", help: "留空为自建", example: "自建", words: hostingWords},
		{name: "domains", title: "域名", help: "可填多个，以空格、换行、逗号或顿号分开；*.名称 为其下所有", example: "www.example.edu.cn"},
		{name: "addresses", title: "地址", help: "可填多个地址或网段", example: "192.0.2.10"},
		{name: "ports", title: "端口", help: "可填多个；不写协议为 tcp；留空为该地址上他系统未填的端口", example: "443/tcp"},
		{name: "responsible", title: "负责人", example: "张三", free: true},
		{name: "phone", title: "负责人电话", example: "0371-60000000"},
		{name: "email", title: "负责人邮箱", example: "zhangsan@example.edu.cn"},
		{name: "note", title: "备注", free: true},
	}
	contactColumns = []column{
		unitColumn,
		{name: "duty", title: "职责", must: true, help: "每个单位每种职责一人", example: "安全员", words: dutyWords},
		{name: "name", title: "姓名", must: true, example: "李四", free: true},
		{name: "phone", title: "电话", example: "0371-60000000"},
		{name: "email", title: "电子邮箱", example: "lisi@example.edu.cn"},
	}
	whitelistColumns = []column{
		{name: "kind", title: "类型", must: true, example: "端口", words: kindWords},
		{name: "domain", title: "域名", help: "类型为域名时填；*.名称 为其下所有", example: "www.example.edu.cn"},
		{name: "host", title: "主机", help: "类型为主机或端口时填；地址或网段", example: "192.0.2.10"},
		{name: "port", title: "端口", help: "类型为端口时填", example: "443"},
		{name: "transport", title: "协议", help: "留空为 tcp", example: "tcp", words: transportWords},
		{name: "service", title: "服务", help: "应有的服务名；留空为任意", example: "https"},
		unitColumn,
		{name: "system", title: "信息系统代码", help: "需要它的信息系统，须属于同一单位", example: "10001-portal"},
		{name: "reason", title: "事由", example: "门户网站", free: true},
		{name: "from", title: "生效日期", help: "留空为立即", example: "2026-09-01", day: true},
		{name: "until", title: "失效日期", help: "当日零时起失效；留空为长期", example: "2027-09-01", day: true},
		{name: "asked_by", title: "申请人", example: "张三", free: true},
		{name: "approved_by", title: "审批人", example: "李四", free: true},
	}
)
