package registry

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"fengsui/internal/hours"
)

// filled is a workbook of one sheet whose cells are set one by one.
func filled(t *testing.T, title string, set func(f *excelize.File) error) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	err := workbook(&b, func(f *excelize.File) error {
		if _, err := f.NewSheet(title); err != nil {
			return err
		}
		return set(f)
	})
	if err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestWrittenByHand: what an input method, a habit or Excel makes of a value.
func TestWrittenByHand(t *testing.T) {
	c, err := ReadFile("w.csv", strings.NewReader("类型,主机,端口,单位代码,事由,生效日期,失效日期\n"+
		"端口,１９２．０．２．１,４４３,ｕ１,门户（新）,2026年 9月 1日,长期\n"))
	if err != nil {
		t.Fatal(err)
	}
	w := c.Whitelist[0]
	if w.Host.String() != "192.0.2.1/32" || w.Port != 443 || w.Unit != "u1" || w.Reason != "门户（新）" || !w.Until.IsZero() {
		t.Errorf("%+v", w)
	}

	first := time.Date(2026, 8, 31, 16, 0, 0, 0, time.UTC) // midnight in China, wherever this runs
	f := func(text string, want time.Time) {
		t.Helper()
		if got, err := date("from", text); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"2026-09-01", "2026-9-1", "2026/9/1", "2026/09/01", "2026.9.1", "20260901", "2026年9月1日", "2026年09月01日", "2026年9月1号",
		"2026/9/1 0:00", "2026/9/1 0:00:00", "2026-09-01 00:00:00", "2026-09-01T00:00:00", "09-01-26",
	} {
		f(text, first)
	}
	f("2026-09-01 08:30", first.Add(8*time.Hour+30*time.Minute))
	f("2026-09-01T00:00:00+00:00", time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC))
	for _, text := range []string{"长期", "永久", "立即"} {
		f(text, time.Time{})
	}
	for _, text := range []string{"2026年9月", "2026-02-30", "9月1日", "2026", "明天", "1-2-3"} {
		if got, err := date("from", text); err == nil {
			t.Errorf("%s is %v", text, got)
		}
	}
}

// TestWorkbookAsItIsKept: cells that are merged, days that are shown in any way,
// and formulas that came to nothing.
func TestWorkbookAsItIsKept(t *testing.T) {
	day := time.Date(2027, 9, 1, 0, 0, 0, 0, time.UTC)
	custom := `m"月"d"日"`
	b := filled(t, "白名单", func(f *excelize.File) error {
		for i, row := range [][]any{
			{"单位代码", "类型", "主机", "端口", "失效日期"},
			{"u1", "端口", "192.0.2.1", 443, day},
			{nil, "端口", "192.0.2.1", 80, day},
			{nil, "端口", "192.0.2.1", 22, day},
			{nil, nil, nil, nil, nil}, // what is merged and otherwise empty is no entry
		} {
			cell, _ := excelize.CoordinatesToCellName(1, i+1)
			if err := f.SetSheetRow("白名单", cell, &row); err != nil {
				return err
			}
		}
		for cell, style := range map[string]*excelize.Style{"E2": {NumFmt: 14}, "E3": {CustomNumFmt: &custom}, "E4": {NumFmt: 31}} {
			id, err := f.NewStyle(style)
			if err == nil {
				err = f.SetCellStyle("白名单", cell, cell, id)
			}
			if err != nil {
				return err
			}
		}
		return f.MergeCell("白名单", "A2", "A5")
	})
	c, err := ReadFile("w.xlsx", b)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Whitelist) != 3 {
		t.Fatalf("%d entries", len(c.Whitelist))
	}
	for _, w := range c.Whitelist {
		if w.Unit != "u1" || w.Until.In(hours.Zone).Format(time.DateOnly) != "2027-09-01" {
			t.Errorf("%+v", w)
		}
	}

	b = filled(t, "单位", func(f *excelize.File) error {
		for cell, text := range map[string]string{"A1": "单位代码", "B1": "单位名称", "C1": "级别", "A2": "u1", "B2": "#N/A", "C2": "省"} {
			if err := f.SetCellStr("单位", cell, text); err != nil {
				return err
			}
		}
		return nil
	})
	_, err = ReadFile("u.xlsx", b)
	if diff := cmp.Diff([]*RowError{{"sheet 单位", 2, "单位名称", "公式出错：#N/A", "the formula has failed: #N/A"}}, RowErrors(err)); diff != "" {
		t.Errorf("%v: %s", err, diff)
	}
}

