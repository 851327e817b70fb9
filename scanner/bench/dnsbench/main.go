// Command dnsbench resolves a file of names at one server and says how fast, how
// many were lost and what it cost. It is for scanner/bench/dns.sh, which starts
// it beside dnsperf in a network namespace; it asks nobody but the server given.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"log"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"fengsui/scanner/resolve"
)

func main() {
	log.SetFlags(0)
	server := flag.String("server", "", "address of the server, in a namespace or on loopback")
	file := flag.String("names", "", "file of lines NAME TYPE, as dnsperf reads it")
	rounds := flag.Int("rounds", 1, "times that the file is gone through")
	profile := flag.String("cpuprofile", "", "write a profile here")
	flag.Parse()
	if err := run(*server, *file, *rounds, *profile); err != nil {
		log.Fatal(err)
	}
}

func run(server, file string, rounds int, profile string) error {
	at, err := resolve.ParseServer(server)
	if err != nil {
		return err
	}
	questions, err := load(file)
	if err != nil {
		return err
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	client, err := resolve.Open([]netip.AddrPort{at}, resolve.Options{})
	if err != nil {
		return err
	}
	defer client.Close()
	rcodes := map[string]int{}
	lost, failed, values := 0, 0, 0
	start := time.Now()
	err = client.Each(context.Background(), repeat(questions, rounds), func(_ resolve.Question, a resolve.Answer, err error) error {
		switch {
		case errors.Is(err, resolve.ErrNoAnswer):
			lost++
		case err != nil:
			failed++
		default:
			rcodes[a.RCode]++
			values += len(a.Values)
		}
		return nil
	})
	took := time.Since(start)
	if err != nil {
		return err
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return fmt.Errorf("this process's times: %w", err)
	}
	n := len(questions) * rounds
	cpu := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	fmt.Printf("asked %d lost %d failed %d answers %v values %d\n", n, lost, failed, rcodes, values)
	fmt.Printf("seconds %.3f rate %.0f cpu_seconds %.2f repeated %d procs %d\n",
		took.Seconds(), float64(n)/took.Seconds(), cpu.Seconds(), client.Repeated(), runtime.GOMAXPROCS(0))
	return nil
}

func load(file string) ([]resolve.Question, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var out []resolve.Question
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, qtype, _ := strings.Cut(lines.Text(), " ")
		t, known := dns.StringToType[qtype]
		if !known {
			return nil, fmt.Errorf("%s: %q is no line NAME TYPE", file, lines.Text())
		}
		out = append(out, resolve.Question{Name: name, Type: t})
	}
	return out, lines.Err()
}

func repeat(questions []resolve.Question, rounds int) iter.Seq[resolve.Question] {
	return func(yield func(resolve.Question) bool) {
		for range rounds {
			for _, q := range questions {
				if !yield(q) {
					return
				}
			}
		}
	}
}
