package search

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"fengsui/internal/clickhouse"
	"fengsui/internal/store/storetest"
	"fengsui/schemas"
)

// bench.sh sets these. The data is made where there is none, and kept: delete
// the directory afterwards.
var (
	benchServices = flag.Int("search-services", 0, "measure searches of this many services")
	benchDir      = flag.String("search-dir", "", "where they are, or are to be, stored")
	benchRounds   = flag.Int("search-rounds", 40, "how often each question is asked, each time of another value")
)

// A province: 150 universities of a hundred /24 blocks, and schools of four. In a
// block are 80 hosts with four services each; every twentieth block is IPv6. The
// n-th service is the same at every run.
const (
	perBlock        = 320
	universities    = 150
	perUniversity   = 100
	perSchool       = 4
	universityBlock = universities * perUniversity
)

var (
	genCities = []string{"郑州市", "开封市", "洛阳市", "平顶山市", "安阳市", "鹤壁市", "新乡市", "焦作市", "濮阳市", "许昌市", "漯河市", "三门峡市", "南阳市", "商丘市", "信阳市", "周口市", "驻马店市", "济源市"}
	genPages  = []string{"教务管理系统", "统一身份认证", "图书馆", "门户网站", "招生信息网", "就业信息网", "财务查询", "智慧校园", "办公自动化", "VPN 接入", "邮件系统", "科研管理", "学工系统", "实验室预约", "在线考试", "课程中心", "后勤服务", "迎新系统", "人事系统", "档案查询"}
	genOdd    = []string{"Welcome to nginx!", "登录", "404 Not Found", "Apache2 Debian Default Page: It works", "Grafana", "phpMyAdmin", "Dashboard [Jenkins]", "IIS Windows Server", "路由器管理", "NVR 登录"}
	genApps   = [][]string{{"nginx", "PHP"}, {"nginx", "Vue.js"}, {"Apache HTTP Server", "PHP", "WordPress"}, {"Apache Tomcat", "Java"}, {"Microsoft-IIS", "ASP.NET"}, {"nginx", "ThinkPHP", "PHP"}, {"Apache HTTP Server", "jQuery"}, {"nginx", "Spring", "Java"}}
	genOthers = []struct {
		port          int
		name, product string
		banner        string
	}{{22, "ssh", "OpenSSH", "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u"}, {3306, "mysql", "MySQL", "5.7."}, {6379, "redis", "Redis", "-NOAUTH Authentication required."}, {21, "ftp", "vsftpd", "220 (vsFTPd 3.0.3)"}, {53, "domain", "BIND", ""}, {3389, "ms-wbt-server", "", ""}, {161, "snmp", "", "Linux switch"}}
	genDay = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
)

// mix spreads a number over 64 bits (the finisher of SplitMix64).
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

func pick[T any](h *uint64, list []T) T {
	out := list[*h%uint64(len(list))]
	*h = mix(*h)
	return out
}

func genUnit(block int) (code, name string, n int) {
	if block < universityBlock {
		n = block / perUniversity
		return fmt.Sprintf("u%d", n), fmt.Sprintf("第%d大学", n), n
	}
	n = universities + (block-universityBlock)/perSchool
	return fmt.Sprintf("u%d", n), fmt.Sprintf("第%d中学", n), n
}

