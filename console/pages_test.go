package console

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"fengsui/registry"
	"fengsui/schemas"
)

// needsPage skips a test where the page is not built.
func needsPage(t *testing.T) {
	t.Helper()
	if _, err := fs.Stat(dist, "web/dist/index.html"); err != nil {
		t.Skip("the page is not built: make build")
	}
}

// enter opens the page that a hash names, and logs in.
func (s *station) enter(ctx context.Context, name, hash string) {
	s.t.Helper()
	do(s.t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(s.url+"/"+hash), chromedp.WaitVisible("#name", chromedp.ByQuery),
		chromedp.SendKeys("#name", name, chromedp.ByQuery), chromedp.SendKeys("#password", password, chromedp.ByQuery),
		chromedp.Click("button[type=submit]", chromedp.ByQuery), chromedp.WaitVisible("header nav", chromedp.ByQuery))
}

// leave logs out.
func leave(t *testing.T, ctx context.Context) {
	t.Helper()
	do(t, ctx, chromedp.Click("header button", chromedp.ByQuery), chromedp.WaitVisible("#name", chromedp.ByQuery))
}

// says evaluates an expression until it is what is wanted.
func says(t *testing.T, ctx context.Context, expression, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		do(t, ctx, chromedp.Evaluate("String("+expression+")", &got))
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %q, not %q", expression, got, want)
		}
	}
}

// press clicks the first element with a text.
func press(t *testing.T, ctx context.Context, element, text string) {
	t.Helper()
	says(t, ctx, `(() => { const e = [...document.querySelectorAll(`+strconv.Quote(element)+`)].find(e => e.innerText.replace(/\s/g, "").includes(`+
		strconv.Quote(strings.ReplaceAll(text, " ", ""))+`) && e.getClientRects().length && !e.disabled); e?.click(); return !!e })()`, "true")
}

// fits asserts that a page of a width does not run out of the window, and that
// every control on it has a name.
func fits(t *testing.T, ctx context.Context, width int64, name string) {
	t.Helper()
	do(t, ctx, chromedp.EmulateViewport(width, 900))
	says(t, ctx, "document.documentElement.scrollWidth <= window.innerWidth", "true")
	says(t, ctx, `[...document.querySelectorAll("main input:not([type=hidden]), main button, main textarea, main a[href]")]
		.filter(e => e.getClientRects().length && !e.closest("[aria-hidden=true]") && !(e.labels?.length || e.ariaLabel || e.innerText?.trim() || e.placeholder || e.title || e.closest("[title]") || e.querySelector("[aria-label]")))
		.map(e => e.outerHTML.slice(0, 200)).join("\n")`, "")
	picture(t, ctx, fmt.Sprintf("%s-%d", name, width))
}

