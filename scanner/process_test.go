package scanner

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const terminate = syscall.SIGTERM

func testBinary(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func asExit(err error, exit **exec.ExitError) bool { return errors.As(err, exit) }
