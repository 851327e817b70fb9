package search

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"fengsui/internal/query"
	"fengsui/schemas"
)

// AssetField is a field that assets are searched by, as people are told of it.
type AssetField struct {
	Name      string   `json:"name"`
	Aliases   []string `json:"aliases" nullable:"false" doc:"the same field's names in Chinese"`
	Type      string   `json:"type" enum:"text,list,word,number,bool,time,address,hash"`
	Operators []string `json:"operators" nullable:"false"`
	Chinese   string   `json:"zh" doc:"what it is, in Chinese"`
	English   string   `json:"en"`
	Example   string   `json:"example" doc:"a query"`
	Values    []string `json:"values" nullable:"false" doc:"what it can be, where that is known"`

	compare func(*query.Comparison) (string, error)
	group   string // SQL: what assets are counted by; "" as Type has it
	column  string
}

const (
	typeText   = "text"
	typeList   = "list"
	typeWord   = "word"
	typeNumber = "number"
	typeBool   = "bool"
	typeTime   = "time"
	typeIP     = "address"
	typeHash   = "hash"
)

var operatorsOf = map[string][]string{
	typeText: {"=", "==", "!=", "*="}, typeList: {"=", "==", "!=", "*="}, typeWord: {"=", "==", "!=", "*="},
	typeNumber: {"=", "==", "!=", "<", "<=", ">", ">="}, typeTime: {"=", "==", "!=", "<", "<=", ">", ">="},
	typeBool: {"=", "==", "!="}, typeIP: {"=", "==", "!="}, typeHash: {"=", "==", "!="},
}

// The words that fields of kinds take.
const (
	anyValue  = "any"
	noneValue = "none"
)

var (
	driftValues = func() []string {
		out := []string{anyValue, noneValue}
		for _, k := range []schemas.DriftKind{
			schemas.UnlistedDomain, schemas.UnlistedHost, schemas.UnlistedPort, schemas.UnlistedService, schemas.WhitelistExpired, schemas.ListedGone, schemas.Zombie,
			schemas.ForeignAddress, schemas.ForeignDomain, schemas.UnregisteredMarks, schemas.ServiceChanged, schemas.ProductChanged, schemas.VersionChanged,
			schemas.CertificateChanged, schemas.Exposed, schemas.DanglingName,
		} {
			out = append(out, string(k))
		}
		return out
	}()
	exposureValues = []string{
		anyValue, noneValue, string(schemas.ExposureNoAuth), string(schemas.ExposureDirectoryListing), string(schemas.ExposureDefaultPage),
		string(schemas.ExposureCertificateExpired), string(schemas.ExposureWeakTLS), string(schemas.ExposureEndOfLife), string(schemas.ExposurePlainLogin),
	}
	kindValues = []string{string(schemas.AssetDomain), string(schemas.AssetHost), string(schemas.AssetService)}
	boolValues = []string{"true", "false"}
)

const sqlIPv6 = "(ip < toIPv6('::ffff:0.0.0.0') OR ip > toIPv6('::ffff:255.255.255.255')) AND ip != toIPv6('::')"

