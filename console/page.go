package console

import (
	"embed"
	"io/fs"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5/middleware"
)

// dist holds nothing but a mark until the page is built.
//
//go:embed all:web/dist
var dist embed.FS

// page serves the page that was built in.
func page() http.Handler {
	files, err := fs.Sub(dist, "web/dist")
	if err == nil {
		_, err = fs.Stat(files, "index.html")
	}
	if err != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "网页尚未构建，请运行：make build\nthe page is not built: make build", http.StatusServiceUnavailable)
		})
	}
	serve := middleware.Compress(5)(http.FileServerFS(files))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/assets/") && !strings.HasSuffix(r.URL.Path, "/"): // their names hold their hashes
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		case r.URL.Path == "/":
			w.Header().Set("Cache-Control", "no-cache")
		default:
			http.NotFound(w, r)
			return
		}
		serve.ServeHTTP(w, r)
	})
}
