// Package early prepares the process before the port scanning library's own
// initialisation, which writes below HOME and prints.
//
// Packages are initialised in the order of their import paths as soon as what
// they import is (Go specification, "Program initialization"): this path sorts
// before github.com, and it imports nothing but os and the system calls.
package early

import (
	"fmt"
	"os"
	"syscall"
)

// Output is the true standard output. File descriptor 1 leads nowhere, so that
// whatever the library prints cannot mix with results.
var Output *os.File

// home is what Cleanup removes; "" where the parent gave and removes it.
var home string

const prSetPdeathsig = 1 // linux/prctl.h

func init() {
	if err := prepare(); err != nil {
		fmt.Fprintf(os.Stderr, "fengsui-syn: %v\n", err)
		os.Exit(1)
	}
}

func prepare() error {
	// Nothing may be sent for a parent that is gone.
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetPdeathsig, uintptr(syscall.SIGKILL), 0); errno != 0 {
		return fmt.Errorf("asking to die with the parent: %w", errno)
	}
	fd, err := syscall.Dup(1)
	if err != nil {
		return fmt.Errorf("keeping the standard output: %w", err)
	}
	syscall.CloseOnExec(fd)
	Output = os.NewFile(uintptr(fd), "output")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", os.DevNull, err)
	}
	if err := syscall.Dup3(int(null.Fd()), 1, 0); err != nil {
		return fmt.Errorf("silencing the standard output: %w", err)
	}
	dir := os.Getenv("HOME")
	if dir == "" || dir != os.Getenv("TMPDIR") { // not the parent's temporary home
		if dir, err = os.MkdirTemp("", "fengsui-syn-"); err != nil {
			return fmt.Errorf("making a home: %w", err)
		}
		home = dir
	}
	for _, name := range []string{"HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"} {
		if err := os.Setenv(name, dir); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

// Cleanup removes the home that was made.
func Cleanup() {
	if home != "" {
		_ = os.RemoveAll(home) // only temporary files of this process are lost or left
	}
}
