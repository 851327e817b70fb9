//go:build !race

package race

// Enabled says that the test runs under the race detector.
const Enabled = false
