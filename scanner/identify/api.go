package identify

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"fengsui/schemas"
)

// api is a server whose first page, asked for by anybody, tells what it is.
func (p *page) api(s *schemas.Service) {
	var root struct {
		Cluster string `json:"cluster_name"`
		Tagline string `json:"tagline"`
		CouchDB string `json:"couchdb"`
		Version any    `json:"version"`
	}
	if p.status != http.StatusOK || json.Unmarshal(p.body, &root) != nil {
		return
	}
	switch version, _ := root.Version.(map[string]any); {
	case version != nil && (root.Cluster != "" || strings.Contains(root.Tagline, "You Know, for Search") || strings.Contains(root.Tagline, "OpenSearch")):
		s.Product = "Elasticsearch"
		if version["distribution"] == "opensearch" {
			s.Product = "OpenSearch"
		}
		s.Version = jsonText(version["number"])
		add(s, schemas.ExposureNoAuth, "GET / is answered without authentication: "+s.Product+" "+s.Version)
	case root.CouchDB != "":
		s.Product, s.Version = "CouchDB", jsonText(root.Version)
	}
}

func jsonText(v any) string {
	text, _ := v.(string)
	return Printable([]byte(text))
}

// endpoints are paths that a server of the kind answers to whoever asks, or does
// not: the least that each has.
var endpoints = []struct {
	ports []int
	error string // the first page's whole text, by which it is known on other ports
	path  string
	read  func(p *page, s *schemas.Service) bool
}{
	{[]int{2375, 2376}, `{"message":"page not found"}`, "/version", readDocker},
	{[]int{2379, 2380}, "", "/version", readEtcd},
	{[]int{6443}, "", "/version", readKubernetes},
	{[]int{10250, 10255}, "", "/healthz", readKubelet},
}

// askAPI asks a server that is likely to be an API for what it is.
func (t *Target) askAPI(ctx context.Context, s *schemas.Service, secure bool) bool {
	for _, e := range endpoints {
		usual := false
		for _, port := range e.ports {
			usual = usual || port == t.Port
		}
		if !usual && (e.error == "" || strings.TrimSpace(string(t.page.body)) != e.error) {
			continue
		}
		if p := t.fetch(ctx, secure, e.path, maxBody); p != nil && e.read(p, s) {
			return true
		}
	}
	return false
}

func readDocker(p *page, s *schemas.Service) bool {
	var v struct {
		Version    string
		APIVersion string `json:"ApiVersion"`
		OS         string `json:"Os"`
	}
	if p.status != http.StatusOK || json.Unmarshal(p.body, &v) != nil || v.APIVersion == "" {
		return false
	}
	s.Product, s.Version, s.OS = "Docker", jsonText(v.Version), jsonText(v.OS)
	add(s, schemas.ExposureNoAuth, "GET /version is answered without authentication: Docker "+s.Version)
	return true
}

func readEtcd(p *page, s *schemas.Service) bool {
	var v struct {
		Server string `json:"etcdserver"`
	}
	if p.status != http.StatusOK || json.Unmarshal(p.body, &v) != nil || v.Server == "" {
		return false
	}
	s.Product, s.Version = "etcd", jsonText(v.Server)
	return true
}

// readKubernetes reads what the API server tells anybody by default: no exposure.
func readKubernetes(p *page, s *schemas.Service) bool {
	var v struct {
		Git      string `json:"gitVersion"`
		Platform string `json:"platform"`
	}
	if p.status != http.StatusOK || json.Unmarshal(p.body, &v) != nil || !strings.HasPrefix(v.Git, "v") {
		return false
	}
	s.Product, s.Version = "Kubernetes", jsonText(v.Git[1:])
	return true
}

// readKubelet reads the state of health: with the default of today's clusters it
// is refused.
func readKubelet(p *page, s *schemas.Service) bool {
	body := strings.TrimSpace(string(p.body[:min(len(p.body), 64)]))
	switch {
	case p.status == http.StatusOK && body == "ok":
		add(s, schemas.ExposureNoAuth, "GET /healthz is answered without authentication: kubelet")
	case p.status == http.StatusUnauthorized && body == "Unauthorized":
	case p.status == http.StatusForbidden && strings.HasPrefix(body, "Forbidden (user="):
	default:
		return false
	}
	s.Product = "kubelet"
	return true
}
