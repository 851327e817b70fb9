package identify

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"fengsui/schemas"
)

const maxEvidence = 256

// add notes an exposure once.
func add(s *schemas.Service, kind schemas.ExposureKind, evidence string) {
	e := schemas.Exposure{Kind: kind, Evidence: printable([]byte(evidence), maxEvidence, "")}
	if !slices.Contains(s.Exposures, e) {
		s.Exposures = append(s.Exposures, e)
	}
}

// expose adds what follows from what was seen, and puts all in order.
func (t *Target) expose(s *schemas.Service) {
	if s.TLS != nil {
		exposeTLS(s, t.Now)
	}
	if s.Name == "telnet" {
		add(s, schemas.ExposurePlainLogin, "telnet: everything crosses the network in clear")
	}
	if s.HTTP != nil && basicAuth.MatchString(s.HTTP.Header) {
		add(s, schemas.ExposurePlainLogin, "HTTP Basic authentication over plain HTTP")
	}
	if s.TLS != nil {
		s.Exposures = slices.DeleteFunc(s.Exposures, func(e schemas.Exposure) bool { return e.Kind == schemas.ExposurePlainLogin })
	}
	exposeAge(s, t.Now)
	slices.SortStableFunc(s.Exposures, func(a, b schemas.Exposure) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
	if len(s.Exposures) == 0 {
		s.Exposures = nil
	}
}

var basicAuth = regexp.MustCompile(`(?im)^WWW-Authenticate:\s*Basic\b`)

func exposeTLS(s *schemas.Service, now time.Time) {
	c := s.TLS
	switch {
	case now.IsZero() || c.SHA256 == "" || c.NotAfter.IsZero():
	case now.After(c.NotAfter):
		add(s, schemas.ExposureCertificateExpired, "certificate expired on "+c.NotAfter.Format(time.DateOnly))
	case now.Before(c.NotBefore):
		add(s, schemas.ExposureCertificateExpired, "certificate is not valid before "+c.NotBefore.Format(time.DateOnly))
	}
	spoken := c.Versions
	if spoken == nil {
		spoken = []string{c.Version}
	}
	var weak []string
	for _, v := range []uint16{versionSSL3, versionTLS10, versionTLS11} {
		if slices.Contains(spoken, versionNames[v]) {
			weak = append(weak, versionNames[v])
		}
	}
	if len(weak) > 0 {
		add(s, schemas.ExposureWeakTLS, strings.Join(weak, ", "))
	}
}

// listings are how web servers head the listing of a folder.
var listings = []struct {
	title *regexp.Regexp
	body  string
}{
	{regexp.MustCompile(`^Index of /`), "<a "},
	{regexp.MustCompile(`^Directory listing for /`), "<a "},
	{regexp.MustCompile(`^Directory Listing For (?:\[?/)`), ""},
	{regexp.MustCompile(` - /\S*$`), "[To Parent Directory]"},
	{regexp.MustCompile(` - /$`), "<pre>"}, // IIS at its root
}

// defaults are pages that servers come with.
var defaults = []struct{ title, body, what string }{
	{"Welcome to nginx!", "", "nginx"},
	{"Welcome to nginx on ", "", "nginx"},
	{"Test Page for the Nginx HTTP Server", "", "nginx"},
	{"Welcome to OpenResty!", "", "OpenResty"},
	{"Welcome to tengine!", "", "Tengine"},
	{"Apache2 Debian Default Page", "", "Apache"},
	{"Apache2 Ubuntu Default Page", "", "Apache"},
	{"Test Page for the Apache HTTP Server", "", "Apache"},
	{"Apache HTTP Server Test Page", "", "Apache"},
	{"HTTP Server Test Page", "", "Apache"},
	{"", "<html><body><h1>It works!</h1></body></html>", "Apache"},
	{"IIS Windows", "iisstart", "IIS"},
	{"IIS7", "", "IIS"},
	{"IIS8", "", "IIS"},
	{"Microsoft Internet Information Services 8", "", "IIS"},
	{"Internet Information Services", "iisstart", "IIS"},
	{"Apache Tomcat", "successfully installed Tomcat", "Tomcat"},
	{"Welcome page", "lighttpd", "lighttpd"},
	{"Placeholder page", "lighttpd", "lighttpd"},
	{"Caddy works!", "", "Caddy"},
	{"Welcome to JBoss", "", "JBoss"},
	{"Welcome to WildFly", "", "WildFly"},
	{"Eclipse Jetty", "", "Jetty"},
	{"phpStudy 探针", "", "phpStudy"},
	{"站点创建成功-phpstudy for windows", "", "phpStudy"},
	{"没有找到站点", "宝塔", "BT panel"},
	{"恭喜，站点创建成功！", "", "BT panel"},
}

var passwordField = regexp.MustCompile(`(?is)<input\s[^>]{0,500}?\btype\s*=\s*["']?password\b`)

// exposures notes what a page shows by being there.
func (p *page) exposures(s *schemas.Service) {
	t := title(p.text)
	if p.status == 200 {
		for _, l := range listings {
			if l.title.MatchString(t) && bytes.Contains(p.text, []byte(l.body)) {
				add(s, schemas.ExposureDirectoryListing, "page titled "+fmt.Sprintf("%q", t))
				break
			}
		}
	}
	for _, d := range defaults {
		if (d.title == "" || strings.HasPrefix(t, d.title)) && bytes.Contains(p.text, []byte(d.body)) {
			add(s, schemas.ExposureDefaultPage, d.what+", page titled "+fmt.Sprintf("%q", t))
			break
		}
	}
	if passwordField.Match(p.text) {
		add(s, schemas.ExposurePlainLogin, "a page with a password field over plain HTTP")
	}
}
