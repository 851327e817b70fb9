package collector

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"fengsui/collector/input/beats"
	"fengsui/collector/input/file"
	"fengsui/collector/input/flow"
	"fengsui/collector/input/http"
	kafkainput "fengsui/collector/input/kafka"
	"fengsui/collector/input/packet"
	"fengsui/collector/input/syslog"
	"fengsui/internal/kafka"
)

// Config says what is collected and where it goes.
type Config struct {
	ID       string        `koanf:"id"`        // names this collector in Kafka's logs
	Inputs   []InputConfig `koanf:"inputs"`    // at least one
	StateDir string        `koanf:"state_dir"` // where inputs keep how far they have read
	Spool    SpoolConfig   `koanf:"spool"`
	Kafka    kafka.Config  `koanf:"-"` // every service of a process has the same

	QueueBytes  int64         `koanf:"queue_bytes"`  // of memory for lines on their way; when it is used up, inputs wait
	StopTimeout time.Duration `koanf:"stop_timeout"` // for bringing what was accepted to Kafka or the spool at the end

	// Once makes Run return when every input has come to its end and all of its
	// lines are acknowledged by Kafka.
	Once bool `koanf:"-"`
}

// SpoolConfig says where lines wait while Kafka is away.
type SpoolConfig struct {
	Dir      string `koanf:"dir"`
	MaxBytes int64  `koanf:"max_bytes"` // when it is used up, inputs wait
}

// InputConfig is one input: what all have in common, and the settings of its
// type under the type's name.
type InputConfig struct {
	Name   string `koanf:"name"`
	Type   string `koanf:"type"`   // the name of the section below that has its settings
	Unit   string `koanf:"unit"`   // code of the unit that its lines belong to; empty: told by the registry's networks
	Format string `koanf:"format"` // name of the parser, or auto, which "" is too
	Drill  bool   `koanf:"drill"`  // its lines belong to an exercise

	Syslog *syslog.Config `koanf:"syslog"`
	File   *file.Config   `koanf:"file"`
	Packet *packet.Config `koanf:"packet"`
	Flow   *flow.Config   `koanf:"flow"`
	HTTP   *http.Config   `koanf:"http"`
	Beats  *beats.Config  `koanf:"beats"`

	Kafka *kafkainput.Config `koanf:"kafka"`
}

// DefaultConfig has everything but the inputs and the directories.
func DefaultConfig() Config {
	return Config{
		ID:          "collector",
		Spool:       SpoolConfig{MaxBytes: 4 << 30},
		Kafka:       kafka.DefaultConfig(),
		QueueBytes:  64 << 20,
		StopTimeout: 5 * time.Second,
	}
}

var (
	nameShape = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,62}$`)
	wordShape = regexp.MustCompile(`^[^\s\x00-\x1f]{1,64}$`)
)

// Validate says what is wrong with c, and names the input where it is one's.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(nameShape.MatchString(c.ID), "id: %q is no name: use a-z, 0-9, - . and _", c.ID)
	check(c.StateDir != "", "state_dir: is empty")
	check(c.Spool.Dir != "", "spool.dir: is empty")
	check(c.Spool.MaxBytes >= 64<<20, "spool.max_bytes: %d is less than 64 MiB", c.Spool.MaxBytes)
	check(c.QueueBytes >= 16<<20, "queue_bytes: %d is less than 16 MiB", c.QueueBytes)
	check(c.StopTimeout >= time.Second && c.StopTimeout <= time.Minute, "stop_timeout: %v is not between 1s and 1m", c.StopTimeout)
	if err := c.Kafka.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("kafka: %w", err))
	}
	check(len(c.Inputs) > 0, "inputs: at least one is needed")
	names, paths := make(map[string]bool), make(map[string]string)
	for i, in := range c.Inputs {
		if !nameShape.MatchString(in.Name) {
			errs = append(errs, fmt.Errorf("inputs: number %d: name %q is no name: use a-z, 0-9, - . and _", i+1, in.Name))
			continue
		}
		check(!names[in.Name], "input %s: another has the same name", in.Name)
		names[in.Name] = true
		if err := in.validate(); err != nil {
			errs = append(errs, fmt.Errorf("input %s: %w", in.Name, err))
		}
		if in.File != nil {
			for _, p := range in.File.Paths {
				// A line read by two inputs has one id, so one of the two would be lost.
				check(paths[p] == "", "input %s: %s is read by input %s too", in.Name, p, paths[p])
				paths[p] = in.Name
			}
		}
	}
	return errors.Join(errs...)
}

func (c InputConfig) validate() error {
	var errs []error
	if c.Unit != "" && !wordShape.MatchString(c.Unit) {
		errs = append(errs, fmt.Errorf("unit: %q is no code of a unit", c.Unit))
	}
	if c.Format != "" && !wordShape.MatchString(c.Format) {
		errs = append(errs, fmt.Errorf("format: %q is no name of a format", c.Format))
	}
	var own interface{ Validate() error }
	var types []string
	for _, t := range []struct {
		name   string
		config interface{ Validate() error }
		set    bool
	}{
		{"syslog", c.Syslog, c.Syslog != nil},
		{"file", c.File, c.File != nil},
		{"packet", packetConfig(c.Packet), c.Packet != nil},
		{"flow", c.Flow, c.Flow != nil},
		{"http", c.HTTP, c.HTTP != nil},
		{"beats", c.Beats, c.Beats != nil},
		{"kafka", c.Kafka, c.Kafka != nil},
	} {
		types = append(types, t.name)
		switch {
		case t.name == c.Type && t.set:
			own = t.config
		case t.name == c.Type:
			return errors.Join(append(errs, fmt.Errorf("its settings are missing: write them under %s", t.name))...)
		case t.set:
			errs = append(errs, fmt.Errorf("it has settings of type %s, but is of type %q", t.name, c.Type))
		}
	}
	if own == nil {
		errs = append(errs, fmt.Errorf("type: %q is none of %s", c.Type, strings.Join(types, ", ")))
	} else if err := own.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// packetConfig fills the zero values of a sensor's settings with its defaults,
// since an input in a list has none to begin with.
func packetConfig(c *packet.Config) packet.Config {
	filled := packet.DefaultConfig()
	if c == nil {
		return filled
	}
	from, to := reflect.ValueOf(*c), reflect.ValueOf(&filled).Elem()
	for i := range from.NumField() {
		if !from.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
	return filled
}
