package registry

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pgtest "fengsui/internal/testkit/postgres"
	"fengsui/schemas"
)

// backend is where a test keeps its registry; the same tests hold for each.
type backend struct {
	name string
	// fresh opens an empty registry and says how to open it once more, as another
	// process would.
	fresh func(t testing.TB) (*Registry, func(testing.TB) *Registry)
}

var backends = []backend{
	{"sqlite", func(t testing.TB) (*Registry, func(testing.TB) *Registry) {
		path := filepath.Join(t.TempDir(), "registry.db")
		again := func(t testing.TB) *Registry { return closed(t)(Open(context.Background(), path)) }
		return again(t), again
	}},
	{"postgres", func(t testing.TB) (*Registry, func(testing.TB) *Registry) {
		dsn := pgtest.Database(t)
		again := func(t testing.TB) *Registry { return closed(t)(OpenPostgres(context.Background(), dsn)) }
		return again(t), again
	}},
}

func closed(t testing.TB) func(*Registry, error) *Registry {
	return func(r *Registry, err error) *Registry {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		return r
	}
}

func (p backend) open(t testing.TB) *Registry {
	t.Helper()
	r, _ := p.fresh(t)
	return r
}

// everywhere runs the test on every database.
func everywhere(t *testing.T, test func(t *testing.T, at backend)) {
	t.Helper()
	for _, at := range backends {
		t.Run(at.name, func(t *testing.T) { test(t, at) })
	}
}

const province = `
units:
  - {code: "4101", name: 甲市教育局, level: city, parent: "41"}
  - {code: "41", name: 某省教育厅, level: province}
  - {code: "10001", name: 甲大学, level: university, parent: "41"}
networks:
  - {prefix: 192.0.2.7/24, unit: "10001", name: 主校区, scan: true}
  - {prefix: "2001:db8::/48", unit: "10001", scan: true}
domains:
  - {name: Example.EDU.cn., unit: "10001", scan: true}
whitelist:
  - {kind: port, host: 192.0.2.10/32, port: 443, service: https, unit: "10001", reason: 门户网站}
  - {kind: host, host: 192.0.2.10/32, unit: "10001"}
  - {kind: domain, domain: www.example.edu.cn, unit: "10001", until: 2027-01-01T00:00:00Z}
`