// TestSearchPage is an analyst who writes a query, is helped with it and told of
// a mistake, narrows it, goes through its pages and takes it home.
func TestSearchPage(t *testing.T) {
	needsPage(t)
	db := openStore(t)
	now := time.Now().UTC().Truncate(time.Second)
	var rows []schemas.NotedAsset
	for i := range 120 {
		unit, city, name, title := "c1", "甲市", "http", fmt.Sprintf("教务系统 %d", i)
		if i%3 == 0 {
			unit, city = "c2", "乙市"
		}
		if i%10 == 0 {
			name, title = "redis", ""
		}
		ip := netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)})
		a := schemas.NotedAsset{
			Asset: schemas.Asset{
				Key: schemas.ServiceKey(ip, "tcp", 8000+i), Version: 1, Kind: schemas.AssetService, Unit: unit, IP: ip, Port: 8000 + i, Transport: "tcp", Alive: true, First: now, Last: now,
				Service: &schemas.Service{Name: name, HTTP: &schemas.HTTP{Title: title}},
			},
			Notes: schemas.Notes{City: []string{city}, System: []string{"教务"}, Filed: i%2 == 0, UnitIn: []string{unit, city}},
		}
		if name == "redis" {
			a.Notes.Drift, a.Service.Exposures = []string{string(schemas.UnlistedPort)}, []schemas.Exposure{{Kind: schemas.ExposureNoAuth}}
		}
		rows = append(rows, a)
	}
	must(t, db.InsertSearch(t.Context(), rows, "rows"))
	s := start(t, db, nil)
	s.user("zhang", registry.RoleAnalyst, "")
	s.user("of-c2", registry.RoleAnalyst, "c2")
	ctx := browse(t)
	query := func(text string) chromedp.Action {
		return chromedp.Tasks{chromedp.Evaluate(`document.querySelector("#search-query").select()`, nil), chromedp.SendKeys("#search-query", text, chromedp.ByQuery)}
	}
	const text = `document.querySelector("#search-query").value`
	const asked = `new URLSearchParams(location.hash.split("?")[1]).get("q")`

	s.enter(ctx, "zhang", "")
	press(t, ctx, "header nav a", "资产检索")
	shows(t, ctx, "#found", "120 项资产", "198.51.100.1", "8000/tcp", "redis", "教务", "未登记端口", "无需口令", "不在白名单")
	shows(t, ctx, "#buckets", "甲市", "80", "乙市", "40")

	// A query is completed word by word: a field, its operators, and the values
	// that assets have.
	do(t, ctx, query("prot"))
	shows(t, ctx, "[role=listbox]", "protocol", "服务协议")
	do(t, ctx, chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
	says(t, ctx, text, "protocol ")
	shows(t, ctx, "[role=listbox]", "==", "*=")
	do(t, ctx, chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
	says(t, ctx, text, "protocol = ")
	shows(t, ctx, "[role=listbox]", "http", "108 项资产", "redis", "12 项资产")
	picture(t, ctx, "search-completion")
	do(t, ctx, chromedp.SendKeys("#search-query", "red", chromedp.ByQuery), chromedp.KeyEvent(kb.ArrowDown))
	says(t, ctx, `document.getElementById(document.querySelector("#search-query").getAttribute("aria-activedescendant")).innerText.split(" ")[0]`, "redis")
	do(t, ctx, chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Enter))
	shows(t, ctx, "#found", "12 项资产", "198.51.100.1")
	says(t, ctx, asked, "protocol = redis")
	says(t, ctx, `document.querySelectorAll("#found tbody tr.ant-table-row").length`, "12")

	// A bucket narrows the search, by whatever field is counted.
	press(t, ctx, "#buckets a", "乙市")
	says(t, ctx, asked, "protocol = redis && unit == c2")
	shows(t, ctx, "#found", "4 项资产")

	// A mistake is shown where it is.
	do(t, ctx, query(`title = "教务" && prot = 1`+kb.Enter))
	shows(t, ctx, ".query", "第 17 个字符有误", "did you mean")
	says(t, ctx, `document.querySelector(".query mark").innerText + document.querySelector(".query mark").nextSibling.data`, "prot = 1")
	says(t, ctx, `document.querySelector("#search-query").ariaInvalid`, "true")
	says(t, ctx, `document.querySelectorAll("#found tbody tr.ant-table-row").length`, "0")
	picture(t, ctx, "search-mistake")

	// Pages.
	do(t, ctx, query(`title = "教务"`+kb.Enter))
	shows(t, ctx, "#found", "108 项资产", "第 1 页", "198.51.100.2")
	press(t, ctx, ".pager button", "下一页")
	shows(t, ctx, "#found", "第 2 页")
	press(t, ctx, ".pager button", "下一页")
	shows(t, ctx, "#found", "第 3 页", "198.51.100.120")
	says(t, ctx, `document.querySelectorAll("#found tbody tr.ant-table-row").length`, "8")
	says(t, ctx, `[...document.querySelectorAll(".pager button")].at(-1).disabled`, "true")
	press(t, ctx, ".pager button", "上一页")
	shows(t, ctx, "#found", "第 2 页")

	// Files, of what was asked for.
	dir := t.TempDir()
	do(t, ctx, cdpbrowser.SetDownloadBehavior(cdpbrowser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(dir))
	for label, name := range map[string]string{"CSV": "资产.csv", "Excel": "资产.xlsx"} {
		press(t, ctx, "#found a", label)
		eventually(t, func() bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil })
	}
	file, err := os.ReadFile(filepath.Join(dir, "资产.csv"))
	if lines := strings.Count(string(file), "\n") - 1; err != nil || lines != 108 || !strings.Contains(string(file), "198.51.100.120,8119,tcp") {
		t.Errorf("%d rows in the file, %v", lines, err)
	}

	// Whoever gets the address sees the same, within what is theirs.
	var hash string
	do(t, ctx, chromedp.Evaluate("location.hash", &hash))
	leave(t, ctx)
	s.enter(ctx, "of-c2", hash)
	shows(t, ctx, "#found", "36 项资产")
	says(t, ctx, text, `title = "教务"`)
	press(t, ctx, "header .ant-segmented-item", "English")
	shows(t, ctx, "#found", "36 assets", "not whitelisted", "Next")
	press(t, ctx, "header .ant-segmented-item", "中文")
	fits(t, ctx, 1280, "search")
	fits(t, ctx, 390, "search")
}

