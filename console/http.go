package console

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"fengsui/registry"
)

// route builds what is served, and what holds for every request.
func (c *Console) route() error {
	c.router.NotFound(notFound)
	c.router.MethodNotAllowed(notFound)
	c.router.Handle("/*", page())
	c.router.Handle("/api/*", http.HandlerFunc(notFound))
	c.router.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	c.router.Group(func(r chi.Router) {
		r.Use(noStore, c.sessions.LoadAndSave)
		r.Get("/metrics", c.metrics)
		c.describe(humachi.New(r, apiConfig(c.sessions.Cookie.Name)))
	})
	if err := c.serveDescription(); err != nil {
		return err
	}
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(http.StatusForbidden, codeOrigin, "the request came from another site").write(w)
	}))
	c.handler = headers(c.knownHost(origin.Handler(c.router)))
	return nil
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	problem(http.StatusNotFound, codeNotFound, "there is no such thing here").write(w)
}

// serveDescription serves the API's description, made once: huma's own way makes
// it at the first request, without a lock.
func (c *Console) serveDescription() error {
	asJSON, err := json.Marshal(c.api.OpenAPI())
	if err != nil {
		return fmt.Errorf("describing the API: %w", err)
	}
	asYAML, err := c.api.OpenAPI().YAML()
	if err != nil {
		return fmt.Errorf("describing the API: %w", err)
	}
	serve := func(path, kind string, body []byte) {
		c.router.Get(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(body)
		})
	}
	serve("/openapi.json", "application/openapi+json", asJSON)
	serve("/openapi.yaml", "application/openapi+yaml", asYAML)
	return nil
}

// headers tells browsers to load nothing from elsewhere, to run no program that
// is written into the page, and to show it in no frame. Ant Design writes its
// styles into the page.
func headers(next http.Handler) http.Handler {
	const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
		"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// knownHost refuses, on loopback, requests that call us by another name than
// loopback's: a page of somebody else whose name was made to lead here (DNS
// rebinding). Elsewhere the certificate's name does that.
func (c *Console) knownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if c.loopback && !isLoopback(strings.Trim(host, "[]")) {
			problem(http.StatusMisdirectedRequest, codeHost, "the console listens on loopback and is called by another name").write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// metrics is for this machine, and for administrators.
func (c *Console) metrics(w http.ResponseWriter, r *http.Request) {
	if ip := peer(r); ip == nil || !ip.IsLoopback() {
		v, p := c.identify(r.Context(), c.sessions.GetString(r.Context(), nameKey))
		if p == nil && (v.Role != registry.RoleAdmin || v.Unit != "" || v.OneTime) {
			p = problem(http.StatusForbidden, codeForbidden, "only an administrator may see this")
		}
		if p != nil {
			p.write(w)
			return
		}
	}
	promhttp.HandlerFor(c.deps.Gatherer, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

// count counts the requests.
func (c *Console) count(hc huma.Context, next func(huma.Context)) {
	next(hc)
	c.requests.WithLabelValues(hc.Operation().OperationID, strconv.Itoa(hc.Status())).Inc()
}