// assetFields are FOFA's fields and ours, in the order of the manual.
var assetFields = []*AssetField{
	{Name: "ip", Aliases: []string{"地址"}, Type: typeIP, Chinese: "地址，可写网段", English: "address, or a network", Example: "ip = 192.0.2.0/24", compare: compareIP, group: "if(ip = toIPv6('::'), '', replaceOne(IPv6NumToString(ip), '::ffff:', ''))"},
	{Name: "port", Aliases: []string{"端口"}, Type: typeNumber, Chinese: "端口", English: "port", Example: "port = 443", compare: number("port", "UInt16")},
	{Name: "domain", Aliases: []string{"域名"}, Type: typeList, Chinese: "域名：= 为其本身及以下所有名字，== 仅其本身", English: "domain: = it and every name below, == it alone", Example: "domain = example.edu.cn", compare: compareDomain, group: `if(empty(domain), '', concat('\n', arrayStringConcat(domain, '\n'), '\n'))`},
	{Name: "host", Aliases: []string{"主机名"}, Type: typeList, Chinese: "解析到该地址的名字", English: "names that lead to it", Example: `host = "www."`, compare: compareHost},
	{Name: "title", Aliases: []string{"标题"}, Type: typeText, Chinese: "网页标题", English: "title of the first page", Example: `title = "教务"`, compare: text("title", true)},
	{Name: "header", Aliases: []string{"响应头"}, Type: typeText, Chinese: "HTTP 响应头", English: "HTTP header", Example: `header = "X-Powered-By: PHP"`, compare: text("header", true)},
	{Name: "body", Aliases: []string{"正文"}, Type: typeText, Chinese: "网页正文开头（4 KiB）", English: "the beginning of the page, 4 KiB", Example: `body = "技术支持"`, compare: text("body", true)},
	{Name: "cert", Aliases: []string{"证书"}, Type: typeList, Chinese: "证书的主体、颁发者、名字、SHA-256、序列号", English: "certificate: subject, issuer, names, SHA-256, serial", Example: `cert = "example.edu.cn"`, compare: list("cert", true)},
	{Name: "icon_hash", Aliases: []string{"图标"}, Type: typeHash, Chinese: "网站图标的 mmh3，与 FOFA、Shodan 同", English: "mmh3 of the favicon, as FOFA and Shodan write it", Example: "icon_hash = -247388890", compare: compareIcon},
	{Name: "app", Aliases: []string{"应用", "组件"}, Type: typeList, Chinese: "产品与组件", English: "product and technologies", Example: "app = nginx", compare: list("app", false)},
	{Name: "os", Aliases: []string{"操作系统"}, Type: typeText, Chinese: "操作系统，由服务自报", English: "operating system, as the service tells it", Example: "os = debian", compare: text("os", false)},
	{Name: "protocol", Aliases: []string{"协议"}, Type: typeWord, Chinese: "服务协议", English: "protocol of the service", Example: "protocol = redis", compare: word("protocol")},
	{Name: "transport", Aliases: []string{"传输"}, Type: typeWord, Chinese: "传输层协议", English: "tcp or udp", Example: "transport = udp", Values: []string{"tcp", "udp"}, compare: word("transport")},
	{Name: "server", Aliases: []string{"服务器"}, Type: typeText, Chinese: "HTTP 的 Server", English: "HTTP's Server", Example: "server = nginx/1.18", compare: text("server", false)},
	{Name: "product", Aliases: []string{"产品"}, Type: typeText, Chinese: "产品", English: "product", Example: "product = OpenSSH", compare: text("product", false)},
	{Name: "version", Aliases: []string{"版本"}, Type: typeText, Chinese: "产品版本", English: "version of the product", Example: `version *= "7.0.*"`, compare: text("release", false)},
	{Name: "status", Aliases: []string{"状态码"}, Type: typeNumber, Chinese: "HTTP 状态码", English: "HTTP status", Example: "status = 200", compare: number("status", "UInt16")},
	{Name: "banner", Aliases: []string{"横幅"}, Type: typeText, Chinese: "服务自报的文字", English: "what the service says first", Example: `banner = "SSH-2.0"`, compare: text("banner", true)},
	{Name: "is_ipv6", Type: typeBool, Chinese: "地址为 IPv6", English: "its address is IPv6", Example: "is_ipv6 = true", compare: truth(sqlIPv6), group: "if(" + sqlIPv6 + ", 'true', 'false')"},
	{Name: "is_domain", Type: typeBool, Chinese: "有域名", English: "a name leads to it", Example: "is_domain = true", compare: truth("host != ''"), group: "if(host != '', 'true', 'false')"},
	{Name: "after", Aliases: []string{"晚于"}, Type: typeTime, Chinese: "最近一次发现不早于", English: "last seen then or later", Example: "after = 2026-09-01", compare: bound("last", ">="), column: "last"},
	{Name: "before", Aliases: []string{"早于"}, Type: typeTime, Chinese: "最近一次发现早于", English: "last seen before then", Example: "before = 30d", compare: bound("last", "<"), column: "last"},
	{Name: "first", Aliases: []string{"首次"}, Type: typeTime, Chinese: "首次发现", English: "first seen", Example: "first > 7d", compare: moment("first")},
	{Name: "last", Aliases: []string{"最近"}, Type: typeTime, Chinese: "最近一次发现", English: "last seen", Example: "last < 30d", compare: moment("last")},
	{Name: "kind", Aliases: []string{"种类"}, Type: typeWord, Chinese: "资产种类", English: "domain, host or service", Example: "kind = host", Values: kindValues, compare: word("kind")},
	{Name: "alive", Aliases: []string{"存活"}, Type: typeBool, Chinese: "存活", English: "it answers", Example: "alive = true", compare: truth("alive")},
	{Name: "unit", Aliases: []string{"单位"}, Type: typeList, Chinese: "单位及其下属所有单位，代码或全称", English: "unit with all below it, by code or name", Example: "unit = 10001", compare: member("unit_in"), column: "unit_in"},
	{Name: "city", Aliases: []string{"城市", "地市"}, Type: typeList, Chinese: "地市，名称或代码", English: "city, by name or code", Example: "city = 郑州", compare: list("city", false)},
	{Name: "county", Aliases: []string{"区县"}, Type: typeList, Chinese: "区县，名称或代码", English: "county, by name or code", Example: "county = 金水区", compare: list("county", false)},
	{Name: "school", Aliases: []string{"学校"}, Type: typeList, Chinese: "学校，名称、代码或学校标识码", English: "school or university, by name or code", Example: "school = 示例大学", compare: list("school", false)},
	{Name: "system", Aliases: []string{"系统", "信息系统"}, Type: typeList, Chinese: "信息系统，名称或代码", English: "information system, by name or code", Example: "system = 教务", compare: list("system", false)},
	{Name: "level", Aliases: []string{"等级", "等保"}, Type: typeNumber, Chinese: "系统的等级保护级别，0 为未定", English: "the system's level of classified protection, 0 for none", Example: "level >= 3", compare: number("level", "UInt8")},
	{Name: "registered", Aliases: []string{"备案", "登记"}, Type: typeBool, Chinese: "属于已登记在用的信息系统", English: "a registered information system in use has it", Example: "registered = false", compare: truth("registered")},
	{Name: "whitelisted", Aliases: []string{"白名单"}, Type: typeBool, Chinese: "有生效的白名单条目", English: "a whitelist entry in force allows it", Example: "whitelisted = false", compare: truth("whitelisted")},
	{Name: "drift", Aliases: []string{"差异"}, Type: typeList, Chinese: "与台账的差异（已确认）；any 为任意，none 为无", English: "confirmed differences from the registry; any, or none", Example: "drift = unlisted_port", Values: driftValues, compare: kinds("drift")},
	{Name: "exposure", Aliases: []string{"暴露"}, Type: typeList, Chinese: "弱暴露；any 为任意，none 为无", English: "weak exposure; any, or none", Example: "exposure = no_auth", Values: exposureValues, compare: kinds("exposure")},
}

