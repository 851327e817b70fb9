package parse

import (
	"strings"
	"testing"

	"fengsui/schemas"
)

// TestDialects reads what calls itself syslog: each line and the time, host,
// program, process, code and message that are in it. Without a time of its own
// an event has that of its receipt, here "-"; without a host, its sender, here "-".
func TestDialects(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		ev, err := parsed("syslog", line)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			return
		}
		at := ev.Time().In(china).Format("2006-01-02T15:04:05.999")
		if ev.Time().Equal(received) {
			at = "-"
		}
		host := ev.Str(schemas.FieldHostName)
		if host == "192.0.2.250" {
			host = "-"
		}
		text := func(id schemas.FieldID) string {
			if s := ev.Get(id).Text(); s != "" {
				return s
			}
			return "-"
		}
		got := strings.Join([]string{
			at, host, text(schemas.FieldLogSyslogAppname), text(schemas.FieldLogSyslogProcid), text(schemas.FieldLogSyslogMsgid), ev.Str(schemas.FieldMessage),
		}, " | ")
		if got != want {
			t.Errorf("%q\n got %s\nwant %s", line, got, want)
		}
	}
	// RFC 3164 and BSD's.
	f("<13>Dec 10 12:00:00 host1 app[7]: m", "2026-12-10T12:00:00 | host1 | app | 7 | - | m")
	f("<13>Dec  9 12:00:00 host1.example.edu.cn app: m", "2026-12-09T12:00:00 | host1.example.edu.cn | app | - | - | m")
	f("<13>Dec 9 12:00:00 host1 app: m", "2026-12-09T12:00:00 | host1 | app | - | - | m")
	f("<13>Dec 09 12:00:00 host1 app: m", "2026-12-09T12:00:00 | host1 | app | - | - | m")
	f("<13>Dec 10 12:00:00 192.0.2.7 app: m", "2026-12-10T12:00:00 | 192.0.2.7 | app | - | - | m")
	f("<13>Dec 10 12:00:00 2001:db8::7 app: m", "2026-12-10T12:00:00 | 2001:db8::7 | app | - | - | m")
	f("<189> 226:Mar 5 02:09:10 sw-1 %SYS-5-CONFIG_I: m", "2026-03-05T02:09:10 | sw-1 | SYS | - | SYS-5-CONFIG_I | m") // Ruijie
	f("<189>123: sw1: 000045: Dec 10 12:00:00.123 Beijing: %SYS-5-CONFIG_I: m", "2026-12-10T12:00:00.123 | sw1 | SYS | - | SYS-5-CONFIG_I | m")
	f("<189>Dec 10 12:00:00.123 BEIJING: %SYS-5-CONFIG_I: m", "2026-12-10T12:00:00.123 | - | SYS | - | SYS-5-CONFIG_I | m")
	f("<189>Dec 10 12:00:00 sw-1: %SYS-5-CONFIG_I: m", "2026-12-10T12:00:00 | sw-1 | SYS | - | SYS-5-CONFIG_I | m")
	f("<13>Dec 10 12:00:00 fe80::1%eth0 app: m", "2026-12-10T12:00:00 | fe80::1%eth0 | app | - | - | m")
	f("<13>Dec 10 12:00:00 [2001:db8::7] app: m", "2026-12-10T12:00:00 | 2001:db8::7 | app | - | - | m")
	f("<13>Dec 10 12:00:00 app[7]: no host", "2026-12-10T12:00:00 | - | app | 7 | - | no host")
	f("<13>Dec 10 12:00:00 app: no host", "2026-12-10T12:00:00 | - | app | - | - | no host")
	f("<13>Dec 10 12:00:00 host1 app:no space", "2026-12-10T12:00:00 | host1 | app | - | - | no space")
	f("<13>Dec 10 12:00:00 host1 app[7] no colon", "2026-12-10T12:00:00 | host1 | app | 7 | - | no colon")
	f("<13>Dec 10 12:00:00 host1 /usr/sbin/sshd[7]: m", "2026-12-10T12:00:00 | host1 | /usr/sbin/sshd | 7 | - | m")
	f(`<13>Dec 10 12:00:00 host1 C:\Tools\agent.exe[7]: m`, `2026-12-10T12:00:00 | host1 | - | - | - | C:\Tools\agent.exe[7]: m`)
	f("<13>Dec 10 12:00:00 host1 postfix/smtpd[7]: m", "2026-12-10T12:00:00 | host1 | postfix/smtpd | 7 | - | m")
	f("<13>Dec 10 12:00:00 host1 sshd(pam_unix)[7]: m", "2026-12-10T12:00:00 | host1 | sshd(pam_unix) | 7 | - | m")
	f("<13>Dec 10 12:00:00 host1 systemd-logind[7]: m", "2026-12-10T12:00:00 | host1 | systemd-logind | 7 | - | m")
	f("<13>Dec 10 12:00:00 host1 getty@tty1[7]: m", "2026-12-10T12:00:00 | host1 | getty@tty1 | 7 | - | m")
	f("<13>Dec 10 12:00:00 host1 network agent: two words are no tag", "2026-12-10T12:00:00 | host1 | - | - | - | network agent: two words are no tag")
	f("<13>Dec 10 12:00:00 host1 -- MARK --", "2026-12-10T12:00:00 | host1 | - | - | - | -- MARK --")
	f("<13>Dec 10 12:00:00 host1 last message repeated 3 times", "2026-12-10T12:00:00 | host1 | - | - | - | last message repeated 3 times")
	f("<13>Dec 10 12:00:00 last message repeated 3 times", "2026-12-10T12:00:00 | - | - | - | - | last message repeated 3 times")
	f("<13>Dec 10 12:00:00 校园网关 登录[7]: 成功", "2026-12-10T12:00:00 | 校园网关 | 登录 | 7 | - | 成功")
	f("<13>Dec 10 12:00:00 Message forwarded from host1: app[7]: AIX's", "2026-12-10T12:00:00 | host1 | app | 7 | - | AIX's")
	f("<13>Dec 10 12:00:00 host1 app[7]: [ID 702911 auth.info] Solaris's", "2026-12-10T12:00:00 | host1 | app | 7 | 702911 | Solaris's")
	f("<13>Dec 10 12:00:00", "2026-12-10T12:00:00 | - | - | - | - | ")
	f("<13>dec 10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>DEC 10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>Thu Dec 10 12:00:00 2026 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>Thu Dec 10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>Dec 10 12:00:00 CST host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>Dec 10 12:00:00 CST 2026 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>Dec 10 04:00:00 UTC host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>Dec 10 04:00:00 GMT: host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	for _, at := range []string{
		"Dec 10 12:00:00 UTC+8", "Dec 10 12:00:00 UTC+08:00", "Dec 10 12:00:00 GMT+08:00", "Dec 10 12:00:00 CST+08:00", "Dec 10 12:00:00 CST-8", "Dec 10 04:00:00 UTC+0",
		"Dec 10 2026 12:00:00 GMT+8", "Dec 10 2026 12:00:00 Beijing+08:00", "Dec 10 12:00:00 2026 GMT+08:00", "Dec 10 12:00:00:000 2026 UTC+0800", "Dec 10 03:00:00 UTC-1:",
		"Dec 10 12:00:00 2026 CST", "2026-12-10 12:00:00 UTC+08:00", "2026-12-10T12:00:00 UTC+8", "2026-12-10 12:00:00 CST", "2026-12-10 04:00:00 UTC", "2026-12-10 04:00:00.000 GMT:",
	} {
		f("<13>"+at+" host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
		f("<189>000123: "+strings.TrimSuffix(at, ":")+": %SYS-5-CONFIG_I: m", "2026-12-10T12:00:00 | - | SYS | - | SYS-5-CONFIG_I | m")
	}
	f("<189>000123: Dec 10 12:00:00.000 UTC+8: sw1 %SYS-5-CONFIG_I: m", "2026-12-10T12:00:00 | sw1 | SYS | - | SYS-5-CONFIG_I | m")
	f("<13>Dec 10 12:00:00 GW-12 app: a host", "2026-12-10T12:00:00 | GW-12 | app | - | - | a host")
	f("<13>Dec 10 12:00:00 GW-10:30 a tag", "2026-12-10T12:00:00 | GW-10:30 | - | - | - | a tag")
	f("<13>Dec 10 12:00:00 UTC+99 app: no zone", "2026-12-10T12:00:00 | - | - | - | - | UTC+99 app: no zone")
	f("<13>2026-12-10 12:00:00 Host1 app: a host", "2026-12-10T12:00:00 | Host1 | app | - | - | a host")
	f("<13>Dec 10 12:00:00+08:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>Dec 10 2026 05:00:00+01:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>Dec 10 12:00:00.123456 host1 app: m", "2026-12-10T12:00:00.123 | host1 | app | - | - | m")

	// A year, in each of its places, and other clocks.
	f("<13>Dec 10 2026 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>Dec 10 2026 12:00:00: host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>Dec 10 12:00:00 2026 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>2026 Dec 10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>10 Dec 2026 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>10 Dec 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>2026-12-10T12:00:00+08:00 host1 app[7]: m", "2026-12-10T12:00:00 | host1 | app | 7 | - | m")
	f("<13>2026-12-10T04:00:00.123Z host1 app: m", "2026-12-10T12:00:00.123 | host1 | app | - | - | m")
	f("<13>2026-12-10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>2026-12-10 12:00:00,123 host1 app: m", "2026-12-10T12:00:00.123 | host1 | app | - | - | m")
	f("<13>2026/12/10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>2026/12/10-12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>2026-12-10 12:00:00 +0800 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>2026-12-10-12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>20261210 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>20261210T120000+0800 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>20261210120000 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>1796875200 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>1796875200.123 host1 app: m", "2026-12-10T12:00:00.123 | host1 | app | - | - | m")
	f("<13>1796875200123 host1 app: m", "2026-12-10T12:00:00.123 | host1 | app | - | - | m")
	f("<13>12月 10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>12月10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>12月10日 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13> 9月 10 12:00:00 host1 app: m", "2026-09-10T12:00:00 | host1 | app | - | - | m")
	f("<13>十二月 10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>2026年12月10日 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>2026年12月10日12时00分00秒 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>2026年1月3日 8:00:00 host1 app: m", "2026-01-03T08:00:00 | host1 | app | - | - | m")

	// Cisco's.
	f("<189>101: sw1: *Dec 10 12:00:00.123: %LINK-3-UPDOWN: m", "2026-12-10T12:00:00.123 | sw1 | LINK | - | LINK-3-UPDOWN | m")
	f("<189>101: *Dec 10 12:00:00.123 CST: %LINK-3-UPDOWN: m", "2026-12-10T12:00:00.123 | - | LINK | - | LINK-3-UPDOWN | m")
	f("<189>101: .Dec 10 04:00:00.123 UTC: %LINK-3-UPDOWN: m", "2026-12-10T12:00:00.123 | - | LINK | - | LINK-3-UPDOWN | m")
	f("<189>: 2026 Dec 10 12:00:00 CST: %ETHPORT-5-IF_UP: m", "2026-12-10T12:00:00 | - | ETHPORT | - | ETHPORT-5-IF_UP | m")
	f("<189>101: 102: *Dec 10 12:00:00.123: %LINK-3-UPDOWN: m", "2026-12-10T12:00:00.123 | - | LINK | - | LINK-3-UPDOWN | m")
	f("<189>000101: Dec 10 12:00:00: %LINK-3-UPDOWN: m", "2026-12-10T12:00:00 | - | LINK | - | LINK-3-UPDOWN | m")
	f("<189>101: 3w2d: %LINK-3-UPDOWN: m", "- | - | LINK | - | LINK-3-UPDOWN | m")
	f("<189>101: 00:01:23: %LINK-3-UPDOWN: m", "- | - | LINK | - | LINK-3-UPDOWN | m")
	f("<189>101: 1y23w: %LINK-3-UPDOWN: m", "- | - | LINK | - | LINK-3-UPDOWN | m")
	f("<189>101: sw1: 3w2d: %LINK-3-UPDOWN: m", "- | sw1 | LINK | - | LINK-3-UPDOWN | m")
	f("<189>101: %LINK-3-UPDOWN: m", "- | - | LINK | - | LINK-3-UPDOWN | m")
	f("<189>%LINK-3-UPDOWN: m", "- | - | LINK | - | LINK-3-UPDOWN | m")
	f("<189>sw1: %LINK-3-UPDOWN: m", "- | sw1 | LINK | - | LINK-3-UPDOWN | m")
	f("%LINK-3-UPDOWN: m", "- | - | LINK | - | LINK-3-UPDOWN | m")
	f("Dec 10 12:00:00 sw1 101: *Dec 10 11:59:59: %LINK-3-UPDOWN: m", "2026-12-10T11:59:59 | sw1 | LINK | - | LINK-3-UPDOWN | m")
	f("Dec 10 12:00:00 sw1 101: %LINK-3-UPDOWN: m", "2026-12-10T12:00:00 | sw1 | LINK | - | LINK-3-UPDOWN | m")
	f("<166>Dec 10 2026 12:00:00 asa1 : %ASA-6-302013: m", "2026-12-10T12:00:00 | asa1 | ASA | - | ASA-6-302013 | m")
	f("<166>Dec 10 2026 12:00:00: %ASA-6-302013: m", "2026-12-10T12:00:00 | - | ASA | - | ASA-6-302013 | m")
	f("<166>:Dec 10 12:00:00 CST: %ASA-6-302013: m", "2026-12-10T12:00:00 | - | ASA | - | ASA-6-302013 | m")

	// Others'.
	f("<189>Dec 10 2026 12:00:00 S5700 %%01SHELL/5/CMD(l)[12]:m", "2026-12-10T12:00:00 | S5700 | SHELL | - | 01SHELL/5/CMD | m")
	f("<189>2026-12-10 12:00:00 S5700 %%01SHELL/5/CMD(l)[12]:m", "2026-12-10T12:00:00 | S5700 | SHELL | - | 01SHELL/5/CMD | m")
	f("<189>Dec 10 2026 12:00:00+08:00 S5700 %%01SHELL/5/CMD(s)[12]:m", "2026-12-10T12:00:00 | S5700 | SHELL | - | 01SHELL/5/CMD | m")
	f("<189>Dec 10 12:00:00:123 2026 H3C %%10SHELL/5/LOGIN: m", "2026-12-10T12:00:00.123 | H3C | SHELL | - | 10SHELL/5/LOGIN | m")
	f("<189>%Dec 10 12:00:00:123 2026 H3C SHELL/5/LOGIN: m", "2026-12-10T12:00:00.123 | H3C | SHELL | - | SHELL/5/LOGIN | m")
	f("<189>date=2026-12-10 time=12:00:00 devname=fg1 type=x", "- | - | - | - | - | date=2026-12-10 time=12:00:00 devname=fg1 type=x")
	f("<14>1 2026-12-10T12:00:00.123+08:00 srx1 RT_FLOW - RT_FLOW_SESSION_CREATE [junos@2636.1.1.1.2.40 source-address=\"192.0.2.7\"]", "2026-12-10T12:00:00.123 | srx1 | RT_FLOW | - | RT_FLOW_SESSION_CREATE | ")
	f("<14>Dec 10 12:00:00 srx1 mgd[7]: UI_LOGIN_EVENT: User 'a' login", "2026-12-10T12:00:00 | srx1 | mgd | 7 | - | UI_LOGIN_EVENT: User 'a' login")
	f("<14>Dec 10 12:00:00 srx1 2026-12-10 12:00:00 mgd[7]: m", "2026-12-10T12:00:00 | srx1 | - | - | - | 2026-12-10 12:00:00 mgd[7]: m")
	f("<14>Dec 10 12:00:00 pa1 1,2026/12/10 12:00:00,0012,TRAFFIC,end", "2026-12-10T12:00:00 | pa1 | - | - | - | 1,2026/12/10 12:00:00,0012,TRAFFIC,end")
	f("<14>Dec 10 12:00:00 host1 CEF:0|a|b|c|d|e|1|", "2026-12-10T12:00:00 | host1 | - | - | - | CEF:0|a|b|c|d|e|1|")

	// RFC 5424, as it is and as it is written.
	f("<165>1 2026-12-10T12:00:00+08:00 host1 app 7 ID1 - m", "2026-12-10T12:00:00 | host1 | app | 7 | ID1 | m")
	f("<165>1 - - - - - -", "- | - | - | - | - | ")
	f("<165>1 - - - - - - m", "- | - | - | - | - | m")
	f("<165>1 2026-12-10T12:00:00+08:00 - - - - - \ufeff中文", "2026-12-10T12:00:00 | - | - | - | - | 中文")
	f("<165>1 2026-12-10T12:00:00+08:00 host1 app 7 ID1 m", "2026-12-10T12:00:00 | host1 | app | 7 | ID1 | m")
	f(`<165>1 2026-12-10T12:00:00+08:00 host1 app 7 ID1 [ex@32473 iut="3"][meta sequenceId="1"] m`, "2026-12-10T12:00:00 | host1 | app | 7 | ID1 | m")
	f(`<165>1 2026-12-10T12:00:00+08:00 host1 app 7 ID1 [ex@32473 iut="3"]m`, `2026-12-10T12:00:00 | host1 | app | 7 | ID1 | [ex@32473 iut="3"]m`)
	f(`<165>1 2026-12-10T12:00:00+08:00 host1 app 7 ID1 [no data] m`, "2026-12-10T12:00:00 | host1 | app | 7 | ID1 | [no data] m")
	f("<165>1 2026-12-10T12:00:00+08:00  app 7 ID1 - an empty field", "2026-12-10T12:00:00 | - | app | 7 | ID1 | an empty field")
	f("<165>1 2026-12-10 12:00:00 host1 app 7 ID1 - a space in the time", "2026-12-10T12:00:00 | host1 | app | 7 | ID1 | a space in the time")
	f("<165> 1 2026-12-10T12:00:00+08:00 host1 app 7 ID1 - m", "2026-12-10T12:00:00 | host1 | app | 7 | ID1 | m")
	f("\ufeff<165>1 2026-12-10T12:00:00+08:00 host1 app 7 ID1 - m", "2026-12-10T12:00:00 | host1 | app | 7 | ID1 | m")

	// Hardly any header, or none.
	f("<13>", "- | - | - | - | - | ")
	f("<13> ", "- | - | - | - | - | ")
	f("<13>m of a device", "- | - | - | - | - | m of a device")
	f("<13>app[7]: m", "- | - | app | 7 | - | m")
	f("<13>app: m", "- | - | app | - | - | m")
	f("<013>Dec 10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13>:Dec 10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("<13> Dec 10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("Dec 10 12:00:00 host1 app: m", "2026-12-10T12:00:00 | host1 | app | - | - | m")
	f("m of a device", "- | - | - | - | - | m of a device")
	f("http://www.example.edu.cn/ is down", "- | - | - | - | - | http://www.example.edu.cn/ is down")
	f("<13><14>Dec 10 12:00:00 host1 app: a relay's own priority before it", "2026-12-10T12:00:00 | host1 | app | - | - | a relay's own priority before it")
	f("<13>Dec 10 12:00:00 relay1 <14>Dec 10 11:59:59 host1 app[7]: m", "2026-12-10T11:59:59 | host1 | app | 7 | - | m")
	f("<13>Dec 10 12:00:00 relay1 <14>no header", "2026-12-10T12:00:00 | relay1 | - | - | - | <14>no header")
	f("<13>Dec 10 12:00:00 relay1 <14>1 2026-12-10T11:59:59+08:00 host1 app 7 ID1 - m", "2026-12-10T11:59:59 | host1 | app | 7 | ID1 | m")
	f("<134>1 1796875200.123456789 ap1 urls src=192.0.2.7", "2026-12-10T12:00:00.123 | ap1 | - | - | - | urls src=192.0.2.7") // Meraki
	f("<13>20269999120000 is a number", "- | - | - | - | - | 20269999120000 is a number")
	f("<13>30 packets lost: all of them", "- | - | - | - | - | 30 packets lost: all of them")
	f("<14>Dec 10 12:00:00 2026 [192.0.2.7] stm[123]: <501044> m", "2026-12-10T12:00:00 | 192.0.2.7 | stm | 123 | - | <501044> m")
}
