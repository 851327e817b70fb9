package ruleset

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fengsui/analyzer/match"
	"fengsui/rules"
	"fengsui/rules/tuning"
)

// maxFiles bounds the files of all folders together.
const maxFiles = 50_000

// version is a file's content as it was read.
type version struct {
	sum      [32]byte
	rules    []*rules.Rule
	tuning   *tuning.Tuning
	problems []match.Problem
	known    map[string]bool // problems that it has where it works
}

// note remembers a problem with which the version was let in.
func (v *version) note(p match.Problem) {
	if v.known == nil {
		v.known = map[string]bool{}
	}
	v.known[p.RuleID+" "+p.Reason] = true
}

// knew says that the version has this problem, too.
func (v *version) knew(p match.Problem) bool { return v.known[p.RuleID+" "+p.Reason] }

// news is the first problem of a newer version that this one had not, or nil.
func (v *version) news(problems []match.Problem) *match.Problem {
	for i := range problems {
		if !v.knew(problems[i]) {
			return &problems[i]
		}
	}
	return nil
}

// scan reads all files. Of those that have not changed it returns the version
// that is known. What cannot be read for now is taken to be as it was; the
// problems say so.
func (s *Set) scan() (found map[string]*version, problems []match.Problem) {
	found = map[string]*version{}
	unread := func(path string, err error) {
		problems = append(problems, match.Problem{File: path, Line: 1, Reason: "reading: " + err.Error()})
		for known, f := range s.files {
			if known == path || strings.HasPrefix(known, filepath.Clean(path)+string(filepath.Separator)) {
				found[known] = newest(f)
			}
		}
	}
	read := func(dirs []string, parse func(path string, data []byte) *version) {
		for _, dir := range dirs {
			walk(dir, unread, func(path string) {
				if len(found) >= maxFiles {
					return
				}
				data, err := readFile(path)
				switch {
				case errors.Is(err, fs.ErrNotExist): // gone since the folder was read
				case err != nil:
					unread(path, err)
				default:
					found[path] = s.version(path, data, parse)
				}
			})
		}
	}
	read(s.cfg.RuleDirs, parseRules)
	read(s.cfg.TuningDirs, s.parseTuning)
	if len(found) >= maxFiles {
		problems = append(problems, match.Problem{File: strings.Join(s.cfg.RuleDirs, ", "), Line: 1, Reason: fmt.Sprintf("more than %d files: the others are not read", maxFiles)})
	}
	return found, problems
}

func newest(f *file) *version {
	if f.pending != nil {
		return f.pending
	}
	return f.working
}

func (s *Set) version(path string, data []byte, parse func(string, []byte) *version) *version {
	sum := sha256.Sum256(data)
	if f := s.files[path]; f != nil && f.sum == sum {
		return newest(f)
	}
	v := parse(path, data)
	v.sum = sum
	return v
}

func parseRules(path string, data []byte) *version {
	rs, errs := rules.Parse(path, data)
	return &version{rules: rs, problems: problemsOf(errs)}
}

func (s *Set) parseTuning(path string, data []byte) *version {
	t, errs := tuning.Parse(path, data, s.cfg.Zone)
	return &version{tuning: t, problems: problemsOf(errs)}
}

// ReadTuning reads the tuning of folders or files, without rules.
func ReadTuning(dirs []string, zone *time.Location) (*tuning.Tuning, []match.Problem) {
	s := &Set{cfg: Config{TuningDirs: dirs, Zone: zone}}
	found, problems := s.scan()
	all := &tuning.Tuning{}
	for _, path := range sortedKeys(found) {
		all.Add(found[path].tuning)
		problems = append(problems, found[path].problems...)
	}
	return all, problems
}

func problemsOf(errs []*rules.Error) (out []match.Problem) {
	for _, e := range errs {
		out = append(out, match.ProblemOf(e))
	}
	return out
}

// walk calls f for each file of YAML of a folder and those below it, or for the
// one file. What is hidden is passed over: editors and Kubernetes keep copies
// there.
func walk(dir string, unread func(string, error), f func(path string)) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // f never fails
		if err != nil {
			unread(path, err)
			return nil
		}
		if path != dir && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type()&fs.ModeSymlink != 0 {
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				if path == dir {
					walk(path+string(filepath.Separator), unread, f)
				} else {
					unread(path, rules.ErrLinkedFolder)
				}
				return nil
			}
		}
		if !d.IsDir() && rules.IsFile(path) {
			f(path)
		}
		return nil
	})
}

// readFile reads a file, and no more of it than shows that it is too large.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // looked at before it is opened: to open a pipe is to wait for its writer
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	return io.ReadAll(io.LimitReader(f, max(rules.MaxFileBytes, tuning.MaxFileBytes)+1))
}

// folders are those to watch: every one in which a file may appear.
func (s *Set) folders() []string {
	var out []string
	for _, dir := range slices.Concat(s.cfg.RuleDirs, s.cfg.TuningDirs) {
		info, err := os.Stat(dir)
		if err != nil || !info.IsDir() {
			out = append(out, filepath.Dir(dir))
			continue
		}
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // what cannot be read cannot be watched
			switch {
			case err != nil || !d.IsDir() && path != dir:
			case path != dir && strings.HasPrefix(d.Name(), "."):
				return fs.SkipDir
			default:
				out = append(out, path)
			}
			return nil
		})
	}
	return out
}

func sortProblems(ps []match.Problem) {
	slices.SortStableFunc(ps, func(a, b match.Problem) int { return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line) })
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
