package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/cpu"
)

// LibraryEnv names libchdb.so for every command and test.
const LibraryEnv = "FENGSUI_LIBCHDB"

// InstallCommand installs the library from the committed lock file.
const InstallCommand = "npm ci --prefix deploy/libchdb"

const (
	libraryName  = "libchdb.so"
	underInstall = "deploy/libchdb/node_modules/@chdb/lib-linux-x64-gnu/" + libraryName
)

// ErrNoLibrary says that libchdb is not installed.
var ErrNoLibrary = errors.New("libchdb.so (ClickHouse as a library) is not installed: run `" + InstallCommand +
	"` in the source directory, or set " + LibraryEnv + " to the file")

// FindLibrary returns the path of libchdb.so: what FENGSUI_LIBCHDB names, else
// the one beside the program (in its directory, ../lib, or the source tree it
// was built in), else the one in the module that the working directory belongs
// to. The error is ErrNoLibrary, or says what FENGSUI_LIBCHDB names wrongly.
func FindLibrary() (string, error) {
	if path := os.Getenv(LibraryEnv); path != "" {
		if !isFile(path) {
			return "", fmt.Errorf("%s=%s: there is no such file", LibraryEnv, path)
		}
		return path, nil
	}
	var candidates []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dir := filepath.Dir(exe)
		candidates = append(candidates,
			filepath.Join(dir, libraryName),
			filepath.Join(dir, "../lib", libraryName),
			filepath.Join(dir, "../lib/fengsui", libraryName),
			filepath.Join(dir, "..", underInstall))
	}
	if root, ok := moduleRoot(); ok {
		candidates = append(candidates, filepath.Join(root, underInstall))
	}
	for _, path := range candidates {
		if isFile(path) {
			return path, nil
		}
	}
	return "", ErrNoLibrary
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// moduleRoot is the directory of the go.mod above the working directory.
func moduleRoot() (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		if isFile(filepath.Join(dir, "go.mod")) {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

// CheckMachine says what this machine lacks for libchdb, before loading it
// would end the process with an illegal instruction. It needs Linux on amd64,
// glibc, and the instructions of x86-64-v3 (psABI, micro-architecture levels).
func CheckMachine() error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("libchdb needs Linux on x86-64; this is %s on %s", runtime.GOOS, runtime.GOARCH)
	}
	if missing := missingInstructions(); len(missing) > 0 {
		return fmt.Errorf("libchdb needs a processor of x86-64-v3 (Intel Haswell, AMD Excavator or newer); this one lacks %s",
			strings.Join(missing, ", "))
	}
	libc, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err == nil {
		_, err = purego.Dlsym(libc, "gnu_get_libc_version")
	}
	if err != nil {
		return fmt.Errorf("libchdb needs the GNU C library (glibc), which this system lacks: %w", err)
	}
	return nil
}

func missingInstructions() []string {
	var missing []string
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"AVX", cpu.X86.HasAVX},
		{"AVX2", cpu.X86.HasAVX2},
		{"BMI1", cpu.X86.HasBMI1},
		{"BMI2", cpu.X86.HasBMI2},
		{"FMA", cpu.X86.HasFMA},
		{"POPCNT", cpu.X86.HasPOPCNT},
		{"SSE4.2", cpu.X86.HasSSE42},
	} {
		if !f.has {
			missing = append(missing, f.name)
		}
	}
	return missing
}
