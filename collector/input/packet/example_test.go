package packet

import (
	"testing"

	"fengsui/collector/input/listen/listentest"
)

// TestExample starts what README.md shows, on a capture in the place of the mirror
// port, which needs rights that not every machine gives.
func TestExample(t *testing.T) {
	w := newWire(t)
	w.talk("10.1.0.5", "203.0.113.9:80").open().say(0, "GET / HTTP/1.1\r\nHost: www.example.edu.cn\r\n\r\n").
		say(1, "HTTP/1.1 204 No Content\r\n\r\n").close()
	cfg := listentest.Example[Config](t, "packet", "interface: eth1", "file: "+w.file())
	live := listentest.Example[Config](t, "packet")
	if live.Interface != "eth1" || live.File != "" {
		t.Errorf("the example reads %q and %q", live.Interface, live.File)
	}
	s, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	var sink collect
	if err := s.Run(t.Context(), &sink); err != nil {
		t.Fatal(err)
	}
	records := decodeAll(t, sink.all())
	if got := texts(of(records, "http"), "host"); len(got) != 1 || got[0] != "www.example.edu.cn" || len(of(records, "conn")) != 1 {
		t.Errorf("%v", records)
	}
}
