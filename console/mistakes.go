package console

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"fengsui/schemas"
)

// What is wrong with a request before any of our own code sees it: a value has not
// the shape that the API's description gives it, or it cannot be decoded. Here both
// become Mistakes, for every operation, with the names that the registry's own have.

const (
	bodyKey     = "fengsui.body" // in an operation's metadata: the type of its body
	maxMistakes = 50             // that one answer tells
	maxEchoed   = 100            // characters of a value that are repeated
)

// noteBodies has every operation know the type of its body, since who writes errors
// is given nothing else.
func (c *Console) noteBodies() {
	doc := c.api.OpenAPI()
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Post, path.Put} {
			if op == nil || op.RequestBody == nil {
				continue
			}
			if kind := op.RequestBody.Content["application/json"]; kind != nil && kind.Schema.Ref != "" {
				op.Metadata[bodyKey] = doc.Components.Schemas.TypeFromRef(kind.Schema.Ref)
			}
		}
	}
}

// mistakesIn are those that huma tells of a request whose body is of a type; nil if
// it has none.
func mistakesIn(body reflect.Type, err error) Mistakes {
	d := new(huma.ErrorDetail)
	if !errors.As(err, &d) {
		return nil
	}
	if raw, ok := d.Value.(string); ok && d.Location == "body" && body != nil {
		return undecodable(body, []byte(raw), d.Message)
	}
	_, place, _ := strings.Cut(indices.ReplaceAllString(d.Location, ""), ".")
	path := strings.Split(place, ".")
	if m := missing.FindStringSubmatch(d.Message); m != nil {
		return Mistakes{{fieldOf(body, append(path, m[1])), "缺少", "is missing"}}
	}
	if absent.MatchString(d.Message) {
		return Mistakes{{fieldOf(body, path), "缺少", "is missing"}}
	}
	return Mistakes{{fieldOf(body, path), inChinese(d.Message), d.Message}}
}

var indices = regexp.MustCompile(`\[\d+\]`)

// fieldOf is what a place in a body is called: by its innermost name, unless the body
// itself has a field of that name.
func fieldOf(body reflect.Type, path []string) string {
	last := path[len(path)-1]
	if len(path) == 1 || path[0] == "" || body == nil || body.Kind() != reflect.Struct {
		return last
	}
	for _, f := range fieldsOf(body) {
		if f.name == last {
			return path[0]
		}
	}
	return last
}

type field struct {
	name string
	kind reflect.Type
}

// fieldsOf are the fields of a struct as encoding/json sees them.
func fieldsOf(t reflect.Type) (out []field) {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || name == "" && f.Anonymous {
			continue
		}
		if name == "" {
			name = f.Name
		}
		out = append(out, field{name, f.Type})
	}
	return out
}

// undecodable is what of a body cannot be what it stands for: encoding/json tells the
// first of it alone, and not where it is.
func undecodable(body reflect.Type, raw []byte, why string) (out Mistakes) {
	more := 0
	misread(body, raw, nil, func(path []string, zh, en string) {
		if len(out) == maxMistakes {
			more++
			return
		}
		out = append(out, Mistake{fieldOf(body, path), zh, en})
	})
	out = append(out, andMore(more)...)
	if len(out) == 0 {
		out = Mistakes{{"", "请求无法读取：" + why, "the request cannot be read: " + why}}
	}
	return out
}

// andMore says how many mistakes are not told.
func andMore(n int) Mistakes {
	if n == 0 {
		return nil
	}
	return mistake("", fmt.Sprintf("另有 %d 处错误", n), fmt.Sprintf("and %d more", n))
}

// misread walks through a value and its type together, down to what cannot be decoded
// by itself.
func misread(t reflect.Type, raw []byte, path []string, tell func(path []string, zh, en string)) {
	if json.Unmarshal(raw, reflect.New(t).Interface()) == nil {
		return
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch kind := t.Kind(); {
	case readsItself(t):
	case kind == reflect.Struct:
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			return
		}
		for _, f := range fieldsOf(t) {
			for name, value := range members {
				if strings.EqualFold(name, f.name) {
					misread(f.kind, value, append(path[:len(path):len(path)], f.name), tell)
				}
			}
		}
		return
	case kind == reflect.Slice:
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			break
		}
		for _, item := range items {
			misread(t.Elem(), item, path, tell)
		}
		return
	}
	if len(path) > 0 {
		zh, en := unreadable(t, raw)
		tell(path, zh, en)
	}
}

