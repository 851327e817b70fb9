package analyzer

import (
	"fmt"
	"io/fs"
	"os"

	"fengsui/analyzer/parse"
)

// loadDevices reads the device files, and checks that the formats that are fixed
// exist.
func (c Config) loadDevices() error {
	var folders []fs.FS
	for _, dir := range c.DevicesDirs {
		if info, err := os.Stat(dir); err != nil {
			return fmt.Errorf("devices_dirs: %w", err)
		} else if !info.IsDir() {
			return fmt.Errorf("devices_dirs: %s is no folder", dir)
		}
		folders = append(folders, os.DirFS(dir))
	}
	if err := parse.LoadDevices(folders...); err != nil {
		return fmt.Errorf("device files: %w", err)
	}
	for i, f := range c.Formats {
		if f.Source == "" && f.Input == "" {
			return fmt.Errorf("formats[%d] names neither source nor input", i)
		}
		if _, err := parse.Lookup(f.Format); err != nil {
			return fmt.Errorf("formats[%d]: %w", i, err)
		}
	}
	return nil
}

// detector decides the formats of a partition's sources and says so in the log.
func (a *Analyzer) detector() *parse.Detector {
	return parse.NewDetector(a.cfg.Formats, func(d parse.Decision) {
		a.log.Info("the format of a source is decided", "unit", d.Unit, "input", d.Input, "source", d.Source,
			"format", d.Format, "device", d.Device, "lines", d.Lines)
	})
}
