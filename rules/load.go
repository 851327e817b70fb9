package rules

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed sigma
var shipped embed.FS

// Files is the content that is part of the program: rules under sigma/, each
// beside its samples.
func Files() fs.FS { return shipped }

// Shipped returns the rules that are part of the program.
func Shipped() ([]*Rule, []*Error) { return Load(shipped, "sigma", "rules/") }

// Beside returns the shipped rules that others have not replaced: what rules of a
// folder may refer to, and share names with, where they will work.
func Beside(own []*Rule) []*Rule {
	taken := map[string]bool{}
	for _, r := range own {
		taken[r.ID] = true
	}
	shipped, _ := Shipped()
	return slices.DeleteFunc(shipped, func(r *Rule) bool { return taken[r.ID] })
}

// LoadDir reads every .yml and .yaml file under a folder, or one file.
func LoadDir(name string) ([]*Rule, []*Error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, []*Error{{File: name, Line: 1, Reason: err.Error()}}
	}
	dir, root := name, "."
	if !info.IsDir() {
		dir, root = filepath.Dir(name), filepath.Base(name)
	}
	if !info.IsDir() && !IsFile(name) {
		return nil, []*Error{{File: name, Line: 1, Reason: "not read: a file of rules ends in .yml or .yaml"}}
	}
	rs, errs := Load(os.DirFS(dir), root, filepath.Clean(dir)+"/")
	if len(rs)+len(errs) == 0 { // which looks as if all were well
		errs = append(errs, &Error{File: name, Line: 1, Reason: "no rule is there, in no file that ends in .yml or .yaml"})
	}
	return rs, errs
}

// Load reads every .yml and .yaml file of a tree, but for hidden ones. A link to a
// folder is an error, so that no rule is missed in silence. Files are named in rules
// and errors with the prefix before their path in the tree. Two rules of one id are
// an error of the later.
func Load(fsys fs.FS, root, prefix string) ([]*Rule, []*Error) {
	var rs []*Rule
	var errs []*Error
	first := map[string]*Rule{}
	fail := func(name string, line int, id, format string, args ...any) {
		errs = append(errs, &Error{File: prefix + name, Line: line, RuleID: id, Reason: fmt.Sprintf(format, args...)})
	}
	walk := func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			fail(name, 1, "", "reading: %v", err)
			return nil
		}
		if name != root && strings.HasPrefix(d.Name(), ".") { // where editors and Kubernetes keep copies
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type()&fs.ModeSymlink != 0 {
			if to, err := fs.Stat(fsys, name); err == nil && to.IsDir() {
				fail(name, 1, "", "%v", ErrLinkedFolder)
				return nil
			}
		}
		if d.IsDir() || !IsFile(name) {
			return nil
		}
		data, err := readBounded(fsys, name)
		if err != nil {
			fail(name, 1, "", "reading: %v", err)
			return nil
		}
		found, bad := Parse(prefix+name, data)
		errs = append(errs, bad...)
		for _, r := range found {
			if f := first[r.ID]; f != nil && r.ID != "" {
				fail(name, r.Line, r.ID, "the id is taken by %s:%d", f.File, f.Line)
				continue
			}
			first[r.ID] = r
			rs = append(rs, r)
		}
		return nil
	}
	if err := fs.WalkDir(fsys, root, walk); err != nil {
		fail(root, 1, "", "reading: %v", err)
	}
	return rs, errs
}

// ErrLinkedFolder says that what stands among rules is a link to a folder: it may
// lead in a circle.
var ErrLinkedFolder = errors.New("a link to a folder, which is not followed: name that folder itself")

// IsFile says whether a file is one of rules, by its name.
func IsFile(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".yml" || ext == ".yaml"
}

// readBounded reads no file that Parse would refuse for its size.
func readBounded(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe would be waited for, a device may have no end
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	if info.Size() > MaxFileBytes {
		return nil, fmt.Errorf("%d bytes, more than the %d that a rule file may have", info.Size(), MaxFileBytes)
	}
	return fs.ReadFile(fsys, name)
}
