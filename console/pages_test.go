package console

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"fengsui/internal/hours"
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
		typed("#name", name), typed("#password", password),
		chromedp.Click("button[type=submit]", chromedp.ByQuery), chromedp.WaitVisible("header nav", chromedp.ByQuery))
}

// leave logs out.
func leave(t *testing.T, ctx context.Context) {
	t.Helper()
	press(t, ctx, "header button", "退出")
	do(t, ctx, chromedp.WaitVisible("#name", chromedp.ByQuery))
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

// press clicks the first element with a text, wherever it moves to meanwhile.
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
		return chromedp.Tasks{chromedp.Evaluate(`document.querySelector("#search-query").select()`, nil), typed("#search-query", text)}
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
	do(t, ctx, typed("#search-query", "red"), chromedp.KeyEvent(kb.ArrowDown))
	says(t, ctx, `document.getElementById(document.querySelector("#search-query").getAttribute("aria-activedescendant")).innerText.split(" ")[0]`, "redis")
	do(t, ctx, chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Enter))
	shows(t, ctx, "#found", "12 项资产", "198.51.100.1")
	says(t, ctx, asked, "protocol = redis")
	says(t, ctx, `document.querySelectorAll("#found tbody tr.ant-table-row").length`, "12")
	picture(t, ctx, "search-answer")

	// A bucket narrows the search, by whatever field is counted.
	press(t, ctx, "#buckets a", "乙市")
	says(t, ctx, asked, "protocol = redis && unit == c2")
	shows(t, ctx, "#found", "4 项资产")

	// A mistake is shown where it is.
	do(t, ctx, query(`title = "教务" && prot = 1`+kb.Enter))
	shows(t, ctx, ".query", "第 17 个字符有误", "是否为")
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
	do(t, ctx, typed("#asset-key", strings.TrimPrefix(domain.Key, "domain/")+kb.Enter))
	shows(t, ctx, "#links", "主机 "+otherAddr.String(), "主机 198.51.100.10")
	do(t, ctx, chromedp.Navigate(s.url+"/#/asset?key="+url.QueryEscape("host/192.0.2.1")))
	shows(t, ctx, "#asset", "资产图里没有这一项")
}

