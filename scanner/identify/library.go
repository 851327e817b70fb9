package identify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/praetorian-inc/fingerprintx/pkg/plugins"
	// Only probes that an ordinary client would send, over TCP. Left out are
	// those that speak to industrial and debugging interfaces (modbus, ipmi,
	// jdwp), and HTTP, which leaves goroutines behind and is looked at here.
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/kafka/kafkaNew"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/ldap"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/linuxrpc"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/mqtt/mqtt3"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/mssql"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/oracledb"
	_ "github.com/praetorian-inc/fingerprintx/pkg/plugins/services/postgresql"
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
func tryLibrary(ctx context.Context, t *target, silent bool) (*schemas.Service, error) {
	for _, usual := range []bool{true, false} {
		for _, p := range plugins.Plugins[plugins.TCP] {
			if p.PortPriority(uint16(t.port)) != usual || !usual && silent {
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

func tryPlugin(ctx context.Context, t *target, p plugins.Plugin) (s *schemas.Service, err error) {
	ip, err := netip.ParseAddr(t.host)
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
		found, err := p.Run(c, probeWait, plugins.Target{Address: netip.AddrPortFrom(ip, uint16(t.port))})
		if err != nil || found == nil {
			return // not this protocol, whatever the reason
		}
		s = &schemas.Service{Name: found.Protocol, Version: Printable([]byte(found.Version))}
		if n := ianaName[s.Name]; n != "" {
			s.Name = n
		}
	})
	return s, errors.Join(err, failed)
}
