package registry

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"
	"gopkg.in/yaml.v3"

	"fengsui/schemas"
)

// maxFile bounds a file that is imported, in bytes.
const maxFile = 64 << 20

// ReadFile reads a registry file by the ending of its name: .yaml or .yml, .csv
// (one kind of entry, told by its header) or .xlsx (a sheet for each kind).
// Errors name the row and the column.
func ReadFile(name string, r io.Reader) (*Content, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("reading %s: larger than %d MiB", name, maxFile>>20)
	}
	var c *Content
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".yaml", ".yml":
		c, err = readYAML(raw)
	case ".csv":
		c, err = readCSV(raw)
	case ".xlsx":
		c, err = readExcel(raw)
	default:
		err = fmt.Errorf("the ending %q is none of .yaml, .csv, .xlsx", ext)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return c, nil
}

// WriteFile writes the content by the ending of name: .yaml or .xlsx.
func WriteFile(name string, w io.Writer, c *Content) error {
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".yaml", ".yml":
		enc := yaml.NewEncoder(w)
		enc.SetIndent(2)
		return errors.Join(enc.Encode(c), enc.Close())
	case ".xlsx":
		return writeExcel(w, c)
	default:
		return fmt.Errorf("writing %s: the ending %q is neither .yaml nor .xlsx", name, ext)
	}
}

func readYAML(raw []byte) (*Content, error) {
	var c Content
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return &c, nil
}

// A sheet is one kind of entry as a table: its names, and its columns.
type sheet struct {
	kind, title string // the sheet's English and Chinese name
	columns     []column
	read        func(c *Content, get func(string) string) error
	rows        func(c *Content) [][]string
}

type column struct{ name, title string }

var sheets = []sheet{
	{
		kind: "units", title: "单位",
		columns: []column{{"code", "单位代码"}, {"name", "单位名称"}, {"level", "级别"}, {"parent", "上级单位代码"}, {"division", "行政区划代码"}, {"school_code", "学校标识码"}},
		read: func(c *Content, get func(string) string) error {
			c.Units = append(c.Units, schemas.Unit{
				Code: get("code"), Name: get("name"), Level: level(get("level")), Parent: get("parent"),
				Division: get("division"), SchoolCode: get("school_code"),
			})
			return nil
		},
		rows: func(c *Content) (out [][]string) {
			for _, u := range c.Units {
				out = append(out, []string{u.Code, u.Name, string(u.Level), u.Parent, u.Division, u.SchoolCode})
			}
			return out
		},
	},
	{
		kind: "networks", title: "网络",
		columns: []column{{"prefix", "网段"}, {"unit", "单位代码"}, {"name", "名称"}, {"scan", "授权扫描"}},
		read: func(c *Content, get func(string) string) error {
			p, err := prefix(get("prefix"))
			scan, errScan := truth(get("scan"))
			c.Networks = append(c.Networks, schemas.Network{Prefix: p, Unit: get("unit"), Name: get("name"), Scan: scan})
			return errors.Join(err, errScan)
		},
		rows: func(c *Content) (out [][]string) {
			for _, n := range c.Networks {
				out = append(out, []string{n.Prefix.String(), n.Unit, n.Name, strconv.FormatBool(n.Scan)})
			}
			return out
		},
	},
	{
		kind: "domains", title: "域名",
		columns: []column{{"name", "域名"}, {"unit", "单位代码"}, {"scan", "授权扫描"}},
		read: func(c *Content, get func(string) string) error {
			scan, err := truth(get("scan"))
			c.Domains = append(c.Domains, schemas.Domain{Name: get("name"), Unit: get("unit"), Scan: scan})
			return err
		},
		rows: func(c *Content) (out [][]string) {
			for _, d := range c.Domains {
				out = append(out, []string{d.Name, d.Unit, strconv.FormatBool(d.Scan)})
			}
			return out
		},
	},
	systemSheet,
	{
		kind: "contacts", title: "联系人",
		columns: []column{{"unit", "单位代码"}, {"duty", "职责"}, {"name", "姓名"}, {"phone", "电话"}, {"email", "电子邮箱"}},
		read: func(c *Content, get func(string) string) error {
			c.Contacts = append(c.Contacts, Contact{Unit: get("unit"), Duty: duty(get("duty")), Person: Person{Name: get("name"), Phone: get("phone"), Email: get("email")}})
			return nil
		},
		rows: func(c *Content) (out [][]string) {
			for _, p := range c.Contacts {
				out = append(out, []string{p.Unit, string(p.Duty), p.Name, p.Phone, p.Email})
			}
			return out
		},
	},
	{
		kind: "whitelist", title: "白名单",
		columns: []column{
			{"kind", "类型"},
			{"domain", "域名"},
			{"host", "主机"},
			{"port", "端口"},
			{"transport", "协议"},
			{"service", "服务"},
			{"unit", "单位代码"},
			{"system", "信息系统代码"},
			{"reason", "事由"},
			{"from", "生效日期"},
			{"until", "失效日期"},
			{"asked_by", "申请人"},
			{"approved_by", "审批人"},
		},
		read: readEntry,
		rows: func(c *Content) (out [][]string) {
			for i := range c.Whitelist {
				out = append(out, entryRow(&c.Whitelist[i]))
			}
			return out
		},
	},
}