// TestDriftPage is a city's officer and a city's analyst who handle what differs.
func TestDriftPage(t *testing.T) {
	needsPage(t)
	db := openStore(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	drift := func(id string, kind schemas.DriftKind, severity schemas.Level, unit, asset string, change func(*schemas.Drift)) schemas.Drift {
		d := schemas.Drift{
			ID: id, Version: 1, Kind: kind, Status: schemas.DriftOpen, Asset: asset, Unit: unit, Severity: severity, Observed: "redis Redis 7.0.15",
			First: now.Add(-48 * time.Hour), Confirmed: now.Add(-47 * time.Hour), Last: now, Updated: now, Due: now.Add(24 * time.Hour),
			History: []schemas.DriftStep{{At: now.Add(-48 * time.Hour), Who: "fengsui", What: "suspected"}, {At: now.Add(-47 * time.Hour), Who: "fengsui", What: "open"}},
		}
		if change != nil {
			change(&d)
		}
		return d
	}
	must(t, db.InsertDrift(t.Context(), []schemas.Drift{
		drift("port", schemas.UnlistedPort, schemas.High, "c1", "service/198.51.100.20/tcp/6379", nil),
		drift("exposed", schemas.Exposed, schemas.Critical, "s1", "service/198.51.100.130/tcp/6379", func(d *schemas.Drift) {
			d.Detail, d.Due, d.Overdue = "no_auth", now.Add(-time.Hour), now
		}),
		drift("closed", schemas.ListedGone, schemas.Medium, "c1", "host/198.51.100.9/32", func(d *schemas.Drift) {
			d.Status, d.Reason, d.Closed = schemas.DriftClosed, "back", now
		}),
		drift("others", schemas.UnlistedHost, schemas.High, "c2", "host/203.0.113.20", nil),
	}, "drift"))
	s := start(t, db, nil)
	_, err := s.registry.Put(t.Context(), "test", &registry.Content{Contacts: []registry.Contact{{Unit: "c1", Duty: registry.SecurityOfficer, Person: registry.Person{Name: "李四", Phone: "0371-60000002"}}}})
	must(t, err)
	s.user("of-c1", registry.RoleAdmin, "c1")
	s.user("analyst", registry.RoleAnalyst, "c1")
	s.user("auditor", registry.RoleAuditor, "")
	ctx := browse(t)
	rows := `document.querySelectorAll("#drift-page tbody tr.ant-table-row").length`

	s.enter(ctx, "analyst", "#/drift")
	shows(t, ctx, "#drift-page", "未登记端口", "198.51.100.20:6379/tcp", "脆弱暴露", "无需口令", "甲市一中", "严重")
	says(t, ctx, rows, "2") // what is closed or of others is not among them
	press(t, ctx, "#drift-page label", "已逾期")
	says(t, ctx, rows, "1")
	press(t, ctx, "#drift-page label", "已逾期")
	says(t, ctx, rows, "2")
	do(t, ctx, chromedp.Evaluate(`location.hash = "#/drift?status=all&unit=c1&kind=listed_gone"`, nil))
	shows(t, ctx, "#drift-page", "已登记但消失", "已关闭")
	says(t, ctx, rows, "1")
	do(t, ctx, chromedp.Evaluate(`location.hash = "#/drift?unit=s1"`, nil))
	says(t, ctx, rows, "1")
	do(t, ctx, typed("#drift-query", "aset = 198"+kb.Enter))
	shows(t, ctx, "#drift-page", "第 2 个字符有误")
	says(t, ctx, `document.querySelector("#drift-page mark").innerText`, "a")

	// An analyst acknowledges and says that it is fixed; to accept is not offered.
	do(t, ctx, chromedp.Evaluate(`location.hash = "#/drift?unit=c1"`, nil))
	press(t, ctx, "#drift-page tbody a", "未登记端口")
	says(t, ctx, `new URLSearchParams(location.hash.split("?")[1]).get("id")`, "port")
	shows(t, ctx, "#drift-item", "李四", "安全员", "0371-60000002", "经过", "待复核", "期限")
	says(t, ctx, `[...document.querySelectorAll(".decide .ant-segmented-item")].map(e => e.innerText).join()`, "签收,已整改")
	do(t, ctx, typed("#assignee", "wang"), typed("#note", "正在核实"))
	press(t, ctx, ".decide button", "提交")
	shows(t, ctx, "#drift-item", "决定", "analyst", "acknowledged", "wang", "正在核实")
	press(t, ctx, ".decide .ant-segmented-item", "已整改")
	press(t, ctx, ".decide button", "提交")
	shows(t, ctx, "#drift-item", "fixed")
	leave(t, ctx)

	// An officer accepts: what the whitelist can allow becomes a request, and what
	// it cannot needs an end, as the API says.
	s.enter(ctx, "of-c1", "#/drift?id=exposed")
	shows(t, ctx, "#drift-item", "甲市一中", "已逾期")
	press(t, ctx, ".decide .ant-segmented-item", "接受")
	press(t, ctx, ".decide button", "提交")
	shows(t, ctx, "#until-mistake", "只能接受到一年以内的某个时间")
	says(t, ctx, `document.activeElement.id + document.querySelectorAll(".decide .ant-alert").length`, "until0")
	fill := func(day string) chromedp.Action {
		return chromedp.Evaluate(`(() => { const e = document.querySelector(".decide input[type=date]");
			Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(e, "`+day+`"); e.dispatchEvent(new Event("input", { bubbles: true })) })()`, nil)
	}
	until := time.Now().In(hours.Zone).AddDate(0, 1, 0).Format(time.DateOnly)
	do(t, ctx, fill(until))
	says(t, ctx, `String(document.querySelector("#until-mistake"))`, "null")
	press(t, ctx, ".decide button", "提交")
	shows(t, ctx, "#drift-item", "accepted", "of-c1")
	fits(t, ctx, 1280, "drift-item")
	fits(t, ctx, 390, "drift-item")
	says(t, ctx, `document.querySelector("#drift-item").getBoundingClientRect().left >= 0`, "true")
	do(t, ctx, chromedp.Evaluate(`location.hash = "#/drift?id=port"`, nil))
	shows(t, ctx, "#drift-item", "198.51.100.20")
	press(t, ctx, ".decide .ant-segmented-item", "接受")
	do(t, ctx, typed("#note", "选课期间"))
	press(t, ctx, ".decide button", "提交")
	shows(t, ctx, "#drift-item", "requested")
	requests, err := s.registry.Requests(t.Context(), registry.RequestPending)
	if err != nil || len(requests) != 1 || requests[0].Entry.Key() != "port/198.51.100.20/32/tcp/6379" || requests[0].AskedBy != "of-c1" || requests[0].Entry.Reason != "选课期间" {
		t.Errorf("%+v, %v", requests, err)
	}
	do(t, ctx, chromedp.Evaluate(`location.hash = "#/drift"`, nil))
	says(t, ctx, rows, "2")
	fits(t, ctx, 390, "drift")
	do(t, ctx, chromedp.EmulateViewport(1440, 1000))
	leave(t, ctx)

	// An auditor reads, of everything, and decides nothing; nobody reopens what is closed.
	s.enter(ctx, "auditor", "#/drift?id=others")
	shows(t, ctx, "#drift-item", "乙市", "203.0.113.20")
	says(t, ctx, `document.querySelectorAll(".decide").length`, "0")
	do(t, ctx, chromedp.Evaluate(`location.hash = "#/drift?id=closed"`, nil))
	shows(t, ctx, "#drift-item", "已恢复")
	press(t, ctx, "#drift-item a", "host/198.51.100.9/32")
	says(t, ctx, `new URLSearchParams(location.hash.split("?")[1]).get("key")`, "host/198.51.100.9")
}

// TestRegistryPage is the systems, what is asked for and approved, the past, and
// a file; each for those who may.
func TestRegistryPage(t *testing.T) {
	needsPage(t)
	db := openStore(t)
	s := start(t, db, nil)
	_, err := s.registry.Put(t.Context(), "test", &registry.Content{Systems: []registry.System{
		{System: schemas.System{Code: "jw", Name: "教务系统", Unit: "c1", State: schemas.SystemRegistered, Hosting: schemas.HostingOwn, Level: 3, Domains: []string{"jw.c1.example.edu.cn"}}, People: 12000},
		{System: schemas.System{Code: "other", Name: "别家系统", Unit: "c2", State: schemas.SystemApplied, Hosting: schemas.HostingOwn}},
	}})
	must(t, err)
	s.user("root", registry.RoleAdmin, "")
	s.user("of-c1", registry.RoleAdmin, "c1")
	s.user("li", registry.RoleAnalyst, "c1")
	ctx := browse(t)
	wrong := func(field string) string {
		return `document.querySelector(".ant-modal ` + field + `").closest(".ant-form-item").innerText`
	}
	tabs := `[...document.querySelectorAll("#registry [role=tab]")].map(e => e.innerText).join()`
	drawn := func(element, text string) {
		t.Helper()
		press(t, ctx, element+" tbody tr.ant-table-row", text)
		do(t, ctx, chromedp.WaitVisible(".ant-drawer-open", chromedp.ByQuery))
	}
	shut := func() {
		t.Helper()
		do(t, ctx, chromedp.KeyEvent(kb.Escape))
		says(t, ctx, `[...document.querySelectorAll(".ant-drawer-mask")].some(e => e.getClientRects().length)`, "false")
	}

	// Systems are registered by administrators, whole, with what the form leaves out.
	s.enter(ctx, "of-c1", "#/registry")
	press(t, ctx, "#systems button", "登记系统")
	do(t, ctx, chromedp.WaitVisible(".ant-modal #code", chromedp.ByQuery), typed("#code", "mail"), typed(".ant-modal #name", "邮件系统"),
		typed("#unit", "c1"), chromedp.KeyEvent(kb.Enter), typed("#addresses", "203.0.113.30"))
	press(t, ctx, ".ant-modal button", "提交")
	says(t, ctx, wrong("#addresses")+`.includes("203.0.113.30/32 在其他单位的网段内")`, "true")
	do(t, ctx, chromedp.Evaluate(`document.querySelector("#addresses").select()`, nil), typed("#addresses", "198.51.100.30"))
	press(t, ctx, ".ant-modal button", "提交")
	shows(t, ctx, "#systems", "邮件系统", "198.51.100.30")
	press(t, ctx, "#systems tbody tr.ant-table-row", "教务系统")
	press(t, ctx, ".ant-drawer-open button", "修改")
	do(t, ctx, chromedp.WaitVisible(".ant-modal #name", chromedp.ByQuery), typed(".ant-modal #name", "二期"))
	press(t, ctx, ".ant-modal button", "提交")
	shows(t, ctx, "#systems", "教务系统二期")
	shows(t, ctx, ".ant-drawer-open", "of-c1", "教务系统二期", "12,000 人", "jw.c1.example.edu.cn")
	leave(t, ctx)

	// Somebody of the city sees its system, with its history, and asks for an entry.
	s.enter(ctx, "li", "")
	press(t, ctx, "header nav a", "登记备案")
	shows(t, ctx, "#systems", "教务系统", "等保 3 级", "甲市", "登记")
	says(t, ctx, `document.querySelectorAll("#systems tbody tr.ant-table-row").length`, "2")
	says(t, ctx, `document.querySelectorAll("#systems button").length`, "0") // an analyst registers none
	says(t, ctx, tabs, "信息系统,申请与审批,白名单,单位,网段,域名")
	do(t, ctx, chromedp.Focus("#systems tbody tr.ant-table-row", chromedp.ByQuery), chromedp.KeyEvent(kb.Enter)) // without a mouse
	shows(t, ctx, ".ant-drawer-open", "12,000 人", "jw.c1.example.edu.cn", "经过", "test", "of-c1")
	shut()
	press(t, ctx, "#registry [role=tab]", "申请与审批")
	press(t, ctx, "#requests button", "提出申请")
	do(t, ctx, chromedp.WaitVisible(".ant-modal #host", chromedp.ByQuery), typed("#host", "203.0.113.20"), typed("#port", "443"),
		typed("#reason", "选课"), typed("#unit", "c1"), chromedp.KeyEvent(kb.Enter))
	press(t, ctx, ".ant-modal button", "提交")
	says(t, ctx, wrong("#host")+`.includes("不在您单位的网段内")`, "true")
	do(t, ctx, chromedp.Evaluate(`document.querySelector("#host").select()`, nil), typed("#host", "198.51.100.20"))
	press(t, ctx, ".ant-modal button", "提交")
	shows(t, ctx, "#requests", "待审批", "198.51.100.20:443/tcp", "选课", "li")
	drawn("#requests", "198.51.100.20")
	says(t, ctx, `[...document.querySelectorAll(".ant-drawer-open [data-decision]")].map(e => e.dataset.decision).join()`, "withdrawn") // nobody decides about their own
	shut()
	leave(t, ctx)

	// The city's administrator approves, and the entry says who both were.
	s.enter(ctx, "of-c1", "#/registry?tab=requests")
	drawn("#requests", "198.51.100.20")
	says(t, ctx, `[...document.querySelectorAll(".ant-drawer-open [data-decision]")].map(e => e.dataset.decision).join()`, "approved,refused")
	do(t, ctx, typed("#decision-note", "同意"))
	press(t, ctx, "[data-decision]", "批准")
	shows(t, ctx, "#requests", "没有申请") // none waits any more
	do(t, ctx, chromedp.Evaluate(`location.hash = "#/registry?tab=requests&state=approved"`, nil))
	shows(t, ctx, "#requests", "已批准", "of-c1")
	press(t, ctx, "#registry [role=tab]", "白名单")
	shows(t, ctx, "#whitelist", "198.51.100.9", "198.51.100.20:443/tcp", "li", "of-c1")
	says(t, ctx, `document.querySelectorAll("#whitelist tbody tr.ant-table-row").length`, "2")
	drawn("#whitelist", "198.51.100.20")
	shows(t, ctx, ".ant-drawer-open", "经过", "of-c1", "approved_by")
	press(t, ctx, ".ant-drawer-open button", "申请撤销")
	eventually(t, func() bool {
		pending, err := s.registry.Requests(t.Context(), registry.RequestPending)
		return err == nil && len(pending) == 1 && pending[0].Remove
	})
	shut()
	yesterday := time.Now().In(hours.Zone).AddDate(0, 0, -1).Format(time.DateOnly)
	do(t, ctx, chromedp.Evaluate(`location.hash = "#/registry?tab=whitelist&at=`+yesterday+`"`, nil))
	shows(t, ctx, "#registry", "显示的是 "+yesterday)
	shows(t, ctx, "#whitelist", "没有登记")
	press(t, ctx, "#registry button", "现在")
	shows(t, ctx, "#whitelist", "198.51.100.9")
	press(t, ctx, "#registry [role=tab]", "单位")
	shows(t, ctx, "#units-tree", "甲市")
	says(t, ctx, `document.querySelector("#units-tree").innerText.includes("乙市")`, "false")
	press(t, ctx, "#registry [role=tab]", "网段")
	shows(t, ctx, "#networks", "198.51.100.0/24", "未授权")
	press(t, ctx, "#registry [role=tab]", "域名")
	shows(t, ctx, "#domains", "c1.example.edu.cn")
	says(t, ctx, tabs, "信息系统,申请与审批,白名单,单位,网段,域名") // a file is for who administers everything
	fits(t, ctx, 1280, "registry")
	fits(t, ctx, 390, "registry")
	do(t, ctx, chromedp.EmulateViewport(1440, 1000))
	leave(t, ctx)

	// A file with a mistake is not written; the mended one is shown first.
	s.enter(ctx, "root", "#/registry?tab=import")
	const header = "单位代码,单位名称,级别,上级单位代码\n"
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(header+text), 0o600))
		return path
	}
	send := func(path string) {
		t.Helper()
		do(t, ctx, chromedp.SetUploadFiles("#import-file", []string{path}, chromedp.ByQuery), chromedp.Click("#import-check", chromedp.ByQuery))
	}
	send(write("单位.csv", "s9,甲市九中,学校,c9\n"))
	shows(t, ctx, "#import", "1 处错误", "上级单位代码", "c9")
	says(t, ctx, `document.querySelector("#import-write").disabled`, "true")
	picture(t, ctx, "import-mistake")
	mended := "s9,甲市九中,学校,c1\ns1,甲市第一中学,学校,c1\n"
	write("单位.csv", mended) // the page holds the one that was chosen
	do(t, ctx, chromedp.Click("#import-check", chromedp.ByQuery))
	shows(t, ctx, "#import", "请重新选择")
	send(write("单位2.csv", mended))
	shows(t, ctx, "#import", "读入 2 条，将变更 2 条", "尚未写入", "unit/s1", "甲市一中", "甲市第一中学")
	if content, err := s.registry.Read(t.Context(), registry.Query{Kind: "unit"}); err != nil || len(content.Units) != len(units) {
		t.Errorf("a check has written: %+v, %v", content, err)
	}
	do(t, ctx, chromedp.Click("#import-write", chromedp.ByQuery))
	shows(t, ctx, "#import", "已写入", "变更 2 条")
	press(t, ctx, "#registry [role=tab]", "单位")
	shows(t, ctx, "#units-tree", "某省", "甲市", "乙市")
	says(t, ctx, `new URLSearchParams(location.hash.split("?")[1]).get("tab")`, "units")
	if content, err := s.registry.Read(t.Context(), registry.Query{Kind: "unit"}); err != nil || len(content.Units) != len(units)+1 {
		t.Errorf("%+v, %v", content, err)
	}
}