var assetByName = func() map[string]*AssetField {
	out := map[string]*AssetField{}
	for _, f := range assetFields {
		f.Operators = operatorsOf[f.Type]
		if f.Name == "after" || f.Name == "before" {
			f.Operators = []string{"=", "==", "!="}
		}
		if f.Type == typeBool {
			f.Values = boolValues
		}
		f.Aliases, f.Values = append([]string{}, f.Aliases...), append([]string{}, f.Values...)
		if f.column == "" {
			f.column = f.Name
		}
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			out[name] = f
		}
	}
	out["version"].column = "release"
	return out
}()

// AssetFields are the fields that assets are searched by.
func AssetFields() []*AssetField { return assetFields }

// AssetFieldNamed finds a field by its name or an alias.
func AssetFieldNamed(name string) (*AssetField, error) {
	if f := assetByName[strings.ToLower(name)]; f != nil {
		return f, nil
	}
	names := func(yield func(string) bool) {
		for _, f := range assetFields {
			if !yield(f.Name) {
				return
			}
		}
	}
	return nil, query.Bad("unknown field %q; did you mean %q?", "没有字段 %q，是否为 %q？", name, schemas.Nearest(strings.ToLower(name), names))
}

// assetSyntax resolves the fields of a query for assets.
type assetSyntax struct{}

// Field implements query.Fields.
func (assetSyntax) Field(name string) (query.Field, error) {
	f, err := AssetFieldNamed(name)
	if err != nil {
		return query.Field{}, err
	}
	return query.Field{Compare: func(c *query.Comparison) (string, error) {
		if !slices.Contains(f.Operators, c.Op) {
			return "", query.Bad("%s is compared by %s, not by %s", "%s 用 %s 比较，不能用 %s", f.Name, strings.Join(f.Operators, " "), c.Op)
		}
		return f.compare(c)
	}}, nil
}

// Text implements query.Fields: a word by itself is looked for in what people
// know an asset by.
func (assetSyntax) Text() query.Field {
	return query.Field{Compare: func(c *query.Comparison) (string, error) {
		var any []string
		if c.Op == "=" {
			if sql, err := compareIP(c); err == nil {
				any = append(any, sql)
			}
		}
		for _, compare := range []func(*query.Comparison) (string, error){text("title", true), list("host", true), text("banner", true), text("server", false), list("app", false)} {
			sql, err := compare(c)
			if err != nil {
				return "", err
			}
			any = append(any, sql)
		}
		return "(" + strings.Join(any, " OR ") + ")", nil
	}}
}

