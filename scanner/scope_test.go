package scanner

import (
	"encoding/json"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// A new task waits for the registry that authorises it, and not for ever.
func TestTaskAheadOfTheRegistry(t *testing.T) {
	f := func(age, registered time.Duration, want time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			dir := directory.New()
			publish := func(r schemas.RegistryRecord) {
				value, err := json.Marshal(r)
				if err == nil {
					err = dir.Apply(directory.RecordKey(r), value)
				}
				if err != nil {
					t.Error(err)
				}
			}
			publish(schemas.RegistryRecord{Unit: &schemas.Unit{Code: "u1", Name: "示例大学", Level: schemas.University}})
			publish(schemas.RegistryRecord{Domain: &schemas.Domain{Name: "u1.example", Unit: "u1", Scan: true}})
			begin := time.Now()
			time.AfterFunc(registered, func() {
				publish(schemas.RegistryRecord{Network: &schemas.Network{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Unit: "u1", Scan: true}})
			})
			s := &Scanner{deps: Deps{Directory: dir}}
			s.awaitScope(t.Context(), &schemas.ScanTask{
				Targets: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}, Names: []string{"www.u1.example"}, Created: begin.Add(-age),
			})
			if took := time.Since(begin); took < want || took > want+scopeWait {
				t.Errorf("waited %v, want %v", took, want)
			}
			time.Sleep(registered) // the timer is the bubble's, too
		})
	}
	f(0, time.Second, time.Second)
	f(-time.Hour, time.Second, time.Second) // a clock that is ahead
	f(time.Second, time.Minute, scopeGrace-time.Second)
	f(-time.Hour, time.Minute, scopeGrace)
	f(time.Hour, time.Minute, 0)
}
