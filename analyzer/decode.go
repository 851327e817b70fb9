package analyzer

import (
	"encoding"
	"encoding/json"
	"runtime"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// decoder reads observations and assets as encoding/json does, and several times
// faster: reading them is most of what folding and starting cost. What is not
// plainly one of ours (an unknown key, an odd number, a shard's attempt) it leaves
// to encoding/json. It is not safe for concurrent use.
type decoder struct {
	parser fastjson.Parser
	number []byte
	odd    bool
}

// decode reads one observation; o is empty.
func (d *decoder) decode(value []byte, o *schemas.Observation) error {
	return decodeBy(d, value, o, d.observation)
}

// assetDecoder makes what reads one asset after the other; each is empty before.
func assetDecoder() func(value []byte, a *schemas.Asset) error {
	var d decoder
	return func(value []byte, a *schemas.Asset) error { return decodeBy(&d, value, a, d.asset) }
}

// decodeBy reads an object whose members are read by member.
func decodeBy[T any](d *decoder, value []byte, out *T, member func(out *T, key []byte, v *fastjson.Value)) error {
	if d.odd = !plainJSON(value); !d.odd {
		v, err := d.parser.ParseBytes(value)
		if d.odd = err != nil; !d.odd {
			d.object(v, func(key []byte, v *fastjson.Value) { member(out, key, v) })
		}
	}
	if !d.odd {
		return nil
	}
	*out = *new(T)
	return json.Unmarshal(value, out)
}

// plainJSON says whether the two readers see the same in a text, if it is JSON:
// escapes as JSON has them, none of them half of a letter, all of it UTF-8.
func plainJSON(text []byte) bool {
	ascii := true
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c < ' ':
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		case c == '\\':
			if i+1 == len(text) {
				return false
			}
			i++
			switch text[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(text) || text[i+1]|0x20 == 'd' || !hexDigits(text[i+1:i+5]) {
					return false
				}
				i += 4
			default:
				return false
			}
		}
	}
	return ascii || utf8.Valid(text)
}

