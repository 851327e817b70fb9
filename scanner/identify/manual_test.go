package identify

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The manual names every port that something particular is sent to, and no other.
func TestManualNamesEveryPort(t *testing.T) {
	b, err := os.ReadFile("../../docs/manual/identification.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n## TCP\n")
	tcp, rest, found := strings.Cut(rest, "\n### ")
	_, rest, _ = strings.Cut(rest, "\n## UDP\n")
	udp, _, found2 := strings.Cut(rest, "\n## ")
	if !found || !found2 {
		t.Fatal("the manual has other headings")
	}
	number := regexp.MustCompile(`(\d+)(?:–(\d+))?`)
	ports := func(text string, column int) map[int]bool {
		out := map[int]bool{}
		for line := range strings.Lines(text) {
			cells := strings.Split(line, "|")
			if len(cells) < 4 || strings.Contains(cells[1], "fingerprintx") {
				continue
			}
			for _, m := range number.FindAllStringSubmatch(cells[column], -1) {
				from, _ := strconv.Atoi(m[1])
				to := from
				if m[2] != "" {
					to, _ = strconv.Atoi(m[2])
				}
				for p := from; p <= to; p++ {
					out[p] = true
				}
			}
		}
		return out
	}
	written := ports(tcp, 2)
	for p, protocol := range hints {
		if !written[p] {
			t.Errorf("%s on port %d is not in the manual", protocol, p)
		}
	}
	for p := range written {
		if hints[p] == "" {
			t.Errorf("port %d of the manual is nothing particular", p)
		}
	}
	written = ports(udp, 1)
	if len(written) != len(questions) {
		t.Errorf("%d UDP ports in the manual", len(written))
	}
	for p := range questions {
		if !written[p] {
			t.Errorf("UDP port %d is not in the manual", p)
		}
	}
}
