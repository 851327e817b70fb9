// Package file reads lines from files: it follows logs that grow, through
// rotation by rename and by truncation, and reads archives (.gz, .bz2, .xz, .zst)
// whole, once, wherever they are moved. It keeps on disk how far each file's
// lines are durable, so that after kill -9 it goes on there, and what it reads
// again carries the ids that it had before.
//
// A line is what stands between newlines, whatever its bytes; empty lines are
// nothing. The package never looks into lines, but for the header lines of a
// file ("#fields" and the like in Zeek's logs), which it attaches to the others,
// for the first bytes of lines that are to be joined to records, and for the
// encoding. A record's id is its file and the place of its first byte.
//
// It holds no file for writing and never deletes one.
package file

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"fengsui/collector/input"
	"fengsui/collector/input/charset"
)

// Config says which files to read. What is zero takes its default.
type Config struct {
	Paths   []string `koanf:"paths"`   // globs (https://pkg.go.dev/path/filepath#Match)
	Exclude []string `koanf:"exclude"` // globs of files not to read, such as the archives of logs that are followed

	// Preamble is how the header lines of a file begin. They are no records; the
	// last block of them stands in each line's Preamble. "none" turns that off;
	// "" is "#" where the format is one of Zeek's or of Microsoft's with columns of
	// their own, and "#" for those files of the format "auto" that begin with
	// "#separator", as Zeek's do, or "#Software:", as IIS's and Exchange's.
	Preamble string `koanf:"preamble"`

	// Encoding is that of the text: auto (UTF-8, or else GB18030, told for each
	// line), utf-8, gb18030 (GBK and GB 2312 too), utf-16le or utf-16be. "" takes
	// the bytes as they are. A byte order mark of UTF-16 goes before it. A line
	// that cannot be decoded becomes a dead letter, whole.
	Encoding string `koanf:"encoding"`

	Multiline Multiline `koanf:"multiline"` // joins lines to records, as of Java's stack traces

	MaxLine int           `koanf:"max_line"` // bytes; a longer line becomes a dead letter; 1 MiB
	Scan    time.Duration `koanf:"scan"`     // how often new files are looked for; 1s
	Poll    time.Duration `koanf:"poll"`     // how often open files are looked at; 200ms
	Quiet   time.Duration `koanf:"quiet"`    // a last line without newline is whole, and an archive complete, when nothing was written for so long; 5s

	// Once reads every file to its end, in the order of Paths, and then Run
	// returns. Nothing is remembered.
	Once bool `koanf:"-"`
	// Rate bounds the lines a second; 0 is no bound.
	Rate float64 `koanf:"-"`
}

// Deps is what the input needs. StateDir is where it keeps how far it has read,
// under Name; Format is the format of its lines. Progress, which may be nil, is
// called after each piece that was read.
type Deps struct {
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Name     string
	Format   string
	StateDir string
	Progress func(Progress)
}

// Progress is how far a file has been read.
type Progress struct {
	Path  string
	Read  int64 // bytes of the file, compressed where it is
	Size  int64
	Lines int64 // of all files of this input
}

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	if c.MaxLine == 0 {
		c.MaxLine = 1 << 20
	}
	if c.Scan == 0 {
		c.Scan = time.Second
	}
	if c.Poll == 0 {
		c.Poll = 200 * time.Millisecond
	}
	if c.Quiet == 0 {
		c.Quiet = 5 * time.Second
	}
	c.Multiline = c.Multiline.withDefaults(c)
	return c
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var errs []error
	if len(c.Paths) == 0 {
		errs = append(errs, errors.New("paths: at least one is needed"))
	}
	for _, l := range []struct {
		key   string
		globs []string
	}{{"paths", c.Paths}, {"exclude", c.Exclude}} {
		for _, g := range l.globs {
			if _, err := filepath.Match(g, ""); err != nil || g == "" {
				errs = append(errs, fmt.Errorf("%s: %q is no glob", l.key, g))
			}
		}
	}
	if c.MaxLine < 480 || c.MaxLine > input.MaxValue {
		errs = append(errs, fmt.Errorf("max_line: %d is not between 480 and %d", c.MaxLine, input.MaxValue))
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"scan", c.Scan}, {"poll", c.Poll}, {"quiet", c.Quiet}} {
		if d.value < 10*time.Millisecond || d.value > time.Hour {
			errs = append(errs, fmt.Errorf("%s: %v is not between 10ms and 1h", d.key, d.value))
		}
	}
	if _, err := charset.Named(c.Encoding); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, c.Multiline.validate(c))
	if c.Rate < 0 {
		errs = append(errs, fmt.Errorf("rate: %v is negative", c.Rate))
	}
	return errors.Join(errs...)
}

