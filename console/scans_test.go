package console

import (
	"context"
	"testing"

	"fengsui/registry"
	"fengsui/schemas"
)

// An administrator of everything stops scans and lets them go on; nobody else.
func TestScanStops(t *testing.T) {
	said := map[string]*schemas.ScanState{}
	s := start(t, nil, func(c *Console) {
		c.deps.ScanStops = func(_ context.Context, key string, s *schemas.ScanState) error {
			said[key] = s
			return nil
		}
	})
	stop := map[string]string{"job": "*", "reason": "误扫"}
	s.user("of-c1", registry.RoleAdmin, "c1").refused("POST", "/api/v1/scan-stops", stop, 403, codeForbidden)
	s.user("analyst", registry.RoleAnalyst, "").refused("POST", "/api/v1/scan-stops", stop, 403, codeForbidden)
	if len(said) != 0 {
		t.Fatalf("%v", said)
	}
	all := s.user("all", registry.RoleAdmin, "")
	all.refused("POST", "/api/v1/scan-stops", map[string]string{"job": ""}, 422, codeInvalid)
	var out schemas.ScanStop
	all.do("POST", "/api/v1/scan-stops", stop, 200).into(t, &out)
	if got := said["stop/*"]; got == nil || got.Stop.By != "all" || got.Stop.Reason != "误扫" || got.Stop.Time.IsZero() || out != *got.Stop {
		t.Errorf("%+v, %+v", got, out)
	}
	all.do("DELETE", "/api/v1/scan-stops?job=*", nil, 204)
	if got, ok := said["stop/*"]; !ok || got != nil {
		t.Errorf("%+v", got)
	}
}
