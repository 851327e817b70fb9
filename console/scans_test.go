package console

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"fengsui/internal/directory"
	"fengsui/registry"
	"fengsui/scanner/plan"
	"fengsui/scanner/queue"
	"fengsui/schemas"
)

// scanners are jobs as the scanners' own queue folds them, planned as they are for
// them, without the topics between: nothing is sent to anybody.
type scanners struct {
	mu       sync.Mutex
	queue    *queue.Queue
	registry *registry.Registry
	away     error // the topics are not read
	said     []string
}

func withScanners(s *scanners) func(*Console) {
	return func(c *Console) {
		s.queue, s.registry = queue.New(time.Minute), c.deps.Registry
		c.deps.Scanners = s
	}
}

func (s *scanners) Now() (*Scans, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		return nil, s.away
	}
	now := time.Now()
	out := &Scans{Parts: s.queue.Parts(now), Agents: s.queue.Agents(now), Stops: s.queue.Stops()}
	for _, j := range s.queue.Jobs(now) {
		out.Jobs = append(out.Jobs, j.ScanJob)
	}
	return out, nil
}

func (s *scanners) Shards(job string) ([]schemas.ScanShard, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.Shards(job, time.Now()), nil
}

func (s *scanners) LeftOut(ctx context.Context, unit string, scope []string, at time.Time) ([]schemas.ScanLeftOut, error) {
	c, err := s.registry.Read(ctx, registry.Query{At: at})
	if err != nil {
		return nil, err
	}
	snap, err := directory.NewSnapshot(c.Units, c.Networks, c.Domains, nil)
	if err != nil {
		return nil, err
	}
	return plan.LeftOut(snap, unit, scope)
}

func (s *scanners) Plan(ctx context.Context, r *ScanRequest) (*ScanPlan, error) {
	snap, err := s.registry.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	tasks, err := plan.Plan(snap, plan.Request{Unit: r.Unit, Scope: r.Scope, By: r.By, Reason: r.Reason, Ports: r.Ports, Rate: r.Rate, Discover: r.Discover, Now: time.Now().UTC()})
	if refused := (*plan.Refused)(nil); errors.As(err, &refused) {
		return nil, Mistakes{{refused.Field, refused.Zh, refused.En}}
	}
	if err != nil {
		return nil, err
	}
	out := &ScanPlan{Tasks: tasks}
	for i := range tasks {
		out.Seconds += queue.Cost(&tasks[i])
	}
	out.LeftOut, err = s.LeftOut(ctx, r.Unit, r.Scope, time.Time{})
	return out, err
}

func (s *scanners) Start(_ context.Context, p *ScanPlan) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range p.Tasks {
		s.queue.Task(p.Tasks[i], time.Now())
	}
	return nil
}

func (s *scanners) Say(_ context.Context, key string, state *schemas.ScanState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.State(key, state, time.Now())
	s.said = append(s.said, fmt.Sprintf("%s %v", key, state != nil))
	return nil
}

// works has a scanner say that it lives, claim the next shard and, if an outcome is
// given, settle it.
func (s *scanners) works(t *testing.T, name string, outcome schemas.ScanOutcome, trouble string) schemas.ScanEvent {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	me := schemas.ScanAgent{Instance: name + "-1", Scanner: name, Host: "scan.example", Rate: 5000, Started: now, Time: now}
	e, ok := s.queue.Next(now, me, func(*schemas.ScanTask) ([]schemas.ScanShare, bool) { return nil, true })
	if !ok || !s.queue.Event(e, now) {
		t.Fatal("there is nothing to do")
	}
	me.Shard = e.Key()
	state := schemas.ScanState{Agent: &me}
	s.queue.State(state.Key(), &state, now)
	if outcome != "" {
		e.Kind, e.Outcome, e.Error, e.Seen, e.Seconds = schemas.ScanSettled, outcome, trouble, 12, 3
		if !s.queue.Event(e, now) {
			t.Fatal("what was done does not count")
		}
	}
	return e
}

// scope authorises scans: of both cities' networks, one of them by night alone.
func (s *station) scope() {
	s.t.Helper()
	never := schemas.Network{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Unit: "c1", Scan: true, Exclude: []netip.Prefix{netip.MustParsePrefix("198.51.100.32/28")}}
	_, err := s.registry.Put(s.t.Context(), "test", &registry.Content{
		Networks: []schemas.Network{never, {Prefix: netip.MustParsePrefix("203.0.113.0/24"), Unit: "c2", Scan: true}},
		Domains:  []schemas.Domain{{Name: "c1.example.edu.cn", Unit: "c1", Scan: true}},
	})
	must(s.t, err)
}