func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) || p.Implements(reflect.TypeFor[json.Unmarshaler]())
}

// unreadable says why a value cannot be of a type.
func unreadable(t reflect.Type, raw []byte) (zh, en string) {
	text := string(raw)
	_ = json.Unmarshal(raw, &text) // what is no string is told as it is written
	whole := text
	if r := []rune(text); len(r) > maxEchoed {
		text = string(r[:maxEchoed]) + "…"
	}
	switch t {
	case reflect.TypeFor[netip.Prefix]():
		zh, en = noPrefix(whole)
		return fmt.Sprintf("%q 不是网段：%s", text, zh), fmt.Sprintf("%q is no address block: %s", text, en)
	case reflect.TypeFor[netip.Addr]():
		return fmt.Sprintf("%q 不是地址（应如 192.0.2.1 或 2001:db8::1）", text), fmt.Sprintf("%q is no address such as 192.0.2.1 or 2001:db8::1", text)
	case reflect.TypeFor[time.Time]():
		return fmt.Sprintf("%q 不是时间（应如 2026-09-01T08:00:00+08:00）", text), fmt.Sprintf("%q is no time such as 2026-09-01T08:00:00+08:00", text)
	case reflect.TypeFor[schemas.PortName]():
		return fmt.Sprintf("%q 不是端口（应如 443/tcp，1 至 65535）", text), fmt.Sprintf("%q is no port such as 443/tcp, from 1 to 65535", text)
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("%s 不是整数，或太大", text), fmt.Sprintf("%s is no whole number, or too large", text)
	}
	return fmt.Sprintf("%q 无法读取", text), fmt.Sprintf("%q cannot be read", text)
}

// noPrefix says why a text is no address block.
func noPrefix(text string) (zh, en string) {
	address, length, given := strings.Cut(text, "/")
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil || ip.Zone() != "":
		if r := []rune(address); len(r) > maxEchoed {
			address = string(r[:maxEchoed]) + "…"
		}
		return address + " 不是地址（应如 192.0.2.0/24）", address + " is no address (write 192.0.2.0/24)"
	case !given || length == "":
		return "缺少前缀长度（应如 " + address + "/24）", "the length of its prefix is missing (write " + address + "/24)"
	}
	return fmt.Sprintf("前缀长度应在 0 至 %d 之间", ip.BitLen()), fmt.Sprintf("the length of its prefix is not 0 to %d", ip.BitLen())
}

// missing is what huma says of a field that is not there.
var missing = worded(strings.Replace(validation.MsgExpectedRequiredProperty, "%s", "%v", 1))

// absent is what huma says of a parameter that is not there, and has no name for.
var absent = worded("required %s parameter is missing")

// inChinese is what huma says of a value, in Chinese.
func inChinese(said string) string {
	for _, w := range chinese {
		if w.said.MatchString(said) {
			return w.said.ReplaceAllString(said, w.zh)
		}
	}
	return "有误：" + said
}

var chinese = []struct {
	said *regexp.Regexp
	zh   string
}{
	{worded(validation.MsgUnexpectedProperty), "没有这一项"},
	{worded(validation.MsgExpectedRFC3339DateTime), "不是时间（应如 2026-09-01T08:00:00+08:00）"},
	{worded(validation.MsgExpectedBoolean), "应为 true 或 false"},
	{worded(validation.MsgExpectedNumber), "应为数字"},
	{worded(validation.MsgExpectedInteger), "应为整数"},
	{worded(validation.MsgExpectedString), "应为文本"},
	{worded(validation.MsgExpectedArray), "应为列表"},
	{worded(validation.MsgExpectedObject), "应为一组字段"},
	{worded(validation.MsgExpectedOneOf), "应为 ${1} 之一"},
	{worded(validation.MsgExpectedMinimumNumber), "不能小于 ${1}"},
	{worded(validation.MsgExpectedMaximumNumber), "不能大于 ${1}"},
	{worded(validation.MsgExpectedMinLength), "至少 ${1} 个字符"},
	{worded(validation.MsgExpectedMaxLength), "最多 ${1} 个字符"},
	{worded(validation.MsgExpectedMinItems), "至少 ${1} 项"},
	{worded(validation.MsgExpectedMaxItems), "最多 ${1} 项"},
}

// worded matches what is written by a format.
func worded(format string) *regexp.Regexp {
	return regexp.MustCompile("^" + verbs.ReplaceAllString(regexp.QuoteMeta(format), "(.*)") + "$")
}

var verbs = regexp.MustCompile("%[vds]")
