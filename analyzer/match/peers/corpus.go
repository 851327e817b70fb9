package main

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fengsui/schemas"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// ruleFile is a rule as it lies on disk, with what its log source says.
type ruleFile struct {
	path, id string
	source   *schemas.SigmaSource // nil if the catalogue has no such log source
	text     []byte
}

// windowsRules are the corpus's rules for Windows, by path.
func windowsRules(corpus string) ([]ruleFile, error) {
	var all []ruleFile
	for _, dir := range []string{"rules", "rules-emerging-threats", "rules-threat-hunting"} {
		err := filepath.WalkDir(filepath.Join(corpus, "sigma", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".yml" {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			var head struct {
				ID        string
				Logsource struct{ Product, Category, Service string }
			}
			if err := yaml.Unmarshal(text, &head); err != nil {
				return fmt.Errorf("reading %s: %w", path, err)
			}
			if l := head.Logsource; l.Product == "windows" {
				source, _ := schemas.LookupSigma(l.Product, l.Category, l.Service)
				all = append(all, ruleFile{path, head.ID, source, text})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b ruleFile) int { return cmp.Compare(a.path, b.path) })
	return all, nil
}

// spread takes n of all, evenly.
func spread[T any](all []T, n int) []T {
	if n >= len(all) {
		return all
	}
	out := make([]T, n)
	for i := range out {
		out[i] = all[i*len(all)/n]
	}
	return out
}

// copyRules puts rules into a folder of their own, for engines that read one.
func copyRules(dir string, rules []ruleFile) error {
	for i, r := range rules {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d-%s", i, filepath.Base(r.path))), r.text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// readLines reads every n-th line of a gzipped file, from the first.
func readLines(path string, every int) ([][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 16<<20)
	var lines [][]byte
	for n := 0; sc.Scan(); n++ {
		if n%every == 0 {
			lines = append(lines, slices.Clone(sc.Bytes()))
		}
	}
	return lines, sc.Err()
}

// event is a record decoded for a peer.
type event struct {
	fields map[string]any
	texts  []string // of all fields, once asked for
}

// otherNames are what Security's event 4688 calls the fields that rules of the
// log source process_creation name as Sysmon's event 1 does: the same table as
// windows_process in schemas/sigma.yml.
var otherNames = map[string]string{
	"Image": "NewProcessName", "ParentImage": "ParentProcessName", "CommandLine": "ProcessCommandLine",
	"User": "SubjectUserName", "LogonId": "SubjectLogonId", "IntegrityLevel": "MandatoryLabel",
}

// decode reads a record as users of these engines do.
func decode(line []byte) (*event, error) {
	e := &event{}
	if err := json.Unmarshal(line, &e.fields); err != nil {
		return nil, err
	}
	if e.fields["EventID"] == 4688.0 {
		for name, other := range otherNames {
			if v, ok := e.fields[other]; ok && e.fields[name] == nil {
				e.fields[name] = v
			}
		}
	}
	return e, nil
}

// text of a value, as a log source's terms compare it.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// routeKeys are the keys of the records by which log sources are told apart.
var routeKeys = []struct {
	field string
	keys  []string
}{
	{"winlog.channel", []string{"Channel"}},
	{"winlog.event_id", []string{"EventID"}},
	{"winlog.provider_name", []string{"Provider_Name", "SourceName"}},
	{"winlog.event_data.EventType", []string{"EventType"}},
}

// router finds an event's rules by its log source, as fengsui does: the answer is
// remembered for every shape of event, so that routing costs a peer next to nothing.
type router struct {
	rules  []rule
	shapes map[[4]string][]rule
}

func (r *router) of(e *event) []rule {
	var shape [4]string
	for i, k := range routeKeys {
		for _, key := range k.keys {
			if shape[i] == "" {
				shape[i] = text(e.fields[key])
			}
		}
	}
	out, known := r.shapes[shape]
	if !known {
		for _, rule := range r.rules {
			if belongs(rule.source, shape) {
				out = append(out, rule)
			}
		}
		r.shapes[shape] = out
	}
	return out
}

func belongs(s *schemas.SigmaSource, shape [4]string) bool {
	return s != nil && slices.ContainsFunc(s.When, func(all []schemas.SigmaTerm) bool {
		return !slices.ContainsFunc(all, func(t schemas.SigmaTerm) bool { return !holds(t, shape) })
	})
}

func holds(t schemas.SigmaTerm, shape [4]string) bool {
	for i, k := range routeKeys {
		if k.field == t.Field {
			return slices.ContainsFunc(t.Values, func(v string) bool {
				return v == "*" && shape[i] != "" || strings.EqualFold(v, shape[i])
			})
		}
	}
	panic("a log source for Windows is told by " + t.Field + ", which the peers are not given")
}
