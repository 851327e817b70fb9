package mask

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"fengsui/internal/testkit/race"
	"fengsui/schemas"
)

// all finds every class, and does one thing with it.
func all(do Action) Config {
	c := DefaultConfig()
	for _, r := range []*Rule{&c.ID, &c.Student, &c.Phone, &c.Name, &c.Passport, &c.BankCard, &c.Email} {
		r.Do = do
	}
	return c
}

func newKey(t testing.TB, seed byte) *Key {
	t.Helper()
	k, err := ParseKey(keyPrefix + strings.Repeat(string("0123456789abcdef"[seed]), 64))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newMasker(t testing.TB, c Config, names ...string) *Masker {
	t.Helper()
	m, err := New(c, newKey(t, 1), names)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sample is a line of the corpus: the text, and what must be found in it.
type sample struct {
	text string
	want []string // class|value
}

func corpus(t testing.TB) (out []sample) {
	t.Helper()
	raw, err := os.ReadFile("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		var s sample
		for {
			before, rest, ok := strings.Cut(line, "«")
			s.text += before
			if !ok {
				break
			}
			mark, after, ok := strings.Cut(rest, "»")
			if !ok {
				t.Fatalf("a mark without end: %s", line)
			}
			_, value, _ := strings.Cut(mark, "|")
			s.text, s.want, line = s.text+value, append(s.want, mark), after
		}
		out = append(out, s)
	}
	return out
}

func marks(text string, found []Found) (out []string) {
	for _, f := range found {
		out = append(out, f.Class.String()+"|"+text[f.From:f.To])
	}
	return out
}

// TestCorpus: all that is marked is found, and nothing else: precision and recall
// are 1 in every class.
func TestCorpus(t *testing.T) {
	m := newMasker(t, all(Hide))
	found := map[string]int{}
	for _, s := range corpus(t) {
		got := marks(s.text, m.Find(nil, s.text))
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("%s\n(-want +got)\n%s", s.text, diff)
		}
		for _, w := range s.want {
			class, _, _ := strings.Cut(w, "|")
			found[class]++
		}
	}
	for _, c := range classNames {
		if found[c] < 3 && c != "passport" && c != "email" {
			t.Errorf("the corpus has %d of class %s", found[c], c)
		}
	}
	t.Log(found)
}

// TestMasked: what the default leaves of each class.
func TestMasked(t *testing.T) {
	f := func(c Config, text, want string) {
		t.Helper()
		if got := newMasker(t, c).Text(text); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
	d := DefaultConfig()
	f(d, "身份证 410105203503071016 手机 138-0000-0000 号", "身份证 410105********1016 手机 138-****-0000 号")
	f(d, "G410105203503071016", "G410105********1016")
	f(d, "姓名：张三，班级：二班", "姓名：**，班级：二班")
	f(d, "<xm>张三</xm><学生姓名>李四</学生姓名>", "<xm>**</xm><学生姓名>**</学生姓名>")
	for _, key := range []string{
		"身份证号=", "idNumber=", `"cardId":"`, "identityNo: ", "%E8%BA%AB%E4%BB%BD%E8%AF%81%E5%8F%B7%E7%A0%81=", "%e8%af%81%e4%bb%b6%e5%8f%b7%3d", `"\u8eab\u4efd\u8bc1\u53f7":"`, `"\u8EAB\u4EFD\u8BC1":"`,
	} {
		f(d, key+"410105900307123", key+"410105*****7123")
	}
	f(d, "imei=410105900307123", "imei=410105900307123") // nothing says that it is one
	f(d, `{"phone":13800000000,"s":"tel:13900000000,x","l":[13700000000]}`, `{"phone":"138****0000","s":"tel:139****0000,x","l":["137****0000"]}`)
	f(d, "card 6222020000000000000 a@example.com E12345678", "card 6222020000000000000 a@example.com E12345678") // off
	c := all(Hide)
	c.Name.KeepFirst = 1
	c.ID.KeepFirst, c.ID.KeepLast, c.Phone.KeepFirst, c.Phone.KeepLast = 0, 0, 0, 0
	f(c, "xm=张三&sfz=410105203503071016&t=13800000000", "xm=张**&sfz=******************&t=***********")
	f(c, "to zhang@example.com", "to z***@example.com")
	f(c, "护照 E12345678; passport=E12345678", "护照 E12345678; passport=E******78")
	c.Phone.Do = Off
	f(c, "13800000000", "13800000000")
}

// TestJSONStaysJSON: a record that was JSON is JSON after.
func TestJSONStaysJSON(t *testing.T) {
	for _, do := range []Action{Hide, Reverse} {
		m := newMasker(t, all(do))
		for _, text := range []string{
			`{"a":13800000000}`, `{"a": [ 13800000000 , 13900000000 ]}`, `[410105203503071016]`, `{"13800000000":"x\"13800000000\",1"}`,
			`{"a":"\\","b":13800000000}`, `{"xm":"\u5f20\u4e09"}`,
		} {
			if got := m.Text(text); !json.Valid([]byte(got)) || got == text {
				t.Errorf("%s\nbecomes %s", text, got)
			}
		}
	}
}

// TestTokens: equal values have equal tokens under one key and class, the key
// opens them, and nothing else does.
func TestTokens(t *testing.T) {
	c := all(Reverse)
	m := newMasker(t, c)
	text := "姓名：张三 13800000000 tel:13800000000 410105203503071016 a@example.com"
	masked := m.Text(text)
	tokens := tokensIn(masked)
	if len(tokens) != 5 || tokens[1].Class != Phone || masked[tokens[1].From:tokens[1].To] != masked[tokens[2].From:tokens[2].To] {
		t.Fatalf("%s: %v", masked, tokens)
	}
	if strings.ContainsFunc(masked[tokens[0].From:tokens[0].To], func(r rune) bool { return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }) {
		t.Errorf("%s", masked)
	}
	ring := NewKeyring(newKey(t, 1), newKey(t, 2))
	if got, opened, left := ring.OpenText(masked); got != text || opened != 5 || left != 0 {
		t.Errorf("opened %d, left %d: %s", opened, left, got)
	}
	if got, opened, left := NewKeyring(newKey(t, 2)).OpenText(masked); got != masked || opened != 0 || left != 5 {
		t.Errorf("another key opened %d, left %d: %s", opened, left, got)
	}
	other, err := New(c, newKey(t, 2), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, opened, _ := ring.OpenText(other.Text(text) + masked); got != text+text || opened != 10 {
		t.Errorf("two keys: opened %d: %s", opened, got)
	}
	f := func(token string, want error) {
		t.Helper()
		if _, _, err := ring.Open(token); err == nil || !strings.Contains(err.Error(), want.Error()) {
			t.Errorf("%s: %v, want %v", token, err, want)
		}
	}
	phone := masked[tokens[1].From:tokens[1].To]
	f("", ErrNoToken)
	f("masked-phone-", ErrNoToken)
	f(phone[:len(phone)-1], ErrNoToken)
	f(phone+"a", ErrNoToken)
	f(strings.Replace(phone, "phone", "bank", 1), ErrForged) // another class
	for i := len("masked-phone-") + 9; i < len(phone)-1; i++ {
		b := []byte(phone)
		b[i] = 'a' + (b[i]-'a'+1)%16
		if _, _, err := ring.Open(string(b)); err == nil {
			t.Errorf("opened with character %d changed", i)
		}
	}
	if _, err := New(c, nil, nil); err == nil {
		t.Error("tokens without a key")
	}
}

// TestTokenIsFixed: tokens of this version stay what they are, for who has stored
// them.
func TestTokenIsFixed(t *testing.T) {
	const want = "masked-phone-booktcehukjepwrpxlyubguobpsu6ye7xwqblgazerv5lfsu6wsa"
	if got := string(newKey(t, 1).seal(nil, Phone, "13800000000")); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestKeys(t *testing.T) {
	a, b := NewKeyText(), NewKeyText()
	if a == b {
		t.Error("two keys are one")
	}
	k, err := ParseKey(a)
	if err != nil {
		t.Fatal(err)
	}
	if secret := strings.TrimSpace(strings.TrimPrefix(a, keyPrefix)); strings.Contains(k.String(), secret[:8]) || k.String() != "mask key "+k.ID() {
		t.Errorf("%s of %s", k, a)
	}
	for _, text := range []string{"", "x", keyPrefix, keyPrefix + "12", strings.Replace(a, "1 ", "2 ", 1), a + a, keyPrefix + strings.Repeat("0", 63) + "g"} {
		if _, err := ParseKey(text); err == nil || len(text) > 30 && strings.Contains(err.Error(), text[20:30]) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestListedNames: names of the list in any text, in any spelling, whole.
func TestListedNames(t *testing.T) {
	m := newMasker(t, DefaultConfig(), "张三丰", "张三", "欧阳小明", "Li Lei", "Abdul")
	f := func(text string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, marks(text, m.Find(nil, text))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", text, diff)
		}
	}
	f("今天张三丰和张三、欧阳小明迟到", "name|张三丰", "name|张三", "name|欧阳小明")
	f("GET /%E5%BC%A0%E4%B8%89.jpg /%e5%bc%a0%e4%b8%89", "name|%E5%BC%A0%E4%B8%89", "name|%e5%bc%a0%e4%b8%89")
	f(`{"t":"\u5f20\u4e09 \u5F20\u4E09"}`, `name|\u5f20\u4e09`, `name|\u5F20\u4E09`)
	f("Li Lei met Abdul, not Abdullah or XAbdul", "name|Li Lei", "name|Abdul")
	f("张 三")
	for _, names := range [][]string{{"张"}, {"ab"}, {strings.Repeat("长", 21)}, {"\xff\xfe\xfd"}, {""}} {
		if _, err := New(DefaultConfig(), nil, names); err == nil {
			t.Errorf("%q is taken", names)
		}
	}
}

func TestConfig(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil || DefaultConfig().NeedsKey() {
		t.Error(err)
	}
	f("phone.do", func(c *Config) { c.Phone.Do = "hash" })
	f("phone keeps", func(c *Config) { c.Phone.KeepFirst = 8 })
	f("id keeps", func(c *Config) { c.ID.KeepFirst, c.ID.KeepLast = 8, 4 })
	f("name keeps", func(c *Config) { c.Name.KeepLast = 1 })
	f("is no key", func(c *Config) { c.NameKeys = []string{"a=b"} })
	f("is no key", func(c *Config) { c.NameKeys = []string{"x"} })
	f("name_keys", func(c *Config) { c.NameKeys = make([]string, 300) })
}

// TestNothingFoundCostsNothing: no allocation, and the text itself.
func TestNothingFoundCostsNothing(t *testing.T) {
	m := newMasker(t, DefaultConfig())
	for _, text := range benchLines {
		if n := testing.AllocsPerRun(100, func() { m.Text(text) }); n != 0 {
			t.Errorf("%v allocations: %.60s", n, text)
		}
	}
}

var (
	hiding  = sync.OnceValue(func() *Masker { return mustMasker(all(Hide)) })
	sealing = sync.OnceValue(func() *Masker { return mustMasker(all(Reverse)) })
)

func mustMasker(c Config) *Masker {
	key, err := ParseKey(keyPrefix + strings.Repeat("1", 64))
	if err != nil {
		panic(err)
	}
	m, err := New(c, key, []string{"张三丰"})
	if err != nil {
		panic(err)
	}
	return m
}

// check is what must hold for every text.
func check(t *testing.T, text string) {
	t.Helper()
	hide, seal := hiding(), sealing()
	for _, m := range []*Masker{hide, seal} {
		masked := m.Text(text)
		if again := m.Text(masked); again != masked {
			t.Fatalf("masked twice\nof    %q\nonce  %q\ntwice %q", text, masked, again)
		}
		if left := m.Find(nil, masked); len(left) > 0 && m == seal {
			t.Fatalf("%q still holds %q", masked, marks(masked, left))
		}
		for _, f := range m.Find(nil, masked) {
			if f.Class != Name && f.Class != Passport {
				t.Fatalf("%q still holds %q", masked, marks(masked, []Found{f}))
			}
		}
		if len(masked) > 20*len(text)+64 {
			t.Fatalf("%d bytes became %d", len(text), len(masked))
		}
		if utf8.ValidString(text) && !utf8.ValidString(masked) {
			t.Fatalf("%q is not UTF-8 any more: %q", text, masked)
		}
		if json.Valid([]byte(text)) && !json.Valid([]byte(masked)) && strings.IndexByte("{[", text[0]) >= 0 {
			t.Fatalf("%q is not JSON any more: %q", text, masked)
		}
	}
	if strings.Contains(text, tokenPrefix) || strings.IndexByte("{[", (text + " ")[0]) >= 0 { // what was quoted stays quoted
		return
	}
	if strings.Count(seal.Text(text), "*") > strings.Count(text, "*") { // too long for a token
		return
	}
	if opened, _, left := NewKeyring(newKey(t, 1)).OpenText(seal.Text(text)); opened != text || left != 0 {
		t.Fatalf("%q opens as %q, %d left", text, opened, left)
	}
}

func FuzzText(f *testing.F) {
	for _, s := range corpus(f) {
		f.Add(s.text)
	}
	key := newKey(f, 1)
	f.Add("xm=" + string(key.seal(nil, Name, "张三")) + "x 13800000000")
	f.Add("masked-phone-aaaa13800000000")
	f.Fuzz(func(t *testing.T, text string) { check(t, text) })
}

// TestWholeCorpusIsStable runs the properties on pairs of lines too, which stand
// beside one another in each way.
func TestWholeCorpusIsStable(t *testing.T) {
	race.SkipPure(t)
	lines := corpus(t)
	for i, s := range lines {
		check(t, s.text)
		check(t, s.text+" "+lines[(i*7+3)%len(lines)].text)
		check(t, s.text+lines[(i*5+1)%len(lines)].text)
	}
	check(t, strings.Repeat("13800000000 ", 1000))
	check(t, strings.Repeat("1", 100_000))
	check(t, strings.Repeat("姓名：", 1000))
	check(t, strings.Repeat("xm=", 1000))
	check(t, strings.Repeat("%1", 1000)+"3800000000")
}

// TestHostile: a long line costs what it is long, whatever it holds.
func TestHostile(t *testing.T) {
	race.SkipPure(t)
	m := newMasker(t, all(Hide), "张三丰")
	token := string(newKey(t, 1).seal(nil, Phone, "13800000000"))
	for _, piece := range []string{token + " 13800000000 ", "xm='", "a@", "1 ", "%1", "姓名：张", "13800000000,", `{"`, "138 0000 ", "masked-", "身份证410105350307101 "} {
		begin := time.Now()
		m.Text(strings.Repeat(piece, (1<<18)/len(piece)))
		if took := time.Since(begin); took > 5*time.Second { // some 10 ms
			t.Errorf("256 KiB of %q took %v", piece, took)
		}
	}
}

// benchLines are ordinary lines without personal data: sshd's, nginx's, and an
// event of 740 bytes as Suricata writes it.
var benchLines = []string{
	"Nov 22 10:15:32 gw sshd[18733]: Failed password for invalid user admin from 203.0.113.77 port 52144 ssh2",
	`203.0.113.77 - - [22/Nov/2026:10:15:32 +0800] "GET /portal/index.php?page=news&id=4711 HTTP/1.1" 200 18733 "https://www.example.edu.cn/" "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"`,
	`{"timestamp":"2026-11-22T10:15:32.123456+0800","flow_id":1380000000012345,"in_iface":"eth0","event_type":"alert","src_ip":"203.0.113.77","src_port":52144,"dest_ip":"10.1.2.3","dest_port":443,"proto":"TCP","alert":{"action":"allowed","gid":1,"signature_id":2024897,"rev":3,"signature":"ET POLICY Observed DNS query to a mining pool","category":"Potential Corporate Privacy Violation","severity":1},"http":{"hostname":"www.example.edu.cn","url":"/portal/index.php","http_user_agent":"Mozilla/5.0 (X11; Linux x86_64)","http_method":"GET","protocol":"HTTP/1.1","status":200,"length":18733},"app_proto":"http","flow":{"pkts_toserver":12,"pkts_toclient":14,"bytes_toserver":1873,"bytes_toclient":18733,"start":"2026-11-22T10:15:31.000001+0800"},"host":"sensor-01.example.edu.cn"}`,
}

func BenchmarkText(b *testing.B) {
	m := newMasker(b, DefaultConfig())
	for i, name := range []string{"sshd", "nginx", "json"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			cpu := cpuTime(b)
			for b.Loop() {
				m.Text(benchLines[i])
			}
			perLine(b, cpu)
		})
	}
	for _, do := range []Action{Hide, Reverse} {
		m := newMasker(b, all(do))
		b.Run("found/"+string(do), func(b *testing.B) {
			b.ReportAllocs()
			cpu := cpuTime(b)
			defer func() { perLine(b, cpu) }()
			for b.Loop() {
				m.Text("GET /login?mobile=13800000000&sfz=410105203503071016 HTTP/1.1")
			}
		})
	}
	listed := newMasker(b, DefaultConfig(), slices.Collect(func(yield func(string) bool) {
		for i := range 20_000 {
			if !yield(string([]rune{rune(0x4e00 + i%300), rune(0x5000 + i/300)})) {
				return
			}
		}
	})...)
	chinese := string(bytes.Repeat([]byte("系统公告：明天上午九点在报告厅举行开学典礼，请各班准时参加。"), 4))
	b.Run("listed/json", func(b *testing.B) {
		cpu := cpuTime(b)
		for b.Loop() {
			listed.Text(benchLines[2])
		}
		perLine(b, cpu)
	})
	b.Run("listed/chinese", func(b *testing.B) {
		cpu := cpuTime(b)
		for b.Loop() {
			listed.Text(chinese)
		}
		perLine(b, cpu)
	})
	b.Run("event", func(b *testing.B) {
		var ev schemas.Event
		fillEvent(&ev)
		scope := m0(b).NewScope()
		b.ReportAllocs()
		cpu := cpuTime(b)
		for b.Loop() {
			scope.Begin(&ev)
			scope.Event(&ev)
		}
		perLine(b, cpu)
	})
}

func m0(b *testing.B) *Masker { return newMasker(b, DefaultConfig()) }

// fillEvent is an event of 20 fields, as the JSON line gives them.
func fillEvent(ev *schemas.Event) {
	ev.Original = benchLines[2]
	for id, v := range map[schemas.FieldID]string{
		schemas.FieldSourceIP: "203.0.113.77", schemas.FieldDestinationIP: "10.1.2.3", schemas.FieldEventDataset: "suricata.alert",
		schemas.FieldEventAction: "allowed", schemas.FieldRuleName: "ET POLICY Observed DNS query to a mining pool",
		schemas.FieldRuleCategory: "Potential Corporate Privacy Violation", schemas.FieldURLOriginal: "/portal/index.php",
		schemas.FieldUserAgentOriginal: "Mozilla/5.0 (X11; Linux x86_64)", schemas.FieldHTTPRequestMethod: "GET",
		schemas.FieldNetworkProtocol: "http", schemas.FieldHostName: "sensor-01.example.edu.cn", schemas.FieldMessage: "ET POLICY Observed DNS query",
	} {
		ev.SetString(id, v)
	}
	for _, name := range []string{"labels.in_iface", "labels.flow", "labels.app_proto", "labels.gid", "labels.rev"} {
		ev.SetOpen(name, schemas.String("value of it"))
	}
	ev.SetInt(schemas.FieldSourcePort, 52144)
	ev.SetInt(schemas.FieldDestinationPort, 443)
	ev.SetOpen("labels.flow_id", schemas.Int(1380000000012345))
}

// cpuTime is what this thread has used: on a machine that others use as well it
// says more than the clock.
func cpuTime(b *testing.B) time.Duration {
	runtime.LockOSThread()
	const thisThread = 1 // RUSAGE_THREAD, which syscall does not name
	var u syscall.Rusage
	if err := syscall.Getrusage(thisThread, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perLine(b *testing.B, before time.Duration) {
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}
