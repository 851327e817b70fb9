package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// Every key of the configuration stands in the manual: by its name, or by that of
// what it belongs to (a list's entries, `name.…`). Keys of inputs stand there
// without what all inputs begin with.
func TestManualNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/manual/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(string(text), -1) {
		var last string
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			if strings.HasPrefix(name[1], ".") { // beside the one before
				name[1] = last[:strings.LastIndexByte(last, '.')] + name[1]
			}
			last = name[1]
			known[last] = true
		}
	}
	if len(known) < 100 {
		t.Fatalf("%d keys in the manual", len(known))
	}
	for _, key := range keysOf(reflect.TypeFor[Config](), "") {
		key = strings.TrimPrefix(key, "collector.inputs[].")
		list, _, _ := strings.Cut(key, "[].")
		group := key[:max(0, strings.LastIndexByte(key, '.'))] + ".…"
		if !known[key] && !known["inputs[]."+key] && !known[list] && !known[group] && key != "topics" { // whose keys are topics
			t.Errorf("%s does not stand in docs/manual/configuration.md", key)
		}
	}
}

// keysOf are the names of a structure's settings.
func keysOf(t reflect.Type, prefix string) []string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
		return keysOf(t.Elem(), strings.TrimSuffix(prefix, ".")+"[].")
	}
	if t.Kind() != reflect.Struct || !hasKeys(t) {
		return []string{strings.TrimSuffix(prefix, ".")}
	}
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag, rest, _ := strings.Cut(f.Tag.Get("koanf"), ",")
		switch {
		case rest == "squash":
			keys = append(keys, keysOf(f.Type, prefix)...)
		case tag != "" && tag != "-":
			keys = append(keys, keysOf(f.Type, prefix+tag+".")...)
		}
	}
	return keys
}

func hasKeys(t reflect.Type) bool {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("koanf") != "" {
			return true
		}
	}
	return false
}
