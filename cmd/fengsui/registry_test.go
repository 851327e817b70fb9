package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"fengsui/internal/testkit/postgres"
	"fengsui/registry"
	"fengsui/schemas"
)

// The registry is asked where it is kept, and no file is made beside it.
func TestRegistryIsAskedWhereItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry.db")
	cfg := &Config{Registry: RegistryConfig{Path: path, DSN: postgres.Database(t)}}
	reg, err := cfg.Registry.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = reg.Put(t.Context(), "test", &registry.Content{Units: []schemas.Unit{{Code: "41", Name: "省教育厅", Level: schemas.Province}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := reg.Close(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{{}, time.Now()} {
		snap, err := registryAt(t.Context(), cfg, at)
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := snap.Unit("41"); !ok || u.Name != "省教育厅" {
			t.Errorf("at %v: %+v", at, u)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a file was made: %v", err)
	}
}