// A job is planned, refused with why at its field, started, seen by those whose unit
// it is of, and told shard by shard.
func TestScanJobs(t *testing.T) {
	fold := &scanners{}
	s := start(t, nil, withScanners(fold))
	s.scope()
	c1, c2 := s.user("of-c1", registry.RoleAdmin, "c1"), s.user("of-c2", registry.RoleAdmin, "c2")
	analyst, all := s.user("analyst", registry.RoleAnalyst, "c1"), s.user("all", registry.RoleAdmin, "")
	type body map[string]any
	post := func(b *browser, in body, want int) *answer { return b.do("POST", "/api/v1/scan-jobs", in, want) }

	analyst.refused("POST", "/api/v1/scan-jobs", body{"unit": "c1"}, 403, codeForbidden)
	c1.refused("POST", "/api/v1/scan-jobs", body{"unit": "c2"}, 403, codeForbidden)
	c1.refused("POST", "/api/v1/scan-jobs", body{"unit": "p"}, 403, codeForbidden)
	c1.refused("POST", "/api/v1/scan-jobs", body{"unit": "c1", "rate": -1}, 422, codeInvalid)
	for field, in := range map[string]body{
		"scope": {"unit": "c1", "scope": []string{"203.0.113.1"}}, "ports": {"unit": "c1", "ports": "http"}, "rate": {"unit": "c1", "rate": 1 << 30}, "unit": {"unit": "s1"},
	} {
		if p := c1.refused("POST", "/api/v1/scan-jobs", in, 422, codeInvalid); len(p.Fields) != 1 || p.Fields[0].Field != field || p.Fields[0].Zh == "" || p.Fields[0].En == "" || !strings.Contains(p.Detail, p.Fields[0].En) {
			t.Errorf("%v: %+v", in, p)
		}
	}

	var would StartedScan
	post(c1, body{"unit": "c1", "scope": []string{"198.51.100.0/26", "www.c1.example.edu.cn"}, "ports": "80", "dry_run": true}, 200).into(t, &would)
	// Sixty-four addresses, less sixteen that are excluded.
	if would.Started || would.Job != "" || would.Addresses != 48 || would.Names != 1 || would.Shards != 3 || would.Seconds <= 0 ||
		!slices.Equal(would.LeftOut, []schemas.ScanLeftOut{{What: "198.51.100.32/28", Why: schemas.LeftExcluded}}) {
		t.Errorf("%+v", would)
	}
	var list ScanJobs
	jobs := func(b *browser, query string) []schemas.ScanJob {
		t.Helper()
		list = ScanJobs{}
		b.do("GET", "/api/v1/scan-jobs"+query, nil, 200).into(t, &list)
		return list.Items
	}
	if got := jobs(c1, ""); len(got) != 0 || list.Items == nil || list.Agents == nil {
		t.Errorf("a plan has started something: %+v", list)
	}
	var started StartedScan
	post(c1, body{"unit": "c1", "scope": []string{"198.51.100.0/26", "www.c1.example.edu.cn"}, "ports": "80", "reason": "复查"}, 200).into(t, &started)
	if !started.Started || started.Job == "" {
		t.Fatalf("%+v", started)
	}
	fold.works(t, "north", schemas.ShardDone, "")
	fold.works(t, "north", schemas.ShardFailed, "no route to host")
	fold.works(t, "south", "", "")
	var others StartedScan
	post(all, body{"unit": "c2", "ports": "22"}, 200).into(t, &others)
	fold.works(t, "east", "", "")
	if got := jobs(analyst, ""); len(got) != 1 || got[0].ID != started.Job || got[0].By != "of-c1" || got[0].Reason != "复查" || got[0].Class != schemas.ScanInteractive ||
		!slices.Equal(got[0].Scope, []string{"198.51.100.0/26", "www.c1.example.edu.cn"}) || len(got[0].Errors) != 1 || list.Total != 1 {
		t.Errorf("%+v", got)
	}
	for _, a := range list.Agents {
		if strings.HasPrefix(a.Shard, others.Job) {
			t.Errorf("a city is told what is done at another: %+v", a)
		}
	}
	if got := jobs(all, ""); len(got) != 2 || len(list.Agents) != 3 || !slices.ContainsFunc(list.Agents, func(a schemas.ScanAgent) bool { return strings.HasPrefix(a.Shard, others.Job) }) {
		t.Errorf("%+v", list)
	}
	if got := jobs(all, "?unit=c2&active=true&class=interactive"); len(got) != 1 || got[0].ID != others.Job {
		t.Errorf("%+v", got)
	}
	if got := jobs(all, "?class=periodic"); len(got) != 0 {
		t.Errorf("%+v", got)
	}

	var detail ScanJobDetail
	c1.do("GET", "/api/v1/scan-job?job="+started.Job, nil, 200).into(t, &detail)
	if detail.Job.ID != started.Job || len(detail.Shards) != 3 || !slices.ContainsFunc(detail.Shards, func(s schemas.ScanShard) bool { return s.State == "failed" && s.Error == "no route to host" }) ||
		!slices.Equal(detail.LeftOut, would.LeftOut) {
		t.Errorf("%+v", detail)
	}
	c2.refused("GET", "/api/v1/scan-job?job="+started.Job, nil, 404, codeNotFound)

	fold.mu.Lock()
	fold.away = errors.New("Kafka is away")
	fold.mu.Unlock()
	if p := all.refused("GET", "/api/v1/scan-jobs", nil, 503, codeScanners); !strings.Contains(p.Detail, "Kafka is away") {
		t.Errorf("%+v", p)
	}
	if !strings.Contains(s.log.String(), "audit=scan user=of-c1 job="+started.Job) {
		t.Error("nothing is written down of who started what")
	}
}