// TestAssetPage is an analyst who goes from a hit to what is around it, and to
// how it was.
func TestAssetPage(t *testing.T) {
	needsPage(t)
	db := openStore(t)
	s := start(t, db, nil)
	now := time.Now().UTC().Truncate(time.Microsecond)
	domain, current := fillMap(t, db, now)
	must(t, db.InsertSearch(t.Context(), []schemas.NotedAsset{{Asset: current}}, "rows"))
	s.user("of-c1", registry.RoleAnalyst, "c1")
	s.user("all", registry.RoleAuditor, "")
	ctx := browse(t)

	s.enter(ctx, "of-c1", "#/search")
	shows(t, ctx, "#found", "1 项资产")
	press(t, ctx, "#found tbody a", "198.51.100.10")
	says(t, ctx, `new URLSearchParams(location.hash.split("?")[1]).get("key")`, current.Key)
	shows(t, ctx, "#links", "主机 198.51.100.10", "提供", "证书 bb", "出示", "技术 nginx", "使用", "扫描 × 7")
	shows(t, ctx, ".picture", "198.51.100.10:443/tcp", "nginx")
	shows(t, ctx, "#asset-details", "https", "历次变化", "现在")
	fits(t, ctx, 1280, "asset")

	// What it was: by a version of it, and by a time.
	do(t, ctx, chromedp.Evaluate(`[...document.querySelectorAll("#asset-details tbody a")].at(-1).click()`, nil))
	shows(t, ctx, "#asset", "显示的是", "证书 aa")
	says(t, ctx, `document.querySelector("#links").innerText.includes("bb")`, "false")
	press(t, ctx, "#asset button", "现在")
	shows(t, ctx, "#links", "证书 bb")
	then := now.Add(-90 * time.Minute).Local().Format("2006-01-02T15:04")
	do(t, ctx, chromedp.Evaluate(`(() => { const e = document.querySelector("input[type=datetime-local]");
		Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(e, "`+then+`"); e.dispatchEvent(new Event("input", { bubbles: true })) })()`, nil))
	shows(t, ctx, "#links", "证书 aa")
	press(t, ctx, "#asset label", "含已结束的")
	press(t, ctx, "#asset button", "现在")
	shows(t, ctx, "#links", "证书 aa", "证书 bb", "已结束")

	// On by a link of the table, as by keyboard; further away by more steps.
	do(t, ctx, chromedp.Evaluate(`[...document.querySelectorAll("#links a")].find(e => e.innerText.includes("198.51.100.10")).focus()`, nil), chromedp.KeyEvent(kb.Enter))
	says(t, ctx, `new URLSearchParams(location.hash.split("?")[1]).get("key")`, "host/198.51.100.10")
	shows(t, ctx, "#links", "域名 www.c1.example.edu.cn", "解析到", "网段 198.51.100.0/24", "包含", "台账")
	press(t, ctx, "#asset .ant-segmented-item", "3 步")
	shows(t, ctx, "#links", "单位 甲市", "拥有")
	says(t, ctx, `document.querySelector("#asset").innerText.includes("`+otherAddr.String()+`")`, "false")
	fits(t, ctx, 390, "asset")
	leave(t, ctx)

	// Who sees everything finds the other city's host, by the name.
	do(t, ctx, chromedp.EmulateViewport(1440, 1000))
	s.enter(ctx, "all", "#/asset")
	do(t, ctx, chromedp.SendKeys("#asset-key", strings.TrimPrefix(domain.Key, "domain/")+kb.Enter, chromedp.ByQuery))
	shows(t, ctx, "#links", "主机 "+otherAddr.String(), "主机 198.51.100.10")
	do(t, ctx, chromedp.Navigate(s.url+"/#/asset?key="+url.QueryEscape("host/192.0.2.1")))
	shows(t, ctx, "#asset", "资产图里没有这一项")
}
