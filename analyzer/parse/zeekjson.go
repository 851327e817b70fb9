package parse

import (
	"strings"
	"sync"

	"fengsui/schemas"
)

// parseZeekJSON reads a record of Zeek's JSON, of json-streaming-logs and of the
// project's own packet sensor.
func parseZeekJSON(ev *schemas.Event, line string) error {
	if !strings.HasPrefix(line, "{") {
		return errNotZeek
	}
	r := zeekReaders.Get().(*zeekReader)
	defer r.release()
	r.record = zeekRecord{ev: ev, path: zeekPathOf(zeekName(ev, line))}
	r.record.begin()
	if err := r.walker.walk(line, r); err != nil {
		return err
	}
	return r.record.end()
}

type zeekReader struct {
	record zeekRecord
	walker jsonWalker
	extra  names
}

var zeekReaders = sync.Pool{New: func() any { return &zeekReader{extra: names{prefix: "zeek.extra."}} }}

func (r *zeekReader) release() {
	r.record = zeekRecord{}
	r.walker.forget()
	zeekReaders.Put(r)
}

func (r *zeekReader) visit(path []byte, v *jsonValue) {
	if v.kind == jsonNull {
		return
	}
	set := r.record.path.fields[string(path)]
	if set == nil {
		set = zeekCommon[string(path)]
	}
	if set != nil {
		set(&r.record, v)
		return
	}
	zeekExtra(r.record.ev, r.extra.of(path), v)
}

// names makes full names of paths, and remembers them: they repeat.
type names struct {
	prefix string
	known  map[string]string
}

// maxNames bounds what is remembered.
const maxNames = 4096

func (n *names) of(path []byte) string {
	if len(path) == 0 { // a key may be empty, a field's name may not
		return n.prefix + "_"
	}
	if full, ok := n.known[string(path)]; ok {
		return full
	}
	return n.learn(string(path))
}

// ofText is of for a text.
func (n *names) ofText(path string) string {
	if path == "" {
		return n.prefix + "_"
	}
	if full, ok := n.known[path]; ok {
		return full
	}
	return n.learn(path)
}

func (n *names) learn(path string) string {
	full := n.prefix + path
	if len(path) > 256 {
		return full
	}
	if n.known == nil || len(n.known) >= maxNames {
		n.known = map[string]string{}
	}
	n.known[full[len(n.prefix):]] = full
	return full
}

// zeekName is the name of the log that a record belongs to: its _path; or, for
// Zeek's own JSON files, which do not say it, the file's name; or else what its
// fields show.
func zeekName(ev *schemas.Event, line string) string {
	if i := strings.Index(line, `"_path"`); i >= 0 {
		rest := strings.TrimLeft(line[i+len(`"_path"`):], " :")
		if name, ok := strings.CutPrefix(rest, `"`); ok {
			if j := strings.IndexAny(name, `"\`); j >= 0 && name[j] == '"' {
				return name[:j]
			}
		}
	}
	if strings.HasPrefix(ev.Source, "/") {
		if name, _, ok := strings.Cut(baseName(ev.Source), "."); ok {
			return strings.TrimSuffix(name, "_json") // dns.log, dns.2026-01-01.log.gz
		}
	}
	for _, sign := range [...]struct{ key, name string }{
		{`"conn_state"`, "conn"},
		{`"trans_id"`, "dns"},
		{`"cipher"`, "ssl"},
		{`"server_name"`, "ssl"},
		{`"status_code"`, "http"},
		{`"uri"`, "http"},
		{`"auth_attempts"`, "ssh"},
		{`"note"`, "notice"},
	} {
		if strings.Contains(line, sign.key) {
			return sign.name
		}
	}
	return "unknown"
}
