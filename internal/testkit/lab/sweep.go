package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// SweepHelper is the path of fengsui-sweep, built from this checkout into bin/
// with fengsui-syn beside it if they are not there or not up to date.
func SweepHelper(t testing.TB) string {
	t.Helper()
	root := moduleRoot(t)
	path := filepath.Join(root, "bin", "fengsui-sweep")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatalf("lab: %v", err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	defer func() { _ = lock.Close() }() // also unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("lab: waiting for another build of the sweep helper: %v", err)
	}
	cmd := exec.Command("go", "build", "-o", filepath.Dir(path), "./cmd/fengsui-sweep", "./cmd/fengsui-syn")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("lab: building the sweep helpers: %v\n%s", err, out)
	}
	return path
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("lab: no go.mod above the working directory")
		}
	}
}
