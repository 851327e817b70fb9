package listentest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// RunSyslogNG runs the real syslog-ng that deploy/setup/aside.sh has unpacked into
// the folder aside, with what it keeps in dir, until the test ends.
func RunSyslogNG(t testing.TB, aside, dir, conf string) {
	t.Helper()
	root, err := filepath.Abs(aside)
	if err != nil {
		t.Fatal(err)
	}
	Program(t, filepath.Join(root, "usr/sbin/syslog-ng"))
	libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	if err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Glob(filepath.Join(root, "usr/lib/syslog-ng/[0-9]*"))
	if err != nil || len(modules) != 1 {
		t.Fatalf("modules of syslog-ng: %q, %v", modules, err)
	}
	confFile := filepath.Join(dir, "syslog-ng.conf")
	if err := os.WriteFile(confFile, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(root, "usr/sbin/syslog-ng"), "--foreground", "--stderr", "--no-caps", "--cfgfile="+confFile,
		"--persist-file="+filepath.Join(dir, "persist"), "--control="+filepath.Join(dir, "ctl"), "--pidfile="+filepath.Join(dir, "pid"),
		"--module-path="+modules[0])
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(append(libraries, filepath.Join(root, "usr/lib/syslog-ng")), ":"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("syslog-ng said: %s", out.String())
		}
	})
}
