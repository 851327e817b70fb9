package registry

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"

	"fengsui/internal/directory"
	"fengsui/internal/directory/follow"
	"fengsui/internal/kafka"
	kafkatest "fengsui/internal/testkit/kafka"
	"fengsui/schemas"
)

func TestDriftDecisions(t *testing.T) { everywhere(t, testDriftDecisions) }

func testDriftDecisions(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	if _, err := r.Put(ctx, "me", read(t, "a.yaml", province)); err != nil {
		t.Fatal(err)
	}
	port := &schemas.Drift{ID: "d1", Kind: schemas.UnlistedPort, Status: schemas.DriftOpen, Unit: "10001"}
	version := &schemas.Drift{ID: "d2", Kind: schemas.VersionChanged, Status: schemas.DriftOpen, Unit: "10001"}
	admin, analyst := User{Name: "a", Role: RoleAdmin}, User{Name: "b", Role: RoleAnalyst, Unit: "10001"}
	soon := time.Now().Add(24 * time.Hour)
	f := func(by User, d *schemas.Drift, work schemas.DriftWork, want error) {
		t.Helper()
		got, err := r.DecideDrift(ctx, by, d, work)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", work.State, err, want)
		}
		if err == nil && (got.By != by.Name || got.Drift != d.ID || time.Since(got.At) > time.Minute) {
			t.Errorf("%+v", got)
		}
	}
	f(analyst, port, schemas.DriftWork{State: schemas.WorkAcknowledged, Assignee: "li"}, nil)
	f(analyst, port, schemas.DriftWork{State: schemas.WorkFixed, Note: " 关了 "}, nil)
	f(analyst, port, schemas.DriftWork{State: schemas.WorkAccepted, Until: soon}, ErrForbidden)
	f(User{Name: "c", Role: RoleAuditor}, port, schemas.DriftWork{State: schemas.WorkFixed}, ErrForbidden)
	f(User{Name: "c", Role: RoleAdmin, Unit: "10002"}, port, schemas.DriftWork{State: schemas.WorkFixed}, ErrForbidden)
	f(admin, port, schemas.DriftWork{State: "closed"}, ErrInvalid)
	f(admin, port, schemas.DriftWork{State: schemas.WorkAccepted}, ErrInvalid)
	f(admin, port, schemas.DriftWork{State: schemas.WorkAccepted, Until: soon.AddDate(2, 0, 0)}, ErrInvalid)
	f(admin, port, schemas.DriftWork{State: schemas.WorkFixed, Note: strings.Repeat("x", maxNote+1)}, ErrInvalid)
	f(admin, &schemas.Drift{ID: "d3", Status: schemas.DriftClosed}, schemas.DriftWork{State: schemas.WorkFixed}, ErrInvalid)
	f(admin, &schemas.Drift{ID: "a/b"}, schemas.DriftWork{State: schemas.WorkFixed}, ErrInvalid)
	f(admin, port, schemas.DriftWork{State: schemas.WorkAccepted, Until: soon}, nil)
	f(admin, version, schemas.DriftWork{State: schemas.WorkAccepted}, nil)
	history, err := r.History(ctx, "decision/d1")
	if err != nil || len(history) != 3 || history[1].Who != "b" || !strings.Contains(string(history[1].After), `"note":"关了"`) {
		t.Errorf("%v %+v", err, history)
	}
	// It is in no file.
	all, err := r.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := WriteFile("x.yaml", &b, all); err != nil || strings.Contains(b.String(), "d1") {
		t.Errorf("%v %s", err, b.String())
	}

	// It reaches the services, also by a publisher that begins later.
	broker := kafkatest.Start(t)
	cfg := kafka.DefaultConfig()
	cfg.Brokers = []string{broker.Addr}
	if err := kafka.EnsureTopics(ctx, cfg, schemas.Topics(), 1); err != nil {
		t.Fatal(err)
	}
	defer publish(t, r, cfg)()
	dir := directory.New()
	follower, err := follow.New(cfg, dir, follow.Deps{Log: quiet, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	following, stop := context.WithCancel(ctx)
	followed := make(chan error, 1)
	go func() { followed <- follower.Run(following) }()
	defer func() {
		stop()
		if err := <-followed; err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "the decision is known", func() bool {
		d, ok := dir.Snapshot().Decision("d1")
		return ok && d.State == schemas.WorkAccepted && d.By == "a"
	})
	f(admin, port, schemas.DriftWork{State: schemas.WorkFixed}, nil)
	eventually(t, "the next decision is known", func() bool {
		d, _ := dir.Snapshot().Decision("d1")
		return d.State == schemas.WorkFixed
	})
}

func TestAcceptAsksOnce(t *testing.T) { everywhere(t, testAcceptAsksOnce) }

func testAcceptAsksOnce(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	if _, err := r.Put(ctx, "me", read(t, "a.yaml", province)); err != nil {
		t.Fatal(err)
	}
	d := &schemas.Drift{ID: "d1", Kind: schemas.UnlistedPort, Asset: "service/192.0.2.20/tcp/8080", Observed: "http", Status: schemas.DriftOpen, Unit: "10001"}
	admin := User{Name: "a", Role: RoleAdmin, Unit: "10001"}
	pending := func(want int) {
		t.Helper()
		if got, err := r.Requests(ctx, RequestPending); err != nil || len(got) != want {
			t.Errorf("%d requests wait, not %d: %v", len(got), want, err)
		}
	}
	refused := func(by User, work schemas.DriftWork, want error, zh string) {
		t.Helper()
		if _, _, err := r.HandleDrift(ctx, by, d, work); !errors.Is(err, want) || !strings.Contains(err.Error(), zh) {
			t.Errorf("%v, not %v with %s", err, want, zh)
		}
	}
	accept := schemas.DriftWork{State: schemas.WorkAccepted, Note: strings.Repeat("x", maxNote)}

	// Who may not, and what cannot be, leaves no request behind.
	refused(User{Name: "b", Role: RoleAnalyst, Unit: "10001"}, accept, ErrForbidden, "只有管理员可以接受")
	refused(User{Name: "c", Role: RoleAdmin, Unit: "4101"}, accept, ErrForbidden, "不是您的单位或其下属")
	refused(admin, schemas.DriftWork{State: schemas.WorkAccepted, Until: time.Now().Add(-time.Hour)}, ErrInvalid, "时间已过")
	pending(0)

	// Of many at once one asks; a note may be as long as any.
	var all sync.WaitGroup
	var asked atomic.Int32
	for range 5 {
		all.Go(func() {
			if _, _, err := r.HandleDrift(ctx, admin, d, accept); err == nil {
				asked.Add(1)
			} else if !errors.Is(err, ErrInvalid) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	pending(1)
	if asked.Load() != 1 {
		t.Errorf("%d have asked", asked.Load())
	}
	refused(admin, accept, ErrInvalid, "尚待审批")
	waiting, err := r.Requests(ctx, RequestPending)
	if err != nil || len(waiting) != 1 {
		t.Fatal(waiting, err)
	}

	// What was refused may be asked for again.
	if _, err := r.Decide(ctx, User{Name: "boss", Role: RoleAdmin}, waiting[0].ID, RequestRefused, ""); err != nil {
		t.Error(err)
	}
	if _, _, err := r.HandleDrift(ctx, admin, d, accept); err != nil {
		t.Error(err)
	}
	pending(1)
}

// The analyzer takes the latest decision: one that was made by a clock behind is
// no older than the one that it replaces.
func TestDecisionsFollowOneAnother(t *testing.T) { everywhere(t, testDecisionsFollowOneAnother) }

func testDecisionsFollowOneAnother(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	if _, err := r.Put(ctx, "me", read(t, "a.yaml", province)); err != nil {
		t.Fatal(err)
	}
	d := &schemas.Drift{ID: "d1", Kind: schemas.Exposed, Status: schemas.DriftOpen, Unit: "10001"}
	by := User{Name: "a", Role: RoleAdmin}
	ahead, err := decisionOf(by, d, schemas.DriftWork{State: schemas.WorkAcknowledged})
	if err != nil {
		t.Fatal(err)
	}
	ahead.At = ahead.At.Add(time.Hour)
	if err := r.write(ctx, func(ctx context.Context, tx bun.Tx) error { return putDecision(ctx, tx, by, ahead) }); err != nil {
		t.Fatal(err)
	}
	next, err := r.DecideDrift(ctx, by, d, schemas.DriftWork{State: schemas.WorkFixed})
	if err != nil || !next.At.After(ahead.At) {
		t.Errorf("%+v is not after %v: %v", next, ahead.At, err)
	}
	history, err := r.History(ctx, "decision/d1")
	if err != nil || len(history) != 2 || !strings.Contains(string(history[0].After), next.At.Format(time.RFC3339Nano)) {
		t.Errorf("%+v %v", history, err)
	}
}

func TestOfficer(t *testing.T) {
	ctx := context.Background()
	r := backends[0].open(t)
	if _, err := r.Put(ctx, "me", read(t, "a.yaml", province)); err != nil {
		t.Fatal(err)
	}
	if _, found, err := r.Officer(ctx, "10001"); found || err != nil {
		t.Error(found, err)
	}
	contacts := &Content{Contacts: []Contact{
		{Unit: "410000", Duty: SecurityOfficer, Person: Person{Name: "省安全员"}}, {Unit: "10001", Duty: Responsible, Person: Person{Name: "负责人"}},
	}}
	for i := range contacts.Contacts {
		if snap, err := r.Snapshot(ctx); err != nil {
			t.Fatal(err)
		} else if path := snap.Path("10001"); contacts.Contacts[i].Unit == "410000" {
			contacts.Contacts[i].Unit = path[len(path)-1]
		}
	}
	if _, err := r.Put(ctx, "me", contacts); err != nil {
		t.Fatal(err)
	}
	if c, found, err := r.Officer(ctx, "10001"); !found || err != nil || c.Name != "负责人" {
		t.Error(c, found, err)
	}
	if err := r.Delete(ctx, "me", "contact/10001/responsible"); err != nil {
		t.Fatal(err)
	}
	if c, found, err := r.Officer(ctx, "10001"); !found || err != nil || c.Name != "省安全员" {
		t.Error(c, found, err)
	}
}
