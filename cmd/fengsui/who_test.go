package main

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"fengsui/schemas"
)

// TestWho: logs of DHCP, a portal and address translation come in, and alerts
// name the machine and the account behind their addresses, through a translation
// too; a lease that is told late is named all the same, and another unit's use of
// the same address never is.
func TestWho(t *testing.T) {
	s := newSystem(t, loopback+`
collector:
  inputs:
    - {name: shared, type: syslog, syslog: {tcp: "127.0.0.1:0"}}
    - {name: own, unit: "10001", type: syslog, syslog: {tcp: "127.0.0.1:0"}}
    - {name: other, unit: "10002", type: syslog, syslog: {tcp: "127.0.0.1:0"}}
analyzer: {timezone: UTC}
`)
	s.start()
	registered(s)
	now := time.Now().UTC()
	// A device is an address of its own: its format is found out once.
	tell := func(input, device string, lines ...string) {
		t.Helper()
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(device)}}
		conn, err := from.Dial("tcp", s.input(input, "tcp"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintln(conn, strings.Join(lines, "\n")); err != nil {
			t.Fatal(err)
		}
	}
	ago := func(minutes int) time.Time { return now.Add(time.Duration(-minutes) * time.Minute) }
	lease := func(minutes int, ip, mac string) string {
		return fmt.Sprintf("<189>%s SW-DHCP %%%%10DHCPS/5/DHCPS_ALLOCATE_IP: DHCP server information: Server IP = 10.1.0.1, DHCP client IP = %s, DHCP client hardware address = %s, DHCP client lease = 86400.",
			ago(minutes).Format("Jan _2 15:04:05 2006"), ip, mac)
	}
	portal := func(minutes int, user, ip, mac string) string {
		return fmt.Sprintf("<190>%s WX5540-LIB %%%%10PORTAL/6/PORTAL_USER_LOGON_SUCCESS: -UserName=%s-IPAddr=%s-IfName=Vlan-interface21-VlanID=21-MACAddr=%s:User got online successfully.",
			ago(minutes).Format("Jan _2 15:04:05 2006"), user, ip, mac)
	}
	guesses := func(from string, port int) (lines []string) {
		for i := range 50 {
			lines = append(lines, fmt.Sprintf("<38>1 %s web1 sshd 7 - - Failed password for invalid user oracle from %s port %d ssh2",
				now.Add(time.Duration(i-60)*time.Second/2).Format(time.RFC3339Nano), from, port))
		}
		return lines
	}
	// who waits until the one alert about an address names an account.
	who := func(address, user string) (alert schemas.Alert) {
		t.Helper()
		s.eventually(30*time.Second, "the alert about "+address+" names "+user, func() error {
			all, err := tryFind[schemas.Alert](s, "alerts", "")
			if err != nil {
				return err
			}
			all = slices.DeleteFunc(all, func(a schemas.Alert) bool {
				return !slices.Contains(a.Group, schemas.GroupValue{Field: "source.ip", Value: address})
			})
			if len(all) != 1 || user != "" && !slices.ContainsFunc(all[0].Who, func(w schemas.Identity) bool { return w.User == user }) {
				return fmt.Errorf("%+v", all)
			}
			alert = all[0]
			return nil
		})
		return alert
	}
	named := func(alert schemas.Alert, mac, user string) {
		t.Helper()
		machine := false
		for _, w := range alert.Who {
			machine = machine || w.MAC == mac
			if w.Unit != "10001" || w.MAC != "" && w.MAC != mac || w.User != "" && w.User != user || w.EventID == "" {
				t.Errorf("the alert about %v names somebody else: %+v", alert.Group, w)
			}
		}
		if !machine {
			t.Errorf("the alert about %v does not name %s: %+v", alert.Group, mac, alert.Who)
		}
	}

	tell("own", "127.0.0.2", lease(60, "10.1.2.3", "0000-5e00-5301"), lease(30, "10.1.2.3", "0000-5e00-5317"))
	tell("own", "127.0.0.3", portal(29, "20260101", "10.1.2.3", "0000-5e00-5317"))
	tell("own", "127.0.0.4", fmt.Sprintf("<166>%s asa1 : %%ASA-6-305011: Built dynamic TCP translation from inside:10.1.2.3/50123 to outside:198.51.100.1/40001",
		ago(1).Format("Jan _2 2006 15:04:05")))
	tell("other", "127.0.0.5", lease(2, "10.1.2.3", "0000-5e00-5399"), portal(2, "stranger", "10.1.2.3", "0000-5e00-5399"))

	tell("own", "127.0.0.6", guesses("198.51.100.1", 40001)...)
	alert := who("198.51.100.1", "20260101")
	named(alert, "00:00:5e:00:53:17", "20260101")
	if first := alert.Who[0]; first.Kind != schemas.IdentityNAT || first.Inside != "10.1.2.3" || first.Port != 40001 || first.Role != "source" {
		t.Errorf("the translation comes first: %+v", first)
	}

	tell("own", "127.0.0.6", guesses("10.1.2.9", 50500)...)
	before := who("10.1.2.9", "")
	tell("own", "127.0.0.2", lease(20, "10.1.2.9", "0000-5e00-5309"))
	tell("own", "127.0.0.3", portal(19, "20260909", "10.1.2.9", "0000-5e00-5309"))
	late := who("10.1.2.9", "20260909")
	named(late, "00:00:5e:00:53:09", "20260909")
	if late.ID != before.ID || late.Version <= before.Version || late.Count != 50 {
		t.Errorf("naming somebody made another alert of %+v: %+v", before, late)
	}

	ask := func(want []string, args ...string) {
		t.Helper()
		var got []string
		for line := range strings.Lines(s.run(append([]string{"who", "--json", "--at", now.Format(time.RFC3339)}, args...)...)) {
			var w schemas.Identity
			if err := json.Unmarshal([]byte(line), &w); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			got = append(got, string(w.Kind)+" "+w.Unit+" "+w.MAC+w.User)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("who %v: %q, want %q", args, got, want)
		}
	}
	one := []string{"lease 10001 00:00:5e:00:53:17", "login 10001 00:00:5e:00:53:1720260101"}
	ask(one, "10.1.2.3", "--unit", "10001")
	ask([]string{one[0], "lease 10002 00:00:5e:00:53:99", one[1], "login 10002 00:00:5e:00:53:99stranger"}, "10.1.2.3")
	ask(append(slices.Clone(one), "nat 10001 "), "198.51.100.1", "--port", "40001", "--protocol", "tcp")
	ask(nil, "198.51.100.1", "--port", "40002")
	if text := s.run("alerts", "status = open"); !strings.Contains(text, "20260101 00:00:5e:00:53:17") {
		t.Errorf("the list of alerts names nobody:\n%s", text)
	}
	s.stop()
}