// Input reads files. New makes one.
type Input struct {
	cfg     Config
	deps    Deps
	quiet   input.Quiet
	state   *state
	limiter *rate.Limiter

	charset charset.Charset
	rule    *rule

	follows  map[inode]*follow
	troubles prometheus.Counter

	undecodable prometheus.Counter
	lines       int64
	pending     pending
}

// inode is what a file is for the kernel, while it exists.
type inode struct{ Dev, Ino uint64 }

// New checks cfg. Nothing is opened before Run.
func New(cfg Config, deps Deps) (*Input, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if !cfg.Once && deps.StateDir == "" {
		return nil, errors.New("following files needs a directory to remember how far they were read")
	}
	in := &Input{
		cfg: cfg.WithDefaults(), deps: deps, quiet: input.Quiet{Log: deps.Log},
		follows: make(map[inode]*follow),
		troubles: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fengsui_collector_file_errors_total", Help: "Failures to open or read a file, or to keep how far it was read.",
		}),
	}
	in.undecodable = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fengsui_collector_file_undecodable_total", Help: "Lines that are not of the encoding of their file, and became dead letters.",
	})
	in.rule = in.cfg.rule()
	in.charset, _ = charset.Named(cfg.Encoding) // Validate has named it
	if cfg.Rate > 0 {
		in.limiter = rate.NewLimiter(rate.Limit(cfg.Rate), max(1, int(cfg.Rate/20)))
	}
	if deps.Metrics != nil {
		for _, c := range []prometheus.Collector{in.troubles, in.undecodable} {
			if err := deps.Metrics.Register(c); err != nil {
				return nil, fmt.Errorf("registering metrics: %w", err)
			}
		}
	}
	return in, nil
}

func (in *Input) trouble(what string, err error) {
	in.troubles.Inc()
	in.quiet.Warn(what, "error", err)
}

// settleTime bounds how long Run waits after its end for what it has put to
// become durable. What does not is read again by the next Run.
const settleTime = 3 * time.Second

// Run follows the files until ctx ends and returns nil, or an error where it
// cannot remember how far it has read. With Config.Once it returns after the
// last line is durable; then an error names what could not be read.
func (in *Input) Run(ctx context.Context, sink input.Sink) error {
	if in.cfg.Once {
		in.state = newState("")
		return in.runOnce(ctx, sink)
	}
	var err error
	if in.state, err = openState(filepath.Join(in.deps.StateDir, in.deps.Name+".json")); err != nil {
		return err
	}
	defer func() {
		for _, f := range in.follows {
			f.close()
		}
	}()
	for {
		if err := in.scan(); err != nil {
			return err
		}
		if err := in.pollUntil(ctx, sink, time.Now().Add(in.cfg.Scan)); err != nil {
			in.pending.wait(context.WithoutCancel(ctx), settleTime)
			saveErr := in.state.save()
			if ctx.Err() != nil {
				return saveErr
			}
			return errors.Join(err, saveErr)
		}
		if err := in.state.save(); err != nil {
			in.trouble("keeping how far the files were read failed", err)
		}
	}
}

// runOnce reads each file to its end.
func (in *Input) runOnce(ctx context.Context, sink input.Sink) error {
	var errs []error
	for _, glob := range in.cfg.Paths {
		paths, err := in.glob(glob)
		if err == nil && len(paths) == 0 {
			err = fmt.Errorf("%s: %w", glob, os.ErrNotExist)
		}
		if err != nil {
			errs = append(errs, err)
		}
		for _, path := range paths {
			f, err := in.open(path)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			for more := true; more && err == nil; {
				more, err = in.turn(ctx, f, sink)
			}
			f.close()
			if err != nil && ctx.Err() == nil {
				errs = append(errs, err)
			}
		}
	}
	if !in.pending.wait(ctx, 0) {
		in.pending.wait(context.WithoutCancel(ctx), settleTime)
	}
	return errors.Join(errs...)
}