// Who sees everything stops everything, also while nothing is known of jobs; others
// stop jobs of their units, and take back no stop of somebody above them.
func TestScanStops(t *testing.T) {
	fold := &scanners{}
	s := start(t, nil, withScanners(fold))
	s.scope()
	c1, c2, all := s.user("of-c1", registry.RoleAdmin, "c1"), s.user("of-c2", registry.RoleAdmin, "c2"), s.user("all", registry.RoleAdmin, "")
	var job StartedScan
	c1.do("POST", "/api/v1/scan-jobs", map[string]any{"unit": "c1", "ports": "80"}, 200).into(t, &job)
	stop := func(b *browser, job, reason string, want int) *answer {
		t.Helper()
		return b.do("POST", "/api/v1/scan-stops", map[string]string{"job": job, "reason": reason}, want)
	}
	state := func() schemas.ScanJob {
		t.Helper()
		var d ScanJobDetail
		c1.do("GET", "/api/v1/scan-job?job="+job.Job, nil, 200).into(t, &d)
		return d.Job
	}

	everything := map[string]string{"job": "*", "reason": "误扫"}
	c1.refused("POST", "/api/v1/scan-stops", everything, 403, codeForbidden)
	s.user("analyst", registry.RoleAnalyst, "").refused("POST", "/api/v1/scan-stops", everything, 403, codeForbidden)
	c2.refused("POST", "/api/v1/scan-stops", map[string]string{"job": job.Job}, 404, codeNotFound)
	c2.refused("DELETE", "/api/v1/scan-stops?job="+job.Job, nil, 404, codeNotFound)
	all.refused("POST", "/api/v1/scan-stops", map[string]string{"job": ""}, 422, codeInvalid)
	if len(fold.said) != 0 {
		t.Fatalf("%v", fold.said)
	}

	var out schemas.ScanStop
	stop(c1, job.Job, "先停一停", 200).into(t, &out)
	if j := state(); j.State != schemas.JobStopped || j.Stopped.By != "of-c1" || j.Stopped.Reason != "先停一停" || j.Stopped.Time.IsZero() || out != *j.Stopped {
		t.Errorf("%+v, %+v", j, out)
	}
	c1.do("DELETE", "/api/v1/scan-stops?job="+job.Job, nil, 204)
	if j := state(); j.State != schemas.JobQueued {
		t.Errorf("%+v", j)
	}
	stop(all, job.Job, "省里要停", 200)
	stop(c1, job.Job, "改成我的", 200).into(t, &out)
	if j := state(); out.By != "all" || j.Stopped.By != "all" {
		t.Errorf("a stop was taken over: %+v, %+v", out, j)
	}
	c1.refused("DELETE", "/api/v1/scan-stops?job="+job.Job, nil, 403, codeForbidden)
	all.do("DELETE", "/api/v1/scan-stops?job="+job.Job, nil, 204)

	fold.mu.Lock()
	fold.away = errors.New("Kafka is away")
	fold.mu.Unlock()
	stop(all, "*", "误扫", 200)
	fold.mu.Lock()
	fold.away = nil
	fold.mu.Unlock()
	var list ScanJobs
	c2.do("GET", "/api/v1/scan-jobs", nil, 200).into(t, &list)
	if list.Stopped == nil || list.Stopped.By != "all" || list.Stopped.Reason != "误扫" || state().State != schemas.JobStopped {
		t.Errorf("%+v", list)
	}
	all.do("DELETE", "/api/v1/scan-stops?job=*", nil, 204)
	if got := fold.said[len(fold.said)-2:]; !slices.Equal(got, []string{"stop/* true", "stop/* false"}) || state().State != schemas.JobQueued {
		t.Errorf("%v", got)
	}
}