func readEntry(c *Content, get func(string) string) error {
	w := schemas.WhitelistEntry{
		Kind: entryKind(get("kind")), Domain: get("domain"), Transport: get("transport"),
		Service: get("service"), Unit: get("unit"), System: get("system"), Reason: get("reason"),
		AskedBy: get("asked_by"), ApprovedBy: get("approved_by"),
	}
	var errs [4]error
	if s := get("host"); s != "" {
		w.Host, errs[0] = prefix(s)
	}
	if s := get("port"); s != "" {
		if w.Port, errs[1] = strconv.Atoi(s); errs[1] != nil {
			errs[1] = fmt.Errorf("port %q is not a number", s)
		}
	}
	w.From, errs[2] = date(get("from"))
	w.Until, errs[3] = date(get("until"))
	c.Whitelist = append(c.Whitelist, w)
	return errors.Join(errs[:]...)
}

func entryRow(w *schemas.WhitelistEntry) []string {
	host, port := "", ""
	if w.Host.IsValid() {
		host = w.Host.String()
		if w.Host.IsSingleIP() {
			host = w.Host.Addr().String()
		}
	}
	if w.Port > 0 {
		port = strconv.Itoa(w.Port)
	}
	day := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.RFC3339)
	}
	return []string{string(w.Kind), w.Domain, host, port, w.Transport, w.Service, w.Unit, w.System, w.Reason, day(w.From), day(w.Until), w.AskedBy, w.ApprovedBy}
}

// level and entryKind accept the Chinese words that people keep in their tables.
func level(s string) schemas.UnitLevel {
	if v, ok := map[string]schemas.UnitLevel{
		"省": schemas.Province, "省级": schemas.Province, "市": schemas.City, "市级": schemas.City,
		"高校": schemas.University, "大学": schemas.University, "县": schemas.County, "县级": schemas.County,
		"区县": schemas.County, "学校": schemas.School, "中小学": schemas.School,
	}[s]; ok {
		return v
	}
	return schemas.UnitLevel(strings.ToLower(s))
}

func duty(s string) Duty {
	if v, ok := map[string]Duty{
		"负责人": Responsible, "责任人": Responsible, "安全员": SecurityOfficer, "网络安全员": SecurityOfficer, "联系人": Liaison,
	}[s]; ok {
		return v
	}
	return Duty(strings.ToLower(s))
}

func entryKind(s string) schemas.WhitelistKind {
	if v, ok := map[string]schemas.WhitelistKind{
		"域名": schemas.WhitelistDomain, "主机": schemas.WhitelistHost, "端口": schemas.WhitelistPort,
	}[s]; ok {
		return v
	}
	return schemas.WhitelistKind(strings.ToLower(s))
}

func prefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a network such as 192.0.2.0/24", s)
	}
	return p, nil
}

func truth(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "", "false", "no", "0", "否":
		return false, nil
	case "true", "yes", "1", "是":
		return true, nil
	}
	return false, fmt.Errorf("%q is neither yes (是) nor no (否)", s)
}

