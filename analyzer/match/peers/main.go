// Command fengsui-peers measures `fengsui rules bench` and two other Sigma
// engines for Go on the same rules and events, and compares what they find. It
// is a module of its own: what it imports is no dependency of fengsui. It changes
// nothing but a temporary folder and the file of --out.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

var (
	fengsui = flag.String("fengsui", "bin/fengsui", "the binary to measure")
	corpus  = flag.String("corpus", os.Getenv("FENGSUI_CORPUS"), "folder of the corpus; default FENGSUI_CORPUS")
	outFile = flag.String("out", "", "file for the raw results, JSON")
	every   = flag.Int("every", 50, "the peers are timed on every n-th event")
	check   = flag.Int("check", 10, "matches are compared on every n-th event")
	passes  = flag.Int("passes", 9, "passes, of which the median counts; a peer stops sooner after 8 s")
	repeats = flag.Int("repeat", 3, "runs of fengsui, of which the one with the median warm rate counts")
)

var eventFiles = []string{"evtx-dev", "otrf-dev"}

const peerTime = 8 * time.Second

type results struct {
	Machine machine     `json:"machine"`
	Ours    []ourCell   `json:"fengsui"`
	Peers   []peerCell  `json:"peers"`
	Agree   []agreement `json:"agreement"`
}

// machine is where it ran, and how busy others kept it.
type machine struct {
	CPU        string `json:"cpu"`
	Processors int    `json:"processors"`
	Memory     string `json:"memory"`
	OS         string `json:"os"`
	Go         string `json:"go"`
	LoadBefore string `json:"load_before"` // of /proc/loadavg
	LoadAfter  string `json:"load_after"`
	Seconds    int    `json:"seconds"`
}

// ourFigures are what fengsui rules bench --json prints.
type ourFigures struct {
	Cold       float64 `json:"cold_events_per_s"`
	Warm       float64 `json:"warm_events_per_s"`
	Parsed     float64 `json:"parsed_events_per_s"`
	Candidates float64 `json:"candidates_per_event"`
	CompileS   float64 `json:"compile_s"`
	Compile    uint64  `json:"compile_bytes"`
	WarmBytes  uint64  `json:"warm_bytes"`
	Rules      int     `json:"rules"`
	Events     int     `json:"events"`
	Hits       int     `json:"hits"`
	Workers    int     `json:"workers"`
}

type ourCell struct {
	Events string            `json:"file"`
	Files  int               `json:"rule_files"`
	CPUs   int               `json:"cpus"`
	Median ourFigures        `json:"median"`
	Runs   []json.RawMessage `json:"runs"`
}

