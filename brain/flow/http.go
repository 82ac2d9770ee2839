package flow

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Outcomes of an HTTPCall: an answer of 200 to 299 came; another answer or none came; none came in time.
const (
	HTTPSuccess = "success"
	HTTPError   = "error"
	HTTPTimeout = "timeout"
)

// httpStep is the step http: method (GET), url (https; the host is literal, values in it are percent-encoded),
// headers, body (template; values are escaped for the content type, JSON unless a header says otherwise), timeoutMs
// (3000, at most MaxHTTPMS), saveAs {variable: path such as $.a.b[0].c},
// secretRef (names a secret of the account, which is sent as Authorization: Bearer).
//
// Outcomes: success; error, also when there is something to save and the answer is no JSON; timeout, which without
// an edge is as error. success and error without an edge end the flow.
type httpStep struct {
	method, secretRef string
	url, body         template
	headers           map[string]template
	contentType       string
	timeoutMS         int
	saveAs            map[string]jsonPath
}

var httpMethods = []string{"GET", "POST", "PUT", "PATCH", "DELETE"}

func readHTTP(f *fields) action {
	h := &httpStep{method: f.oneOf("method", "GET", httpMethods...), secretRef: f.text("secretRef", maxName)}
	h.readURL(f)
	h.headers = f.templates("headers", maxHeaders, badHeader)
	h.contentType = "application/json"
	h.canonical(f)
	if t, ok := h.headers["Content-Type"]; ok {
		h.contentType = strings.ToLower(t.render(func(string) string { return "" }, nil))
	}
	if h.body = f.template("body"); len(h.body) > 0 && h.method == "GET" {
		f.wrong("body", "is not for GET")
	}
	h.timeoutMS = f.number("timeoutMs", 3000, 100, MaxHTTPMS)
	saveAs := f.strings("saveAs", MaxVars)
	h.saveAs = make(map[string]jsonPath, len(saveAs))
	for _, name := range slices.Sorted(maps.Keys(saveAs)) {
		path, err := parsePath(saveAs[name])
		if fault := badVariable(name); fault != "" {
			f.wrong("saveAs", "%s %s", quote(name), fault)
		}
		if err != nil {
			f.wrong("saveAs."+name, "%v", err)
		}
		h.saveAs[name] = path
	}
	return h
}

// canonical writes the names of the headers as Http-Header, each once.
func (h *httpStep) canonical(f *fields) {
	out := make(map[string]template, len(h.headers))
	for _, name := range slices.Sorted(maps.Keys(h.headers)) {
		words := strings.Split(strings.ToLower(name), "-")
		for i, word := range words {
			if word != "" {
				words[i] = strings.ToUpper(word[:1]) + word[1:]
			}
		}
		wanted := strings.Join(words, "-")
		if _, twice := out[wanted]; twice {
			f.wrong("headers", "%s is there twice", quote(name))
		}
		out[wanted] = h.headers[name]
	}
	h.headers = out
}

// readURL wants https:// and a host that no variable has a part in, so that no caller chooses who is asked.
func (h *httpStep) readURL(f *fields) {
	h.url = f.template("url")
	if len(h.url) == 0 {
		f.wrong("url", "is required")
		return
	}
	rest, ok := strings.CutPrefix(h.url[0].text, "https://")
	end := strings.IndexAny(rest, "/?#")
	if !ok || end == 0 || end < 0 && len(h.url) > 1 {
		f.wrong("url", "must begin with https:// and a host without variables")
		return
	}
	if end < 0 {
		end = len(rest)
	}
	if host := rest[:end]; strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789.-:[]") != "" || host[0] == ':' {
		f.wrong("url", "%s is not a host", quote(host))
	}
	for _, p := range h.url {
		if strings.ContainsAny(p.text, " \"<>\\^`|\x7f") || !printable(p.text) {
			f.wrong("url", "has characters that no URL has: write them as %%XX")
			return
		}
	}
}

// reservedHeaders are those that the transport and the session write.
var reservedHeaders = []string{"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "idempotency-key"}

func badHeader(name string) string {
	if name == "" || len(name) > maxName || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return "is not the name of a header"
	}
	if slices.Contains(reservedHeaders, strings.ToLower(name)) {
		return "is written by the platform"
	}
	return ""
}

func (h *httpStep) exits() []exit {
	return []exit{{name: HTTPSuccess}, {name: HTTPError, cause: causeTemporary}, {name: HTTPTimeout, or: HTTPError, cause: causeTemporary}}
}

func (h *httpStep) begin(w *walk, st *step) move {
	url, whole := h.url.expand(w.value, escapeURL)
	body, wholeBody := h.body.expand(w.value, h.escapeBody())
	if !whole || !wholeBody {
		w.note(st, "", "url or body are longer than "+strconv.Itoa(MaxValue)+" bytes")
		return leave(HTTPError)
	}
	call := &HTTPCall{Method: h.method, URL: url, Headers: map[string]string{}, Body: body, TimeoutMS: h.timeoutMS, SecretRef: h.secretRef}
	if len(h.body) > 0 {
		call.Headers["Content-Type"] = "application/json"
	}
	call.Secret = slices.ContainsFunc(append(h.url.names(), h.body.names()...), w.isSecret)
	for name, value := range h.headers {
		call.Headers[name] = value.render(w.value, escapeHeader)
		call.Secret = call.Secret || slices.ContainsFunc(value.names(), w.isSecret)
	}
	w.out.HTTP = call
	return wait
}

func (h *httpStep) escapeBody() func(string) string {
	switch {
	case strings.Contains(h.contentType, "json"):
		return escapeJSON
	case strings.Contains(h.contentType, "x-www-form-urlencoded"):
		return escapeURL
	}
	return nil
}

func (h *httpStep) result(w *walk, st *step, in Input) move {
	switch in.Outcome {
	case HTTPTimeout:
		return leave(HTTPTimeout)
	case HTTPSuccess:
	default:
		w.note(st, "", "http error, status "+cut(strconv.Quote(in.Data["status"]), 20))
		return leave(HTTPError)
	}
	if len(h.saveAs) == 0 {
		return leave(HTTPSuccess)
	}
	doc, ok := parseBody(in.Data["body"])
	if !ok {
		w.note(st, "", "the answer is not JSON, or longer than it may be")
		return leave(HTTPError)
	}
	for _, name := range slices.Sorted(maps.Keys(h.saveAs)) {
		w.set(name, h.saveAs[name].find(doc), false)
	}
	return leave(HTTPSuccess)
}

// parseBody reads one JSON value of at most MaxBody bytes; numbers stay as they are written.
func parseBody(body string) (any, bool) {
	if len(body) > MaxBody {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(body)))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, false
	}
	_, err := dec.Token()
	return doc, err == io.EOF
}
