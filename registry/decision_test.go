package registry

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
