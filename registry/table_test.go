package registry

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// everything is one of each kind.
const everything = portal + `
networks: [{prefix: 192.0.2.0/24, unit: "10001", name: "=主校区", scan: true, exclude: [192.0.2.64/28, 192.0.2.250/32], hours: "周一至周五 22:00-6:00；周六、周日", rate: 1000, host_rate: 50}]
domains: [{name: example.edu.cn, unit: "10001", scan: false, exclude: [Secret.example.edu.cn.], hours: "22:00-06:00", rate: 100}]
contacts: [{unit: "10001", duty: security_officer, name: 李四, phone: "+86 139 0000 0000"}]
`

// TestTemplate fills the template in Chinese, as a person would, and reads it.
func TestTemplate(t *testing.T) {
	var b bytes.Buffer
	if err := WriteTemplate(&b); err != nil {
		t.Fatal(err)
	}
	empty, err := ReadFile("t.xlsx", bytes.NewReader(b.Bytes()))
	if err != nil || empty.Len() != 0 {
		t.Fatalf("the empty template holds %d entries, %v", empty.Len(), err)
	}
	f, err := excelize.OpenReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	choices, err := f.GetDataValidations("单位")
	if err != nil || len(choices) != 1 || !strings.Contains(choices[0].Formula1, "高校") {
		t.Errorf("%+v, %v", choices, err)
	}
	// The examples of the guide are a registry that is right.
	for i := range sheets {
		sh := &sheets[i]
		for n, col := range sh.columns {
			cell, err := excelize.CoordinatesToCellName(n+1, 2)
			if err != nil {
				t.Fatal(err)
			}
			value := col.example
			if sh.kind == "units" && col.name == "parent" || sh.kind == "whitelist" && col.name == "domain" {
				value = ""
			}
			if err := f.SetCellStr(sh.title, cell, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	var filled bytes.Buffer
	if _, err := f.WriteTo(&filled); err != nil {
		t.Fatal(err)
	}
	c, err := ReadFile("t.xlsx", &filled)
	if err != nil || c.Len() != len(sheets) {
		t.Fatalf("%d entries, %v", c.Len(), err)
	}
	r := backends[0].open(t)
	if n, err := r.Put(context.Background(), "me", c); err != nil || n != len(sheets) {
		t.Errorf("%d, %v", n, err)
	}
}

// TestTablesInChinese writes each kind as CSV and Excel, in Chinese words, and
// reads it back.
func TestTablesInChinese(t *testing.T) {
	c := read(t, "a.yaml", everything)
	if err := Check(c); err != nil {
		t.Fatal(err)
	}
	for _, kind := range Kinds() {
		one, err := c.Only(kind)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := WriteFile(kind+".csv", &b, one); err != nil {
			t.Fatal(err)
		}
		gbk, err := simplifiedchinese.GB18030.NewEncoder().Bytes(bytes.TrimPrefix(b.Bytes(), []byte("\xef\xbb\xbf")))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{b.Bytes(), gbk} {
			back, err := ReadFile(kind+".csv", bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := Check(back); err != nil {
				t.Fatal(err)
			}
			want, _ := recordsOf(one)
			got, _ := recordsOf(back)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(record{})); diff != "" {
				t.Errorf("%s: %s", kind, diff)
			}
		}
		if strings.Contains(b.String(), ",=") || strings.Contains(b.String(), "\n+") || strings.Contains(b.String(), "true") {
			t.Errorf("%s: %s", kind, b.String())
		}
	}
	if err := WriteFile("all.csv", &bytes.Buffer{}, c); err == nil || !strings.Contains(err.Error(), "one kind of entry") {
		t.Errorf("%v", err)
	}
}

// TestRowErrors: whatever finds the mistake, it is told by sheet, row and column
// in both languages.
func TestRowErrors(t *testing.T) {
	f := func(csv string, want ...RowError) {
		t.Helper()
		c, err := ReadFile("x.csv", strings.NewReader(csv))
		if err == nil {
			_, err = backends[0].open(t).Put(context.Background(), "me", c)
		}
		var got []RowError
		for _, e := range RowErrors(err) {
			got = append(got, *e)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
	}
	f("类型,主机,端口,单位代码\n端口,192.0.2.1,http,a\n,,,\n端口,here,22,a\n",
		RowError{"whitelist", 2, "端口", `端口 "http" 不是数字`, `port "http" is not a number`},
		RowError{"whitelist", 4, "主机", `"here" 不是地址，也不是 192.0.2.0/24 这样的网段`, `"here" is neither an address nor a network such as 192.0.2.0/24`})
	f("类型,主机,端口,单位代码\n端口,192.0.2.1,0,a\n大门,192.0.2.1,1,a\n",
		RowError{"whitelist", 2, "端口", "端口 0 不在 1 至 65535 之间", "port 0 is not between 1 and 65535"},
		RowError{"whitelist", 3, "类型", `类型 "大门" 不是域名、主机、端口之一`, `kind "大门" is none of domain, host, port`})
	f("类型,主机,单位代码\n主机,192.0.2.1,a\n",
		RowError{"whitelist", 2, "单位代码", `台账中没有单位 "a"`, `unit "a" is not in the registry`})
	f("单位代码,职责,姓名,电话\na,安全员,张三,无\n",
		RowError{"contacts", 2, "电话", "不是电话号码：数字，可带 + - ( ) 与空格，最长 32 位", "phone is no telephone number: digits, with + - ( ) and spaces, at most 32"})
	f("单位代码,单位名称,颜色\na,甲,红\n", RowError{"units", 1, "颜色", `没有名为 "颜色" 的列`, `column "颜色" is not known here`})
	f("系统代码,系统名称,单位代码,负责人,负责人电话\nx,甲,a,张三,无\n",
		RowError{"systems", 2, "负责人电话", "负责人：不是电话号码：数字，可带 + - ( ) 与空格，最长 32 位", "responsible: phone is no telephone number: digits, with + - ( ) and spaces, at most 32"})
}