// generated is the n-th service.
func generated(n int, version uint64) schemas.NotedAsset {
	block, in := n/perBlock, n%perBlock
	host, k := in/4, in%4
	hostHash, h := mix(uint64(n/4)), mix(uint64(n)^0x5bd1e995)
	code, name, unit := genUnit(block)
	city := genCities[unit%len(genCities)]
	ip := netip.AddrFrom4([4]byte{10, byte(block >> 8), byte(block), byte(1 + 3*host)})
	if block%20 == 19 {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint32(b[4:], uint32(block))
		b[15] = byte(1 + host)
		ip = netip.AddrFrom16(b)
	}
	seen := genDay.Add(-time.Duration(h%(30*86400)) * time.Second)
	a := schemas.NotedAsset{Mark: h, Asset: schemas.Asset{
		Kind: schemas.AssetService, Version: version, Unit: code, IP: ip, Transport: "tcp", Alive: h%16 != 0,
		First: seen.Add(-200 * 24 * time.Hour), Last: seen, Updated: seen, Sources: []string{"scan"},
	}}
	domain := code + ".example.edu.cn"
	if hostHash%3 == 0 {
		a.Notes.Names = []string{fmt.Sprintf("h%d.%s", n/4, domain)}
	}
	system := genPages[hostHash%uint64(len(genPages))]
	page := func(port int) {
		a.Port = port
		title := name + " " + system
		if h%5 == 0 {
			title = pick(&h, genOdd)
		}
		apps := genApps[hostHash>>8%uint64(len(genApps))]
		server := apps[0]
		a.Service = &schemas.Service{Name: "http", Product: apps[0], Version: fmt.Sprintf("1.%d.%d", hostHash>>16%30, hostHash>>24%3), HTTP: &schemas.HTTP{
			Status: 200, Title: title, Server: server,
			Header: fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: %s\r\nDate: %s\r\nContent-Type: text/html; charset=utf-8\r\nSet-Cookie: JSESSIONID=%016X; Path=/; HttpOnly\r\nX-Trace: t%d\r\n", server, seen.Format(time.RFC1123), h, n),
			Body: fmt.Sprintf(`<!doctype html><html lang="zh"><head><title>%s</title><link rel="stylesheet" href="/static/css/app.%08x.css"></head><body><div id="app"></div><p>版权所有 %s %s</p><p>地址：%s 联系电话 0371-%07d</p><p>技术支持：第%d信息技术有限公司</p><script src="/static/js/app.%08x.js"></script></body></html>`,
				title, hostHash&0xffffffff, name, system, city, h%10_000_000, hostHash%4000, hostHash>>32),
			IconHash: fmt.Sprint(int32(mix(hostHash % 200_000))),
		}}
		for _, app := range apps[1:] {
			a.Service.Technologies = append(a.Service.Technologies, schemas.Technology{Name: app})
		}
	}
	switch {
	case k == 0:
		page([]int{80, 80, 80, 8080, 8000}[h%5])
	case k == 1 && hostHash%4 != 0:
		page([]int{443, 443, 443, 8443}[h%4])
		a.Service.Name = "https"
		names := []string{"*." + domain}
		if len(a.Notes.Names) > 0 {
			names = append(names, a.Notes.Names[0])
		}
		a.Service.TLS = &schemas.TLS{Version: "TLS 1.3", Subject: "CN=*." + domain + ",O=" + name + ",C=CN", Issuer: "CN=Example TLS CA,C=CN", Names: names, SHA256: fmt.Sprintf("%016x%016x%016x%016x", mix(hostHash), mix(hostHash+1), mix(hostHash+2), mix(hostHash+3)), Serial: fmt.Sprintf("%x", mix(hostHash+4))}
	default:
		o := genOthers[0] // k is 1; of the others no two can be the same
		if k > 1 {
			o = genOthers[3*k-5+int(h%3)]
		}
		a.Port = o.port
		if h>>8%8 == 0 {
			a.Port += 10_000 * k
		}
		a.Service = &schemas.Service{Name: o.name, Product: o.product, Banner: o.banner + fmt.Sprint(h>>16%9), OS: []string{"", "Debian", "Ubuntu", "Windows"}[h>>20%4]}
		if o.name == "redis" && h>>30%50 == 0 {
			a.Service.Exposures = []schemas.Exposure{{Kind: schemas.ExposureNoAuth, Evidence: "INFO answered"}}
		}
	}
	a.Key = schemas.ServiceKey(ip, "tcp", a.Port)
	a.Notes.UnitIn = []string{code, name, "41", "河南省教育厅"}
	a.Notes.City, a.Notes.School = []string{city, fmt.Sprintf("41%02d", unit%18+1)}, []string{name, code}
	if hostHash>>40%3 == 0 {
		a.Notes.System, a.Notes.Level, a.Notes.Filed = []string{name + " " + system, fmt.Sprintf("s%d-%d", unit, hostHash%20)}, int(hostHash>>44%4), true
	}
	a.Notes.Allowed = h>>50%5 != 0
	if !a.Notes.Allowed && h>>55%4 == 0 {
		a.Notes.Drift = []string{string(schemas.UnlistedPort)}
	}
	return a
}

// TestMeasureSearch is no test of what is right: it says how long searches take.
func TestMeasureSearch(t *testing.T) {
	if *benchServices == 0 {
		t.Skip("not asked to measure: console/search/bench.sh does")
	}
	cfg := storetest.Config(t)
	if *benchDir != "" {
		must(t, os.MkdirAll(*benchDir, 0o700))
		cfg.Dir = filepath.Join(*benchDir, "d")
	}
	s := storetest.StartWith(t, cfg)
	chc := clickhouse.DefaultConfig()
	chc.Addr = s.Config.Addr()
	db, err := clickhouse.Open(chc)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	must(t, clickhouse.Migrate(t.Context(), db, clickhouse.DefaultRetention()))
	used := func() time.Duration { return processTime(t, s.PID()) }
	load(t, db, *benchServices, used)
	describe(t, db)
	measure(t, db, used)
}

