package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Name   string        `koanf:"name"`
	Keep   time.Duration `koanf:"keep"`
	Inputs []inputSample `koanf:"inputs"`
	Store  storeSample   `koanf:"store"`
}

type inputSample struct {
	Name string `koanf:"name"`
	Port int    `koanf:"port"`
}

type storeSample struct {
	Dir      string `koanf:"dir"`
	Password string `koanf:"password" secret:"true"`
}

func (s sample) Validate() error {
	if s.Name == "" {
		return errors.New("name is empty")
	}
	return nil
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fengsui.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	f := func(text string, want sample) {
		t.Helper()
		got := sample{Name: "default", Keep: time.Hour, Store: storeSample{Dir: "d"}}
		if err := Load(write(t, text), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	f("", sample{Name: "default", Keep: time.Hour, Store: storeSample{Dir: "d"}})
	f("keep: 180d\n", sample{Name: "default", Keep: 180 * 24 * time.Hour, Store: storeSample{Dir: "d"}})
	f("inputs: [{name: a, port: 514}]\n", sample{Name: "default", Keep: time.Hour, Store: storeSample{Dir: "d"}, Inputs: []inputSample{{"a", 514}}})
	t.Setenv("FENGSUI_STORE__DIR", "/from/env")
	t.Setenv("FENGSUI_CORPUS", "not ours")
	f("store: {dir: file}\n", sample{Name: "default", Keep: time.Hour, Store: storeSample{Dir: "/from/env"}})
}

func TestLoadRefuses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		err := Load(write(t, text), &sample{Name: "x"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("nam: x\n", "unknown key nam; the keys here are: inputs, keep, name, store")
	f("store: {dirr: x}\n", "unknown key store.dirr; the keys here are: store.dir, store.password")
	f("inputs: [{name: a, prot: 1}]\n", "unknown key inputs[0].prot")
	f("keep: 3\n", "is not a duration")
	f("keep: soon\n", `"soon" is not a duration`)
	f("inputs: [{port: many}]\n", "inputs[0].port")
	f("name: ''\n", "name is empty")
	f("store: {password: '***'}\n", `store.password is "***", which stands in a dump for a secret`)
	f("name: [\n", "reading configuration")
}

func TestDumpIsReadBackAndHidesSecrets(t *testing.T) {
	want := sample{Name: "n", Keep: 48 * time.Hour, Inputs: []inputSample{{"a", 1}}, Store: storeSample{Dir: "d"}}
	out, err := Dump(want)
	if err != nil {
		t.Fatal(err)
	}
	var got sample
	if err := Load(write(t, string(out)), &got); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	want.Store.Password = "hunter2"
	out, err = Dump(want)
	if err != nil || strings.Contains(string(out), "hunter2") || !strings.Contains(string(out), "***") {
		t.Errorf("secret shown: %s (%v)", out, err)
	}
}
