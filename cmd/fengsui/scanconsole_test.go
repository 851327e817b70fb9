package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"fengsui/console"
	"fengsui/registry"
	"fengsui/schemas"
)

// What an administrator asks for in the console is scanned, and nothing else; it can
// be watched, and what is stopped there is silent.
func TestScanFromTheConsole(t *testing.T) {
	s := newScanLab(t, ", rate: 300")
	s.web.AddAddress("10.60.1.101")
	s.web.Listen(3000)
	s.web.AddAddress("10.60.1.102")
	s.register(scanUnits + "networks:\n" + singleNetwork("10.60.1.101", "") + singleNetwork("10.60.1.102", "") + "  - {prefix: 10.60.1.64/27, unit: u1, scan: false}\n")
	o := s.officer("zhang", registry.RoleAdmin, "u1")
	here := s.scanner.Sniff()
	into := func(answer []byte, v any) {
		t.Helper()
		if err := json.Unmarshal(answer, v); err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
	}

	var refused struct{ Fields console.Mistakes }
	into(o.post("scan-jobs", map[string]any{"unit": "u1", "scope": []string{"10.60.1.70", "192.0.2.1"}}, http.StatusUnprocessableEntity), &refused)
	if len(refused.Fields) != 2 || refused.Fields[0].Field != "scope" || !strings.Contains(refused.Fields[0].Zh, "10.60.1.70 所在的网段 10.60.1.64/27 未授权扫描") || !strings.Contains(refused.Fields[1].En, "192.0.2.1 is in no registered network") {
		t.Errorf("%+v", refused)
	}
	o.post("scan-jobs", map[string]any{"unit": "edu"}, http.StatusForbidden)

	var job console.StartedScan
	into(o.post("scan-jobs", map[string]any{"unit": "u1", "scope": []string{"10.60.1.101"}, "ports": "2990-3010", "reason": "复查"}, http.StatusOK), &job)
	if !job.Started || job.Addresses != 1 || job.Names != 0 {
		t.Errorf("%+v", job)
	}
	var whole console.ScanJobDetail
	look := func() *schemas.ScanJob {
		t.Helper()
		whole = console.ScanJobDetail{}
		into(o.ask(http.MethodGet, "scan-job?job="+job.Job, nil, http.StatusOK), &whole)
		return &whole.Job
	}
	s.eventually(time.Minute, "the job is over", func() error {
		if j := look(); j.State != schemas.JobDone {
			return fmt.Errorf("%+v", j)
		}
		return nil
	})
	if j := whole.Job; j.By != "zhang" || j.Class != schemas.ScanInteractive || j.Reason != "复查" || j.Seen == 0 || j.Percent != 100 || !slices.Equal(j.Scope, []string{"10.60.1.101"}) ||
		len(whole.Shards) != j.Shards || whole.Shards[0].State != "done" || whole.Shards[0].Scanner != "here" {
		t.Errorf("%+v", whole)
	}
	if asked, other := sent(t, here, "10.60.1.101"), sent(t, here, "10.60.1.102"); asked == 0 || other != 0 {
		t.Errorf("%d packets to what was asked for, %d to another address", asked, other)
	}

	// What a unit above asks for is told as far as it is about u1, and is not u1's to stop.
	above := s.officer("li", registry.RoleAdmin, "edu")
	into(above.post("scan-jobs", map[string]any{"unit": "edu", "scope": []string{"10.60.1.101"}, "ports": "2990-3010", "reason": "普查"}, http.StatusOK), &job)
	o.post("scan-stops", map[string]any{"job": job.Job}, http.StatusForbidden)
	s.eventually(time.Minute, "the job of the unit above is over", func() error {
		if j := look(); j.State != schemas.JobDone {
			return fmt.Errorf("%+v", j)
		}
		return nil
	})
	if j := whole.Job; !j.Above || j.By != "li" || j.Unit != "edu" || j.Reason != "普查" || j.Seen != 0 || j.Percent != 100 || len(whole.Shards) != j.Shards || whole.Shards[0].About != "10.60.1.101" {
		t.Errorf("%+v", whole)
	}

	// Stopped, it is silent; taken back, it goes on.
	into(o.post("scan-jobs", map[string]any{"unit": "u1", "ports": "1-30000"}, http.StatusOK), &job)
	flows := func(than int) {
		t.Helper()
		s.eventually(time.Minute, "packets flow", func() error {
			if n := sent(t, here, "10.60.1.101") + sent(t, here, "10.60.1.102"); n < than+100 {
				return fmt.Errorf("%d packets", n)
			}
			return nil
		})
	}
	flows(sent(t, here, "10.60.1.101"))
	o.post("scan-stops", map[string]any{"job": "*"}, http.StatusForbidden)
	o.post("scan-stops", map[string]any{"job": job.Job, "reason": "误扫"}, http.StatusOK)
	time.Sleep(2 * time.Second)
	silent := sent(t, here, "10.60.1.101") + sent(t, here, "10.60.1.102")
	time.Sleep(2 * time.Second)
	if n := sent(t, here, "10.60.1.101") + sent(t, here, "10.60.1.102"); n != silent {
		t.Errorf("%d packets two seconds after a stop", n-silent)
	}
	if j := look(); j.State != schemas.JobStopped || j.Stopped.By != "zhang" || j.Stopped.Reason != "误扫" {
		t.Errorf("%+v", j)
	}
	var list console.ScanJobs
	into(o.ask(http.MethodGet, "scan-jobs?active=true", nil, http.StatusOK), &list)
	if len(list.Items) != 1 || list.Items[0].ID != job.Job || len(list.Agents) != 1 || list.Agents[0].Scanner != "here" || list.Stopped != nil {
		t.Errorf("%+v", list)
	}
	o.ask(http.MethodDelete, "scan-stops?job="+job.Job, nil, http.StatusNoContent)
	flows(silent)
}