// inDialogue is what a person does in an open dialogue: writes fields anew, each after
// how it is called, chooses in one, and sends it.
func inDialogue(t *testing.T, ctx context.Context) (fill func(fields ...string), choose func(field, text string), send func()) {
	fill = func(fields ...string) {
		t.Helper()
		for i := 0; i < len(fields); i += 2 {
			field := ".ant-modal " + fields[i]
			do(t, ctx, chromedp.WaitVisible(field, chromedp.ByQuery), chromedp.Evaluate(`document.querySelector("`+field+`").select()`, nil), typed(field, fields[i+1]))
		}
	}
	choose = func(field, text string) {
		t.Helper()
		do(t, ctx, chromedp.WaitVisible(".ant-modal "+field, chromedp.ByQuery), typed(".ant-modal "+field, text), chromedp.KeyEvent(kb.Enter))
	}
	send = func() { t.Helper(); press(t, ctx, ".ant-modal button", "提交") }
	return fill, choose, send
}

// TestRegistryForms is who administers everything, who registers a unit, a network,
// a domain and a contact, changes and retires them, with what is wrong said at its
// field; and a city's administrator, who has the forms that are theirs.
func TestRegistryForms(t *testing.T) {
	needsPage(t)
	s := start(t, openStore(t), nil)
	s.user("root", registry.RoleAdmin, "")
	s.user("of-c1", registry.RoleAdmin, "c1")
	s.user("li", registry.RoleAnalyst, "")
	ctx := browse(t)
	read := func() *registry.Content {
		t.Helper()
		content, err := s.registry.Read(t.Context(), registry.Query{})
		must(t, err)
		return content
	}
	fill, choose, send := inDialogue(t, ctx)
	closed := func() {
		t.Helper()
		says(t, ctx, `[...document.querySelectorAll(".ant-modal-wrap")].filter(e => e.getClientRects().length).map(e => e.innerText).join()`, "")
	}
	wrong := func(field, text string) {
		t.Helper()
		says(t, ctx, `document.querySelector(".ant-modal `+field+`")?.closest(".ant-form-item").innerText.includes("`+text+`")`, "true")
	}
	tab := func(name string) { t.Helper(); press(t, ctx, "#registry [role=tab]", name) }
	shut := func() {
		t.Helper()
		do(t, ctx, chromedp.KeyEvent(kb.Escape))
		says(t, ctx, `[...document.querySelectorAll(".ant-drawer-mask")].some(e => e.getClientRects().length)`, "false")
	}

	// A unit, with a mistake, and who to ask for there.
	s.enter(ctx, "root", "#/registry?tab=units")
	press(t, ctx, "#units-tree button", "登记单位")
	fill("#code", "u 9", "#name", "甲市大学", "#division", "41")
	choose("#parent", "c1")
	send()
	wrong("#code", "不能含空格")
	fill("#code", "u9")
	send()
	wrong("#division", "六位数字")
	says(t, ctx, `document.activeElement.id`, "division")
	picture(t, ctx, "unit-mistake")
	fill("#division", "410100"+kb.Enter) // by keyboard
	closed()
	shows(t, ctx, "#units-tree", "甲市大学 · u9")
	shows(t, ctx, ".ant-drawer-open", "410100", "经过", "root")
	press(t, ctx, ".ant-drawer-open button", "登记联系人")
	fill("#name", "李四", "#phone", "无")
	send()
	wrong("#phone", "不是电话号码")
	fill("#phone", "0371-60000001")
	send()
	closed()
	shows(t, ctx, ".ant-drawer-open", "联系人", "李四", "0371-60000001")
	press(t, ctx, ".ant-drawer-open tbody button", "修改")
	fill("#name", "王五")
	send()
	closed()
	press(t, ctx, ".ant-drawer-open tbody button", "经过")
	shows(t, ctx, ".ant-drawer-open", "经过 · 联系人", "李四", "王五")
	picture(t, ctx, "unit-contacts")
	press(t, ctx, ".ant-drawer-open button", "修改")
	fill("#name", "甲市大学（新校区）")
	send()
	closed()
	shows(t, ctx, ".ant-drawer-open", "甲市大学（新校区）")
	press(t, ctx, ".ant-drawer-open button", "停用") // it has a contact: refused, and said why
	press(t, ctx, ".ant-modal button", "停用")
	shows(t, ctx, ".ant-modal", "名下还有登记：联系人 1 条")
	do(t, ctx, chromedp.KeyEvent(kb.Escape))
	closed()
	press(t, ctx, ".ant-drawer-open tbody button", "停用")
	shows(t, ctx, ".ant-modal", "联系人 · 王五", "历史保留")
	press(t, ctx, ".ant-modal button", "停用")
	closed()
	press(t, ctx, ".ant-drawer-open button", "停用")
	press(t, ctx, ".ant-modal button", "停用")
	closed()
	says(t, ctx, `document.querySelector("#units-tree").innerText.includes("u9")`, "false")
	if c := read(); len(c.Units) != len(units) || len(c.Contacts) != 0 {
		t.Errorf("%+v", c)
	}

	// A network, and how it may be scanned.
	tab("网段")
	press(t, ctx, "#networks button", "登记网段")
	fill("#prefix", "192.0.2")
	choose("#unit", "c2")
	fill("#exclude", "198.51.100.7", "#hours", "25:00")
	send()
	wrong("#prefix", `\"192.0.2/32\" 不是网段：192.0.2 不是地址`)
	fill("#prefix", "192.0.2.0/24")
	send()
	wrong("#exclude", "198.51.100.7/32 不在 192.0.2.0/24 之内")
	fill("#exclude", "192.0.2.7")
	send()
	wrong("#hours", "扫描时段无效")
	fill("#hours", "周一至周五 22:00-06:00")
	press(t, ctx, ".ant-modal label", "授权扫描")
	send()
	closed()
	shows(t, ctx, "#networks", "192.0.2.0/24", "已授权", "192.0.2.7/32")
	if c := read(); len(c.Networks) != 5 || !slices.ContainsFunc(c.Networks, func(n schemas.Network) bool {
		return n.Unit == "c2" && n.Scan && n.Hours != "" && len(n.Exclude) == 1 && n.Rate == 0
	}) {
		t.Errorf("%+v", c.Networks)
	}
	press(t, ctx, "#networks tbody tr.ant-table-row", "192.0.2.0/24")
	press(t, ctx, ".ant-drawer-open button", "修改")
	says(t, ctx, `document.querySelector(".ant-modal #prefix")?.disabled + document.querySelector(".ant-modal #exclude")?.value`, "true192.0.2.7")
	fill("#rate", "500", "#name", "实验楼")
	send()
	closed()
	shows(t, ctx, ".ant-drawer-open", "实验楼", "500", "经过", "rate")
	press(t, ctx, ".ant-drawer-open button", "停用")
	press(t, ctx, ".ant-modal button", "停用")
	closed()
	says(t, ctx, `document.querySelector("#networks").innerText.includes("192.0.2.0/24")`, "false")

	// A domain.
	tab("域名")
	press(t, ctx, "#domains button", "登记域名")
	fill("#name", "campus")
	choose("#unit", "c2")
	send()
	wrong("#name", "不是域名")
	fill("#name", "Campus.example.edu.cn", "#exclude", "vpn.campus.example.edu.cn")
	send()
	closed()
	shows(t, ctx, "#domains", "campus.example.edu.cn", "vpn.campus.example.edu.cn", "未授权")
	press(t, ctx, "#domains tbody tr.ant-table-row", "campus.example.edu.cn")
	press(t, ctx, ".ant-drawer-open button", "修改")
	press(t, ctx, ".ant-modal label", "授权扫描")
	send()
	closed()
	shows(t, ctx, ".ant-drawer-open", "已授权", "scan")
	shut()
	fits(t, ctx, 1280, "registry-domains")
	fits(t, ctx, 390, "registry-domains")
	do(t, ctx, chromedp.EmulateViewport(1440, 1000))

	// The past is not changed.
	do(t, ctx, chromedp.Evaluate(`location.hash = "#/registry?tab=domains&at=`+time.Now().In(hours.Zone).Format(time.DateOnly)+`"`, nil))
	shows(t, ctx, "#domains", "campus.example.edu.cn")
	says(t, ctx, `document.querySelectorAll("#domains button").length`, "0")
	leave(t, ctx)

	// A city arranges what is below it, and says who to ask for; it does not say what
	// belongs to it.
	s.enter(ctx, "of-c1", "#/registry?tab=networks")
	shows(t, ctx, "#networks", "198.51.100.0/24")
	says(t, ctx, `document.querySelectorAll("#networks button").length`, "0")
	tab("单位")
	press(t, ctx, "#units-tree .ant-tree-title", "甲市")
	shows(t, ctx, ".ant-drawer-open", "登记下级单位", "登记联系人")
	says(t, ctx, `[...document.querySelectorAll(".ant-drawer-open button")].some(e => /修改|停用/.test(e.innerText.replace(/\s/g, "")))`, "false")
	press(t, ctx, ".ant-drawer-open button", "登记下级单位")
	fill("#code", "s2", "#name", "甲市二中")
	send()
	closed()
	shows(t, ctx, ".ant-drawer-open", "甲市二中", "s2")
	shut()
	shows(t, ctx, "#units-tree", "甲市二中 · s2")
	leave(t, ctx)
	s.enter(ctx, "li", "#/registry?tab=units")
	shows(t, ctx, "#units-tree", "甲市")
	says(t, ctx, `document.querySelectorAll("#units-tree button").length`, "0")
}
