package identify

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"fengsui/schemas"
)

const (
	maxTechnologies = 64
	maxVersion      = 40
)

//go:embed technologies.yaml
var technologiesText []byte

// product is a product of our own table. Any sign of When is enough; of a sign
// everything must be there.
type knownProduct struct {
	Name    string   `yaml:"name"`
	Source  string   `yaml:"source"`
	When    []sign   `yaml:"when"`
	Version *pattern `yaml:"version"` // its first group, over the page
}

// sign is pieces of text, found without regard to case.
type sign struct {
	Header string `yaml:"header"` // anywhere in the headers as they came: a name, a cookie …
	Title  string `yaml:"title"`
	Body   string `yaml:"body"`
	Icon   string `yaml:"icon"` // its hash
}

type pattern struct{ *regexp.Regexp }

func (p *pattern) UnmarshalYAML(n *yaml.Node) (err error) {
	var text string
	if err = n.Decode(&text); err == nil {
		p.Regexp, err = regexp.Compile("(?i)" + text)
	}
	return err
}

var knownProducts = func() []knownProduct {
	var out []knownProduct
	if err := yaml.Unmarshal(technologiesText, &out); err != nil {
		panic(fmt.Sprintf("identify: technologies.yaml: %v", err)) // a mistake in this repository
	}
	for i := range out {
		for j := range out[i].When {
			w := &out[i].When[j]
			w.Header, w.Title, w.Body = strings.ToLower(w.Header), strings.ToLower(w.Title), strings.ToLower(w.Body)
		}
	}
	return out
}()

// technologies is what a page is made with, as far as it shows.
func technologies(p *page) []schemas.Technology {
	out := append(fingerprint(p.header, p.text), fromHeaders(p)...)
	head, body := strings.ToLower(string(p.head)), bytes.ToLower(p.text)
	heading := strings.ToLower(title(p.text))
	for _, k := range knownProducts {
		if !slices.ContainsFunc(k.When, func(w sign) bool {
			return w.Icon == "" && strings.Contains(head, w.Header) && strings.Contains(heading, w.Title) && bytes.Contains(body, []byte(w.Body))
		}) {
			continue
		}
		found := schemas.Technology{Name: k.Name}
		if k.Version != nil {
			if m := k.Version.FindSubmatch(p.text); len(m) > 1 {
				found.Version = printable(m[1], maxVersion, "")
			}
		}
		out = append(out, found)
	}
	return mergeTechnologies(nil, out)
}

// product words of Server and X-Powered-By, such as OpenSSL/1.0.2k and PHP/7.4.3.
var headerProduct = regexp.MustCompile(`\b([A-Za-z][A-Za-z_-]{1,30})/v?(\d[\w.-]{0,30})`)

func fromHeaders(p *page) (out []schemas.Technology) {
	for _, h := range []string{"Server", "X-Powered-By"} {
		for _, value := range p.header[textproto.CanonicalMIMEHeaderKey(h)] {
			for _, m := range headerProduct.FindAllStringSubmatch(value, 16) {
				out = append(out, schemas.Technology{Name: commonName(m[1]), Version: m[2]})
			}
		}
	}
	return out
}

// commonName is the name that wappalyzergo has for what a header calls so.
func commonName(name string) string {
	if n, ok := map[string]string{
		"apache": "Apache HTTP Server", "nginx": "Nginx", "microsoft-iis": "IIS", "tomcat": "Apache Tomcat", "apache-coyote": "Apache Tomcat Coyote",
		"openresty": "OpenResty", "tengine": "Tengine", "php": "PHP", "openssl": "OpenSSL", "lighttpd": "lighttpd",
	}[strings.ToLower(name)]; ok {
		return n
	}
	return name
}

// byIcon is the products that are known by an icon.
func byIcon(hash string) (out []schemas.Technology) {
	for _, k := range knownProducts {
		if slices.ContainsFunc(k.When, func(w sign) bool { return w.Icon == hash }) {
			out = append(out, schemas.Technology{Name: k.Name})
		}
	}
	return out
}

// mergeTechnologies puts two lists together, in order of name, each once, with
// the version where one has it.
func mergeTechnologies(a, b []schemas.Technology) []schemas.Technology {
	out := append(slices.Clone(a), b...)
	slices.SortFunc(out, func(a, b schemas.Technology) int {
		if c := strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)); c != 0 {
			return c
		}
		return strings.Compare(b.Version, a.Version) // the one with a version first
	})
	out = slices.CompactFunc(out, func(a, b schemas.Technology) bool { return strings.EqualFold(a.Name, b.Name) })
	return out[:min(len(out), maxTechnologies)]
}
