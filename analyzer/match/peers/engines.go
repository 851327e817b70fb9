package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"time"

	sigmago "github.com/bradleyjkemp/sigma-go"
	"github.com/bradleyjkemp/sigma-go/evaluator"
	gosigma "github.com/markuskont/go-sigma-rule-engine"
)

// peer is an engine of others.
type peer struct {
	name string
	load func(ruleFile) (matcher, error)
}

// matcher tries one rule.
type matcher func(*event) (bool, error)

type rule struct {
	ruleFile
	match matcher
}

var peers = []peer{
	{"sigma-go v0.6.6", loadSigmaGo},
	{"go-sigma-rule-engine v0.3.0", loadGoSigma(true)},
	{"go-sigma-rule-engine v0.3.0, as by default", loadGoSigma(false)},
}

// loadSigmaGo compiles each rule alone: ForRules, which takes many, hands its
// shared search to each rule's evaluator, which in this version does not use it.
func loadSigmaGo(f ruleFile) (matcher, error) {
	r, err := sigmago.ParseRule(f.text)
	if err != nil {
		return nil, err
	}
	e := evaluator.ForRule(r)
	ctx := context.Background()
	return func(ev *event) (bool, error) {
		res, err := e.Matches(ctx, ev.fields)
		return res.Match, err
	}, nil
}

// loadGoSigma does what the engine's NewRuleset does with one file. By default
// the engine collapses blanks before each comparison, by a regular expression;
// with asIs it leaves them, which is Sigma, and faster.
func loadGoSigma(asIs bool) func(ruleFile) (matcher, error) {
	return func(f ruleFile) (matcher, error) {
		list, err := gosigma.NewRuleList([]string{f.path}, false, asIs)
		if err != nil {
			return nil, err
		}
		if list[0].Multipart {
			return nil, errors.New("refused as multipart, for --- in its text")
		}
		tree, err := gosigma.NewTree(list[0])
		if err != nil {
			return nil, err
		}
		return func(ev *event) (bool, error) {
			_, ok := tree.Eval(ev)
			return ok, nil
		}, nil
	}
}

// Select and Keywords are how go-sigma-rule-engine asks for an event's fields.
func (e *event) Select(name string) (any, bool) {
	v, ok := e.fields[name]
	return v, ok
}

func (e *event) Keywords() ([]string, bool) {
	if e.texts == nil {
		for _, v := range e.fields {
			e.texts = append(e.texts, text(v))
		}
	}
	return e.texts, true
}

// loaded is a peer with rules.
type loaded struct {
	rules  []rule
	failed map[string]error // by rule id
	loadS  float64          // reading YAML included
	bytes  uint64
}

func (p peer) loadAll(files []ruleFile) loaded {
	out := loaded{failed: map[string]error{}}
	before, start := heap(), time.Now()
	for _, f := range files {
		m, err := guard(func() (matcher, error) { return p.load(f) })
		if err != nil {
			out.failed[f.id] = err
			continue
		}
		out.rules = append(out.rules, rule{f, m})
	}
	out.loadS = time.Since(start).Seconds()
	after := heap()
	out.bytes = after - min(before, after)
	return out
}

// guard makes a peer's panic an error of its rule.
func guard[T any](f func() (T, error)) (out T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// particular is what an error says of one rule alone: where it stands, and its
// words.
var particular = regexp.MustCompile(`(?s)^.*Err: |^.*error evaluating search [^:]*: |^failed to extract and build branch for .*?': |"[^"]*"|'[^']*'|%.*%,|selection key \S+|\b\d+:\d+:|\n.*`)

// class is an error without what only one rule has.
func class(err error) string {
	return strings.TrimSpace(particular.ReplaceAllString(err.Error(), ""))
}

func classes(errs map[string]error) map[string]int {
	out := map[string]int{}
	for _, err := range errs {
		out[class(err)]++
	}
	return out
}
