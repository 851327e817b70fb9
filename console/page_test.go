package console

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browse opens Chromium. That a page complains, of an exception or of something
// that its policy forbids, fails the test.
func browse(t *testing.T) context.Context {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("Chromium is not installed")
	}
	flags := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1440, 1000),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		flags = append(flags, chromedp.Flag(flag, true))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, flags...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // waits until the browser has ended
	var (
		mu    sync.Mutex
		texts []string
	)
	chromedp.ListenTarget(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			texts = append(texts, ev.ExceptionDetails.Error())
		case *cdplog.EventEntryAdded:
			if ev.Entry.Level == cdplog.LevelError && ev.Entry.Source != cdplog.SourceNetwork { // 401 is an answer
				texts = append(texts, ev.Entry.Text)
			}
		}
	})
	must(t, chromedp.Run(ctx)) // it starts now, and not within the time of one action
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if len(texts) > 0 {
			t.Errorf("the browser complains: %q", texts)
		}
	})
	return ctx
}

// picture keeps what the page looks like, for people, in the directory that
// FENGSUI_SCREENSHOTS names.
func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("FENGSUI_SCREENSHOTS")
	if dir == "" {
		return
	}
	time.Sleep(time.Second) // whatever moves has come to rest
	var png []byte
	do(t, ctx, chromedp.FullScreenshot(&png, 100))
	must(t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600))
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Run(soon, actions...); err != nil {
		var page string
		_ = chromedp.Run(ctx, chromedp.Evaluate("document.body.innerText", &page)) // for the message only
		t.Fatalf("%v\nthe page shows: %s", err, page)
	}
}

// typed writes into an element. chromedp.SendKeys would read the attributes of
// its node while the page changes them.
func typed(element, text string) chromedp.Action {
	return chromedp.Tasks{
		chromedp.WaitVisible(element, chromedp.ByQuery),
		chromedp.Evaluate("document.querySelector("+strconv.Quote(element)+").focus()", nil),
		chromedp.KeyEvent(text),
	}
}

// shows waits until an element's text has every one of the texts.
func shows(t *testing.T, ctx context.Context, element string, texts ...string) {
	t.Helper()
	var shown string
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		do(t, ctx, chromedp.Evaluate("document.querySelector("+strconv.Quote(element)+")?.innerText ?? ''", &shown))
		missing := ""
		for _, text := range texts {
			if !strings.Contains(shown, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not show %q in 20 s, but: %s", element, missing, shown)
		}
	}
}

func TestPage(t *testing.T) {
	if _, err := fs.Stat(dist, "web/dist/index.html"); err != nil {
		t.Skip("the page is not built: make build")
	}
	db := openStore(t)
	fill(t, db, "c1", "s1")
	s := start(t, db, nil)
	oneTime, err := s.registry.EnsureAdmin(t.Context())
	must(t, err)
	ctx := browse(t)
	closed := chromedp.Poll(`![...document.querySelectorAll(".ant-drawer-mask")].some(e => e.getClientRects().length)`, nil)
	submit := chromedp.Click("button[type=submit]", chromedp.ByQuery)

	do(t, ctx, chromedp.Navigate(s.url+"/"), chromedp.WaitVisible("#name", chromedp.ByQuery))
	picture(t, ctx, "1-login")
	do(t, ctx, typed("#name", "admin"), typed("#password", "wrong"), submit)
	shows(t, ctx, "main", "用户名或口令不对")
	do(t, ctx, chromedp.Evaluate(`document.querySelector("#password").select()`, nil), typed("#password", oneTime), submit,
		chromedp.WaitVisible("#chosen", chromedp.ByQuery))
	picture(t, ctx, "2-password")
	do(t, ctx, typed("#old", oneTime), typed("#chosen", password),
		typed("#again", password), submit)

	shows(t, ctx, "#alerts", "SSH 口令暴力破解", "甲市一中", "198.51.100.10", "高")
	shows(t, ctx, "#mining", "pool.miner.example", "甲市", "97%")
	shows(t, ctx, "#drift", "未登记端口", "198.51.100.10:6379/tcp")
	shows(t, ctx, "#assets", "redis", "Redis 7.0.15")
	shows(t, ctx, "#events", "Failed password for root")
	shows(t, ctx, "#units", "甲市一中")
	shows(t, ctx, "header", "实时", "管理员")
	shows(t, ctx, `[data-count="mining"]`, "2")
	picture(t, ctx, "3-dashboard")

	// A row opens a drawer with the whole of it, and from there the event.
	do(t, ctx, chromedp.Click("#alerts tbody tr.ant-table-row", chromedp.ByQuery))
	shows(t, ctx, ".ant-drawer-open", "命中条件", "event.outcome", "failure", "event-")
	picture(t, ctx, "4-alert")
	do(t, ctx, chromedp.KeyEvent(kb.Escape), closed)
	do(t, ctx, chromedp.Click("#mining tbody tr.ant-table-row", chromedp.ByQuery))
	shows(t, ctx, ".ant-drawer-open", "矿机登录", "解析矿池域名", "stratum", "48edfHu7")
	picture(t, ctx, "5-mining")
	do(t, ctx, chromedp.KeyEvent(kb.Escape), closed)

	// A mistake in a query says where it is.
	do(t, ctx, typed("#event-query", "sorce.ip = 192.0.2.1"+kb.Enter))
	shows(t, ctx, "#events", "第 1 个字符有误", "source.ip")
	picture(t, ctx, "6-mistake")

	// What is written meanwhile shows by itself.
	fill(t, db, "c2")
	shows(t, ctx, "#alerts", "乙市")
	shows(t, ctx, "#mining", "乙市")
	shows(t, ctx, `[data-count="mining"]`, "3")

	do(t, ctx, chromedp.Click("header .ant-segmented-item:last-child", chromedp.ByQuery))
	shows(t, ctx, "#alerts", "Latest alerts", "SSH brute force", "high")
	shows(t, ctx, "#drift", "unlisted port", "confirmed")
	picture(t, ctx, "7-english")
	do(t, ctx, chromedp.Navigate(s.url+"/"))
	shows(t, ctx, "header", "Live") // the language and the session are remembered
	do(t, ctx, chromedp.EmulateViewport(420, 900))
	picture(t, ctx, "8-narrow")
	do(t, ctx, chromedp.Click("header button", chromedp.ByQuery), chromedp.WaitVisible("#name", chromedp.ByQuery))
}