// processTime is what a process has used of the processors: it says the same on
// a busy machine.
func processTime(t *testing.T, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // from field 3 on: proc(5)
	user, err := strconv.Atoi(fields[11])
	must(t, err)
	system, err := strconv.Atoi(fields[12])
	must(t, err)
	return time.Duration(user+system) * time.Second / 100
}

// load writes the services and merges them; then, as a busy day does, writes
// every hundredth anew, which stays in parts of its own.
func load(t *testing.T, db *clickhouse.DB, n int, used func() time.Duration) {
	var there uint64
	must(t, db.QueryRow(t.Context(), "SELECT count() FROM asset_search").Scan(&there))
	if there >= uint64(n) {
		return
	}
	const batch = 100_000
	start := int(there) / batch * batch // where a run that was stopped goes on
	begin, encoding := time.Now(), time.Duration(0)
	for from := start; from < n; from += batch {
		at := time.Now()
		rows := make([]schemas.NotedAsset, 0, batch)
		for i := from; i < min(from+batch, n); i++ {
			rows = append(rows, generated(i, 1))
		}
		encoding += time.Since(at)
		must(t, db.InsertSearch(t.Context(), rows, fmt.Sprintf("generated/%d", from)))
		if from%1_000_000 == 0 {
			t.Logf("%d rows in %v", from+len(rows), time.Since(begin).Round(time.Second))
		}
	}
	took := time.Since(begin) - encoding
	t.Logf("written: %d rows of %d in %v, %.0f rows/s (and %v to make them); the store used %v of processor time, with merges", n-start, n, took.Round(time.Second), float64(n-start)/took.Seconds(), encoding.Round(time.Second), used().Round(time.Second))
	begin = time.Now()
	must(t, db.Exec(t.Context(), "OPTIMIZE TABLE asset_search FINAL SETTINGS receive_timeout = 3600, max_execution_time = 0"))
	t.Logf("merged in %v; processor time so far %v", time.Since(begin).Round(time.Second), used().Round(time.Second))
	for k := range 5 {
		var rows []schemas.NotedAsset
		for i := k * 100; i < n; i += 500 {
			a := generated(i, 2)
			a.Last = a.Last.Add(24 * time.Hour)
			rows = append(rows, a)
		}
		must(t, db.InsertSearch(t.Context(), rows, fmt.Sprintf("again/%d", k)))
	}
}

func describe(t *testing.T, db *clickhouse.DB) {
	rows, err := db.Query(t.Context(), "SELECT name, rows, bytes_on_disk, secondary_indices_compressed_bytes FROM system.parts WHERE active AND table = 'asset_search' AND database = currentDatabase() ORDER BY rows DESC")
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		var n, bytes, index uint64
		must(t, rows.Scan(&name, &n, &bytes, &index))
		t.Logf("part %s: %d rows, %d MB, indexes %d MB", name, n, bytes>>20, index>>20)
	}
}