func date(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006/1/2", "2006年1月2日", time.DateTime} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date such as 2026-09-01", s)
}

// readTable reads rows whose first is a header in English or Chinese.
func readTable(sh *sheet, where string, rows [][]string, c *Content) error {
	if len(rows) == 0 {
		return nil
	}
	place := map[string]int{}
	var p problems
	for i, cell := range rows[0] {
		cell = strings.TrimSpace(cell)
		if cell == "" {
			continue
		}
		name := columnName(sh, cell)
		if name == "" {
			p.add(where, fmt.Errorf("column %q is not known here", cell))
			continue
		}
		place[name] = i
	}
	for i, row := range rows[1:] {
		get := func(name string) string {
			at, ok := place[name]
			if !ok || at >= len(row) {
				return ""
			}
			return strings.TrimSpace(row[at])
		}
		if strings.TrimSpace(strings.Join(row, "")) == "" {
			continue
		}
		p.add(fmt.Sprintf("%s row %d", where, i+2), sh.read(c, get))
	}
	return p.err()
}

func columnName(sh *sheet, cell string) string {
	for _, col := range sh.columns {
		if strings.EqualFold(cell, col.name) || cell == col.title {
			return col.name
		}
	}
	return ""
}

func readCSV(raw []byte) (*Content, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))) // Excel writes a BOM
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errors.New("no header row")
	}
	var c Content
	sh, err := sheetOfHeader(rows[0])
	if err != nil {
		return nil, err
	}
	return &c, readTable(sh, sh.kind, rows, &c)
}

// sheetOfHeader finds the one kind of entry that knows every column.
func sheetOfHeader(header []string) (*sheet, error) {
	best, most := -1, 0
	for i := range sheets {
		known := 0
		for _, cell := range header {
			if columnName(&sheets[i], strings.TrimSpace(cell)) != "" {
				known++
			}
		}
		if known > most {
			best, most = i, known
		}
	}
	if best < 0 {
		return nil, fmt.Errorf("the header %q is of no kind of entry (units, networks, domains, systems, contacts, whitelist)", strings.Join(header, ","))
	}
	return &sheets[best], nil
}

func readExcel(raw []byte) (_ *Content, err error) {
	f, err := excelize.OpenReader(bytes.NewReader(raw), excelize.Options{UnzipSizeLimit: 8 * maxFile, UnzipXMLSizeLimit: maxFile})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var c Content
	var errs []error
	found := false
	for i := range sheets {
		sh := &sheets[i]
		for _, name := range f.GetSheetList() {
			if !strings.EqualFold(name, sh.kind) && name != sh.title {
				continue
			}
			found = true
			rows, err := f.GetRows(name)
			if err != nil {
				return nil, fmt.Errorf("sheet %s: %w", name, err)
			}
			errs = append(errs, readTable(sh, "sheet "+name, rows, &c))
		}
	}
	if !found {
		return nil, errors.New("no sheet is named 单位 (units), 网络 (networks), 域名 (domains), 信息系统 (systems), 联系人 (contacts) or 白名单 (whitelist)")
	}
	return &c, errors.Join(errs...)
}

func writeExcel(w io.Writer, c *Content) (err error) {
	f := excelize.NewFile()
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, sh := range sheets {
		if _, err := f.NewSheet(sh.title); err != nil {
			return fmt.Errorf("sheet %s: %w", sh.title, err)
		}
		titles := make([]string, len(sh.columns))
		for i, col := range sh.columns {
			titles[i] = col.title
		}
		for i, row := range append([][]string{titles}, sh.rows(c)...) {
			cell, err := excelize.CoordinatesToCellName(1, i+1)
			if err != nil {
				return fmt.Errorf("sheet %s row %d: %w", sh.title, i+1, err)
			}
			if err := f.SetSheetRow(sh.title, cell, &row); err != nil {
				return fmt.Errorf("sheet %s row %d: %w", sh.title, i+1, err)
			}
		}
	}
	if err := f.DeleteSheet("Sheet1"); err != nil {
		return fmt.Errorf("removing the empty sheet: %w", err)
	}
	_, err = f.WriteTo(w)
	return err
}
