// Package race tells tests whether the race detector watches, which makes pure
// computation ten times as slow and finds nothing in what one goroutine does. It
// is for tests only.
package race

import "testing"

// SkipPure skips a test of what one goroutine computes over much data. make test
// runs such tests once more, without the detector.
func SkipPure(t testing.TB) {
	t.Helper()
	if Enabled {
		t.Skip("nothing is shared here: make test runs it without the race detector")
	}
}
