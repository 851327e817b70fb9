package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// agreement is what a peer finds on a sample, beside what fengsui finds there.
type agreement struct {
	Engine  string         `json:"engine"`
	Events  string         `json:"file"`
	Sample  int            `json:"events"`
	Ours    int            `json:"fengsui"` // pairs of an event and a rule
	Theirs  int            `json:"theirs"`
	Both    int            `json:"both"`
	Missing map[string]int `json:"only_fengsui"` // by what is known of the rule
	Extra   map[string]int `json:"only_theirs"`
	Rules   []differing    `json:"rules"` // all that differ, but for those not loaded or failing
}

type differing struct {
	Path    string `json:"path"`
	Missing int    `json:"only_fengsui"`
	Extra   int    `json:"only_theirs"`
	First   int    `json:"first_event"` // of the sample
}

func agree(tmp, events string, all []ruleFile) ([]agreement, error) {
	lines, err := readLines(eventPath(events), *check)
	if err != nil {
		return nil, err
	}
	decoded, err := decodeAll(lines)
	if err != nil {
		return nil, err
	}
	log.Printf("fengsui: matches on %d events of %s", len(lines), events)
	ours, err := ourHits(filepath.Join(tmp, fmt.Sprint(len(all))), filepath.Join(tmp, events+".jsonl"), lines)
	if err != nil {
		return nil, err
	}
	var out []agreement
	for _, p := range peers {
		log.Printf("%s: matches on %d events of %s", p.name, len(lines), events)
		l := p.loadAll(all)
		a := agreement{Engine: p.name, Events: events, Sample: len(lines), Ours: len(ours)}
		a.compare(ours, find(decoded, l, true), l, all)
		out = append(out, a)
	}
	return out, nil
}

func ourHits(dir, file string, lines [][]byte) (map[hit]bool, error) {
	if err := os.WriteFile(file, append(bytes.Join(lines, []byte("\n")), '\n'), 0o600); err != nil {
		return nil, err
	}
	out, err := exec.Command(*fengsui, "rules", "match", "--rules", dir, "--events", file).Output()
	if err != nil {
		return nil, fmt.Errorf("running rules match: %w", err)
	}
	hits := map[hit]bool{}
	for line := range bytes.Lines(out) {
		var m struct {
			Event int    `json:"event"`
			Rule  string `json:"rule_id"`
		}
		if err := json.Unmarshal(line, &m); err != nil {
			return nil, fmt.Errorf("reading what rules match printed: %w", err)
		}
		hits[hit{m.Event, m.Rule}] = true
	}
	return hits, nil
}

func (a *agreement) compare(ours map[hit]bool, f found, l loaded, all []ruleFile) {
	a.Theirs, a.Missing, a.Extra = len(f.hits), map[string]int{}, map[string]int{}
	files := map[string]ruleFile{}
	for _, r := range all {
		files[r.id] = r
	}
	differ := map[string]*differing{}
	note := func(h hit) *differing {
		d := differ[h.rule]
		if d == nil {
			rel, _ := filepath.Rel(*corpus, files[h.rule].path)
			d = &differing{Path: rel, First: h.event}
			differ[h.rule] = d
		}
		d.First = min(d.First, h.event)
		return d
	}
	for h := range ours {
		switch loadErr, runErr := l.failed[h.rule], f.failed[h.rule]; {
		case f.hits[h]:
			a.Both++
		case loadErr != nil:
			a.Missing["not loaded: "+class(loadErr)]++
		case runErr != nil:
			a.Missing["failed at run time: "+class(runErr)]++
		default:
			a.Missing["tried; the rule has "+traits(files[h.rule])]++
			note(h).Missing++
		}
	}
	for h := range f.hits {
		if !ours[h] {
			a.Extra["the rule has "+traits(files[h.rule])]++
			note(h).Extra++
		}
	}
	for _, d := range differ {
		a.Rules = append(a.Rules, *d)
	}
	slices.SortFunc(a.Rules, func(x, y differing) int {
		return cmp.Or(cmp.Compare(y.Missing+y.Extra, x.Missing+x.Extra), cmp.Compare(x.Path, y.Path))
	})
}

var modifier = regexp.MustCompile(`(?m)^\s*(?:- )?['"]?[\w ]+((?:\|\w+)+)['"]?:`)

// traits are those things in a rule's text where engines part ways, as far as
// the text shows them: they are no proof of the cause.
func traits(f ruleFile) string {
	_, detection, _ := strings.Cut(string(f.text), "\ndetection:")
	set := map[string]bool{}
	for _, m := range modifier.FindAllStringSubmatch(detection, -1) {
		for part := range strings.SplitSeq(m[1][1:], "|") {
			if !slices.Contains([]string{"contains", "startswith", "endswith", "all"}, part) {
				set["|"+part] = true
			}
		}
	}
	negated, wild := false, false
	for line := range strings.Lines(detection) {
		if strings.Contains(line, "condition:") {
			negated = negated || strings.Contains(line, "not ")
		} else {
			wild = wild || strings.ContainsAny(line, "*?")
		}
	}
	if negated {
		set["not"] = true
	}
	if wild {
		set["* or ?"] = true
	}
	for name, re := range traitPatterns {
		if re.MatchString(detection) {
			set[name] = true
		}
	}
	if len(set) == 0 {
		return "nothing of note"
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}

var traitPatterns = map[string]*regexp.Regexp{
	"null":       regexp.MustCompile(`(?m):\s*null\s*$`),
	"empty text": regexp.MustCompile(`(?m)(?::|-)\s*(?:''|"")\s*$`),
	"keywords":   regexp.MustCompile(`(?m)^\s*keywords\w*:`),
}
