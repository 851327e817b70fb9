package identify

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"time"

	"fengsui/schemas"
)

// maxDialogue is what is read of a mail or file server before TLS.
const maxDialogue = 16 << 10

// dialogue is a protocol of lines, up to where TLS begins.
type dialogue struct {
	conn net.Conn
	in   *bufio.Reader
}

func talk(c net.Conn) *dialogue {
	return &dialogue{c, bufio.NewReader(io.LimitReader(c, maxDialogue))}
}

// say sends a line, if there is one, and reads the answer up to the line that
// last names as its last.
func (d *dialogue) say(command string, last func(line string) bool) (answer string, ok bool) {
	if command != "" {
		if _, err := io.WriteString(d.conn, command+"\r\n"); err != nil {
			return "", false
		}
	}
	var all strings.Builder
	for {
		line, err := d.in.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			return all.String(), false
		}
		if last(line) {
			return all.String(), true
		}
	}
}

// coded is the last line of an answer of SMTP or FTP: "250 ", not "250-".
func coded(line string) bool {
	return len(line) >= 4 && line[3] != '-' && line[0] >= '0' && line[0] <= '9'
}

// until is the last line that begins so, or that is a refusal.
func until(starts ...string) func(string) bool {
	return func(line string) bool {
		for _, s := range starts {
			if strings.HasPrefix(line, s) {
				return true
			}
		}
		return false
	}
}

// upgrade is how a service is asked to begin TLS. plain, if not empty, says that
// and why logins are not protected.
type upgrade func(d *dialogue) (begun bool, plain string)

var upgrades = map[string]upgrade{
	"ftp": func(d *dialogue) (bool, string) {
		if _, ok := d.say("", coded); !ok {
			return false, ""
		}
		answer, ok := d.say("AUTH TLS", coded)
		if strings.HasPrefix(answer, "234") {
			return true, ""
		}
		if ok && strings.HasPrefix(answer, "5") {
			return false, "FTP without TLS: AUTH TLS is answered by " + answer
		}
		return false, ""
	},
	"smtp": func(d *dialogue) (bool, string) {
		if _, ok := d.say("", coded); !ok {
			return false, ""
		}
		can, ok := d.say("EHLO scan.invalid", coded)
		can = strings.ToUpper(can)
		switch {
		case !ok:
			return false, ""
		case offers(can, "STARTTLS"):
			answer, _ := d.say("STARTTLS", coded)
			return strings.HasPrefix(answer, "220"), ""
		case offers(can, "AUTH"):
			return false, "SMTP offers AUTH without STARTTLS"
		}
		return false, ""
	},
	"pop3": func(d *dialogue) (bool, string) {
		if _, ok := d.say("", until("+OK", "-ERR")); !ok {
			return false, ""
		}
		can, ok := d.say("CAPA", until(".", "-ERR"))
		switch {
		case !ok:
			return false, ""
		case strings.Contains(strings.ToUpper(can), "\nSTLS"):
			answer, _ := d.say("STLS", until("+OK", "-ERR"))
			return strings.HasPrefix(answer, "+OK"), ""
		}
		return false, "POP3 without STLS"
	},
	"imap": func(d *dialogue) (bool, string) {
		if _, ok := d.say("", until("* ")); !ok {
			return false, ""
		}
		can, ok := d.say("a CAPABILITY", until("a "))
		can = " " + strings.Join(strings.Fields(strings.ToUpper(can)), " ") + " "
		switch {
		case !ok:
			return false, ""
		case strings.Contains(can, " STARTTLS "):
			answer, _ := d.say("b STARTTLS", until("b "))
			return strings.HasPrefix(answer, "b OK"), ""
		case !strings.Contains(can, " LOGINDISABLED "):
			return false, "IMAP allows LOGIN without STARTTLS"
		}
		return false, ""
	},
}

// offers looks for a word at the beginning of a line of EHLO's answer.
func offers(can, word string) bool {
	for line := range strings.Lines(can) {
		if len(line) > 4 && strings.HasPrefix(line[4:], word) {
			return true
		}
	}
	return false
}

// startTLS asks a service that begins in clear for TLS and its certificate, and
// a screen for how it lets people in.
func (t *Target) startTLS(ctx context.Context, s *schemas.Service) {
	if s.Name == "rfb" {
		t.screen(ctx, s)
		return
	}
	begin := upgrades[s.Name]
	if begin == nil {
		return
	}
	var plain string
	_, _ = t.with(ctx, 2*probeWait, func(c net.Conn) { // a connection that fails shows nothing
		var begun bool
		if begun, plain = begin(talk(c)); !begun {
			return
		}
		if inner, err := t.secure(ctx, c); err == nil {
			s.TLS = certificate(inner.ConnectionState())
		}
	})
	if plain != "" {
		add(s, schemas.ExposurePlainLogin, plain)
	}
	if s.TLS != nil {
		t.begin = begin
		t.versions(ctx, s.TLS)
	}
}

// screen reads which ways in a VNC server offers, and takes none.
func (t *Target) screen(ctx context.Context, s *schemas.Service) {
	_, _ = t.with(ctx, probeWait, func(c net.Conn) { // a connection that fails shows nothing
		greeting := make([]byte, 12)
		if _, err := io.ReadFull(c, greeting); err != nil {
			return
		}
		if _, err := io.WriteString(c, "RFB 003.008\n"); err != nil {
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(probeWait))
		var count [1]byte
		if _, err := io.ReadFull(c, count[:]); err != nil {
			return
		}
		ways := make([]byte, count[0])
		n, _ := io.ReadFull(c, ways)
		readScreen(s, ways[:n])
	})
}

// readScreen looks for RFC 6143's security type None.
func readScreen(s *schemas.Service, ways []byte) {
	for _, w := range ways {
		if w == 1 {
			add(s, schemas.ExposureNoAuth, "the security type None is offered")
		}
	}
}
