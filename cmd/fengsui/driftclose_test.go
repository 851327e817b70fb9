package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"testing"
	"time"

	"fengsui/internal/testkit/lab"
	"fengsui/registry"
	"fengsui/schemas"
)

// drifted waits until the newest drift of a kind and asset is as f wants it, and
// returns it.
func (c *campus) drifted(limit time.Duration, kind schemas.DriftKind, asset string, f func(*schemas.Drift) error) *schemas.Drift {
	c.t.Helper()
	var d schemas.Drift
	c.eventually(limit, string(kind)+" "+asset, func() error {
		all, err := tryFind[schemas.Drift](c.system, "drift", fmt.Sprintf("kind = %s && asset = %q", kind, asset))
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fmt.Errorf("no drift")
		}
		d = slices.MaxFunc(all, func(a, b schemas.Drift) int { return a.First.Compare(b.First) })
		if err := f(&d); err != nil {
			return fmt.Errorf("%w: %s", err, steps(&d))
		}
		return nil
	})
	return &d
}

func is(status schemas.DriftStatus) func(*schemas.Drift) error {
	return func(d *schemas.Drift) error {
		if d.Status != status {
			return fmt.Errorf("%s, not %s", d.Status, status)
		}
		return nil
	}
}

// steps is a drift's history in a few words, and where it is now.
func steps(d *schemas.Drift) string {
	var all []string
	for _, s := range d.History {
		all = append(all, s.What)
	}
	return strings.Join(all, " ") + " | " + string(d.Status) + " " + d.Reason
}

// alertOf is the alert of a drift.
func (c *campus) alertOf(d *schemas.Drift) *schemas.Alert {
	c.t.Helper()
	for _, a := range find[schemas.Alert](c.system, "alerts", "kind = drift") {
		if a.ID == d.ID {
			return &a
		}
	}
	c.t.Fatalf("no alert of %s %s", d.Kind, d.Asset)
	return nil
}

// looks are the jobs that were asked for because of a drift.
func (c *campus) looks(d *schemas.Drift) []string {
	c.t.Helper()
	rows, err := c.db().Query(c.t.Context(), "SELECT DISTINCT job FROM observations WHERE startsWith(job, ?) AND kind = 'done' ORDER BY job", "drift-"+d.ID+"-")
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var job string
		if err := rows.Scan(&job); err != nil {
			c.t.Fatal(err)
		}
		out = append(out, job)
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(err)
	}
	return out
}

// looked waits until so many looks because of a drift are over: a drift changes
// before the look that changed it ends.
func (c *campus) looked(d *schemas.Drift, n int) {
	c.t.Helper()
	c.eventually(10*time.Second, "the looks that were asked for are over", func() error {
		if all := c.looks(d); len(all) != n {
			return fmt.Errorf("%d, not %d: %v", len(all), n, all)
		}
		return nil
	})
}

// officer is somebody of a unit in front of the console, which listens inside of
// the scanner's namespace.
type officer struct {
	c    *campus
	http *http.Client
}