// lower is ClickHouse's lower(): of ASCII only, so that both sides agree.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

var inLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func contains(c *query.Comparison, column, value string) string {
	return "lower(" + column + ") LIKE " + c.Param("String", "%"+inLike.Replace(lower(value))+"%")
}

// text compares a column's text. An indexed one is first asked whether it
// contains the value, which its index answers.
func text(column string, indexed bool) func(*query.Comparison) (string, error) {
	return func(c *query.Comparison) (string, error) {
		switch c.Op {
		case "==":
			sql := column + " = " + c.Param("String", c.Value)
			if indexed && c.Value != "" {
				sql = "(" + contains(c, column, c.Value) + " AND " + sql + ")"
			}
			return sql, nil
		case "*=":
			return "lower(" + column + ") LIKE " + c.Param("String", query.LikePattern(lower(c.Value))), nil
		}
		return contains(c, column, c.Value), nil
	}
}

// word compares a column of one word.
func word(column string) func(*query.Comparison) (string, error) {
	return func(c *query.Comparison) (string, error) {
		switch c.Op {
		case "==":
			return column + " = " + c.Param("String", c.Value), nil
		case "*=":
			return "lower(" + column + ") LIKE " + c.Param("String", query.LikePattern(lower(c.Value))), nil
		}
		return "lower(" + column + ") = " + c.Param("String", lower(c.Value)), nil
	}
}

var errLine = query.Bad("a value here is one line", "此处的值只能是一行")

// list compares a column of lines: = holds if one of them contains the value.
func list(column string, indexed bool) func(*query.Comparison) (string, error) {
	return func(c *query.Comparison) (string, error) {
		switch {
		case strings.Contains(c.Value, "\n"):
			return "", errLine
		case c.Op == "==":
			return whole(c, column, c.Value, indexed), nil
		case c.Op == "*=":
			return pattern(c, column, indexed)
		case c.Value == "":
			return column + " != ''", nil
		}
		return contains(c, column, c.Value), nil
	}
}

// whole holds if one of the lines is the value.
func whole(c *query.Comparison, column, value string, indexed bool) string {
	if value == "" {
		return column + " = ''"
	}
	sql := column + " LIKE " + c.Param("String", "%\n"+inLike.Replace(value)+"\n%")
	if indexed {
		sql = "(" + contains(c, column, value) + " AND " + sql + ")"
	}
	return sql
}

// pattern holds if one of the lines is like the value, in which * stands for
// any text and ? for a character.
func pattern(c *query.Comparison, column string, indexed bool) (string, error) {
	var re, longest strings.Builder
	var pieces []string
	plain := func(r rune) {
		re.WriteString(regexp.QuoteMeta(string(r)))
		longest.WriteRune(r)
	}
	special := func(s string) {
		re.WriteString(s)
		pieces = append(pieces, longest.String())
		longest.Reset()
	}
	value := []rune(lower(c.Value))
	for i := 0; i < len(value); i++ {
		switch r := value[i]; {
		case r == '*':
			special(`[^\n]*`)
		case r == '?':
			special(`[^\n]`)
		case r == '\\' && i+1 < len(value) && (value[i+1] == '*' || value[i+1] == '?'):
			i++
			plain(value[i])
		default:
			plain(r)
		}
	}
	pieces = append(pieces, longest.String())
	sql := "match(lower(" + column + "), " + c.Param("String", `\n`+re.String()+`\n`) + ")"
	if best := slices.MaxFunc(pieces, func(a, b string) int { return len(a) - len(b) }); indexed && best != "" {
		sql = "(" + contains(c, column, best) + " AND " + sql + ")"
	}
	return sql, nil
}

// member compares a column of lines of codes and names: = holds if one of them
// is the value.
func member(column string) func(*query.Comparison) (string, error) {
	return func(c *query.Comparison) (string, error) {
		if strings.Contains(c.Value, "\n") {
			return "", errLine
		}
		if c.Op == "*=" {
			return pattern(c, column, false)
		}
		return whole(c, column, c.Value, false), nil
	}
}

// kinds is member with the words any and none.
func kinds(column string) func(*query.Comparison) (string, error) {
	is := member(column)
	return func(c *query.Comparison) (string, error) {
		switch v := lower(c.Value); {
		case c.Op == "*=":
		case v == anyValue || v == "true":
			return column + " != ''", nil
		case v == noneValue || v == "false":
			return column + " = ''", nil
		}
		return is(c)
	}
}

