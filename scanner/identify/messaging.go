package identify

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"regexp"
	"strings"

	"fengsui/schemas"
)

// tryAMQP opens AMQP 0-9-1 and reads what the broker says of itself before any
// login.
func tryAMQP(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) { s = askAMQP(c) })
	return s, silent, err
}

func askAMQP(c net.Conn) *schemas.Service {
	return readAMQP(exchange(c, []byte("AMQP\x00\x00\x09\x01"), func(b []byte) bool {
		return len(b) >= 8 && (b[0] == 'A' || len(b) >= 8+int(binary.BigEndian.Uint32(b[3:])))
	}))
}

// readAMQP reads Connection.Start, or the header by which another version is
// asked for.
func readAMQP(b []byte) *schemas.Service {
	switch {
	case len(b) >= 8 && string(b[:4]) == "AMQP":
		return &schemas.Service{Name: "amqp"}
	case len(b) < 17 || b[0] != 1 || !bytes.Equal(b[7:11], []byte{0, 10, 0, 10}):
		return nil
	}
	s := &schemas.Service{Name: "amqp"}
	s.Product, s.Version = amqpText(b[13:], "product"), amqpText(b[13:], "version")
	return s
}

// amqpText is a long string of a table, by its name.
func amqpText(table []byte, name string) string {
	_, rest, found := bytes.Cut(table, append([]byte{byte(len(name))}, name+"S"...))
	if !found || len(rest) < 4 {
		return ""
	}
	n := binary.BigEndian.Uint32(rest)
	if n > maxBanner || int(n) > len(rest)-4 {
		return ""
	}
	return Printable(rest[4 : 4+n])
}

// tryMQTT connects without a name or password, and where that is let in asks the
// broker for its own version, which is about it and nobody else.
func tryMQTT(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) { s = askMQTT(c) })
	return s, silent, err
}

const mqttTopic = "$SYS/broker/version"

func askMQTT(c net.Conn) *schemas.Service {
	s := readMQTT(exchange(c, []byte("\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00"), func(b []byte) bool { return len(b) >= 4 }))
	if s == nil || len(s.Exposures) == 0 {
		return s
	}
	subscribe := "\x00\x01\x00" + string(rune(len(mqttTopic))) + mqttTopic + "\x00"
	got := exchange(c, append([]byte{0x82, byte(len(subscribe))}, subscribe...), func(b []byte) bool {
		return mqttVersion.Match(b) && bytes.HasSuffix(b, mqttVersion.FindSubmatch(b)[0])
	})
	readMQTTVersion(s, got)
	_, _ = c.Write([]byte{0xe0, 0}) // DISCONNECT; it is over anyway
	return s
}

// readMQTT reads CONNACK.
func readMQTT(b []byte) *schemas.Service {
	if len(b) < 4 || b[0] != 0x20 || b[1] != 2 || b[2] > 1 || b[3] > 5 {
		return nil
	}
	s := &schemas.Service{Name: "mqtt"}
	if b[3] == 0 {
		add(s, schemas.ExposureNoAuth, "CONNECT is accepted without a name and a password")
	}
	return s
}

var mqttVersion = regexp.MustCompile(regexp.QuoteMeta(mqttTopic) + `([A-Za-z][\w-]{1,20}) version (\d[\w.-]{0,20})`)

func readMQTTVersion(s *schemas.Service, b []byte) {
	if m := mqttVersion.FindSubmatch(b); m != nil {
		s.Product, s.Version = string(m[1]), string(m[2])
	}
}

var zooKeeperVersion = regexp.MustCompile(`^Zookeeper version: (\d[\w.]{0,20})`)

// tryZooKeeper sends "srvr", which tells of the server and not of what it keeps.
func tryZooKeeper(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		s = readZooKeeper(exchange(c, []byte("srvr"), func(b []byte) bool { return bytes.Contains(b, []byte("\nNode count:")) }))
	})
	return s, silent, err
}

func readZooKeeper(b []byte) *schemas.Service {
	s := &schemas.Service{Name: "zookeeper", Product: "ZooKeeper", Banner: Printable(b)}
	switch m := zooKeeperVersion.FindSubmatch(b); {
	case m != nil:
		s.Version = string(m[1])
		add(s, schemas.ExposureNoAuth, "srvr is answered without authentication: ZooKeeper "+s.Version)
	case bytes.HasPrefix(b, []byte("srvr is not executed because it is not in the whitelist")):
	case bytes.HasPrefix(b, []byte("This ZooKeeper instance is not currently serving requests")):
	default:
		return nil
	}
	return s
}

// tryAJP sends CPing, by which a web server asks whether Tomcat is there.
func tryAJP(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		got := exchange(c, []byte{0x12, 0x34, 0, 1, 10}, func(b []byte) bool { return len(b) >= 5 })
		if bytes.HasPrefix(got, []byte{'A', 'B', 0, 1, 9}) {
			s = &schemas.Service{Name: "ajp13"}
		}
	})
	return s, silent, err
}

// tryX11 opens a display without a key, and leaves.
func tryX11(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		s = readX11(exchange(c, []byte("l\x00\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00"), func(b []byte) bool {
			return len(b) >= 8 && len(b) >= 8+4*int(binary.LittleEndian.Uint16(b[6:]))
		}))
	})
	return s, silent, err
}

// readX11 reads the setup's answer. A display that refuses says why; one that
// does not lets anybody see and type.
func readX11(b []byte) *schemas.Service {
	if len(b) < 8 || binary.LittleEndian.Uint16(b[2:]) != 11 {
		return nil
	}
	s := &schemas.Service{Name: "x11"}
	switch b[0] {
	case 0:
		s.Banner = Printable(b[8:min(len(b), 8+int(b[1]))])
	case 1:
		if len(b) < 40 {
			return nil
		}
		if n := int(binary.LittleEndian.Uint16(b[24:])); len(b) >= 40+n {
			s.Banner = Printable(b[40 : 40+n])
			s.Product, _, _ = strings.Cut(s.Banner, ",")
		}
		add(s, schemas.ExposureNoAuth, "the display is opened without a key")
	default:
		return nil
	}
	return s
}
