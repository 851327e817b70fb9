// Fengsui-sweep looks at one shard: which addresses have a host, and which of
// their ports take a connection. Then it ends.
//
// It reads one request, a line of JSON (scanner/sweep.Request), from its
// standard input and writes what it sees, a line each, to its standard output,
// then a line with "done", or one with "error" and a non-zero exit status. It ends
// at once when its standard input ends or its parent dies, so whoever calls it
// keeps the input open until the last line.
//
// It is a program of its own so that killing it ends all that it sends, and so
// that the scanner itself holds no raw socket. It never resolves names, never
// sends without an allow-list of networks in the request, and never reports what
// is outside it.
package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"fengsui/scanner/sweep"
)

func main() {
	// Nothing may be sent for a parent that is gone.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		fmt.Fprintf(os.Stderr, "%s: asking to die with the parent: %v\n", sweep.Program, err)
		os.Exit(sweep.ExitFailed)
	}
	os.Exit(sweep.Serve(os.Stdin, os.Stdout, func() {}, func(shard *sweep.Shard, say func(sweep.Line)) (sweep.Result, error) {
		return look(context.Background(), shard, say)
	}))
}