func hexDigits(text []byte) bool {
	for _, c := range text {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

func (d *decoder) object(v *fastjson.Value, f func(key []byte, v *fastjson.Value)) {
	o, err := v.Object()
	if err != nil {
		d.odd = true
		return
	}
	o.Visit(f)
}

func (d *decoder) list(v *fastjson.Value, f func(v *fastjson.Value)) {
	list, err := v.Array()
	d.odd = d.odd || err != nil || len(list) == 0
	for _, v := range list {
		f(v)
	}
}

// objects reads a list of objects, each of them by read.
func objects[T any](d *decoder, v *fastjson.Value, read func(out *T, key []byte, v *fastjson.Value)) (out []T) {
	d.list(v, func(v *fastjson.Value) {
		var one T
		d.object(v, func(key []byte, v *fastjson.Value) { read(&one, key, v) })
		out = append(out, one)
	})
	return out
}

func (d *decoder) text(v *fastjson.Value) string {
	text, err := v.StringBytes()
	d.odd = d.odd || err != nil
	return string(text)
}

func (d *decoder) texts(v *fastjson.Value) (out []string) {
	d.list(v, func(v *fastjson.Value) { out = append(out, d.text(v)) })
	return out
}

func (d *decoder) into(v *fastjson.Value, out encoding.TextUnmarshaler) {
	text, err := v.StringBytes()
	d.odd = d.odd || err != nil || out.UnmarshalText(text) != nil
}

func (d *decoder) int(v *fastjson.Value) int {
	n, err := v.Int()
	d.number = v.MarshalTo(d.number[:0])
	d.odd = d.odd || err != nil || strconv.Itoa(n) != string(d.number)
	return n
}

func (d *decoder) bool(v *fastjson.Value) bool {
	is, err := v.Bool()
	d.odd = d.odd || err != nil
	return is
}

func (d *decoder) observation(o *schemas.Observation, key []byte, v *fastjson.Value) {
	switch string(key) {
	case "id":
		o.ID = d.text(v)
	case "kind":
		o.Kind = schemas.ObservationKind(d.text(v))
	case "time":
		d.into(v, &o.Time)
	case "source":
		o.Source = d.text(v)
	case "job":
		o.Job = d.text(v)
	case "shard":
		o.Shard = d.text(v)
	case "scanner":
		o.Scanner = d.text(v)
	case "unit":
		o.Unit = d.text(v)
	case "name":
		o.Name = d.text(v)
	case "record_type":
		o.RecordType = d.text(v)
	case "values":
		o.Values = d.texts(v)
	case "rcode":
		o.RCode = d.text(v)
	case "ip":
		d.into(v, &o.IP)
	case "port":
		o.Port = d.int(v)
	case "transport":
		o.Transport = d.text(v)
	case "open":
		o.Open = d.bool(v)
	case "ports":
		o.Ports = d.text(v)
	case "method":
		o.Method = d.text(v)
	case "via":
		o.Via = d.text(v)
	case "mac":
		o.MAC = d.text(v)
	case "doubt":
		o.Doubt = d.text(v)
	case "service":
		d.serviceOf(&o.Service, v)
	default:
		d.odd = true
	}
}

func (d *decoder) asset(a *schemas.Asset, key []byte, v *fastjson.Value) {
	switch string(key) {
	case "key":
		a.Key = d.text(v)
	case "version":
		n := d.int(v)
		d.odd = d.odd || n < 0
		a.Version = uint64(max(n, 0))
	case "kind":
		a.Kind = schemas.AssetKind(d.text(v))
	case "unit":
		a.Unit = d.text(v)
	case "name":
		a.Name = d.text(v)
	case "ip":
		d.into(v, &a.IP)
	case "mac":
		a.MAC = d.text(v)
	case "port":
		a.Port = d.int(v)
	case "transport":
		a.Transport = d.text(v)
	case "alive":
		a.Alive = d.bool(v)
	case "service":
		d.serviceOf(&a.Service, v)
	case "names":
		a.Names = d.texts(v)
	case "reverse":
		a.Reverse = d.texts(v)
	case "reversed":
		d.into(v, &a.Reversed)
	case "addresses":
		a.Addresses = d.texts(v)
	case "records":
		d.odd = d.odd || a.Records != nil
		a.Records = objects(d, v, d.record)
	case "sources":
		a.Sources = d.texts(v)
	case "first":
		d.into(v, &a.First)
	case "last":
		d.into(v, &a.Last)
	case "updated":
		d.into(v, &a.Updated)
	case "since":
		d.into(v, &a.Since)
	case "partition":
		a.Partition = d.int(v)
	case "offset":
		a.Offset = int64(d.int(v))
	default:
		d.odd = true
	}
}

func (d *decoder) record(r *schemas.Record, key []byte, v *fastjson.Value) {
	switch string(key) {
	case "type":
		r.Type = d.text(v)
	case "values":
		r.Values = d.texts(v)
	default:
		d.odd = true
	}
}

func (d *decoder) serviceOf(s **schemas.Service, v *fastjson.Value) {
	d.odd = d.odd || *s != nil
	*s = &schemas.Service{}
	d.object(v, func(key []byte, v *fastjson.Value) { d.service(*s, key, v) })
}

func (d *decoder) service(s *schemas.Service, key []byte, v *fastjson.Value) {
	switch string(key) {
	case "name":
		s.Name = d.text(v)
	case "product":
		s.Product = d.text(v)
	case "version":
		s.Version = d.text(v)
	case "os":
		s.OS = d.text(v)
	case "banner":
		s.Banner = d.text(v)
	case "tls":
		d.odd = d.odd || s.TLS != nil
		s.TLS = &schemas.TLS{}
		d.object(v, func(key []byte, v *fastjson.Value) { d.tls(s.TLS, key, v) })
	case "http":
		d.odd = d.odd || s.HTTP != nil
		s.HTTP = &schemas.HTTP{}
		d.object(v, func(key []byte, v *fastjson.Value) { d.http(s.HTTP, key, v) })
	case "technologies":
		d.odd = d.odd || s.Technologies != nil
		s.Technologies = objects(d, v, d.technology)
	case "exposures":
		d.odd = d.odd || s.Exposures != nil
		s.Exposures = objects(d, v, d.exposure)
	default:
		d.odd = true
	}
}

func (d *decoder) technology(t *schemas.Technology, key []byte, v *fastjson.Value) {
	switch string(key) {
	case "name":
		t.Name = d.text(v)
	case "version":
		t.Version = d.text(v)
	default:
		d.odd = true
	}
}

func (d *decoder) exposure(e *schemas.Exposure, key []byte, v *fastjson.Value) {
	switch string(key) {
	case "kind":
		e.Kind = schemas.ExposureKind(d.text(v))
	case "evidence":
		e.Evidence = d.text(v)
	default:
		d.odd = true
	}
}

func (d *decoder) tls(t *schemas.TLS, key []byte, v *fastjson.Value) {
	switch string(key) {
	case "version":
		t.Version = d.text(v)
	case "versions":
		t.Versions = d.texts(v)
	case "cipher":
		t.Cipher = d.text(v)
	case "subject":
		t.Subject = d.text(v)
	case "issuer":
		t.Issuer = d.text(v)
	case "names":
		t.Names = d.texts(v)
	case "not_before":
		d.into(v, &t.NotBefore)
	case "not_after":
		d.into(v, &t.NotAfter)
	case "sha256":
		t.SHA256 = d.text(v)
	case "serial":
		t.Serial = d.text(v)
	case "key":
		t.Key = d.text(v)
	case "self_signed":
		t.SelfSigned = d.bool(v)
	case "jarm":
		t.JARM = d.text(v)
	case "chain":
		d.odd = d.odd || t.Chain != nil
		t.Chain = objects(d, v, d.certificate)
	default:
		d.odd = true
	}
}

func (d *decoder) certificate(c *schemas.Certificate, key []byte, v *fastjson.Value) {
	switch string(key) {
	case "subject":
		c.Subject = d.text(v)
	case "issuer":
		c.Issuer = d.text(v)
	case "not_after":
		d.into(v, &c.NotAfter)
	case "sha256":
		c.SHA256 = d.text(v)
	default:
		d.odd = true
	}
}

func (d *decoder) http(h *schemas.HTTP, key []byte, v *fastjson.Value) {
	switch string(key) {
	case "status":
		h.Status = d.int(v)
	case "title":
		h.Title = d.text(v)
	case "server":
		h.Server = d.text(v)
	case "location":
		h.Location = d.text(v)
	case "header":
		h.Header = d.text(v)
	case "body":
		h.Body = d.text(v)
	case "icon_hash":
		h.IconHash = d.text(v)
	default:
		d.odd = true
	}
}

// decodeShare is from how many records on they are shared among the processors.
const decodeShare = 256

// decodeAll reads a batch of observations. Of what is none there is an error in its
// place.
func decodeAll(records []kafka.Record) ([]schemas.Observation, []error) {
	out, errs := make([]schemas.Observation, len(records)), make([]error, len(records))
	part := max(decodeShare, (len(records)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for from := 0; from < len(records); from += part {
		all.Go(func() {
			var d decoder
			for i := from; i < min(from+part, len(records)); i++ {
				if errs[i] = d.decode(records[i].Value, &out[i]); errs[i] == nil {
					out[i].Encoded = records[i].Value
				}
			}
		})
	}
	all.Wait()
	return out, errs
}