type peerCell struct {
	Engine   string         `json:"engine"`
	Events   string         `json:"file"`
	Every    int            `json:"every"`
	Sample   int            `json:"events"`
	Files    int            `json:"rule_files"`
	Loaded   int            `json:"rules"`
	Failed   map[string]int `json:"failed_to_load"`
	LoadS    float64        `json:"load_s"`
	Bytes    uint64         `json:"load_bytes"`
	Routed   bool           `json:"routed"`
	Passes   int            `json:"passes"`
	FromMap  float64        `json:"events_per_s"`           // decoded beforehand
	FromRaw  float64        `json:"events_per_s_from_json"` // decoding with encoding/json included
	Tried    float64        `json:"rules_tried_per_event"`
	Hits     int            `json:"hits"`
	RunFails map[string]int `json:"rules_failed_at_run_time"`
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	if *corpus == "" {
		log.Fatal("--corpus or FENGSUI_CORPUS is missing")
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	start := time.Now()
	res := results{Machine: thisMachine()}
	all, err := windowsRules(*corpus)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "fengsui-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// The folder of that name alone, for fengsui, beside all rules for Windows.
	folder := filepath.Join(*corpus, "sigma", "rules", "windows")
	inFolder := 0
	for _, r := range all {
		if strings.HasPrefix(r.path, folder+string(filepath.Separator)) {
			inFolder++
		}
	}
	for _, events := range eventFiles {
		cell, err := measureOurs(folder, events, inFolder, 1)
		if err != nil {
			return err
		}
		res.Ours = append(res.Ours, cell)
	}
	sizes := []int{100, 1000, len(all)}
	for _, n := range sizes {
		dir := filepath.Join(tmp, fmt.Sprint(n))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if err := copyRules(dir, spread(all, n)); err != nil {
			return err
		}
		for _, events := range eventFiles {
			cpus := []int{1}
			if n == len(all) {
				cpus = []int{1, 2}
			}
			for _, c := range cpus {
				cell, err := measureOurs(dir, events, n, c)
				if err != nil {
					return err
				}
				res.Ours = append(res.Ours, cell)
			}
		}
	}
	runtime.GOMAXPROCS(1) // as fengsui rules bench --cpu 1
	for _, p := range peers {
		for _, n := range sizes {
			l := p.loadAll(spread(all, n))
			for _, events := range eventFiles {
				for _, routed := range []bool{true, false} {
					cell, err := measurePeer(p, l, events, n, routed)
					if err != nil {
						return err
					}
					res.Peers = append(res.Peers, cell)
				}
			}
		}
	}
	for _, events := range eventFiles {
		a, err := agree(tmp, events, all)
		if err != nil {
			return err
		}
		res.Agree = append(res.Agree, a...)
	}
	res.Machine.LoadAfter, res.Machine.Seconds = load(), int(time.Since(start).Seconds())
	if *outFile != "" {
		text, err := json.MarshalIndent(res, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(*outFile, append(text, '\n'), 0o600); err != nil {
			return err
		}
	}
	res.markdown(os.Stdout)
	return nil
}

func eventPath(name string) string {
	return filepath.Join(*corpus, "events", name+".jsonl.gz")
}

func measureOurs(dir, events string, files, cpus int) (ourCell, error) {
	log.Printf("fengsui: %d rule files, %s, %d processors", files, events, cpus)
	cell := ourCell{Events: events, Files: files, CPUs: cpus}
	var runs []ourFigures
	for range *repeats {
		cmd := exec.Command(*fengsui, "rules", "bench", "--json", "--rules", dir, "--events", eventPath(events),
			"--cpu", fmt.Sprint(cpus), "--passes", fmt.Sprint(*passes))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return cell, fmt.Errorf("running %s: %w", strings.Join(cmd.Args, " "), err)
		}
		var f ourFigures
		if err := json.Unmarshal(out, &f); err != nil {
			return cell, fmt.Errorf("reading what rules bench printed: %w", err)
		}
		runs, cell.Runs = append(runs, f), append(cell.Runs, bytes.TrimSpace(out))
	}
	slices.SortFunc(runs, func(a, b ourFigures) int { return int(a.Warm - b.Warm) })
	cell.Median = runs[len(runs)/2]
	return cell, nil
}

// measurePeer times decoding the sample and matching it one after the other, so
// that one pass gives the rate with decoding and the one without.
func measurePeer(p peer, l loaded, events string, files int, routed bool) (peerCell, error) {
	log.Printf("%s: %d rule files, %s, routed %v", p.name, files, events, routed)
	cell := peerCell{
		Engine: p.name, Events: events, Every: *every, Files: files, Loaded: len(l.rules), Failed: classes(l.failed),
		LoadS: l.loadS, Bytes: l.bytes, Routed: routed,
	}
	lines, err := readLines(eventPath(events), *every)
	if err != nil {
		return cell, err
	}
	cell.Sample = len(lines)
	var fromMap, fromRaw []float64
	for began := time.Now(); cell.Passes < *passes && (cell.Passes == 0 || time.Since(began) < peerTime); cell.Passes++ {
		decoding := time.Now()
		decoded, err := decodeAll(lines)
		if err != nil {
			return cell, err
		}
		matching := time.Now()
		f := find(decoded, l, routed)
		end := time.Now()
		fromMap = append(fromMap, float64(len(lines))/end.Sub(matching).Seconds())
		fromRaw = append(fromRaw, float64(len(lines))/end.Sub(decoding).Seconds())
		cell.Tried, cell.Hits, cell.RunFails = float64(f.tried)/float64(len(lines)), len(f.hits), classes(f.failed)
	}
	slices.Sort(fromMap)
	slices.Sort(fromRaw)
	cell.FromMap, cell.FromRaw = fromMap[len(fromMap)/2], fromRaw[len(fromRaw)/2]
	return cell, nil
}

func decodeAll(lines [][]byte) ([]*event, error) {
	out := make([]*event, len(lines))
	for i, line := range lines {
		e, err := decode(line)
		if err != nil {
			return nil, fmt.Errorf("decoding event %d of the sample: %w", i+1, err)
		}
		out[i] = e
	}
	return out, nil
}

// hit is one rule on one event of the sample, counted from 1.
type hit struct {
	event int
	rule  string
}

type found struct {
	hits   map[hit]bool
	failed map[string]error // by rule id
	tried  int
}

func find(events []*event, l loaded, routed bool) found {
	out := found{hits: map[hit]bool{}, failed: map[string]error{}}
	route := router{l.rules, map[[4]string][]rule{}}
	for i, e := range events {
		rules := l.rules
		if routed {
			rules = route.of(e)
		}
		out.tried += len(rules)
		for _, r := range rules {
			ok, err := guard(func() (bool, error) { return r.match(e) })
			if err != nil {
				out.failed[r.id] = err
			} else if ok {
				out.hits[hit{i + 1, r.id}] = true
			}
		}
	}
	return out
}
