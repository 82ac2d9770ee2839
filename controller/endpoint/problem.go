package endpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// fault is why a question gets an HTTP error: the status, what is counted, and where it was wrong.
type fault struct {
	status int
	count  counter
	field  string // path of the field, "" when the fault is not of one field
	text   string
	lines  []brain.FieldError // of a file: every mistake in it
}

func (f *fault) Error() string {
	if f.field == "" {
		return f.text
	}
	return f.field + ": " + f.text
}

func badField(count counter, field, format string, args ...any) *fault {
	return &fault{status: http.StatusBadRequest, count: count, field: field, text: fmt.Sprintf(format, args...)}
}

func badBody(status int, count counter, format string, args ...any) *fault {
	return &fault{status: status, count: count, text: fmt.Sprintf(format, args...)}
}

// Problem is an HTTP error for programs and people (RFC 9457), the same as that of /v1.
type Problem struct {
	Title  string             `json:"title"`
	Status int                `json:"status"`
	Code   brain.Code         `json:"code"`
	Detail string             `json:"detail,omitempty"`
	Errors []brain.FieldError `json:"errors,omitempty"`
}

// retryAfterSec is what a question that found no room is told.
const retryAfterSec = "1"

// refuse answers an error with problem JSON and counts it.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := s.faultOf(r, err)
	s.counts.add(f.count)
	p := Problem{Title: http.StatusText(f.status), Status: f.status, Code: codeOf(f.status), Detail: f.Error(), Errors: f.lines}
	if f.field != "" {
		p.Errors = []brain.FieldError{{Path: f.field, Text: f.text}}
	}
	h := w.Header()
	switch f.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfterSec)
	case http.StatusRequestEntityTooLarge, http.StatusRequestTimeout:
		// What is left of the body is not waited for. A connection that cannot take a deadline has none to lose.
		h.Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	}
	write(w, f.status, "application/problem+json", &p)
}

// faultOf turns any error into a fault. What is sipio's own fault is logged here, where it stops,
// and not explained to the asker.
func (s *Server) faultOf(r *http.Request, err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	if brain.CodeOf(err) == brain.EUnavailable {
		return badBody(http.StatusServiceUnavailable, countUnavailable, "%s", err)
	}
	if r.Context().Err() != nil {
		return badBody(http.StatusServiceUnavailable, countBadBroken, "the asker has gone")
	}
	s.Log.Error("endpoint failed", "path", r.URL.Path, "err", err)
	return badBody(http.StatusInternalServerError, countFaults, "internal error")
}

func codeOf(status int) brain.Code {
	switch status {
	case http.StatusUnauthorized:
		return brain.EUnauthorized
	case http.StatusForbidden:
		return brain.EForbidden
	case http.StatusNotFound:
		return brain.ENotFound
	case http.StatusConflict:
		return brain.EConflict
	case http.StatusServiceUnavailable:
		return brain.EUnavailable
	case http.StatusInternalServerError:
		return brain.EInternal
	}
	return brain.EInvalid
}

// encoders are kept, since each decision needs one.
var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e
}}

type encoder struct {
	buf  bytes.Buffer
	json *json.Encoder
}

// maxKept is the largest buffer that goes back to its pool.
const maxKept = 64 << 10

var headerJSON = []string{typeJSON}

// write answers v as JSON. A failing write has no one left to tell: the asker has gone.
func write(w http.ResponseWriter, status int, contentType string, v any) {
	e := encoders.Get().(*encoder)
	e.buf.Reset()
	if route, ok := v.(*api.RouteReply); ok {
		e.buf.Write(appendRouteReply(e.buf.AvailableBuffer(), route))
	} else if err := e.json.Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // only our own types come here, and they can be encoded
	}
	h := w.Header()
	if contentType == typeJSON {
		h["Content-Type"] = headerJSON
	} else {
		h.Set("Content-Type", contentType)
	}
	h.Set("Content-Length", strconv.Itoa(e.buf.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(e.buf.Bytes())
	if e.buf.Cap() <= maxKept {
		encoders.Put(e)
	}
}
