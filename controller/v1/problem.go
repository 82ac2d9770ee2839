package v1

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sipio/sipio/brain"
)

// Problem is the body of every error reply (RFC 9457). Code is for programs and never changes its
// meaning; Errors names each mistake of an input.
type Problem struct {
	Title  string             `json:"title" doc:"text of the HTTP status"`
	Status int                `json:"status"`
	Code   brain.Code         `json:"code" enum:"invalid,not_found,conflict,forbidden,unauthorized,unavailable,internal"`
	Detail string             `json:"detail,omitempty"`
	Errors []brain.FieldError `json:"errors,omitempty"`
}

// problemType is the media type of Problem.
const problemType = "application/problem+json"

func (p *Problem) Error() string             { return p.Detail }
func (p *Problem) GetStatus() int            { return p.Status }
func (p *Problem) ContentType(string) string { return problemType }

// The framework has no other way to be told than its package variables; this package is its only user.
func init() {
	huma.ValidateStrictCasing = true
	huma.NewError = func(status int, text string, errs ...error) huma.StatusError {
		return newProblem(status, text, errs...)
	}
}

// statusOf maps codes to HTTP; codeOf is the way back for what the framework refuses by itself.
var statusOf = map[brain.Code]int{
	brain.EInvalid: http.StatusUnprocessableEntity, brain.ENotFound: http.StatusNotFound,
	brain.EConflict: http.StatusConflict, brain.EForbidden: http.StatusForbidden,
	brain.EUnauthorized: http.StatusUnauthorized, brain.EUnavailable: http.StatusServiceUnavailable,
	brain.EInternal: http.StatusInternalServerError,
}

func codeOf(status int) brain.Code {
	for code, s := range statusOf {
		if s == status {
			return code
		}
	}
	switch {
	case status == http.StatusTooManyRequests:
		return brain.EUnavailable
	case status == http.StatusMethodNotAllowed:
		return brain.ENotFound
	case status >= 500:
		return brain.EInternal
	}
	return brain.EInvalid
}

// newProblem makes a problem of what the framework found wrong. The values it quotes are left out:
// one of them may be a password.
func newProblem(status int, text string, errs ...error) *Problem {
	p := &Problem{Title: http.StatusText(status), Status: status, Code: codeOf(status), Detail: text}
	for _, err := range errs {
		if detail, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			p.Errors = append(p.Errors, fieldError(detail))
		} else if err != nil {
			p.Errors = append(p.Errors, brain.FieldError{Text: err.Error()})
		}
	}
	slices.SortStableFunc(p.Errors, func(a, b brain.FieldError) int { return cmp.Compare(a.Path, b.Path) })
	return p
}

// fieldError names the field as the body names it. The framework blames the object for a missing
// member; here the member itself is named.
func fieldError(d *huma.ErrorDetail) brain.FieldError {
	path := strings.TrimPrefix(strings.TrimPrefix(d.Location, "body"), ".")
	var missing string
	if n, _ := fmt.Sscanf(d.Message, "expected required property %s to be present", &missing); n == 1 {
		return brain.FieldError{Path: strings.TrimPrefix(path+"."+missing, "."), Text: "is required"}
	}
	if d.Message == "unexpected property" {
		return brain.FieldError{Path: path, Text: "unknown field"}
	}
	if strings.HasPrefix(d.Message, huma.ErrUnknownContentType.Error()) {
		return brain.FieldError{Path: "header.Content-Type", Text: "must be application/json"}
	}
	return brain.FieldError{Path: path, Text: d.Message}
}

// refuse turns an error into the reply. A fault is logged here, where it stops, and its text stays inside.
func refuse(doing string, err error) error {
	if errors.Is(err, context.Canceled) { // no fault: the asker left, and the store gave up what it had begun
		return newProblem(http.StatusServiceUnavailable, "the asker has gone")
	}
	code := brain.CodeOf(err)
	status := statusOf[code]
	if code == brain.EInternal || status == 0 {
		slog.Error(doing, "err", err)
		return newProblem(http.StatusInternalServerError, "sipio failed to "+doing+"; its log says why")
	}
	p := newProblem(status, "")
	if e, ok := errors.AsType[*brain.Error](err); ok {
		p.Detail, p.Errors = e.Text, e.Fields
	}
	if p.Detail == "" && code == brain.EInvalid {
		p.Detail = "validation failed"
	}
	return p
}

// invalid is the refusal of an input, nil when nothing is wrong with it.
func invalid(fields ...brain.FieldError) error {
	if len(fields) == 0 {
		return nil
	}
	return &brain.Error{Code: brain.EInvalid, Text: "validation failed", Fields: fields}
}

// writeProblem answers outside an operation.
func writeProblem(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(newProblem(status, text)) // the client is gone: nobody to tell
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
