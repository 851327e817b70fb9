package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"fengsui/schemas"
)

// Samples are the events beside a rule file: those that some rule of the file
// must match, and near misses that none may.
type Samples struct {
	Fires  []*schemas.Event
	Silent []*schemas.Event
}

// LoadSamples reads what stands beside a rule file: for x.yml the events of
// x.fires.jsonl and x.silent.jsonl, one a line, as DecodeEvent reads them. A rule
// file without both is an error: nobody knows whether it works.
func LoadSamples(fsys fs.FS, ruleFile string) (Samples, error) {
	base := strings.TrimSuffix(ruleFile, path.Ext(ruleFile))
	var s Samples
	var err error
	if s.Fires, err = readSamples(fsys, base+".fires.jsonl"); err != nil {
		return s, err
	}
	s.Silent, err = readSamples(fsys, base+".silent.jsonl")
	return s, err
}

func readSamples(fsys fs.FS, name string) ([]*schemas.Event, error) {
	data, err := readBounded(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: the rule has no such samples", name)
	}
	if err != nil {
		return nil, fmt.Errorf("samples: %w", err)
	}
	var out []*schemas.Event
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		ev, err := DecodeEvent(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		out = append(out, ev)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: the file has no event", name)
	}
	return out, nil
}