// compareHost compares the names that lead to it, which DNS has in ASCII, with one
// that may be written in any script.
func compareHost(c *query.Comparison) (string, error) {
	if c.Op != "*=" {
		in := *c
		in.Value = schemas.NameInDNS(c.Value)
		if !strings.HasPrefix(in.Value, "xn--") && !strings.Contains(in.Value, ".xn--") { // as it is written, then
			in.Value = c.Value
		}
		c = &in
	}
	return list("host", true)(c)
}

// compareDomain: = is the domain and all below it, by the column that holds
// every domain that a name lies in.
func compareDomain(c *query.Comparison) (string, error) {
	if strings.Contains(c.Value, "\n") {
		return "", errLine
	}
	name := schemas.NameInDNS(lower(c.Value))
	switch c.Op {
	case "*=":
		return pattern(c, "host", true)
	case "==":
		return whole(c, "host", name, true), nil
	}
	if name == "" {
		return "host != ''", nil
	}
	return "has(domain, " + c.Param("String", name) + ")", nil
}

func compareIcon(c *query.Comparison) (string, error) {
	if _, err := strconv.ParseInt(c.Value, 10, 64); err != nil {
		return "", query.Bad("%q is no hash of an icon: write a number such as -247388890", "%q 不是图标的哈希：应为 -247388890 这样的数", c.Value)
	}
	return "icon_hash = " + c.Param("String", c.Value), nil
}

func compareIP(c *query.Comparison) (string, error) {
	p, err := netip.ParsePrefix(c.Value)
	if err != nil || c.Op == "==" {
		a, notOne := netip.ParseAddr(c.Value)
		if notOne != nil && err == nil {
			return "", query.Bad("== is for one address: write = for a network", "== 只用于单个地址，网段用 =")
		}
		if notOne != nil {
			return "", query.Bad("%q is neither an address nor a network", "%q 不是地址，也不是网段", c.Value)
		}
		if a = a.WithZone(""); a == netip.IPv6Unspecified() {
			return "0", nil // it stands for none
		}
		return "ip = " + addrParam(c, a), nil
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	sql := "ip >= " + addrParam(c, p.Addr()) + " AND ip <= " + addrParam(c, lastOf(p))
	if p.Addr() == netip.IPv6Unspecified() { // IPv4 and what has no address lie in it
		sql += " AND " + sqlIPv6
	}
	return "(" + sql + ")", nil
}

func addrParam(c *query.Comparison, a netip.Addr) string {
	b := a.As16()
	return "toIPv6(" + c.Param("String", in6(netip.AddrFrom16(b))) + ")"
}

// in6 writes an address as IPv6: ::ffff:192.0.2.1.
func in6(a netip.Addr) string {
	b := a.As16()
	return netip.AddrFrom16(b).String()
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func number(column, typ string) func(*query.Comparison) (string, error) {
	bits, _ := strconv.Atoi(strings.TrimPrefix(typ, "UInt"))
	return func(c *query.Comparison) (string, error) {
		n, err := strconv.ParseUint(c.Value, 10, bits)
		if err != nil {
			return "", query.Bad("%q is not a number from 0 to %d", "%q 不是 0 至 %d 的数", c.Value, 1<<bits-1)
		}
		op := c.Op
		if op == "==" {
			op = "="
		}
		return column + " " + op + " " + c.Param(typ, strconv.FormatUint(n, 10)), nil
	}
}

func truth(sql string) func(*query.Comparison) (string, error) {
	return func(c *query.Comparison) (string, error) {
		switch lower(c.Value) {
		case "true", "1", "yes", "是":
			return "(" + sql + ")", nil
		case "false", "0", "no", "否":
			return "NOT (" + sql + ")", nil
		}
		return "", query.Bad("this field is = true or = false", "该字段只能 = true 或 = false")
	}
}

func moment(column string) func(*query.Comparison) (string, error) {
	return func(c *query.Comparison) (string, error) {
		from, to, err := c.Moment()
		if err != nil {
			return "", err
		}
		if c.Op == "=" || c.Op == "==" {
			return "(" + column + " >= " + c.TimeParam(from) + " AND " + column + " < " + c.TimeParam(to) + ")", nil
		}
		return column + " " + c.Op + " " + c.TimeParam(from), nil
	}
}

// bound is FOFA's after and before.
func bound(column, op string) func(*query.Comparison) (string, error) {
	return func(c *query.Comparison) (string, error) {
		from, _, err := c.Moment()
		if err != nil {
			return "", err
		}
		return column + " " + op + " " + c.TimeParam(from), nil
	}
}