// measure asks each question of many values, in turns, and shows how long the
// answers took as the caller sees it.
func measure(t *testing.T, db *clickhouse.DB, used func() time.Duration) {
	blocks := *benchServices / perBlock
	value := func(i, of int) int { return int(mix(uint64(i)*7919) % uint64(of)) }
	find := func(format string, args func(i int) []any) func(int) (string, func() uint64) {
		return func(i int) (string, func() uint64) {
			text := fmt.Sprintf(format, args(i)...)
			return text, func() uint64 {
				p, err := FindAssets(t.Context(), db, AssetQuery{Text: text, Now: genDay, Limit: 100})
				must(t, err)
				return uint64(len(p.Items))
			}
		}
	}
	count := func(by, format string, args func(i int) []any) func(int) (string, func() uint64) {
		return func(i int) (string, func() uint64) {
			text := fmt.Sprintf(format, args(i)...)
			return text + " by " + by, func() uint64 {
				a, err := CountAssets(t.Context(), db, AssetQuery{Text: text, Now: genDay, Limit: 20}, by)
				must(t, err)
				return a.Total
			}
		}
	}
	none := func(int) []any { return nil }
	block := func(i int) int { return value(i, blocks) }
	unit := func(i int) string { code, _, _ := genUnit(block(i)); return code }
	name := func(i int) string { _, name, _ := genUnit(block(i)); return name }
	questions := []struct {
		what string
		ask  func(int) (string, func() uint64)
	}{
		{"find", find("ip = 10.%d.%d.0/24", func(i int) []any { b := block(i); return []any{b >> 8, b & 255} })},
		{"find", find("ip = 10.%d.%d.0/20", func(i int) []any { b := block(i); return []any{b >> 8, b & 0xf0} })},
		{"find", find("ip = 2001:db8:0:%x::/64", func(i int) []any { return []any{block(i)/20*20 + 19} })},
		{"find", find("domain = %s.example.edu.cn", func(i int) []any { return []any{unit(i)} })},
		{"find", find("domain == h%d.%s.example.edu.cn", func(i int) []any {
			n := block(i)*80 + value(i, 80)
			return []any{n, unit(i)}
		})},
		{"find", find(`title = "%s 教务"`, func(i int) []any { return []any{name(i)} })},
		{"find", find(`title = "第%d大学 图书馆"`, func(i int) []any { return []any{value(i, universities)} })},
		{"find", find(`icon_hash = "%d"`, func(i int) []any { return []any{int32(mix(uint64(value(i, 200_000))))} })},
		{"find", find(`cert = "CN=*.%s.example"`, func(i int) []any { return []any{unit(i)} })},
		{"find", find(`cert = "%016x"`, func(i int) []any { return []any{mix(mix(uint64(value(i, blocks*80))))} })},
		{"find", find("app = ThinkPHP && city = %s", func(i int) []any { return []any{genCities[value(i, len(genCities))]} })},
		{"find", find("unit = %s && port = 6379 && whitelisted = false", func(i int) []any { return []any{unit(i)} })},
		{"find", find("city = %s && protocol = redis && exposure = no_auth", func(i int) []any { return []any{genCities[value(i, len(genCities))]} })},
		{"find", find("system = %s && level >= 3 && drift = any", func(i int) []any { return []any{name(i)} })},
		{"find", find(`header = "X-Trace: t%d"`, func(i int) []any { return []any{value(i, *benchServices)} })},
		{"find", find(`body = "第%d信息技术"`, func(i int) []any { return []any{value(i, 4000)} })},
		{"find", find(`body = "app.%08x.js"`, func(i int) []any { return []any{mix(uint64(value(i, *benchServices)/4)) >> 32} })},
		{"find", find(`title = "%s" && (app = WordPress || server = IIS) && !(alive = false) && port != 8080`, func(i int) []any { return []any{name(i)} })},
		{"find", find(`"h%d."`, func(i int) []any { return []any{value(i, blocks*80)} })},
		{"count", count("port", "", none)},
		{"count", count("city", "", none)},
		{"count", count("app", "", none)},
		{"count", count("protocol", "", none)},
		{"count", count("unit", "drift = any", none)},
		{"count", count("city", "protocol = https && alive = true", none)},
		{"count", count("server", "city = %s", func(i int) []any { return []any{genCities[value(i, len(genCities))]} })},
		{"count", count("level", "registered = true", none)},
		{"count", count("title", "unit = %s", func(i int) []any { return []any{unit(i)} })},
		{"count", count("app", `title = "%s"`, func(i int) []any { return []any{genPages[value(i, len(genPages))]} })},
		{"count", count("title", "", none)},
	}
	times := make([][]time.Duration, len(questions))
	rows, cpu := make([]uint64, len(questions)), make([]time.Duration, len(questions))
	for i := range *benchRounds {
		for k, q := range questions {
			_, ask := q.ask(i)
			before, begin := used(), time.Now()
			rows[k] += ask()
			times[k] = append(times[k], time.Since(begin))
			cpu[k] += used() - before
		}
	}
	var all strings.Builder
	fmt.Fprintf(&all, "\n%-6s %8s %8s %8s %8s %10s  %s\n", "what", "p50", "p95", "max", "CPU", "rows", "question (of the first value)")
	groups, sum := map[string][]time.Duration{}, map[string]time.Duration{}
	for k, q := range questions {
		text, _ := q.ask(0)
		groups[q.what] = append(groups[q.what], times[k]...)
		sum[q.what] += cpu[k]
		line(&all, q.what, times[k], cpu[k], rows[k]/uint64(len(times[k])), text)
	}
	line(&all, "find", groups["find"], sum["find"], 0, "all of them")
	line(&all, "count", groups["count"], sum["count"], 0, "all of them")
	t.Log(all.String())
}

func line(b *strings.Builder, what string, times []time.Duration, cpu time.Duration, rows uint64, text string) {
	times = slices.Sorted(slices.Values(times))
	at := func(p int) string {
		return fmt.Sprintf("%.1f", float64(times[(len(times)-1)*p/100].Microseconds())/1000)
	}
	each := fmt.Sprintf("%.1f", float64((cpu/time.Duration(len(times))).Microseconds())/1000)
	fmt.Fprintf(b, "%-6s %8s %8s %8s %8s %10d  %s\n", what, at(50), at(95), at(100), each, rows, text)
}
