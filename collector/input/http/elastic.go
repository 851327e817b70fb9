package http

import (
	"io"
	"net/http"
	"strings"
)

// elasticHeader is what clients of Elasticsearch look for before they send.
func elasticHeader(w http.ResponseWriter) {
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	w.Header().Set("Content-Type", "application/json")
}

// refuseElastic says what went wrong as Elasticsearch does.
func refuseElastic(q *request, f *failure) {
	kind := "illegal_argument_exception"
	switch {
	case f.status == http.StatusUnauthorized:
		kind = "security_exception"
		q.w.Header().Set("WWW-Authenticate", `Basic realm="security", charset="UTF-8"`)
		q.w.Header().Add("WWW-Authenticate", "ApiKey")
	case f.retry():
		kind = "es_rejected_execution_exception"
	}
	reason := map[string]any{"type": kind, "reason": f.text}
	elasticHeader(q.w)
	writeJSON(q.w, f.status, map[string]any{
		"error":  map[string]any{"type": kind, "reason": f.text, "root_cause": []any{reason}},
		"status": f.status,
	})
}

// maxAside bounds the body of a request that brings no lines, such as a template.
const maxAside = 1 << 20

// serveElastic answers what clients ask at their start. There are no indexes,
// templates, policies or pipelines: whichever a client looks for is said to
// exist, and what it wants to be made is acknowledged, so that it goes on and
// sends.
func (in *Input) serveElastic(q *request) {
	r, w := q.r, q.w
	if _, err := in.unit(r); err != nil {
		refuseElastic(q, &failure{status: http.StatusUnauthorized, text: err.Error()})
		return
	}
	elasticHeader(w)
	answer := any(map[string]any{})
	switch first := q.path[0]; {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		if !knownElastic(q.path) {
			refuseElastic(q, &failure{status: http.StatusNotFound, text: "there is nothing here"})
			return
		}
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxAside)) // or the connection ends
		answer = map[string]any{"acknowledged": true, "shards_acknowledged": true, "index": first}
	case first == "":
		answer = in.elasticInfo()
	case first == "_license", first == "_xpack":
		answer = map[string]any{
			"license":  map[string]any{"status": "active", "uid": in.name, "type": "basic", "mode": "basic", "issued_to": "fengsui", "issuer": "fengsui"},
			"features": map[string]any{"ilm": map[string]any{"available": true, "enabled": true}},
		}
	case first == "_cluster" && len(q.path) > 1 && q.path[1] == "health":
		answer = map[string]any{
			"cluster_name": "fengsui", "status": "green", "timed_out": false, "number_of_nodes": 1, "number_of_data_nodes": 1,
			"active_primary_shards": 0, "active_shards": 0, "relocating_shards": 0, "initializing_shards": 0, "unassigned_shards": 0,
		}
	case first == "_cat":
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		_, _ = io.WriteString(w, "fengsui green 1 1 0 0 0 0 0 0 - 100.0%\n") // a client that is gone does not read it
		return
	case !knownElastic(q.path):
		refuseElastic(q, &failure{status: http.StatusNotFound, text: "there is nothing here"})
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// knownElastic says whether a path is of something that clients set up: an index
// by its name, or one of the kinds of things beside.
func knownElastic(path []string) bool {
	switch path[0] {
	case "_index_template", "_component_template", "_template", "_ilm", "_ingest", "_data_stream", "_alias", "_aliases", "_security":
		return true
	}
	if strings.HasPrefix(path[0], "_") || path[0] == "" {
		return false
	}
	return len(path) == 1 || path[1] == "_alias" || path[1] == "_mapping" || path[1] == "_settings"
}

func (in *Input) elasticInfo() map[string]any {
	return map[string]any{
		"name": "fengsui", "cluster_name": "fengsui", "cluster_uuid": in.name,
		"version": map[string]any{
			"number": in.cfg.ElasticVersion, "build_flavor": "default", "build_type": "tar", "build_hash": "unknown",
			"build_date": "2024-12-11T12:08:05.663969764Z", "build_snapshot": false, "lucene_version": "9.12.0",
			"minimum_wire_compatibility_version": "7.17.0", "minimum_index_compatibility_version": "7.0.0",
		},
		"tagline": "You Know, for Search",
	}
}