func TestNoScanners(t *testing.T) {
	all := start(t, nil, nil).user("all", registry.RoleAdmin, "")
	all.refused("GET", "/api/v1/scan-jobs", nil, 503, codeScanners)
	all.refused("POST", "/api/v1/scan-jobs", map[string]string{"unit": "c1"}, 503, codeScanners)
	all.refused("POST", "/api/v1/scan-stops", map[string]string{"job": "*"}, 503, codeScanners)
}

// TestScanPage is a city's administrator who asks for a scan and is told what may
// not be, follows it, and stops it; the province's, who stops everything; and an
// analyst, who looks on.
func TestScanPage(t *testing.T) {
	needsPage(t)
	fold := &scanners{}
	s := start(t, openStore(t), withScanners(fold))
	s.scope()
	s.user("of-c1", registry.RoleAdmin, "c1")
	s.user("li", registry.RoleAnalyst, "c1")
	root := s.user("root", registry.RoleAdmin, "")
	ctx := browse(t)
	rows := `document.querySelectorAll("#jobs tbody tr.ant-table-row").length`
	anew := func(field, text string) {
		t.Helper()
		do(t, ctx, chromedp.WaitVisible(".ant-modal "+field, chromedp.ByQuery), chromedp.Evaluate(`document.querySelector(".ant-modal `+field+`").select()`, nil), typed(".ant-modal "+field, text))
	}
	wrong := func(field string) string {
		return `document.querySelector(".ant-modal ` + field + `").closest(".ant-form-item").innerText`
	}

	// What may not be scanned is said where it stands.
	s.enter(ctx, "of-c1", "")
	press(t, ctx, "header nav a", "扫描")
	shows(t, ctx, "#scans", "没有扫描任务", "没有扫描器在运行")
	says(t, ctx, `[...document.querySelectorAll("#scans .ant-card-extra button")].map(e => e.innerText.replace(/\s/g, "")).join()`, "新建扫描") // who has a unit does not stop everything
	press(t, ctx, "#scans button", "新建扫描")
	anew("#scope", "203.0.113.7")
	press(t, ctx, ".ant-modal button", "预估")
	says(t, ctx, wrong("#scope")+`.includes("203.0.113.7 不属于单位 c1")`, "true")
	says(t, ctx, `document.activeElement.id`, "scope")
	says(t, ctx, `document.querySelectorAll(".ant-modal .ant-alert").length`, "0")
	picture(t, ctx, "scan-refused")
	anew("#scope", "198.51.100.0/26")
	anew("#ports", "web")
	press(t, ctx, ".ant-modal button", "预估")
	says(t, ctx, wrong("#ports")+`.includes("端口写法有误")`, "true")
	anew("#ports", "80,443")
	anew("#reason", "整改复查"+kb.Enter) // by keyboard
	shows(t, ctx, "#would", "扫描 48 个地址", "198.51.100.32/28", "已排除")
	picture(t, ctx, "scan-estimate")
	press(t, ctx, ".ant-modal button", "开始扫描")

	// It opens, and goes on by itself.
	shows(t, ctx, "#scan-job", "排队", "of-c1", "整改复查", "198.51.100.0/26", "198.51.100.32/28", "已排除")
	fold.works(t, "north", schemas.ShardDone, "")
	shows(t, ctx, "#scan-job", "1/2 片", "完成", "north", "排队")
	fold.works(t, "south", "", "")
	shows(t, ctx, "#scan-job", "进行中", "south")
	root.do("POST", "/api/v1/scan-jobs", map[string]any{"unit": "c2", "ports": "22"}, 200)
	picture(t, ctx, "scan-job")
	press(t, ctx, "#scan-job button", "停止任务")
	anew("#reason", "影响业务"+kb.Enter)
	shows(t, ctx, "#scan-job", "已停止", "影响业务", "恢复任务")
	press(t, ctx, "#scan-job button", "恢复任务")
	press(t, ctx, ".ant-modal button", "恢复任务")
	shows(t, ctx, "#scan-job", "进行中", "停止任务")
	do(t, ctx, chromedp.KeyEvent(kb.Escape))
	says(t, ctx, `location.hash.includes("job=")`, "false")
	says(t, ctx, rows, "1") // the other city's is not shown
	says(t, ctx, `document.querySelectorAll("#scanners tbody tr.ant-table-row").length`, "2")
	fits(t, ctx, 1280, "scans")
	fits(t, ctx, 390, "scans")
	do(t, ctx, chromedp.EmulateViewport(1440, 1000))
	leave(t, ctx)

	// An analyst looks on: no button is there. Whoever has the address sees the job.
	s.enter(ctx, "li", "#/scans")
	press(t, ctx, "#jobs tbody a", "20")
	shows(t, ctx, "#scan-job", "进行中", "整改复查")
	says(t, ctx, `document.querySelectorAll("#scans button:not(.ant-select *), #scan-job button").length`, "0")
	var hash string
	do(t, ctx, chromedp.Evaluate("location.hash", &hash), chromedp.KeyEvent(kb.Escape))
	leave(t, ctx)

	// Everything is stopped by who administers everything, after confirming it.
	s.enter(ctx, "root", hash)
	shows(t, ctx, "#scan-job", "进行中")
	do(t, ctx, chromedp.KeyEvent(kb.Escape))
	says(t, ctx, rows, "2")
	press(t, ctx, "#jobs .ant-checkbox-wrapper", "未结束")
	says(t, ctx, `location.hash.includes("active=true")`, "true")
	press(t, ctx, "#scans button", "停止一切扫描")
	shows(t, ctx, ".ant-modal", "所有扫描器在两秒内不再发包")
	picture(t, ctx, "scan-stop-all")
	press(t, ctx, ".ant-modal button", "取消")
	if fold.lastSaid() != "stop/"+fold.only("c1")+" false" {
		t.Errorf("what was not confirmed is said: %s", fold.lastSaid())
	}
	press(t, ctx, "#scans button", "停止一切扫描")
	anew("#reason", "误扫")
	press(t, ctx, ".ant-modal button", "停止一切扫描")
	shows(t, ctx, "#all-stopped", "一切扫描已停止", "root", "误扫")
	shows(t, ctx, "#jobs", "已停止")
	picture(t, ctx, "scans-stopped")
	if fold.lastSaid() != "stop/* true" {
		t.Errorf("%s", fold.lastSaid())
	}
	press(t, ctx, "#all-stopped button", "恢复扫描")
	press(t, ctx, ".ant-modal button", "恢复扫描")
	says(t, ctx, `document.querySelectorAll("#all-stopped").length`, "0")
	if fold.lastSaid() != "stop/* false" {
		t.Errorf("%s", fold.lastSaid())
	}
	press(t, ctx, "header .ant-segmented-item", "English")
	shows(t, ctx, "#jobs", "interactive", "running", "Observations")
	press(t, ctx, "header .ant-segmented-item", "中文")
	leave(t, ctx)

	// The server refuses, whatever the page shows: the city may not take back a stop
	// of the province.
	root.do("POST", "/api/v1/scan-stops", map[string]string{"job": fold.only("c1"), "reason": "省里要停"}, 200)
	s.enter(ctx, "of-c1", hash)
	press(t, ctx, "#scan-job button", "恢复任务")
	press(t, ctx, ".ant-modal button", "恢复任务")
	shows(t, ctx, ".ant-modal", "没有权限", "root")
	says(t, ctx, `document.querySelector("#scan-job").innerText.includes("省里要停")`, "true")
}

// only is the one job of a unit.
func (s *scanners) only(unit string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.queue.Jobs(time.Now()) {
		if j.Unit == unit {
			return j.ID
		}
	}
	return ""
}

func (s *scanners) lastSaid() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said[len(s.said)-1]
}
