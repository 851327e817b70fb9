package listen

// LookAlways makes each connection look whether certificates are new, until the
// returned function is called.
func LookAlways() func() {
	old := reloadAfter
	reloadAfter = 0
	return func() { reloadAfter = old }
}
