package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fengsui/internal/hours"
	"fengsui/schemas"
)

func TestSchedule(t *testing.T) {
	f := func(every time.Duration, at, want string) {
		t.Helper()
		when, err := time.ParseInLocation(time.DateTime, at, hours.Zone)
		if err != nil {
			t.Fatal(err)
		}
		c := ScheduleConfig{Unit: "41", Every: every}
		if got := c.job(when); got != want {
			t.Errorf("every %v at %s: %s, want %s", every, at, got, want)
		}
	}
	f(24*time.Hour, "2026-11-28 00:00:00", "periodic-41-24h0m0s-20261127T160000Z")
	f(24*time.Hour, "2026-11-28 23:59:59", "periodic-41-24h0m0s-20261127T160000Z")
	f(24*time.Hour, "2026-11-29 00:00:00", "periodic-41-24h0m0s-20261128T160000Z")
	f(time.Hour, "2026-11-28 10:30:00", "periodic-41-1h0m0s-20261128T020000Z")

	bad := func(want string, all ...ScheduleConfig) {
		t.Helper()
		if err := checkSchedule(all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", all, err, want)
		}
	}
	day := ScheduleConfig{Unit: "41", Every: 24 * time.Hour}
	bad("unit is missing", ScheduleConfig{Every: time.Hour})
	bad("every", ScheduleConfig{Unit: "41", Every: time.Minute})
	bad("every", ScheduleConfig{Unit: "41", Every: 1000 * time.Hour})
	bad("rate", ScheduleConfig{Unit: "41", Every: time.Hour, Rate: -1})
	bad("ports", ScheduleConfig{Unit: "41", Every: time.Hour, Ports: "http"})
	bad("already", day, day)
	if err := checkSchedule([]ScheduleConfig{day, {Unit: "41", Every: time.Hour, Ports: "22,80,u:53"}}); err != nil {
		t.Error(err)
	}
}

// What is due is scanned without anybody's command, once in its period, whatever
// restarts.
func TestScheduledScan(t *testing.T) {
	s := newScanLab(t, "}\nschedule: [{unit: u1, every: 168h, ports: \"2990-3010\", reason: 每周普查}]\nlog: {level: info")
	s.web.AddAddress("10.60.1.101")
	s.web.Listen(3000)
	s.register(scanUnits + "networks:\n" + singleNetwork("10.60.1.101", ""))
	periodic := func() (jobs []string) {
		for line := range strings.Lines(s.run("scan", "list", "--json")) {
			if strings.Contains(line, `"periodic-u1-`) {
				jobs = append(jobs, line)
			}
		}
		return jobs
	}
	job := (&ScheduleConfig{Unit: "u1", Every: 168 * time.Hour}).job(time.Now())
	s.eventually(90*time.Second, "the scan is planned", func() error {
		if all := periodic(); len(all) != 1 {
			return fmt.Errorf("%v", all)
		}
		return nil
	})
	j := s.over(job, time.Minute)
	if j.Done != j.Shards || j.By != "schedule" || j.Class != schemas.ScanPeriodic || j.Reason != "每周普查" {
		t.Errorf("%+v", j)
	}
	if n, err := s.count(s.db(), "SELECT count() FROM assets FINAL WHERE key = 'service/10.60.1.101/tcp/3000'"); err != nil || n != 1 {
		t.Errorf("%d services, %v", n, err)
	}
	s.stop()
	s.start()
	time.Sleep(scheduleEvery + 5*time.Second)
	if all := periodic(); len(all) != 1 || len(s.journal(job)) != 2*j.Shards {
		t.Errorf("planned again: %v, %d entries of the journal", all, len(s.journal(job)))
	}
	s.stop()
}
