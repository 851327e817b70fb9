package listentest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Rsyslogd is the real rsyslog.
const Rsyslogd = "/usr/sbin/rsyslogd"

// Run runs a peer until the test ends; when that has failed, what the peer said is
// shown.
func Run(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s said: %s", filepath.Base(cmd.Path), out.String())
		}
	})
}

// RunRsyslog runs the real rsyslog, with what it keeps in dir, until the test ends.
func RunRsyslog(t testing.TB, dir, conf string) {
	t.Helper()
	Program(t, Rsyslogd)
	Run(t, exec.Command(Rsyslogd, "-n", "-f", write(t, filepath.Join(dir, "rsyslog.conf"), conf), "-i", filepath.Join(dir, "pid")))
}

// Aside is the command of a program that deploy/setup/aside.sh has unpacked into a
// folder, with the libraries that lie there.
func Aside(ctx context.Context, t testing.TB, folder, program string, args ...string) *exec.Cmd {
	t.Helper()
	root, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, program)
	Program(t, path)
	libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(append(libraries, filepath.Join(root, "usr/lib", filepath.Base(path))), ":"))
	return cmd
}

// RunSyslogNG runs the real syslog-ng that lies in the folder aside, with what it
// keeps in dir, until the test ends.
func RunSyslogNG(t testing.TB, aside, dir, conf string) {
	t.Helper()
	cmd := Aside(t.Context(), t, aside, "usr/sbin/syslog-ng", "--foreground", "--stderr", "--no-caps", "--cfgfile="+write(t, filepath.Join(dir, "syslog-ng.conf"), conf),
		"--persist-file="+filepath.Join(dir, "persist"), "--control="+filepath.Join(dir, "ctl"), "--pidfile="+filepath.Join(dir, "pid"))
	modules, err := filepath.Glob(filepath.Join(filepath.Dir(cmd.Path), "../lib/syslog-ng/[0-9]*"))
	if err != nil || len(modules) != 1 {
		t.Fatalf("modules of syslog-ng: %q, %v", modules, err)
	}
	cmd.Args = append(cmd.Args, "--module-path="+modules[0])
	Run(t, cmd)
}

func write(t testing.TB, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
