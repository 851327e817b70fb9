package identify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/praetorian-inc/fingerprintx/pkg/plugins"
	// Only probes that an ordinary client would send, over TCP. Left out are
	// those that speak to industrial and debugging interfaces (modbus, ipmi,
	// jdwp), which a mere greeting has stopped before; those that are better asked
	// here; and HTTP, which leaves goroutines behind.
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/kafka/kafkaNew"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/ldap"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/linuxrpc"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/mssql"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/oracledb"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/rdp"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/rtsp"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/smb"

	"fengsui/schemas"
)

// ianaName is IANA's name where fingerprintx has another.
var ianaName = map[string]string{
	"mssql": "ms-sql-s", "rdp": "ms-wbt-server", "smb": "microsoft-ds", "rpc": "sunrpc", "oracle": "oracle-tns",
}

// tryLibrary leaves the rest to fingerprintx, on our own connections: first what
// usually has this port, then, unless the service has kept silent to everything
// so far, every protocol that it knows.
func tryLibrary(ctx context.Context, t *Target, silent bool) (*schemas.Service, error) {
	for _, usual := range []bool{true, false} {
		for _, p := range plugins.Plugins[plugins.TCP] {
			if p.PortPriority(uint16(t.Port)) != usual || !usual && silent {
				continue
			}
			s, err := tryPlugin(ctx, t, p)
			if s != nil || err != nil {
				return s, err
			}
		}
	}
	return nil, nil
}

func tryPlugin(ctx context.Context, t *Target, p plugins.Plugin) (s *schemas.Service, err error) {
	ip, err := netip.ParseAddr(t.Host)
	if err != nil {
		return nil, fmt.Errorf("identifying a service: %w", err)
	}
	var failed error
	_, err = t.with(ctx, probeWait, func(c net.Conn) {
		// The parsers in there were not made for hostile answers.
		defer func() {
			if why := recover(); why != nil {
				s, failed = nil, fmt.Errorf("identifying a service as %s: panic: %v", p.Name(), why)
			}
		}()
		found, err := p.Run(c, probeWait, plugins.Target{Address: netip.AddrPortFrom(ip, uint16(t.Port))})
		if err != nil || found == nil {
			return // not this protocol, whatever the reason
		}
		s = readFound(found)
	})
	return s, errors.Join(err, failed)
}

// readFound is what fingerprintx found, in our words.
func readFound(found *plugins.Service) *schemas.Service {
	s := &schemas.Service{Name: cmp.Or(ianaName[found.Protocol], found.Protocol), Version: Printable([]byte(found.Version))}
	var more struct {
		OSVersion   string `json:"osVersion"`
		Fingerprint string `json:"fingerprint"`
		Info        string `json:"info"`
		ServerInfo  string `json:"serverInfo"`
	}
	if json.Unmarshal(found.Raw, &more) != nil { // it is fingerprintx's own encoding
		return s
	}
	switch found.Protocol {
	case plugins.ProtoSMB, plugins.ProtoRDP: // its version is the system's, as NTLM tells it
		s.Version = ""
		if v := cmp.Or(more.Fingerprint, more.OSVersion); v != "" && v != "0.0.0" {
			s.OS = "Windows " + Printable([]byte(strings.TrimPrefix(v, "Windows ")))
		}
	case plugins.ProtoMSSQL:
		s.Product = "Microsoft SQL Server"
	case plugins.ProtoOracle:
		s.Product = "Oracle TNS Listener"
		if m := oracleVersion.FindStringSubmatch(more.Info); m != nil {
			s.Version = m[1]
		}
	case plugins.ProtoRtsp:
		s.Banner = Printable([]byte(more.ServerInfo))
		s.Product, s.Version = product(s.Banner)
	}
	return s
}

var oracleVersion = regexp.MustCompile(`Version:(\d[\d.]{1,30})`)
