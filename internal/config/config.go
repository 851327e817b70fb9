// Package config reads one YAML file and the environment into a typed
// configuration, over its defaults. An unknown key is an error with the nearest
// known name; nothing is ever ignored. It never writes a file.
package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	yamlv3 "gopkg.in/yaml.v3"
)

// EnvPrefix begins the environment variables that override the file:
// FENGSUI_ANALYZER__WORKERS=4 sets analyzer.workers.
const EnvPrefix = "FENGSUI_"

// Validator is a configuration that can check itself.
type Validator interface {
	Validate() error
}

// Load reads path (none when empty) and then the environment into the
// configuration that into points to, which holds the defaults. Names in env that
// are no configuration (FENGSUI_CORPUS and the like) have no "__" or section of
// that name and are passed over.
func Load[T Validator](path string, into *T) error {
	k := koanf.New(".")
	if path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return fmt.Errorf("reading configuration %s: %w", path, err)
		}
	}
	sections := keys(reflect.TypeFor[T]())
	err := k.Load(env.Provider(".", env.Opt{
		Prefix: EnvPrefix,
		TransformFunc: func(name, value string) (string, any) {
			path := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, EnvPrefix)), "__", ".")
			section, _, _ := strings.Cut(path, ".")
			if !slices.Contains(sections, section) {
				return "", nil
			}
			return path, value
		},
	}), nil)
	if err != nil {
		return fmt.Errorf("reading the environment: %w", err)
	}
	if err := decode(k.Raw(), into); err != nil {
		if path == "" {
			path = "the environment"
		}
		return fmt.Errorf("configuration in %s: %w", path, err)
	}
	if err := hiddenSecrets("", reflect.ValueOf(into).Elem()); err != nil {
		return fmt.Errorf("configuration in %s: %w", path, err)
	}
	if err := (*into).Validate(); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}

func decode(raw map[string]any, into any) error {
	if err := unknownKeys("", raw, reflect.TypeOf(into).Elem()); err != nil {
		return err
	}
	dec, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: into, TagName: "koanf", WeaklyTypedInput: true, ErrorUnused: true, ZeroFields: false,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			durationHook, mapstructure.TextUnmarshallerHookFunc(), mapstructure.StringToSliceHookFunc(",")),
	})
	if err != nil {
		return err
	}
	return dec.Decode(raw)
}

// durationHook reads "180d" beside what time.ParseDuration knows.
func durationHook(_, to reflect.Type, v any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() {
		return v, nil
	}
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("%v is not a duration: write a number with its unit, such as 30s, 12h or 180d", v)
	}
	return ParseDuration(s)
}

// ParseDuration reads a duration as time.ParseDuration does, and days as "180d".
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days, "%d", &n); err == nil && fmt.Sprint(n) == days && n >= 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write a number with its unit, such as 30s, 12h or 180d", s)
	}
	return d, nil
}

// unknownKeys walks the raw file beside the type, so that an error can name the
// whole path and the nearest key, which mapstructure's own does not.
func unknownKeys(path string, raw any, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := raw.(type) {
	case map[string]any:
		if t.Kind() != reflect.Struct {
			return nil
		}
		var errs []error
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			field, ok := fieldOf(t, name)
			if !ok {
				errs = append(errs, unknownKey(path+name, keys(t), path))
				continue
			}
			errs = append(errs, unknownKeys(path+name+".", v[name], field))
		}
		return errors.Join(errs...)
	case []any:
		if t.Kind() != reflect.Slice {
			return nil
		}
		var errs []error
		for i, e := range v {
			errs = append(errs, unknownKeys(fmt.Sprintf("%s[%d].", strings.TrimSuffix(path, "."), i), e, t.Elem()))
		}
		return errors.Join(errs...)
	}
	return nil
}

func unknownKey(key string, known []string, path string) error {
	slices.Sort(known)
	if len(known) == 0 {
		return fmt.Errorf("unknown key %s", key)
	}
	return fmt.Errorf("unknown key %s; the keys here are: %s%s", key, path, strings.Join(known, ", "+path))
}

// fieldOf finds the struct field with the koanf name, through squashed ones.
func fieldOf(t reflect.Type, name string) (reflect.Type, bool) {
	for f := range structFields(t) {
		if tag(f) == name {
			return f.Type, true
		}
	}
	return nil, false
}

func keys(t reflect.Type) []string {
	var out []string
	for f := range structFields(t) {
		out = append(out, tag(f))
	}
	return out
}

func structFields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		if t.Kind() != reflect.Struct {
			return
		}
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Tag.Get("koanf") == ",squash" {
				for inner := range structFields(f.Type) {
					if !yield(inner) {
						return
					}
				}
				continue
			}
			if tag(f) != "" && !yield(f) {
				return
			}
		}
	}
}

func tag(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("koanf"), ",")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}

// Dump writes the configuration as YAML that Load reads. A field tagged
// `secret:"true"` is written as "***" when it is set.
func Dump(cfg any) ([]byte, error) {
	return yamlv3.Marshal(plain(reflect.ValueOf(cfg)))
}

func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Struct:
		if text, ok := v.Interface().(interface{ MarshalText() ([]byte, error) }); ok {
			out, err := text.MarshalText()
			if err != nil {
				return err.Error()
			}
			return string(out)
		}
		node := &yamlv3.Node{Kind: yamlv3.MappingNode}
		appendFields(node, v)
		return node
	case reflect.Map:
		out := make(map[string]any, v.Len())
		for _, k := range v.MapKeys() {
			out[k.String()] = plain(v.MapIndex(k))
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = plain(v.Index(i))
		}
		return out
	}
	if d, ok := v.Interface().(time.Duration); ok {
		return durationText(d)
	}
	return v.Interface()
}

// hidden stands in a dump for a secret.
const hidden = "***"

// hiddenSecrets refuses a dump that is loaded as it is: its secrets are not in it.
func hiddenSecrets(path string, v reflect.Value) error {
	if v.Kind() != reflect.Struct {
		return nil
	}
	var errs []error
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		name := path + tag(f)
		if f.Tag.Get("secret") == "true" && v.Field(i).Kind() == reflect.String && v.Field(i).String() == hidden {
			errs = append(errs, fmt.Errorf("%s is %q, which stands in a dump for a secret: write the secret, or set it in the environment", name, hidden))
		}
		errs = append(errs, hiddenSecrets(name+".", v.Field(i)))
	}
	return errors.Join(errs...)
}

func appendFields(node *yamlv3.Node, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Tag.Get("koanf") == ",squash" {
			appendFields(node, v.Field(i))
			continue
		}
		if tag(f) == "" {
			continue
		}
		var key, value yamlv3.Node
		key.SetString(tag(f))
		content := plain(v.Field(i))
		if f.Tag.Get("secret") == "true" && !v.Field(i).IsZero() {
			content = hidden
		}
		if err := value.Encode(content); err != nil {
			value.SetString(err.Error())
		}
		node.Content = append(node.Content, &key, &value)
	}
}

func durationText(d time.Duration) string {
	if day := 24 * time.Hour; d > 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