func (c *campus) officer(name string, role registry.Role, unit string) *officer {
	c.t.Helper()
	cfg, err := loadConfig(&globalFlags{dataDir: c.dir})
	if err != nil {
		c.t.Fatal(err)
	}
	reg, err := cfg.Registry.open(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	defer reg.Close()
	const password = "a password of one's own"
	oneTime, err := reg.ResetPassword(c.t.Context(), registry.User{Name: name, Role: role, Unit: unit})
	if err == nil {
		err = reg.ChangePassword(c.t.Context(), name, oneTime, password)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = c.scanner.In(func() (err error) {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}}
	c.t.Cleanup(transport.CloseIdleConnections)
	o := &officer{c, &http.Client{Jar: jar, Transport: transport, Timeout: time.Minute}}
	o.post("login", map[string]string{"name": name, "password": password}, http.StatusOK)
	return o
}

func (o *officer) post(path string, body any, want int) []byte {
	o.c.t.Helper()
	return o.ask(http.MethodPost, path, body, want)
}

func (o *officer) ask(method, path string, body any, want int) []byte {
	o.c.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		o.c.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(o.c.t.Context(), method, strings.TrimSuffix(o.c.ready.Console, "/")+"/api/v1/"+path, bytes.NewReader(text))
	if err != nil {
		o.c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := o.http.Do(req)
	if err != nil {
		o.c.t.Fatal(err)
	}
	defer res.Body.Close()
	var said bytes.Buffer
	_, _ = said.ReadFrom(res.Body)
	if res.StatusCode != want {
		o.c.t.Fatalf("%s: %s %s", path, res.Status, &said)
	}
	return said.Bytes()
}

// TestClosingADrift is what becomes of it when somebody says that it is fixed:
// it is scanned again by itself, and only a scan that finds nothing closes it.
// What the registry allows closes at once, and comes back when it no longer does.
func TestClosingADrift(t *testing.T) {
	c := newCampus(t)
	c.web.Nginx(lab.Web{Port: 80})
	extra := c.web.Nginx(lab.Web{Port: 8080})
	c.bind(campusRecords)
	c.start()
	const asset = "service/10.60.1.10/tcp/8080"
	c.register(scanUnits + "networks:\n" + singleNetwork("10.60.1.10", "") + "domains: [{name: u1.example, unit: u1, scan: false}]\nwhitelist:\n" + whitelistPort("10.60.1.10", 80, "http"))
	c.scan()
	d := c.drifted(30*time.Second, schemas.UnlistedPort, asset, is(schemas.DriftOpen))
	c.confirmed(d)
	id := d.ID
	if steps(d) != "suspected open | open " || c.alertOf(d).Status != schemas.AlertOpen {
		t.Fatalf("%s, %+v", steps(d), c.alertOf(d))
	}
	c.looked(d, 1)

	// An officer says that it is fixed, and it is not.
	said := time.Now()
	c.officer("wang", registry.RoleAnalyst, "u1").post("drift-decisions", map[string]any{"id": id, "state": "fixed", "note": "端口已关闭"}, http.StatusOK)
	d = c.drifted(30*time.Second, schemas.UnlistedPort, asset, func(d *schemas.Drift) error {
		if !strings.HasPrefix(steps(d), "suspected open fixed still_seen ") {
			return fmt.Errorf("not yet sent back")
		}
		return nil
	})
	t.Logf("sent back after %v: %s", time.Since(said).Round(time.Millisecond), steps(d))
	again := d.History[3]
	if d.ID != id || d.Status != schemas.DriftOpen || !d.Closed.IsZero() || d.Doubt != "" || d.Work == nil || d.Work.State != schemas.WorkAcknowledged {
		t.Errorf("%+v", d)
	}
	if by := d.History[2]; by.Who != "wang" || by.Why != "端口已关闭" || !strings.HasPrefix(again.Why, "drift-"+id+"-") || !again.At.After(by.At) {
		t.Errorf("%+v", d.History)
	}
	c.looked(d, 2)
	if a := c.alertOf(d); a.Status != schemas.AlertOpen {
		t.Errorf("%+v", a)
	}

	// Now it is.
	extra.Stop()
	said = time.Now()
	c.run("drift", "fixed", id, "--note", "服务已停")
	d = c.drifted(30*time.Second, schemas.UnlistedPort, asset, is(schemas.DriftClosed))
	t.Logf("closed after %v: %s", time.Since(said).Round(time.Millisecond), steps(d))
	if d.ID != id || d.Reason != "gone" || steps(d) != "suspected open fixed still_seen fixed closed | closed gone" || d.Closed.Before(said) {
		t.Errorf("%+v: %s", d, steps(d))
	}
	c.looked(d, 3)
	if a := c.alertOf(d); a.Status != schemas.AlertClosed || a.Reason != "gone" {
		t.Errorf("%+v", a)
	}
	if text := c.run("drift", "show", id); !strings.Contains(text, "still_seen") || !strings.Contains(text, "服务已停") {
		t.Error(text)
	}
	if _, err := c.try("drift", "fixed", id); err == nil {
		t.Error("a drift that has closed is fixed again")
	}

	// What is allowed closes without a look; what is allowed no longer is suspected
	// without one, and opens at the next, which is asked for.
	const other = "service/10.60.1.10/tcp/8081"
	c.web.Nginx(lab.Web{Port: 8081})
	c.scan()
	d = c.drifted(30*time.Second, schemas.UnlistedPort, other, is(schemas.DriftOpen))
	c.looked(d, 1)
	said = time.Now()
	c.register("whitelist:\n" + whitelistPort("10.60.1.10", 8081, "http"))
	was := c.drifted(10*time.Second, schemas.UnlistedPort, other, is(schemas.DriftClosed))
	t.Logf("closed %v after it was allowed", was.Closed.Sub(said).Round(time.Millisecond))
	if was.ID != d.ID || was.Reason != "whitelisted" || len(c.looks(was)) != 1 || c.alertOf(was).Status != schemas.AlertClosed {
		t.Errorf("%+v, %d looks: %s", was, len(c.looks(was)), steps(was))
	}
	said = time.Now()
	c.run("registry", "delete", "whitelist/port/10.60.1.10/32/tcp/8081")
	d = c.drifted(30*time.Second, schemas.UnlistedPort, other, func(d *schemas.Drift) error {
		if d.ID == was.ID || d.Status != schemas.DriftOpen {
			return fmt.Errorf("not open again")
		}
		return nil
	})
	t.Logf("suspected %v after it was allowed no longer, open %v after it", d.First.Sub(said).Round(time.Millisecond), d.Confirmed.Sub(said).Round(time.Millisecond))
	if d.Previous != was.ID || d.Times != 1 || steps(d) != "suspected open closed suspected open | open " || d.History[3].Why != "registry" {
		t.Errorf("%+v: %s", d, steps(d))
	}
	c.looked(d, 1)
	if a := c.alertOf(d); a.Status != schemas.AlertOpen {
		t.Errorf("%+v", a)
	}
	c.stop()
}
