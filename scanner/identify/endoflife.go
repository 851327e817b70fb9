package identify

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"fengsui/schemas"
)

//go:embed endoflife.yaml
var endOfLifeText []byte

// life is versions of a product that were mended until a day.
type life struct {
	Product []string  `yaml:"product"` // as services or technologies name it
	From    string    `yaml:"from"`    // first version; empty: any
	Below   string    `yaml:"below"`   // first version that it is not true of
	Ended   time.Time `yaml:"ended"`
	Source  string    `yaml:"source"`
}

var lives = func() []life {
	var out []life
	if err := yaml.Unmarshal(endOfLifeText, &out); err != nil {
		panic(fmt.Sprintf("identify: endoflife.yaml: %v", err)) // a mistake in this repository
	}
	return out
}()

// exposeAge notes what its makers no longer mend, of the service and of what it is
// made with. What a distribution packaged is mended by that: then its age counts,
// if it says which it is.
func exposeAge(s *schemas.Service, now time.Time) {
	if now.IsZero() {
		return
	}
	packaged := strings.HasPrefix(s.OS, "Debian") || strings.HasPrefix(s.OS, "Ubuntu")
	if name, release, found := strings.Cut(s.OS, " "); found && packaged {
		if l := ended(name, release, now); l != nil {
			add(s, schemas.ExposureEndOfLife, l.evidence(name, release))
		}
	}
	all := []schemas.Technology{{Name: s.Product, Version: s.Version}}
	for _, t := range append(all, s.Technologies...) {
		if packaged || t.Version == "" {
			continue
		}
		if l := ended(t.Name, t.Version, now); l != nil {
			add(s, schemas.ExposureEndOfLife, l.evidence(l.Product[0], t.Version))
		}
	}
}

func (l *life) evidence(name, version string) string {
	return fmt.Sprintf("%s %s: not mended by its makers since %s (%s)", name, version, l.Ended.Format(time.DateOnly), l.Source)
}

// ended finds the line that a version is in, if its day is past.
func ended(product, version string, now time.Time) *life {
	v := versionOf(version)
	if v == nil {
		return nil
	}
	for i := range lives {
		l := &lives[i]
		if slices.ContainsFunc(l.Product, func(p string) bool { return strings.EqualFold(p, product) }) &&
			(l.From == "" || slices.Compare(v, versionOf(l.From)) >= 0) && slices.Compare(v, versionOf(l.Below)) < 0 && now.After(l.Ended) {
			return l
		}
	}
	return nil
}

var versionNumber = regexp.MustCompile(`^v?(\d{1,9}(?:\.\d{1,9}){0,5})`)

// versionOf is a version's numbers. nil is none.
func versionOf(text string) (out []int) {
	m := versionNumber.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	for part := range strings.SplitSeq(m[1], ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		out = append(out, n)
	}
	return out
}
