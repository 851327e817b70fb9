package registry

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/simplifiedchinese"
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

// WriteFile writes the content by the ending of name: .yaml, .xlsx, or .csv,
// which holds one kind of entry.
func WriteFile(name string, w io.Writer, c *Content) error {
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".yaml", ".yml":
		enc := yaml.NewEncoder(w)
		enc.SetIndent(2)
		return errors.Join(enc.Encode(c), enc.Close())
	case ".xlsx":
		return writeExcel(w, c)
	case ".csv":
		return writeCSV(w, c)
	default:
		return fmt.Errorf("writing %s: the ending %q is none of .yaml, .xlsx, .csv", name, ext)
	}
}

// writeCSV writes the one kind of entry there is, in Chinese, so that Excel
// shows it: with a byte order mark, and no cell that it would calculate.
func writeCSV(w io.Writer, c *Content) error {
	var one *sheet
	for i := range sheets {
		if len(sheets[i].rows(c)) == 0 {
			continue
		}
		if one != nil {
			return fmt.Errorf("a CSV file holds one kind of entry, and there are %s and %s", one.kind, sheets[i].kind)
		}
		one = &sheets[i]
	}
	if one == nil {
		return errors.New("there is nothing to write")
	}
	if _, err := io.WriteString(w, "\xef\xbb\xbf"); err != nil {
		return err
	}
	out := csv.NewWriter(w)
	for _, row := range one.table(c) {
		for i, cell := range row {
			if strings.IndexAny(cell, "=+-@") == 0 {
				row[i] = "\t" + cell // reading takes it away again
			}
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// table is the header and the rows, in Chinese.
func (sh *sheet) table(c *Content) [][]string {
	header := make([]string, len(sh.columns))
	for i, col := range sh.columns {
		header[i] = col.title
	}
	rows := append([][]string{header}, sh.rows(c)...)
	for _, row := range rows[1:] {
		for i := range row {
			row[i] = sh.columns[i].words.zh(row[i])
		}
	}
	return rows
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

var sheets = []sheet{
	{
		kind: "units", title: "单位",
		columns: unitColumns,
		read: func(c *Content, get func(string) string) error {
			c.Units = append(c.Units, schemas.Unit{
				Code: get("code"), Name: get("name"), Level: schemas.UnitLevel(strings.ToLower(get("level"))), Parent: get("parent"),
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
		columns: networkColumns,
		read: func(c *Content, get func(string) string) error {
			p, err := prefix("prefix", get("prefix"))
			scan, errScan := truth("scan", get("scan"))
			exclude, errExclude := prefixes("exclude", get("exclude"))
			rate, errRate := perSecondOf("rate", get("rate"))
			hostRate, errHostRate := perSecondOf("host_rate", get("host_rate"))
			c.Networks = append(c.Networks, schemas.Network{
				Prefix: p, Unit: get("unit"), Name: get("name"), Scan: scan,
				Exclude: exclude, Hours: get("hours"), Rate: rate, HostRate: hostRate,
			})
			return errors.Join(err, errScan, errExclude, errRate, errHostRate)
		},
		rows: func(c *Content) (out [][]string) {
			for _, n := range c.Networks {
				out = append(out, []string{
					n.Prefix.String(), n.Unit, n.Name, strconv.FormatBool(n.Scan),
					addressList(n.Exclude), n.Hours, positive(n.Rate), positive(n.HostRate),
				})
			}
			return out
		},
	},
	{
		kind: "domains", title: "域名",
		columns: domainColumns,
		read: func(c *Content, get func(string) string) error {
			scan, err := truth("scan", get("scan"))
			rate, errRate := perSecondOf("rate", get("rate"))
			c.Domains = append(c.Domains, schemas.Domain{
				Name: get("name"), Unit: get("unit"), Scan: scan, Exclude: fields(get("exclude")), Hours: get("hours"), Rate: rate,
			})
			return errors.Join(err, errRate)
		},
		rows: func(c *Content) (out [][]string) {
			for _, d := range c.Domains {
				out = append(out, []string{d.Name, d.Unit, strconv.FormatBool(d.Scan), strings.Join(d.Exclude, "\n"), d.Hours, positive(d.Rate)})
			}
			return out
		},
	},
	systemSheet,
	{
		kind: "contacts", title: "联系人",
		columns: contactColumns,
		read: func(c *Content, get func(string) string) error {
			c.Contacts = append(c.Contacts, Contact{Unit: get("unit"), Duty: Duty(strings.ToLower(get("duty"))), Person: Person{Name: get("name"), Phone: get("phone"), Email: get("email")}})
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
		columns: whitelistColumns,
		read:    readEntry,
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
		Kind: schemas.WhitelistKind(strings.ToLower(get("kind"))), Domain: get("domain"), Transport: get("transport"),
		Service: get("service"), Unit: get("unit"), System: get("system"), Reason: get("reason"),
		AskedBy: get("asked_by"), ApprovedBy: get("approved_by"),
	}
	var errs [4]error
	if s := get("host"); s != "" {
		w.Host, errs[0] = prefix("host", s)
	}
	if s := get("port"); s != "" {
		if w.Port, errs[1] = strconv.Atoi(s); errs[1] != nil {
			errs[1] = bad("port", "port %q is not a number", "端口 %q 不是数字", s)
		}
	}
	w.From, errs[2] = date("from", get("from"))
	w.Until, errs[3] = date("until", get("until"))
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

func prefix(column, s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, bad(column, "%q is neither an address nor a network such as 192.0.2.0/24", "%q 不是地址，也不是 192.0.2.0/24 这样的网段", s)
	}
	return p, nil
}

func truth(column, s string) (bool, error) {
	switch strings.ToLower(s) {
	case "", "false", "no", "0", "否":
		return false, nil
	case "true", "yes", "1", "是":
		return true, nil
	}
	return false, bad(column, "%q is neither yes nor no", "%q 不是“是”或“否”", s)
}

// readTable reads rows, with their numbers, whose first is a header in English or
// Chinese.
func readTable(sh *sheet, where string, rows [][]string, numbers []int, c *Content) error {
	if len(rows) == 0 {
		return nil
	}
	columns := map[string]int{}
	var p problems
	header := func(cell, en, zh string) {
		p.keep(&RowError{Sheet: where, Row: numbers[0], Column: cell, En: fmt.Sprintf(en, cell), Zh: fmt.Sprintf(zh, cell)})
	}
	for i, cell := range rows[0] {
		cell = strings.TrimSpace(cell)
		if cell == "" {
			continue
		}
		col := sh.column(cell)
		if col == nil {
			header(cell, "column %q is not known here", "没有名为 %q 的列")
			continue
		}
		if _, twice := columns[col.name]; twice {
			header(cell, "column %q is there twice", "列 %q 重复")
		}
		columns[col.name] = i
	}
	for i, row := range rows[1:] {
		var errs []error
		get := func(name string) string {
			at, ok := columns[name]
			if !ok || at >= len(row) {
				return ""
			}
			col := sh.column(name)
			cell := col.plain(row[at])
			if slices.Contains(failed, cell) {
				errs = append(errs, bad(name, "the formula has failed: %s", "公式出错：%s", cell))
			}
			return col.words.value(cell)
		}
		if strings.TrimSpace(strings.Join(row, "")) == "" {
			continue
		}
		at := place{sh, where, numbers[i+1]}
		if c.places == nil {
			c.places = map[string][]place{}
		}
		c.places[sh.kind] = append(c.places[sh.kind], at)
		if err := sh.read(c, get); len(errs) == 0 { // what else is wrong comes of it
			errs = leaves(err)
		}
		for _, err := range errs {
			p.keep(at.problem(err))
		}
	}
	return p.err()
}

// column is the one of a name in English or Chinese, or nil.
func (sh *sheet) column(name string) *column {
	for i := range sh.columns {
		if col := &sh.columns[i]; strings.EqualFold(name, col.name) || name == col.title {
			return col
		}
	}
	return nil
}

func readCSV(raw []byte) (*Content, error) {
	if !utf8.Valid(raw) { // Excel in Chinese
		text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(raw)
		if err != nil {
			return nil, fmt.Errorf("the text is neither UTF-8 nor GB18030: %w", err)
		}
		if bytes.ContainsRune(text, utf8.RuneError) { // GB18030 has no other way to it
			return nil, bad("", "the text is neither UTF-8 nor GB18030", "文本既不是 UTF-8，也不是 GB18030")
		}
		raw = text
	}
	rows, numbers, err := lines(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))) // Excel writes a BOM
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, bad("", "no header row", "没有表头")
	}
	var c Content
	sh, err := sheetOfHeader(rows[0])
	if err != nil {
		return nil, err
	}
	return &c, readTable(sh, sh.kind, rows, numbers, &c)
}

// sheetOfHeader finds the one kind of entry that knows every column.
func sheetOfHeader(header []string) (*sheet, error) {
	best, most := -1, 0
	for i := range sheets {
		known := 0
		for _, cell := range header {
			if sheets[i].column(strings.TrimSpace(cell)) != nil {
				known++
			}
		}
		if known > most {
			best, most = i, known
		}
	}
	if best < 0 {
		return nil, bad("", "the header %q, which the first row is, is of no kind of entry (units, networks, domains, systems, contacts, whitelist)",
			"第一行应为表头，而 %q 不是单位、网络、域名、信息系统、联系人、白名单任一种的表头", strings.Join(header, ","))
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
			rows, err := sheetRows(f, sh, name)
			if err != nil {
				return nil, fmt.Errorf("sheet %s: %w", name, err)
			}
			errs = append(errs, readTable(sh, "sheet "+name, rows, counted(rows), &c))
		}
	}
	if !found {
		return nil, bad("", "no sheet is named 单位 (units), 网络 (networks), 域名 (domains), 信息系统 (systems), 联系人 (contacts) or 白名单 (whitelist)",
			"没有名为单位、网络、域名、信息系统、联系人或白名单的工作表")
	}
	return &c, errors.Join(errs...)
}

func writeExcel(w io.Writer, c *Content) error {
	return workbook(w, func(f *excelize.File) error {
		for i := range sheets {
			if err := addSheet(f, sheets[i].title, sheets[i].table(c)); err != nil {
				return err
			}
		}
		return nil
	})
}

// workbook writes what fill puts into an empty workbook.
func workbook(w io.Writer, fill func(*excelize.File) error) (err error) {
	f := excelize.NewFile()
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.DeleteSheet("Sheet1"); err != nil {
		return fmt.Errorf("removing the empty sheet: %w", err)
	}
	_, err = f.WriteTo(w)
	return err
}

func addSheet(f *excelize.File, title string, rows [][]string) error {
	if _, err := f.NewSheet(title); err != nil {
		return fmt.Errorf("sheet %s: %w", title, err)
	}
	for i, row := range rows {
		if err := f.SetSheetRow(title, "A"+strconv.Itoa(i+1), &row); err != nil {
			return fmt.Errorf("sheet %s row %d: %w", title, i+1, err)
		}
	}
	return nil
}
