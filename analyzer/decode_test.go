package analyzer

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// wholeObservation has every field set.
func wholeObservation() schemas.Observation {
	s := schemas.Service{
		Name: "https", Product: "nginx", Version: "1.30.1", OS: "Debian", Banner: "<\x01 \u2028 \U0001F680 中", Technologies: []schemas.Technology{{Name: "PHP", Version: "8.4"}, {Name: "x"}},
		Exposures: []schemas.Exposure{{Kind: schemas.ExposureWeakTLS, Evidence: "TLS 1.0 \\ \"x\""}},
		TLS: &schemas.TLS{
			Version: "1.3", Versions: []string{"1.2", "1.3"}, Cipher: "c", Subject: "CN=a", Issuer: "CN=b", Names: []string{"a.cn"}, NotBefore: began, NotAfter: began.AddDate(1, 0, 0),
			SHA256: "ab", Serial: "1", Key: "RSA 2048", SelfSigned: true, JARM: "j", Chain: []schemas.Certificate{{Subject: "s", Issuer: "i", NotAfter: began, SHA256: "x"}, {}},
		},
		HTTP: &schemas.HTTP{Status: 200, Title: "门户 & <b>", Server: "nginx", Location: "/x", Header: "A: b\r\n", Body: "<p>\t</p>", IconHash: "-1"},
	}
	return schemas.Observation{
		ID: "i", Kind: schemas.ObservedPort, Time: began.Add(123456789), Source: "scan", Job: "j", Shard: "1", Scanner: "s", Unit: "u", Name: "n", RecordType: "A", Values: []string{"10.0.0.1", ""}, RCode: "NOERROR",
		IP: netip.MustParseAddr("2001:db8::1"), Port: 443, Transport: "tcp", Open: true, Ports: "1-3", Service: &s, Method: "connect", Via: "v", MAC: "00:00:5e:00:53:01", Doubt: "d",
	}
}

// sameAs says whether what decode reads is what encoding/json reads.
func sameAs[T any](t testing.TB, value []byte, decode func([]byte, *T) error) {
	t.Helper()
	var want, got T
	wantErr := json.Unmarshal(value, &want)
	gotErr := decode(value, &got)
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("%s: %v, want %v", value, gotErr, wantErr)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); wantErr == nil && diff != "" {
		t.Fatalf("%s (-want +got):\n%s", value, diff)
	}
}

func sameObservation(t testing.TB, value []byte) (odd bool) {
	t.Helper()
	var d decoder
	sameAs(t, value, d.decode)
	return d.odd
}

func sameAsset(t testing.TB, value []byte) (odd bool) {
	t.Helper()
	var d decoder
	sameAs(t, value, func(value []byte, a *schemas.Asset) error { return decodeBy(&d, value, a, d.asset) })
	return d.odd
}

// wholeAsset has every field set.
func wholeAsset() schemas.Asset {
	o := wholeObservation()
	return schemas.Asset{
		Key: "k", Version: 3, Kind: schemas.AssetService, Unit: "u", Name: "n", IP: o.IP, MAC: o.MAC, Port: 443, Transport: "tcp", Alive: true, Service: o.Service,
		Names: []string{"a", "b"}, Reverse: []string{"c"}, Reversed: began, Addresses: []string{"10.0.0.1"}, Records: []schemas.Record{{Type: "A", Values: []string{"10.0.0.1"}}},
		Sources: []string{"scan"}, First: began, Last: began.Add(time.Hour), Updated: began, Since: began, Partition: 2, Offset: 1 << 40,
	}
}