func read(t *testing.T, name, text string) *Content {
	t.Helper()
	c, err := ReadFile(name, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPutIsNormalisedAndRepeatable(t *testing.T) { everywhere(t, testPutIsNormalisedAndRepeatable) }

func testPutIsNormalisedAndRepeatable(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	changed, err := r.Put(ctx, "me", read(t, "a.yaml", province))
	if err != nil || changed != 9 {
		t.Fatalf("changed %d, %v", changed, err)
	}
	if changed, err = r.Put(ctx, "me", read(t, "a.yaml", province)); err != nil || changed != 0 {
		t.Fatalf("again: changed %d, %v", changed, err)
	}
	c, err := r.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Networks[0].Prefix.String(); got != "192.0.2.0/24" {
		t.Errorf("prefix %s", got)
	}
	if got := c.Domains[0].Name; got != "example.edu.cn" {
		t.Errorf("domain %s", got)
	}
	if got := c.Whitelist[2].Transport; got != "tcp" {
		t.Errorf("transport %q of %+v", got, c.Whitelist[2])
	}
	rows, err := changesAfter(ctx, r.db, 0)
	if err != nil || len(rows) != 9 {
		t.Errorf("%d changes noted, %v", len(rows), err)
	}
}

func TestPutRefusesAllOrNothing(t *testing.T) { everywhere(t, testPutRefusesAllOrNothing) }

func testPutRefusesAllOrNothing(t *testing.T, at backend) {
	ctx := context.Background()
	f := func(yaml, want string) {
		t.Helper()
		r := at.open(t)
		_, err := r.Put(ctx, "me", read(t, "a.yaml", yaml))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if c, err := r.All(ctx); err != nil || c.Len() != 0 {
			t.Errorf("left %d entries behind, %v", c.Len(), err)
		}
	}
	f(`units: [{code: a, name: A, level: city, parent: b}]`, `unit "b" is not in the registry`)
	f(`units: [{code: a, name: A, level: city, parent: b}, {code: b, name: B, level: city, parent: a}]`, "is below itself")
	f(`units: [{code: a, name: A, level: town}]`, "none of province, city")
	f(`units: [{code: a b, name: A, level: city}]`, "no space")
	f(`networks: [{prefix: 10.0.0.0/8, unit: x, scan: true}]`, `unit "x" is not in the registry`)
	f("units: [{code: a, name: A, level: city}]\nwhitelist: [{kind: port, host: 192.0.2.1/32, unit: a}]", "port 0 is not between")
	f("units: [{code: a, name: A, level: city}]\nwhitelist: [{kind: door, unit: a}]", `kind "door"`)
	f("units: [{code: a, name: A, level: city}]\ndomains: [{name: cn, unit: a}]", "is no domain name")
}

func TestDelete(t *testing.T) { everywhere(t, testDelete) }

func testDelete(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	if _, err := r.Put(ctx, "me", read(t, "a.yaml", province)); err != nil {
		t.Fatal(err)
	}
	f := func(want string, keys ...string) {
		t.Helper()
		err := r.Delete(ctx, "me", keys...)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v: got %v, want %q", keys, err, want)
		}
	}
	f("units below it", "unit/41")
	f("still owns", "unit/10001")
	f("is not in the registry", "network/198.51.100.0/24")
	f("is no key", "door/1")
	f("is not in the registry", "whitelist/host/192.0.2.10/32", "whitelist/host/192.0.2.99/32")
	f("", "whitelist/host/192.0.2.10/32", "unit/4101")
	c, err := r.All(ctx)
	if err != nil || len(c.Whitelist) != 2 || len(c.Units) != 2 {
		t.Errorf("%d whitelist entries, %d units, %v", len(c.Whitelist), len(c.Units), err)
	}
}

func TestFilesRoundTrip(t *testing.T) { everywhere(t, testFilesRoundTrip) }

func testFilesRoundTrip(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	if _, err := r.Put(ctx, "me", read(t, "a.yaml", province)); err != nil {
		t.Fatal(err)
	}
	want, err := r.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f := func(name string) {
		t.Helper()
		var b bytes.Buffer
		if err := WriteFile(name, &b, want); err != nil {
			t.Fatal(err)
		}
		got, err := ReadFile(name, &b)
		if err != nil {
			t.Fatal(err)
		}
		other := at.open(t)
		if _, err := other.Put(ctx, "me", got); err != nil {
			t.Fatal(err)
		}
		back, err := other.All(ctx)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := recordsOf(want)
		z, _ := recordsOf(back)
		if diff := cmp.Diff(a, z, cmp.AllowUnexported(record{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	f("r.yaml")
	f("r.xlsx")
}

func TestCSV(t *testing.T) {
	c := read(t, "w.csv", "\xef\xbb\xbf类型,主机,端口,单位代码,服务,失效日期\n端口,192.0.2.1,22,10001,ssh,2027-02-03\n,,,,,\n主机,192.0.2.0/28,,10001,,\n")
	if len(c.Whitelist) != 2 || c.Whitelist[0].Port != 22 || c.Whitelist[0].Kind != schemas.WhitelistPort || c.Whitelist[1].Host.String() != "192.0.2.0/28" {
		t.Errorf("%+v", c.Whitelist)
	}
	f := func(text, want string) {
		t.Helper()
		_, err := ReadFile("x.csv", strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("", "no header row")
	f("colour,size\n", "of no kind of entry")
	f("prefix,unit,scan,colour\n", `column "colour" is not known here`)
	f("prefix,unit,scan\n10.0.0.0/99,a,yes\n10.0.0.0/8,a,maybe\n", "networks row 3: \"maybe\"")
	f("kind,host,port,unit\nport,192.0.2.1,http,a\n", `row 2: port "http" is not a number`)
}

func FuzzReadFile(f *testing.F) {
	f.Add("a.yaml", []byte(province))
	f.Add("a.csv", []byte("prefix,unit,scan\n10.0.0.0/8,a,yes\n"))
	f.Add("a.xlsx", []byte("PK\x03\x04"))
	f.Fuzz(func(_ *testing.T, name string, raw []byte) {
		if c, err := ReadFile(name, bytes.NewReader(raw)); err == nil {
			_ = c.normalise()
		}
	})
}

func TestUsers(t *testing.T) { everywhere(t, testUsers) }

func testUsers(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	once, err := r.EnsureAdmin(ctx)
	if err != nil || len(once) < 16 {
		t.Fatalf("%q, %v", once, err)
	}
	if again, err := r.EnsureAdmin(ctx); err != nil || again != "" {
		t.Fatalf("a second administrator: %q, %v", again, err)
	}
	if _, err := r.Login(ctx, "admin", "wrong"); !errors.Is(err, ErrLogin) {
		t.Errorf("wrong password: %v", err)
	}
	if _, err := r.Login(ctx, "nobody", once); !errors.Is(err, ErrLogin) {
		t.Errorf("unknown name: %v", err)
	}
	u, err := r.Login(ctx, "admin", once)
	if err != nil || !u.OneTime || u.Role != RoleAdmin {
		t.Errorf("%+v, %v", u, err)
	}
	if err := r.ChangePassword(ctx, "admin", once, "short"); err == nil {
		t.Error("a short password was taken")
	}
	if err := r.ChangePassword(ctx, "admin", once, "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	if u, err := r.Login(ctx, "admin", "correct horse battery"); err != nil || u.OneTime {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d", "registry.db")
	r, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
