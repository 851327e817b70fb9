package analyzer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/analyzer/mask"
)

// PrivacyConfig is what is done with personal data before anything is stored or
// sent on (docs/manual/privacy.md).
type PrivacyConfig struct {
	mask.Config `koanf:",squash"`
	// NamesFile lists people, one a line, whose names are found in any text.
	NamesFile string `koanf:"names_file"`
	// KeyFile holds the key of tokens, and must be readable by its owner alone.
	KeyFile string `koanf:"key_file"`
	// Key is the key itself, for who gives it in the environment.
	Key string `koanf:"key" secret:"true"`
	// OldKeyFiles hold former keys: nothing is masked with them, `fengsui mask open`
	// opens old tokens with them.
	OldKeyFiles []string `koanf:"old_key_files"`
}

// Validate checks what can be checked without reading a file.
func (c PrivacyConfig) Validate() error {
	if err := c.Config.Validate(); err != nil {
		return err
	}
	if c.Key != "" && c.KeyFile != "" {
		return errors.New("both key and key_file are set")
	}
	if c.NeedsKey() && c.Key == "" && c.KeyFile == "" {
		return errors.New("a class asks for tokens, and neither key_file nor key is set: `fengsui mask key new FILE` makes one")
	}
	return nil
}

// CurrentKey is the key that tokens are made with, nil where none is configured.
func (c PrivacyConfig) CurrentKey() (*mask.Key, error) {
	switch {
	case c.KeyFile != "":
		return ReadMaskKey(c.KeyFile)
	case c.Key != "":
		return mask.ParseKey(c.Key)
	}
	return nil, nil
}

// Keys are the current key and the former ones.
func (c PrivacyConfig) Keys() ([]*mask.Key, error) {
	var keys []*mask.Key
	current, err := c.CurrentKey()
	if err != nil {
		return nil, err
	}
	if current != nil {
		keys = append(keys, current)
	}
	for _, path := range c.OldKeyFiles {
		k, err := ReadMaskKey(path)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// Masker reads the key and the list of names, and makes what masks.
func (c PrivacyConfig) Masker() (*mask.Masker, error) {
	key, err := c.CurrentKey()
	if err != nil {
		return nil, err
	}
	names, err := c.readNames()
	if err != nil {
		return nil, err
	}
	return mask.New(c.Config, key, names)
}

// ReadMaskKey reads a key's file. It refuses one that others than its owner may
// read or change.
func ReadMaskKey(path string) (*mask.Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("mask key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("mask key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("mask key %s: mode %v; others may not have access: chmod 600", path, info.Mode())
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return nil, fmt.Errorf("mask key: %w", err)
	}
	key, err := mask.ParseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("mask key %s: %w", path, err)
	}
	return key, nil
}

// maxNamesFile bounds the list of names, in bytes.
const maxNamesFile = 64 << 20

// readNames reads the list: a name a line; empty lines and those that begin with #
// are passed over.
func (c PrivacyConfig) readNames() ([]string, error) {
	if c.NamesFile == "" {
		return nil, nil
	}
	f, err := os.Open(c.NamesFile)
	if err != nil {
		return nil, fmt.Errorf("names_file: %w", err)
	}
	defer f.Close()
	var names []string
	bounded := &io.LimitedReader{R: f, N: maxNamesFile + 1}
	lines := bufio.NewScanner(bounded)
	for lines.Scan() {
		if name := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff")); name != "" && name[0] != '#' {
			names = append(names, name)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("names_file %s: %w", c.NamesFile, err)
	}
	if bounded.N == 0 {
		return nil, fmt.Errorf("names_file %s has more than %d bytes", c.NamesFile, maxNamesFile)
	}
	return names, nil
}

// maskCounters count what is masked, by class.
type maskCounters [mask.NumClasses]prometheus.Counter

func newMaskCounters(reg prometheus.Registerer, m *mask.Masker) (c maskCounters, err error) {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "fengsui", Subsystem: "analyzer", Name: "masked_total",
		Help: "Pieces of personal data replaced before storage, by class and by what was done; one that stands in several fields counts in each.",
	}, []string{"class", "action"})
	for i := range c {
		class := mask.Class(i) //nolint:gosec // a few
		c[i] = vec.WithLabelValues(class.String(), string(m.Rule(class).Do))
	}
	return c, reg.Register(vec)
}

// add takes what a scope has counted.
func (c *maskCounters) add(s *mask.Scope) {
	for i, n := range s.Counts() {
		if n > 0 {
			c[i].Add(float64(n))
		}
	}
}
