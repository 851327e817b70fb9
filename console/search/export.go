package search

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"

	"fengsui/internal/clickhouse"
	"fengsui/internal/hours"
)

// Column is what a table or a file shows of found assets.
type Column struct {
	Name  string // of the field
	Title string // Chinese
	Cell  func(*Found) string
}

// columns in the order that people read them in.
var columns = []Column{
	{"kind", "种类", func(f *Found) string { return f.Kind }},
	{"ip", "地址", func(f *Found) string {
		if !f.IP.IsValid() {
			return ""
		}
		return f.IP.String()
	}},
	{"port", "端口", func(f *Found) string { return nonzero(int(f.Port)) }},
	{"transport", "传输", func(f *Found) string { return f.Transport }},
	{"host", "主机名", func(f *Found) string { return strings.Join(f.Host, " ") }},
	{"protocol", "协议", func(f *Found) string { return f.Protocol }},
	{"product", "产品", func(f *Found) string { return f.Product }},
	{"version", "版本", func(f *Found) string { return f.Version }},
	{"os", "操作系统", func(f *Found) string { return f.OS }},
	{"server", "服务器", func(f *Found) string { return f.Server }},
	{"app", "组件", func(f *Found) string { return strings.Join(f.App, ", ") }},
	{"status", "状态码", func(f *Found) string { return nonzero(int(f.Status)) }},
	{"title", "标题", func(f *Found) string { return f.Title }},
	{"icon_hash", "图标", func(f *Found) string { return f.IconHash }},
	{"unit", "单位", func(f *Found) string { return f.Unit }},
	{"unit_name", "单位名称", func(f *Found) string { return f.UnitName }},
	{"city", "地市", func(f *Found) string { return f.City }},
	{"county", "区县", func(f *Found) string { return f.County }},
	{"school", "学校", func(f *Found) string { return f.School }},
	{"system", "信息系统", func(f *Found) string { return f.System }},
	{"level", "等级保护", func(f *Found) string { return nonzero(int(f.Level)) }},
	{"registered", "已登记", func(f *Found) string { return yesNo(f.Registered) }},
	{"whitelisted", "白名单", func(f *Found) string { return yesNo(f.Whitelisted) }},
	{"drift", "差异", func(f *Found) string { return strings.Join(f.Drift, ", ") }},
	{"exposure", "暴露", func(f *Found) string { return strings.Join(f.Exposure, ", ") }},
	{"alive", "存活", func(f *Found) string { return yesNo(f.Alive) }},
	{"first", "首次发现", func(f *Found) string { return f.First.In(hours.Zone).Format(time.DateTime) }},
	{"last", "最近发现", func(f *Found) string { return f.Last.In(hours.Zone).Format(time.DateTime) }},
	{"banner", "横幅", func(f *Found) string { return f.Banner }},
	{"cert", "证书", func(f *Found) string { return strings.Join(f.Cert, "\n") }},
	{"header", "响应头", func(f *Found) string { return f.Header }},
	{"body", "正文", func(f *Found) string { return f.Body }},
	{"key", "标识", func(f *Found) string { return f.Key }},
}