// What the decoder reads is what encoding/json reads, and of ours it leaves none
// but shards' to that.
func TestDecode(t *testing.T) {
	whole := wholeObservation()
	value, err := json.Marshal(&whole)
	if err != nil {
		t.Fatal(err)
	}
	if sameObservation(t, value) {
		t.Error("a whole observation is odd")
	}
	asset := wholeAsset()
	wholeAsset, err := json.Marshal(&asset)
	if err != nil {
		t.Fatal(err)
	}
	if sameAsset(t, wholeAsset) {
		t.Error("a whole asset is odd")
	}
	for _, text := range []string{`{"version":-1}`, `{"version":18446744073709551615}`, `{"records":[{"type":"A","values":null}]}`, `{"new":1}`, `{"offset":1.5}`, `{"service":{"new":1}}`} {
		if !sameAsset(t, []byte(text)) {
			t.Errorf("%s is not odd", text)
		}
	}
	for host := range 8 {
		for _, o := range foldSweep(1, host, began) {
			if sameObservation(t, observationRecord(&o).Value) {
				t.Errorf("odd: %+v", o)
			}
		}
	}
	f := func(text string) {
		t.Helper()
		if !sameObservation(t, []byte(text)) {
			t.Errorf("%s is not odd", text)
		}
	}
	for _, text := range []string{
		"", "{", "null", "[]", `"x"`, `{"id":1}`, `{"id":null}`, `{"ID":"x"}`, `{"port":1.0}`, `{"port":01}`, `{"port":1e2}`, `{"port":-0}`, `{"port":99999999999999999999}`, `{"port":"1"}`, `{"open":1}`, `{"time":"x"}`,
		`{"ip":"x"}`, `{"ip":""}x`, `{"service":{},"service":{"name":"x"}}`, `{"service":null}`, `{"service":[]}`, `{"values":null}`, `{"values":[]}`, `{"values":[1]}`, `{"new":1}`, `{"attempt":{"number":1}}`,
		"{\"id\":\"\x01\"}", "{\"id\":\"\xff\"}", `{"id":"\ud83d\ude80"}`, `{"id":"\ud83d"}`, `{"id":"\q"}`, `{"id":"\u12"}`, `{"id":"\`, `{"id":"x",}`, `{"service":{"tls":{"x":1}}}`, "{\n}", `{"port":nan}`, `{"port":+1}`,
	} {
		f(text)
	}
}

func FuzzDecode(f *testing.F) {
	whole := wholeObservation()
	value, err := json.Marshal(&whole)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	for _, o := range foldSweep(1, 4, began) {
		f.Add(observationRecord(&o).Value)
	}
	f.Add([]byte(`{"id":"\u00e9","port":10,"values":["a"],"time":"2026-11-28T08:00:00+08:00","ip":"fe80::1%eth0"}`))
	asset := wholeAsset()
	if value, err = json.Marshal(&asset); err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Fuzz(func(t *testing.T, value []byte) {
		sameObservation(t, value)
		sameAsset(t, value)
	})
}

func TestDecodeAll(t *testing.T) {
	var records []kafka.Record
	for i := range 1000 {
		o := schemas.Observation{ID: fmt.Sprint(i), Kind: schemas.ObservedHost, Time: began.Add(time.Duration(i) * time.Second)}
		records = append(records, observationRecord(&o))
	}
	records[700].Value = []byte("rubbish")
	all, errs := decodeAll(records)
	for i := range records {
		if (errs[i] != nil) != (i == 700) || i != 700 && (all[i].ID != fmt.Sprint(i) || string(all[i].Encoded) != string(records[i].Value)) {
			t.Fatalf("%d: %+v, %v", i, all[i], errs[i])
		}
	}
	if all, _ := decodeAll(nil); len(all) != 0 {
		t.Error(all)
	}
}

func BenchmarkDecode(b *testing.B) {
	var values [][]byte
	for host := range 1000 {
		for _, o := range foldSweep(1, host, began) {
			values = append(values, observationRecord(&o).Value)
		}
	}
	asset := wholeAsset()
	value, err := json.Marshal(&asset)
	if err != nil {
		b.Fatal(err)
	}
	var d decoder
	b.Run("ours", func(b *testing.B) { benchmarkDecode(b, values, d.decode) })
	b.Run("encoding/json", func(b *testing.B) { benchmarkDecode(b, values, plainly[schemas.Observation]) })
	b.Run("asset/ours", func(b *testing.B) { benchmarkDecode(b, [][]byte{value}, assetDecoder()) })
	b.Run("asset/encoding/json", func(b *testing.B) { benchmarkDecode(b, [][]byte{value}, plainly[schemas.Asset]) })
}

func plainly[T any](value []byte, out *T) error { return json.Unmarshal(value, out) }

func benchmarkDecode[T any](b *testing.B, values [][]byte, decode func([]byte, *T) error) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		var out T
		if err := decode(values[i%len(values)], &out); err != nil {
			b.Fatal(err)
		}
	}
}
