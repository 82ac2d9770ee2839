package endpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/api"
)

const (
	typeForm = "application/x-www-form-urlencoded"
	typeJSON = "application/json"
)

// bodies are kept, since each question has one.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// decode fills into from a form or a JSON body, checking every field.
func decode[T any](r *http.Request, set *fieldSet[T], into *T) error {
	kind, err := contentType(r)
	if err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if kind == typeForm {
		return set.decodeForm(body, into)
	}
	if err := decodeJSON(body, into); err != nil {
		return err
	}
	return set.check(into)
}

// contentType returns typeForm or typeJSON. Parameters such as charset are ignored: both are UTF-8.
func contentType(r *http.Request) (string, error) {
	switch given := r.Header.Get("Content-Type"); given {
	case typeForm, typeJSON:
		return given, nil
	default:
		if t, _, err := mime.ParseMediaType(given); err == nil && (t == typeForm || t == typeJSON) {
			return t, nil
		}
		return "", badBody(http.StatusUnsupportedMediaType, countBadContentType,
			"content type %s: send %s or %s", quote(given), typeForm, typeJSON)
	}
}

// onlyJSON refuses a form where nothing but JSON makes sense.
func onlyJSON(r *http.Request) error {
	if t, err := contentType(r); err != nil || t == typeJSON {
		return err
	}
	return badBody(http.StatusUnsupportedMediaType, countBadContentType, "send %s", typeJSON)
}

// readBody reads a body of at most api.MaxBody bytes. A longer one that says so is not read at all.
func readBody(r *http.Request) (string, error) {
	if r.ContentLength > api.MaxBody {
		return "", tooLarge()
	}
	buf := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(buf)
	buf.Reset()
	var err error
	if n := r.ContentLength; n >= 0 {
		buf.Grow(int(n))
		var got int
		got, err = io.ReadFull(r.Body, buf.AvailableBuffer()[:n])
		buf.Write(buf.AvailableBuffer()[:got])
	} else {
		_, err = buf.ReadFrom(io.LimitReader(r.Body, api.MaxBody+1))
	}
	switch {
	case err != nil:
		return "", brokenBody(err)
	case buf.Len() > api.MaxBody:
		return "", tooLarge()
	}
	return buf.String(), nil
}

func tooLarge() error {
	return badBody(http.StatusRequestEntityTooLarge, countBadTooLarge, "a body has at most %d bytes", api.MaxBody)
}

// brokenBody says why a body could not be read to its end.
func brokenBody(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return badBody(http.StatusRequestTimeout, countBadSlow, "the body took too long")
	}
	return badBody(http.StatusBadRequest, countBadBroken, "the body broke off")
}

// decodeJSON fills into from one JSON document and nothing after it.
func decodeJSON(body string, into any) error {
	if !utf8.ValidString(body) {
		return badBody(http.StatusBadRequest, countBadEncoding, "the body is not UTF-8")
	}
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return jsonFault(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badBody(http.StatusBadRequest, countBadSyntax, "there is something after the JSON document")
	}
	return nil
}

func jsonFault(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return badField(countBadType, t.Field, "a JSON %s is not a %s", t.Value, t.Type)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return badField(countBadUnknownField, cut(strings.Trim(name, `"`)), "there is no such field")
	}
	return badBody(http.StatusBadRequest, countBadSyntax, "not JSON: %s", cut(err.Error()))
}

// quote writes foreign text into a message: short, and without control characters.
func quote(s string) string { return strconv.Quote(cut(s)) }

// cut bounds foreign text in a message.
func cut(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
