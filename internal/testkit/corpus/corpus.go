// Package corpus finds the real data that tests may read and the repository may
// not hold. It is for tests only.
package corpus

import (
	"os"
	"path/filepath"
	"testing"
)

// Env names the folder of the corpus; without it, it is ../shared/corpus beside
// the checkout.
const Env = "FENGSUI_CORPUS"

// Path is the path of a file or folder of the corpus; name is empty for all of
// it. The test is skipped where there is none.
func Path(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv(Env)
	if dir == "" {
		root, err := filepath.Abs(".")
		if err != nil {
			t.Fatal(err)
		}
		for !isFile(filepath.Join(root, "go.mod")) {
			if root == filepath.Dir(root) {
				t.Skip("no go.mod above this folder: set " + Env + " to the corpus")
			}
			root = filepath.Dir(root)
		}
		dir = filepath.Join(root, "..", "shared", "corpus")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no corpus (set %s): %v", Env, err)
	}
	return path
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
