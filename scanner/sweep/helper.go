package sweep

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// The helpers' file names. The second lies beside the first.
const (
	Program    = "fengsui-sweep"
	ProgramSYN = "fengsui-syn"
)

// Find is the path of fengsui-sweep: the one given, or else the one beside this
// program, or else the one in PATH.
func Find(path string) (string, error) {
	if path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("looking for the sweep helper: %w", err)
		}
		return path, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), Program)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	found, err := exec.LookPath(Program)
	if err != nil {
		return "", fmt.Errorf("looking for the sweep helper beside this program and in PATH: %w", err)
	}
	return found, nil
}

// Helper starts the helper that a request needs, once for each shard.
type Helper struct {
	Path string // of fengsui-sweep, as Find gives it
}

func (h Helper) program(mode Mode) string {
	if mode == SYN {
		return filepath.Join(filepath.Dir(h.Path), ProgramSYN)
	}
	return h.Path
}

const (
	errOutput = 4 << 10         // what is kept of the helper's standard error
	endWait   = 5 * time.Second // from its last line to its end
)

// Sweep has one shard swept and calls see for each open port, once, and for each
// host that showed itself, from another goroutine but never after it has
// returned. It ends when ctx does, by killing the helper: after it has
// returned nothing more is sent.
func (h Helper) Sweep(ctx context.Context, req Request, see func(Line)) (Result, error) {
	shard, err := req.Check()
	if err != nil {
		return Result{}, err
	}
	dir, err := os.MkdirTemp("", Program+"-") // 0700
	if err != nil {
		return Result{}, fmt.Errorf("sweep: making a home for the helper: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // the system's own cleaning gets what is left
	line, err := json.Marshal(req)
	if err != nil {
		return Result{}, fmt.Errorf("sweep: encoding the request: %w", err)
	}

	type end struct {
		result Result
		err    error
	}
	ended := make(chan end, 1)
	// The kernel kills the helper when the thread that started it ends, so one
	// goroutine keeps its thread for the helper's whole life.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		r, err := h.run(ctx, shard, line, dir, see)
		ended <- end{r, err}
	}()
	e := <-ended
	if ctx.Err() != nil {
		return e.result, fmt.Errorf("sweep stopped: %w", context.Cause(ctx))
	}
	return e.result, e.err
}

func (h Helper) run(ctx context.Context, shard *Shard, line []byte, dir string, see func(Line)) (Result, error) {
	cmd := exec.CommandContext(ctx, h.program(shard.Mode))
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	said := &tail{max: errOutput}
	cmd.Stderr = said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return Result{}, fmt.Errorf("sweep: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return Result{}, fmt.Errorf("sweep: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return Result{}, fmt.Errorf("sweep: starting %s: %w", cmd.Path, err)
	}
	_, writeErr := stdin.Write(append(line, '\n'))
	result, readErr := read(stdout, shard, see)
	if readErr != nil {
		_ = cmd.Process.Kill() // it may still be sending; Wait tells how it ended
	}
	// Its input stays open until it has ended: closing it is what ends an orphan.
	late := time.AfterFunc(endWait, func() { _ = cmd.Process.Kill() })
	waitErr := cmd.Wait()
	late.Stop()
	switch {
	case readErr != nil && waitErr != nil:
		return result, fmt.Errorf("sweep: %w (%w%s)", readErr, waitErr, said)
	case readErr != nil:
		return result, fmt.Errorf("sweep: %w%s", readErr, said)
	case writeErr != nil:
		return result, fmt.Errorf("sweep: giving the helper its request: %w%s", writeErr, said)
	case waitErr != nil:
		return result, fmt.Errorf("sweep: %w%s", waitErr, said)
	}
	return result, nil
}

// read takes the helper's lines until it says that it is done.
func read(r io.Reader, shard *Shard, see func(Line)) (Result, error) {
	seen := map[netip.AddrPort]bool{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 4096), 64<<10)
	for lines.Scan() {
		var l Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return Result{}, fmt.Errorf("the helper wrote %.80q: %w", lines.Bytes(), err)
		}
		switch {
		case l.Error != "":
			return Result{}, errors.New(l.Error)
		case l.Done && l.Result != nil:
			return *l.Result, nil
		case l.Up && l.Port == 0:
			if !shard.MayName(l.IP) {
				return Result{}, fmt.Errorf("the helper reports %s, which is outside the scope", l.IP)
			}
			see(l)
			continue
		case !shard.Asked(l.IP, l.Port):
			return Result{}, fmt.Errorf("the helper reports %s port %d, which was not asked for", l.IP, l.Port)
		}
		at := netip.AddrPortFrom(l.IP, uint16(l.Port))
		if !seen[at] {
			seen[at] = true
			see(l)
		}
	}
	if err := lines.Err(); err != nil {
		return Result{}, fmt.Errorf("reading from the helper: %w", err)
	}
	return Result{}, errors.New("the helper ended before it was done")
}

// tail keeps the last bytes written to it.
type tail struct {
	max int
	buf bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - t.max; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

// String is what was said, to be put behind an error.
func (t *tail) String() string {
	if t.buf.Len() == 0 {
		return ""
	}
	return ": " + strings.TrimSpace(t.buf.String())
}
