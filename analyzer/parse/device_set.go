package parse

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"fengsui/schemas"
	"fengsui/schemas/devices"
)

// deviceSet is all devices that are known.
type deviceSet struct {
	formats []Format
	byName  map[string]*Format
	finder  *finder
}

var knownDevices atomic.Pointer[deviceSet]

// theDevices are those last loaded, or else those that are part of the program:
// their files are read when they are first needed.
func theDevices() *deviceSet {
	if s := knownDevices.Load(); s != nil {
		return s
	}
	s, err := makeDevices()
	if err != nil { // part of the program, and tested
		panic(fmt.Sprintf("parse: device files: %v", err))
	}
	knownDevices.CompareAndSwap(nil, s)
	return knownDevices.Load()
}

// LoadDevices reads the device files that are part of the program and those of
// further folders, of which one with a known id takes the other's place. The
// error has every fault of every file with its line; what was known before stays
// then. It is called before anything is parsed.
func LoadDevices(more ...fs.FS) error {
	s, err := makeDevices(more...)
	if err != nil {
		return err
	}
	knownDevices.Store(s)
	return nil
}

func makeDevices(more ...fs.FS) (*deviceSet, error) {
	files, err := devices.Shipped()
	errs := []error{err}
	place := map[string]int{}
	for i, f := range files {
		place[f.ID] = i
	}
	files = append([]*devices.Device(nil), files...)
	for _, from := range more {
		own, err := devices.Load(from)
		errs = append(errs, err)
		for _, f := range own {
			if i, ok := place[f.ID]; ok {
				files[i] = f
				continue
			}
			place[f.ID] = len(files)
			files = append(files, f)
		}
	}
	s := &deviceSet{byName: map[string]*Format{}}
	var all []*device
	for _, f := range files {
		if _, taken := parsers[f.ID]; taken {
			errs = append(errs, fmt.Errorf("%s: %q is the name of a format that is built in", f.File, f.ID))
			continue
		}
		d, err := compileDevice(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, d)
		s.formats = append(s.formats, Format{Name: f.ID, Zh: f.Name.Zh, En: f.Name.En, traced: d.parse, ofHost: true})
	}
	for i := range s.formats {
		s.byName[s.formats[i].Name] = &s.formats[i]
	}
	s.finder = newFinder(all)
	return s, errors.Join(errs...)
}

// parse reads a record that is known to be the device's.
func (d *device) parse(ev *schemas.Event, line string, trace *Explanation) error {
	if d.file.Envelope == devices.None {
		h := header{priority: -1, content: line, preamble: ev.Preamble}
		return d.read(ev, &h, trace)
	}
	return syslogLine(ev, line, d, trace)
}
