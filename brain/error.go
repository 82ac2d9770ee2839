package brain

import (
	"errors"
	"fmt"
	"strings"
)

// Code classifies an error for programs. Codes are API: they never change meaning. Texts are free.
type Code string

const (
	EInvalid      Code = "invalid"      // the input is wrong; Fields say where (HTTP 422)
	ENotFound     Code = "not_found"    // no such resource, or not in the caller's account (HTTP 404)
	EConflict     Code = "conflict"     // unique name taken, still referenced, or changed meanwhile (HTTP 409)
	EForbidden    Code = "forbidden"    // the credential lacks a scope (HTTP 403)
	EUnauthorized Code = "unauthorized" // no credential, or an unknown one (HTTP 401)
	EUnavailable  Code = "unavailable"  // try again later (HTTP 503)
	EInternal     Code = "internal"     // a fault of sipio itself (HTTP 500)
)

// FieldError is one mistake in an input: the path of the field and what is wrong with it.
type FieldError struct {
	Path string `json:"path" doc:"path of the field, for example members[2].user_id"`
	Line int    `json:"line,omitempty" doc:"line in the file, 0 when the input was not a file"`
	Text string `json:"text"`
}

func (e FieldError) String() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d: %s: %s", e.Line, e.Path, e.Text)
	}
	return e.Path + ": " + e.Text
}

// Error is an error with a code; Fields is set only for EInvalid.
type Error struct {
	Code   Code
	Text   string
	Fields []FieldError
}

func (e *Error) Error() string {
	if len(e.Fields) == 0 {
		return e.Text
	}
	lines := make([]string, 0, len(e.Fields)+1)
	if e.Text != "" && e.Text != e.Fields[0].String() { // one mistake alone may be the text as well
		lines = append(lines, e.Text)
	}
	for _, f := range e.Fields {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// Errorf makes an Error with a code.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of an error, EInternal when it carries none, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return EInternal
}