func nonzero(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func yesNo(b bool) string {
	if b {
		return "是"
	}
	return "否"
}

// shortList is what is shown where nobody says what to show.
var shortList = []string{"ip", "port", "protocol", "host", "title", "product", "version", "unit", "city", "system", "level", "whitelisted", "drift", "exposure", "last"}

// Columns are the named columns; none is those that are shown by default.
func Columns(names []string) ([]Column, error) {
	if len(names) == 0 {
		names = shortList
	}
	var out []Column
	for _, name := range names {
		found := false
		for _, c := range columns {
			if c.Name == strings.ToLower(strings.TrimSpace(name)) {
				out, found = append(out, c), true
			}
		}
		if !found {
			if _, err := AssetFieldNamed(name); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("the field %s is for conditions only", name)
		}
	}
	return out, nil
}

// EveryColumn is the names of all columns but the long ones.
func EveryColumn() []string {
	var out []string
	for _, c := range columns {
		if len(longOf([]Column{c})) == 0 {
			out = append(out, c.Name)
		}
	}
	return out
}

func longOf(shown []Column) []string {
	var out []string
	for _, c := range shown {
		for _, long := range Long {
			if c.Name == long {
				out = append(out, long)
			}
		}
	}
	return out
}

// Formats are the endings of files that can be written.
var Formats = []string{"csv", "xlsx"}

// FormatOf is the format that a file's name ends with.
func FormatOf(name string) (string, error) {
	switch ext := strings.ToLower(strings.TrimPrefix(filepath.Ext(name), ".")); ext {
	case "csv", "xlsx":
		return ext, nil
	}
	return "", fmt.Errorf("%s: want a name that ends with .csv or .xlsx", name)
}

// Export writes the assets that a query finds as a table, row by row, and says
// how many. q.Limit bounds them.
func Export(ctx context.Context, db *clickhouse.DB, q AssetQuery, shown []Column, format string, w io.Writer) (int, error) {
	q.Long = longOf(shown)
	var out rowWriter
	if format == "xlsx" {
		out = &sheetWriter{w: w}
	} else {
		out = newCSV(w)
	}
	header := make([]string, len(shown))
	for i, c := range shown {
		header[i] = c.Title
	}
	if err := out.row(header); err != nil {
		return 0, fmt.Errorf("writing the file: %w", err)
	}
	n, cells := 0, make([]string, len(shown))
	err := EachAsset(ctx, db, q, func(f *Found) error {
		for i, c := range shown {
			cells[i] = c.Cell(f)
		}
		n++
		return out.row(cells)
	})
	if err != nil {
		return n, err
	}
	if err := out.end(); err != nil {
		return n, fmt.Errorf("writing the file: %w", err)
	}
	return n, nil
}

type rowWriter interface {
	row([]string) error
	end() error
}

// csvWriter writes what Excel opens as UTF-8. Spreadsheets take a cell that
// begins like a formula for one, and what services say of themselves is not ours
// to trust: such a cell gets a ' before it.
type csvWriter struct {
	buf *bufio.Writer
	csv *csv.Writer
}

func newCSV(w io.Writer) *csvWriter {
	buf := bufio.NewWriter(w)
	_, _ = buf.WriteString("\ufeff") // an error comes again at Flush
	return &csvWriter{buf, csv.NewWriter(buf)}
}

func (c *csvWriter) row(cells []string) error {
	safe := make([]string, len(cells))
	for i, s := range cells {
		safe[i] = plainCell(s)
	}
	return c.csv.Write(safe)
}

func (c *csvWriter) end() error {
	c.csv.Flush()
	if err := c.csv.Error(); err != nil {
		return err
	}
	return c.buf.Flush()
}

// plainCell keeps a spreadsheet from computing a cell.
func plainCell(s string) string {
	t := strings.TrimLeft(s, " \u00a0\u3000")
	if t != "" && strings.ContainsRune("=+-@\t\r\n|％＝＋－＠", []rune(t)[0]) {
		return "'" + s
	}
	return s
}

// sheetWriter writes a workbook. Its cells are texts, which are never computed.
type sheetWriter struct {
	w      io.Writer
	file   *excelize.File
	stream *excelize.StreamWriter
	rows   int
}

const maxCell = 32_767 // characters, Excel's own bound

func (s *sheetWriter) row(cells []string) error {
	if s.file == nil {
		s.file = excelize.NewFile()
		var err error
		if s.stream, err = s.file.NewStreamWriter("Sheet1"); err != nil {
			return err
		}
	}
	values := make([]any, len(cells))
	for i, c := range cells {
		if r := []rune(c); len(r) > maxCell {
			c = string(r[:maxCell])
		}
		values[i] = strings.Map(inXML, c)
	}
	s.rows++
	return s.stream.SetRow("A"+strconv.Itoa(s.rows), values)
}

// inXML drops the characters that XML 1.0 cannot hold (2.2).
func inXML(r rune) rune {
	if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
		return -1
	}
	return r
}

func (s *sheetWriter) end() (err error) {
	defer func() {
		if e := s.file.Close(); err == nil {
			err = e
		}
	}()
	if err := s.stream.Flush(); err != nil {
		return err
	}
	return s.file.Write(s.w)
}
