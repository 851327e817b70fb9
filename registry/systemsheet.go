package registry

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"fengsui/schemas"
)

// systemSheet is information systems as a table: one row each, with several
// names, addresses or ports in one cell.
var systemSheet = sheet{
	kind: "systems", title: "信息系统",
	columns: []column{
		{"code", "系统代码"},
		{"name", "系统名称"},
		{"unit", "单位代码"},
		{"state", "状态"},
		{"level", "等级保护级别"},
		{"filing", "等保备案编号"},
		{"icp", "ICP备案号"},
		{"critical", "关键信息基础设施"},
		{"data", "数据分级"},
		{"people", "个人信息规模"},
		{"vendor", "建设厂商"},
		{"hosting", "部署方式"},
		{"domains", "域名"},
		{"addresses", "地址"},
		{"ports", "端口"},
		{"responsible", "负责人"},
		{"phone", "负责人电话"},
		{"email", "负责人邮箱"},
		{"note", "备注"},
	},
	read: readSystem,
	rows: func(c *Content) (out [][]string) {
		for i := range c.Systems {
			out = append(out, systemRow(&c.Systems[i]))
		}
		return out
	},
}

func readSystem(c *Content, get func(string) string) error {
	var errs [5]error
	s := System{
		Filing: get("filing"), ICP: get("icp"), Vendor: get("vendor"), Note: get("note"),
		Data:        DataClass(word(get("data"), dataWords)),
		Responsible: Person{Name: get("responsible"), Phone: get("phone"), Email: get("email")},
	}
	s.Code, s.Name, s.Unit = get("code"), get("name"), get("unit")
	s.State = schemas.SystemState(word(get("state"), stateWords))
	s.Hosting = schemas.Hosting(word(get("hosting"), hostingWords))
	s.Domains = fields(get("domains"))
	s.Level, errs[0] = protection(get("level"))
	s.Critical, errs[1] = truth(get("critical"))
	s.People, errs[2] = count(get("people"))
	for _, text := range fields(get("addresses")) {
		p, err := prefix(text)
		errs[3] = errors.Join(errs[3], err)
		s.Addresses = append(s.Addresses, p)
	}
	for _, text := range fields(get("ports")) {
		var p schemas.PortName
		errs[4] = errors.Join(errs[4], p.UnmarshalText([]byte(text)))
		s.Ports = append(s.Ports, p)
	}
	c.Systems = append(c.Systems, s)
	return errors.Join(errs[:]...)
}

func systemRow(s *System) []string {
	addresses, ports := make([]string, len(s.Addresses)), make([]string, len(s.Ports))
	for i, p := range s.Addresses {
		addresses[i] = p.String()
		if p.IsSingleIP() {
			addresses[i] = p.Addr().String()
		}
	}
	for i, p := range s.Ports {
		ports[i] = p.String()
	}
	number := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	return []string{
		s.Code, s.Name, s.Unit, string(s.State), number(int64(s.Level)), s.Filing, s.ICP, strconv.FormatBool(s.Critical),
		string(s.Data), number(s.People), s.Vendor, string(s.Hosting),
		strings.Join(s.Domains, "\n"), strings.Join(addresses, "\n"), strings.Join(ports, "\n"),
		s.Responsible.Name, s.Responsible.Phone, s.Responsible.Email, s.Note,
	}
}

// The words that people write in their tables.
var (
	stateWords = map[string]string{
		"申请": "applied", "申请中": "applied", "登记": "registered", "已登记": "registered", "在用": "registered",
		"变更": "changed", "变更中": "changed", "暂停": "suspended", "停用": "suspended", "注销": "retired", "下线": "retired",
	}
	hostingWords = map[string]string{"自建": "own", "本地": "own", "教育云": "education_cloud", "公有云": "public_cloud"}
	dataWords    = map[string]string{"一般": "general", "重要": "important", "核心": "core", "一般数据": "general", "重要数据": "important", "核心数据": "core"}
	levelWords   = map[string]string{"一": "1", "二": "2", "三": "3", "四": "4", "五": "5", "未定级": "", "无": ""}
)

func word(s string, words map[string]string) string {
	if v, ok := words[s]; ok {
		return v
	}
	return strings.ToLower(s)
}

// protection reads 3, 三级 or 第三级.
func protection(s string) (int, error) {
	s = word(strings.TrimSuffix(strings.TrimPrefix(s, "第"), "级"), levelWords)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 5 {
		return 0, fmt.Errorf("level %q is none of 1 to 5", s)
	}
	return n, nil
}

func count(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(s, ",", ""), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("people %q is no number of persons", s)
	}
	return n, nil
}

// fields takes a cell apart that holds several things.
func fields(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(",;，；、", r) })
}