// TestRowsAreCountedAsTheyAreSeen: a mistake is told by the row that a
// spreadsheet shows, also after empty lines and cells of several lines.
func TestRowsAreCountedAsTheyAreSeen(t *testing.T) {
	_, err := ReadFile("w.csv", strings.NewReader("类型,域名,单位代码,事由\r\n\r\n域名,a.example.edu.cn,a,\"一\r\n二\"\r\n\r\n端口,,a,\r\n端口,here,a,\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = ReadFile("w.csv", strings.NewReader("类型,主机,端口,单位代码,事由\n\n主机,192.0.2.1,,a,\"一\n二\"\n\n端口,192.0.2.1,http,a,\n"))
	rows := RowErrors(err)
	if len(rows) != 1 || rows[0].Row != 5 {
		t.Errorf("%v", err)
	}
	_, err = ReadFile("u.csv", strings.NewReader("单位代码,单位名称,单位名称\na,甲,乙\n"))
	if rows = RowErrors(err); len(rows) != 1 || rows[0].Row != 1 || rows[0].Column != "单位名称" {
		t.Errorf("%v", err)
	}
}

// TestTwiceIsToldByRow: entries that contradict each other, or leave others
// behind, are mistakes of their rows like any other.
func TestTwiceIsToldByRow(t *testing.T) {
	r := backends[0].open(t)
	ctx := context.Background()
	f := func(csv string, want ...*RowError) {
		t.Helper()
		c, err := ReadFile("x.csv", strings.NewReader(csv))
		if err == nil {
			_, err = r.Put(ctx, "me", c)
		}
		if diff := cmp.Diff(want, RowErrors(err)); diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
	}
	f("单位代码,单位名称,级别\na,甲,省\nb,乙,省\na,甲,省\n") // the same again is nothing
	f("单位代码,单位名称,级别\na,甲,省\nb,乙,省\na,丙,省\n",
		&RowError{"units", 4, "", "与第 2 行重复，内容不同", "is also in row 2, and differently"})
	f("系统代码,系统名称,单位代码\ns,门户,a\n")
	f("类型,主机,单位代码,信息系统代码\n主机,192.0.2.1,a,s\n")
	f("系统代码,系统名称,单位代码\ns,门户,b\n",
		&RowError{"systems", 2, "单位代码", "白名单中还有它的 1 条属于其他单位，须一并修改", "1 whitelist entries of it are of another unit: change them with it"})
}

// TestUnreadableTables: what is no table of ours is refused in both languages.
func TestUnreadableTables(t *testing.T) {
	f := func(text, en, zh string) {
		t.Helper()
		_, err := ReadFile("x.csv", strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), en) || !strings.Contains(err.Error(), zh) {
			t.Errorf("%q: %v", text, err)
		}
	}
	f("", "no header", "没有表头")
	f("某校资产登记表\n单位代码,单位名称,级别\n", "which the first row is", "第一行应为表头")
	f("单位代码\t单位名称\t级别\n", "is of no kind", "不是单位、网络")
	f("单位代码,单位名称\n\"a,坏引号\"x,b\n", "line 2", "第 2 行")
	f("\xb5\xa5\xce\xbb\xb4\xfa\xc2\xeb,name\na\xff,b\n", "neither UTF-8 nor GB18030", "也不是 GB18030") // in GB18030, and broken off
}

// TestNamesOfAnyScript: a name is kept as DNS has it, so that what is seen is equal
// to it, and what is no name is refused.
func TestNamesOfAnyScript(t *testing.T) {
	c, err := ReadFile("w.csv", strings.NewReader("类型,域名,单位代码\n域名,大学.公益,a\n域名,*.大学。公益,a\n域名,_x.example.edu.cn,a\n"))
	if err == nil {
		err = Check(c)
	}
	if err != nil || c.Whitelist[0].Domain != "xn--pss25c.xn--55qw42g" || c.Whitelist[1].Domain != "*.xn--pss25c.xn--55qw42g" || c.Whitelist[2].Domain != "_x.example.edu.cn" {
		t.Errorf("%+v, %v", c.Whitelist, err)
	}
	for _, name := range []string{"http://www.example.edu.cn", "www.example.edu.cn:8080", "www.example.edu.cn/oa", "a b.edu.cn", "*.*.edu.cn", "www.example.edu.cn（教务）", ""} {
		c, err := ReadFile("d.csv", strings.NewReader("域名,单位代码\n"+name+",a\n"))
		if err == nil {
			err = Check(c)
		}
		if rows := RowErrors(err); len(rows) != 1 || rows[0].Column != "域名" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
