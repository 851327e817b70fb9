package memory_test

import (
	"math"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/pbnjay/memory"

	own "fengsui/internal/memory"
)

func TestValidate(t *testing.T) {
	f := func(share float64, percent int, wrong string) {
		t.Helper()
		err := own.Config{Share: share, GCPercent: percent}.Validate()
		if wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("share %v, gc_percent %d: %v, want %q", share, percent, err, wrong)
		}
	}
	f(0.5, 200, "")
	f(1, 10, "")
	f(0, 200, "share")
	f(1.01, 200, "share")
	f(-1, 200, "share")
	f(math.NaN(), 200, "share")
	f(0.5, 9, "gc_percent")
	f(0.5, 1001, "gc_percent")
}

// restore puts the runtime's settings back when the test has ended.
func restore(t *testing.T) {
	limit, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	debug.SetGCPercent(percent)
	t.Cleanup(func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	})
}

// unset takes variables out of the environment until the test has ended.
func unset(t *testing.T, names ...string) {
	for _, name := range names {
		t.Setenv(name, "") // puts it back
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
}

// settings are the heap's bound and how often garbage is collected.
func settings() (limit int64, percent int) {
	percent = debug.SetGCPercent(100)
	debug.SetGCPercent(percent)
	return debug.SetMemoryLimit(-1), percent
}

func TestApply(t *testing.T) {
	restore(t)
	unset(t, "GOGC", "GOMEMLIMIT", "AUTOMEMLIMIT")
	if err := own.Apply(own.Config{Share: 0.25, GCPercent: 300}); err != nil {
		t.Fatal(err)
	}
	limit, percent := settings()
	// A container may have less than the machine has.
	if most := int64(memory.TotalMemory() / 4); percent != 300 || limit <= 0 || limit > most {
		t.Errorf("limit %d, at most %d; gc percent %d, want 300", limit, most, percent)
	}
	if err := own.Apply(own.Config{}); err == nil {
		t.Error("a configuration without a share was taken")
	}
}

// Whoever sets the Go runtime's own variables means it.
func TestEnvironmentFirst(t *testing.T) {
	restore(t)
	t.Setenv("GOGC", "150")
	t.Setenv("GOMEMLIMIT", "512MiB")
	limit, percent := settings()
	if err := own.Apply(own.DefaultConfig()); err != nil {
		t.Fatal(err)
	}
	if l, p := settings(); l != limit || p != percent {
		t.Errorf("limit %d and percent %d became %d and %d", limit, percent, l, p)
	}
}
