package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/danielgtaylor/huma/v2"

	"fengsui/console/search"
)

// Codes of problems, for programs and for the page, which has its own words for
// each in every language.
const (
	codeInvalid       = "invalid"                  // 422: see errors
	codeQuery         = "query"                    // 422: a mistake in a query, at column
	codeTooLarge      = "result_too_large"         // 422: ask for less
	codeLogin         = "login_required"           // 401
	codeWrongPassword = "wrong_password"           // 401, at login; 422, at a change of password
	codeOneTime       = "password_change_required" // 403: POST /api/v1/password first
	codeForbidden     = "forbidden"                // 403
	codeOrigin        = "cross_origin"             // 403: the request came from another site
	codeHost          = "unknown_host"             // 421
	codeNotFound      = "not_found"                // 404
	codeTooMany       = "too_many_attempts"        // 429
	codeStore         = "store_unavailable"        // 503
	codeScanners      = "scanners_unavailable"     // 503
	codeInternal      = "internal"                 // 500
)

// Problem is every error that the API answers with (RFC 9457, with a code). It
// says nothing of the inside: no SQL, no path.
type Problem struct {
	Title  string   `json:"title" doc:"the status in words"`
	Status int      `json:"status" doc:"the HTTP status"`
	Code   string   `json:"code" doc:"what happened, for programs"`
	Detail string   `json:"detail,omitempty" doc:"what happened, for people"`
	Column int      `json:"column,omitempty" doc:"of a mistake in a query: the character at which it is, counted from 1"`
	Errors []string `json:"errors,omitempty" doc:"each thing that is wrong with the request"`
	Fields Mistakes `json:"fields,omitempty" doc:"the same, where the field is known and there are words in both languages"`
}

// Mistake is what is wrong with a field of a request.
type Mistake struct {
	Field string `json:"field" doc:"its name in the body or the query, the innermost where they are nested; empty: of the whole, or it is not known"`
	Zh    string `json:"zh"`
	En    string `json:"en"`
}

// Mistakes is everything that is wrong with a request.
type Mistakes []Mistake

// Error implements error.
func (m Mistakes) Error() string {
	var texts []string
	for _, one := range m {
		text := one.En
		if one.Field != "" {
			text = one.Field + ": " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

func (m Mistakes) problem() *Problem {
	p := problem(http.StatusUnprocessableEntity, codeInvalid, m.Error())
	p.Fields = m
	return p
}

// mistake is one of them: of the whole request if it has no field.
func mistake(field, zh, en string) Mistakes { return Mistakes{{field, zh, en}} }

// forbidden is that the viewer may not do this, at the field for which they may not if
// it is known.
func forbidden(err error) *Problem {
	p := problem(http.StatusForbidden, codeForbidden, err.Error())
	_ = errors.As(err, &p.Fields)
	return p
}

// auditing is that an auditor only looks.
func auditing() *Problem {
	return forbidden(mistake("", "审计员不作修改", "an auditor changes nothing"))
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

func problem(status int, code, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// write answers with the problem, outside of huma.
func (p *Problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // who asked is gone
}

// huma makes its errors by these variables of its package, and has no other way.
func init() {
	huma.NewError = func(status int, detail string, errs ...error) huma.StatusError {
		return refusal(nil, status, detail, errs)
	}
	huma.NewErrorWithContext = func(hc huma.Context, status int, detail string, errs ...error) huma.StatusError {
		body, _ := hc.Operation().Metadata[bodyKey].(reflect.Type)
		return refusal(body, status, detail, errs)
	}
}

// refusal is what huma says of a request, whose body is of a type if it has one.
func refusal(body reflect.Type, status int, detail string, errs []error) *Problem {
	p := problem(status, codeOf(status), detail)
	more := 0
	for _, err := range errs {
		if given := new(Problem); errors.As(err, &given) {
			return given
		}
		if err == nil || status >= http.StatusInternalServerError {
			continue
		}
		if len(p.Errors) == maxMistakes {
			more++
			continue
		}
		p.Errors, p.Fields = append(p.Errors, err.Error()), append(p.Fields, mistakesIn(body, err)...)
	}
	if rest := andMore(more); rest != nil {
		p.Errors, p.Fields = append(p.Errors, rest.Error()), append(p.Fields, rest...)
	}
	if len(p.Fields) > 0 {
		p.Detail = p.Fields.Error()
	}
	return p
}

func codeOf(status int) string {
	switch {
	case status == http.StatusNotFound:
		return codeNotFound
	case status >= http.StatusInternalServerError:
		return codeInternal
	}
	return codeInvalid
}

// Exceptions of ClickHouse that say that an answer would be too large:
// TOO_MANY_ROWS, TOO_MANY_BYTES, TIMEOUT_EXCEEDED, TOO_MANY_ROWS_OR_BYTES.
var tooLarge = []int32{158, 307, 159, 396}

// storeProblem is what a person is told of a failed read; the log has the rest.
func (c *Console) storeProblem(ctx context.Context, what string, err error) *Problem {
	if e, ok := search.IsQueryError(err); ok {
		p := problem(http.StatusUnprocessableEntity, codeQuery, e.Msg)
		p.Column, p.Fields = e.Column(), mistake("query", e.Zh, e.Msg)
		return p
	}
	var ex *ch.Exception
	if errors.As(err, &ex) && slices.Contains(tooLarge, ex.Code) || errors.Is(err, context.DeadlineExceeded) {
		return problem(http.StatusUnprocessableEntity, codeTooLarge, "the answer is too large or takes too long: ask for a shorter time or fewer rows")
	}
	if ctx.Err() == nil {
		c.deps.Log.Error("reading from the store failed", "what", what, "error", err)
	}
	return problem(http.StatusServiceUnavailable, codeStore, "the store did not answer; try again soon")
}

// internal is what a person is told of a failure of ours.
func (c *Console) internal(what string, err error) *Problem {
	c.deps.Log.Error(what+" failed", "error", err)
	return problem(http.StatusInternalServerError, codeInternal, "something failed here; the log says what")
}