// glob returns the paths of a glob that are not excluded. A name that exists is
// taken as it is, whatever characters it has.
func (in *Input) glob(glob string) ([]string, error) {
	paths := []string{glob}
	if _, err := os.Lstat(glob); err != nil {
		if paths, err = filepath.Glob(glob); err != nil {
			return nil, fmt.Errorf("%s: %w", glob, err)
		}
	}
	kept := paths[:0]
	for _, p := range paths {
		if !in.excluded(p) {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

func (in *Input) excluded(path string) bool {
	for _, glob := range in.cfg.Exclude {
		if ok, _ := filepath.Match(glob, path); ok { // Validate has checked the glob
			return true
		}
		if ok, _ := filepath.Match(glob, filepath.Base(path)); ok {
			return true
		}
	}
	return false
}

// scan looks for files that are not followed yet and forgets those that are
// read and gone.
func (in *Input) scan() error {
	seen := make(map[inode]bool)
	for _, glob := range in.cfg.Paths {
		paths, err := in.glob(glob)
		if err != nil {
			in.trouble("looking for files failed", err)
			continue
		}
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				if !errors.Is(err, os.ErrNotExist) { // renamed meanwhile: the next scan finds it
					in.trouble("looking at a file failed", err)
				}
				continue
			}
			if !info.Mode().IsRegular() {
				continue
			}
			id := inodeOf(info)
			if seen[id] {
				continue
			}
			seen[id] = true
			if err := in.meet(id, path, info); err != nil {
				return err
			}
		}
	}
	for id, f := range in.follows {
		f.named = seen[id]
	}
	in.state.forgetGone(seen, time.Now())
	return nil
}

// meet begins to follow a file, unless it is followed, or nothing has come to
// it since it was read to its end.
func (in *Input) meet(id inode, path string, info os.FileInfo) error {
	if in.follows[id] != nil || info.Size() == 0 {
		return nil
	}
	if packedBy(path) != nil && time.Since(info.ModTime()) < in.cfg.Quiet {
		return nil // it is still being written
	}
	if in.state.unchanged(id, info) {
		return nil
	}
	f, err := in.open(path)
	if err != nil {
		if errors.Is(err, errState) {
			return err
		}
		if !errors.Is(err, os.ErrNotExist) {
			in.trouble("opening a file failed", err)
		}
		return nil
	}
	in.follows[f.id] = f
	return nil
}

// pollUntil gives every open file its turns until the time of the next scan.
func (in *Input) pollUntil(ctx context.Context, sink input.Sink, until time.Time) error {
	for {
		busy := false
		for id, f := range in.follows {
			more, err := in.turn(ctx, f, sink)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			switch {
			case errors.Is(err, errPut):
				return err
			case errors.Is(err, errReplaced):
				in.state.gone(f.entry, time.Now())
				f.close()
				delete(in.follows, id) // the next scan meets it as another file
			case err != nil:
				in.trouble("reading a file failed", err)
				f.close()
				delete(in.follows, id)
			case !more && f.finished(in.cfg.Quiet):
				in.leave(f)
				delete(in.follows, id)
			}
			busy = busy || more
		}
		if !time.Now().Before(until) {
			return nil
		}
		if busy {
			continue
		}
		timer := time.NewTimer(in.cfg.Poll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// leave closes a file that is read, and forgets it where it has been deleted.
func (in *Input) leave(f *follow) {
	info, err := f.file.Stat()
	switch {
	case err != nil:
		in.trouble("looking at a file failed", err)
	case info.Sys().(*syscall.Stat_t).Nlink == 0:
		in.state.gone(f.entry, time.Now())
	default:
		in.state.noteIdle(f.id, info.Size() == f.size, info)
	}
	f.close()
}
