package schemas

import (
	"bytes"
	_ "embed"
	"fmt"
	"iter"
	"strings"

	"gopkg.in/yaml.v3"
)

//go:embed fields.yaml
var fieldsYAML []byte

// FieldID numbers a field of the catalogue within one build of the program.
type FieldID uint16

// Type is a field's type, with ECS's names.
type Type string

// The types of the catalogue.
const (
	Keyword Type = "keyword"
	Text    Type = "text"
	Long    Type = "long"
	Double  Type = "double"
	Boolean Type = "boolean"
	IP      Type = "ip"
	Date    Type = "date"
)

// Field is one entry of the catalogue.
type Field struct {
	ID    FieldID  `yaml:"-"`
	Name  string   `yaml:"name"`  // ECS name, dotted
	Type  Type     `yaml:"type"`  // type of the value, or of each value of a list
	List  bool     `yaml:"list"`  // holds many values
	Low   bool     `yaml:"low"`   // few distinct values
	Alias []string `yaml:"alias"` // short names that queries accept
	Zh    string   `yaml:"zh"`
	En    string   `yaml:"en"`
}

// Column is the field's column in ClickHouse: its name with underscores, since
// ClickHouse reads a dot as a Nested structure.
func (f Field) Column() string {
	return strings.ReplaceAll(strings.TrimPrefix(f.Name, "@"), ".", "_")
}

// ColumnType is the field's ClickHouse type. Numbers and truths are Nullable,
// because zero and false are values; a missing string or list is empty.
func (f Field) ColumnType() string {
	var t string
	switch f.Type {
	case Long:
		t = "Int64"
	case Double:
		t = "Float64"
	case Boolean:
		t = "Bool"
	case Date:
		t = "DateTime64(6, 'UTC')"
	default:
		t = "String"
		if f.Low {
			t = "LowCardinality(String)"
		}
	}
	switch {
	case f.List:
		return "Array(" + t + ")"
	case t == "String" || f.Low || f.ID == FieldTimestamp:
		return t
	default:
		return "Nullable(" + t + ")"
	}
}

// OpenNamespace is a prefix under which any name is accepted.
type OpenNamespace struct {
	Prefix string `yaml:"prefix"` // with its last dot
	Zh     string `yaml:"zh"`
	En     string `yaml:"en"`
}

// Column is the Map column that holds the namespace's values.
func (n OpenNamespace) Column() string {
	return strings.ReplaceAll(strings.TrimSuffix(n.Prefix, "."), ".", "_")
}

var catalogue, byName = loadCatalogue()

type fieldsDoc struct {
	Fields []Field         `yaml:"fields"`
	Open   []OpenNamespace `yaml:"open"`
}

// loadCatalogue panics on a broken catalogue: it is part of the program, and
// TestCatalogue reads it before anyone else does.
func loadCatalogue() (fieldsDoc, map[string]FieldID) {
	var doc fieldsDoc
	dec := yaml.NewDecoder(bytes.NewReader(fieldsYAML))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil {
		panic(fmt.Sprintf("schemas: fields.yaml: %v", err))
	}
	if len(doc.Fields) != NumFields {
		panic(fmt.Sprintf("schemas: fields.yaml has %d fields, fields_gen.go %d: run go generate ./schemas", len(doc.Fields), NumFields))
	}
	names := make(map[string]FieldID, 2*len(doc.Fields))
	for i := range doc.Fields {
		f := &doc.Fields[i]
		f.ID = FieldID(i)
		for _, n := range append([]string{f.Name}, f.Alias...) {
			if _, taken := names[n]; taken {
				panic(fmt.Sprintf("schemas: fields.yaml: %q is said twice", n))
			}
			names[n] = f.ID
		}
	}
	return doc, names
}

// Fields is the whole catalogue, in its order. It must not be changed.
func Fields() []Field { return catalogue.Fields }

// OpenNamespaces are the prefixes that vendors fill. It must not be changed.
func OpenNamespaces() []OpenNamespace { return catalogue.Open }

// Field returns the catalogue's entry.
func (id FieldID) Field() Field { return catalogue.Fields[id] }

// String is the field's name.
func (id FieldID) String() string { return catalogue.Fields[id].Name }

// LookupField finds a field by its name or alias.
func LookupField(name string) (Field, bool) {
	id, ok := byName[name]
	if !ok {
		return Field{}, false
	}
	return catalogue.Fields[id], true
}

// OpenField says whether the name lies in an open namespace, and in which.
func OpenField(name string) (OpenNamespace, bool) {
	for _, n := range catalogue.Open {
		if len(name) > len(n.Prefix) && strings.HasPrefix(name, n.Prefix) {
			return n, true
		}
	}
	return OpenNamespace{}, false
}

// UnknownFieldError says that a rule, a query or a mapping names a field that
// the catalogue does not have.
type UnknownFieldError struct {
	Name    string
	Nearest string // the nearest known name, for the person who mistyped
}

func (e *UnknownFieldError) Error() string {
	return fmt.Sprintf("unknown field %q; did you mean %q?", e.Name, e.Nearest)
}

// CheckField returns an *UnknownFieldError unless the name is a field, an alias
// or lies in an open namespace.
func CheckField(name string) error {
	if _, ok := byName[name]; ok {
		return nil
	}
	if _, ok := OpenField(name); ok {
		return nil
	}
	names := func(yield func(string) bool) {
		for i := range catalogue.Fields {
			if !yield(catalogue.Fields[i].Name) {
				return
			}
		}
	}
	return &UnknownFieldError{Name: name, Nearest: Nearest(name, names)}
}

// Nearest is the known name that a mistyped one is most like.
func Nearest(name string, known iter.Seq[string]) string {
	best, bestDistance := "", 1<<30
	for k := range known {
		if d := editDistance(name, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// editDistance is Levenshtein's, over bytes: field names are ASCII.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}
