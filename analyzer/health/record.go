package health

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"fengsui/schemas"
)

// Dataset is the event.dataset of findings.
const Dataset = "fengsui.health"

// streamPrefix begins the stream of every finding.
const streamPrefix = Dataset + "/"

// Own says whether a record is a finding: findings are no sign of life.
func Own(o *schemas.Origin) bool { return strings.HasPrefix(o.Stream, streamPrefix) }

// Origin is the origin of a finding as a record of the topic logs. Its stream and
// sequence number come from the finding's identity, so that the same finding
// twice is one event.
func (f *Finding) Origin() schemas.Origin {
	h := sha256.New()
	fmt.Fprintf(h, "%q", []string{f.Source.Unit, f.Source.Source, f.Source.Input, f.Source.Format})
	return schemas.Origin{
		Stream: streamPrefix + string(f.Kind) + "/" + hex.EncodeToString(h.Sum(nil)[:8]),
		Seq:    uint64(max(f.Mark.UnixMicro(), 0)), //nolint:gosec // not negative
		Unit:   f.Source.Unit, Source: f.Source.Source, Input: Dataset, Format: "json", Received: f.At,
	}
}

// Record is the finding as JSON with the catalogue's names, for the parser of the
// format json.
func (f *Finding) Record() []byte {
	fields := map[string]any{
		"@timestamp":      f.At.UTC().Format(time.RFC3339Nano),
		"message":         f.message(),
		"event.kind":      "state",
		"event.category":  "host",
		"event.type":      "info",
		"event.action":    string(f.Kind),
		"event.module":    "fengsui",
		"event.dataset":   Dataset,
		"event.provider":  "fengsui analyzer",
		"event.reason":    f.reason(),
		"labels.source":   f.Source.Source,
		"labels.input":    f.Source.Input,
		"labels.format":   f.Source.Format,
		"event.start":     f.start().UTC().Format(time.RFC3339Nano),
		"event.end":       f.At.UTC().Format(time.RFC3339Nano),
		"labels.observed": f.observed(),
		"labels.usual":    f.usual(),
	}
	if f.Kind == Silent || f.Kind == Resumed {
		fields["event.duration"] = f.Gap.Nanoseconds()
	}
	for name, v := range fields {
		if v == "" {
			delete(fields, name)
		}
	}
	value, err := json.Marshal(fields)
	if err != nil {
		panic(fmt.Sprintf("health: encoding a finding: %v", err)) // texts and numbers only
	}
	return value
}

func (f *Finding) start() time.Time {
	if f.Kind == Silent || f.Kind == Resumed {
		return f.Since
	}
	return f.Mark
}

// observed and usual are the two numbers that were compared.
func (f *Finding) observed() string {
	switch f.Kind {
	case Silent, Resumed:
		return short(f.Gap)
	default:
		return fmt.Sprint(f.Count)
	}
}

func (f *Finding) usual() string {
	switch f.Kind {
	case Silent, Resumed:
		return short(f.Usual)
	case Surged:
		return fmt.Sprint(f.Of)
	default:
		return ""
	}
}

func (f *Finding) reason() string {
	switch f.Kind {
	case Silent:
		return "no record since " + f.Since.UTC().Format(time.RFC3339)
	case Letters:
		return fmt.Sprintf("%d of %d records of the hour could not be parsed", f.Count, f.Of)
	default:
		return ""
	}
}

func (f *Finding) message() string {
	who := fmt.Sprintf("%s（%s）", f.Source.Source, f.Source.Input)
	switch f.Kind {
	case Silent:
		return fmt.Sprintf("日志源 %s 已静默 %s，平时最长 %s / no log for %s, usually %s at most", who, short(f.Gap), short(f.Usual), short(f.Gap), short(f.Usual))
	case Resumed:
		return fmt.Sprintf("日志源 %s 恢复，此前静默 %s / speaks again after %s", who, short(f.Gap), short(f.Gap))
	case Surged:
		return fmt.Sprintf("日志源 %s 本小时已有 %d 条，平时高峰 %d 条 / %d records this hour, usually %d at most", who, f.Count, f.Of, f.Count, f.Of)
	default:
		return fmt.Sprintf("日志源 %s 本小时 %d 条中有 %d 条不能解析 / %d of %d records cannot be parsed", who, f.Of, f.Count, f.Count, f.Of)
	}
}

// short rounds to what a person reads.
func short(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d >= time.Minute:
		return d.Round(time.Second).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}
