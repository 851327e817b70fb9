package listen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// TLS says how a listener proves who it is, and what it asks of clients. Without
// Cert and Key there is no TLS.
type TLS struct {
	Cert     string   `koanf:"cert"`      // PEM file: our certificate, and those between it and its authority
	Key      string   `koanf:"key"`       // PEM file of its key
	ClientCA string   `koanf:"client_ca"` // PEM file: clients must show a certificate of one of these authorities
	Clients  []Client `koanf:"clients"`   // those that are let in; empty: whoever shows a certificate
}

// Client is a client by its certificate.
type Client struct {
	Name string `koanf:"name"` // a DNS name of its certificate, or its common name
	Unit string `koanf:"unit"` // code of the unit that its lines belong to; empty: the input's
}

// Enabled says whether there is TLS.
func (t TLS) Enabled() bool { return t.Cert != "" || t.Key != "" }

// Validate says what is wrong with t.
func (t TLS) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check((t.Cert == "") == (t.Key == ""), "tls: cert and key belong together")
	check(t.Enabled() || t.ClientCA == "", "tls.client_ca: needs cert and key")
	check(t.ClientCA != "" || len(t.Clients) == 0, "tls.clients: needs client_ca")
	names := make(map[string]bool)
	for i, c := range t.Clients {
		name := strings.ToLower(c.Name)
		check(name != "" && !names[name], "tls.clients: number %d: name %q is empty or there twice", i+1, c.Name)
		names[name] = true
	}
	return errors.Join(errs...)
}

// reloadAfter is how often at most the files are looked at for a change.
var reloadAfter = 10 * time.Second

// Config reads the files. When they change later, connections that are made then
// have the new ones; files that cannot be read then leave the old ones.
func (t TLS) Config() (*tls.Config, error) {
	k := &keeper{files: t}
	first, err := t.read()
	if err != nil {
		return nil, err
	}
	k.config, k.stamp, k.looked = first, t.stamp(), time.Now()
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.current(), nil },
	}, nil
}

func (t TLS) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: reading certificate %s and key %s: %w", t.Cert, t.Key, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if t.ClientCA == "" {
		return c, nil
	}
	text, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls.client_ca: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("tls.client_ca: %s holds no certificate", t.ClientCA)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	if len(t.Clients) > 0 {
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if _, ok := t.client(s); !ok {
				return errors.New("this client is not one of tls.clients")
			}
			return nil
		}
	}
	return c, nil
}

// stamp changes with the files.
func (t TLS) stamp() string {
	var b strings.Builder
	for _, path := range []string{t.Cert, t.Key, t.ClientCA} {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprint(&b, info.ModTime().UnixNano(), info.Size(), ";")
		}
	}
	return b.String()
}

// keeper has what the files held when they were last whole.
type keeper struct {
	files TLS

	mu     sync.Mutex
	config *tls.Config
	stamp  string
	looked time.Time
}

func (k *keeper) current() *tls.Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.looked) < reloadAfter {
		return k.config
	}
	k.looked = time.Now()
	if stamp := k.files.stamp(); stamp != k.stamp {
		// While only one of two files is new they do not fit; the next look will do.
		if config, err := k.files.read(); err == nil {
			k.config, k.stamp = config, stamp
		}
	}
	return k.config
}

func (t TLS) client(s tls.ConnectionState) (Client, bool) {
	if len(s.PeerCertificates) == 0 {
		return Client{}, false
	}
	leaf := s.PeerCertificates[0]
	for _, c := range t.Clients {
		for _, name := range append([]string{leaf.Subject.CommonName}, leaf.DNSNames...) {
			if strings.EqualFold(name, c.Name) {
				return c, true
			}
		}
	}
	return Client{}, false
}

// Unit is the unit of the client behind a connection, or "".
func (t TLS) Unit(s tls.ConnectionState) string {
	c, _ := t.client(s)
	return c.Unit
}

// Handshake makes a TLS connection of one that was accepted.
func Handshake(ctx context.Context, c net.Conn, config *tls.Config, within time.Duration) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	secure := tls.Server(c, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", Source(c.RemoteAddr()), err)
	}
	return secure, nil
}
