package media

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/template"
	"time"
)

// Remote speaks by asking an HTTP server. URL and Body are templates (text/template) over Speech, with the
// functions query (for a URL) and json (a quoted string): https://tts.example/v1?lang={{query .Language}}.
type Remote struct {
	ID        string   // tells what it speaks with apart from others, also when URL stays the same
	Tags      []string // languages that it speaks
	Header    http.Header
	Timeout   time.Duration // of one text; 0 = 10 s
	Client    *http.Client  // nil = one that follows no redirects
	url, body *template.Template
}

// NewRemote checks the templates. body "" asks with GET, else with POST. secret is the content of the file that
// holds it, sent as Authorization: Bearer; "" = none.
func NewRemote(address, body, secret string) (*Remote, error) {
	functions := template.FuncMap{"query": url.QueryEscape, "json": quoteJSON}
	r := &Remote{Header: http.Header{}, Timeout: 10 * time.Second}
	var err error
	if r.url, err = template.New("url").Funcs(functions).Parse(address); err != nil {
		return nil, fmt.Errorf("speech engine: %w", err)
	}
	if body != "" {
		if r.body, err = template.New("body").Funcs(functions).Parse(body); err != nil {
			return nil, fmt.Errorf("speech engine: %w", err)
		}
		r.Header.Set("Content-Type", "application/json")
	}
	if secret = strings.TrimSpace(secret); secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	r.ID = address + " " + body
	u, _, err := r.render(Speech{Text: "x", Language: "en", Gender: Male})
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, fmt.Errorf("speech engine: %s: use https, or http on this machine", u.Redacted())
	}
	return r, nil
}

func isLoopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// Name tells its answers apart from those of other engines.
func (r *Remote) Name() string { return "http " + r.ID }

// Languages are those that it was set up with.
func (r *Remote) Languages() []string { return r.Tags }

func (r *Remote) render(s Speech) (*url.URL, []byte, error) {
	var address, body bytes.Buffer
	if err := r.url.Execute(&address, s); err != nil {
		return nil, nil, fmt.Errorf("speech engine: %w", err)
	}
	u, err := url.Parse(address.String())
	if err != nil {
		return nil, nil, fmt.Errorf("speech engine: %w", err)
	}
	if r.body != nil {
		if err := r.body.Execute(&body, s); err != nil {
			return nil, nil, fmt.Errorf("speech engine: %w", err)
		}
	}
	return u, body.Bytes(), nil
}

// Speak asks the server once.
func (r *Remote) Speak(ctx context.Context, s Speech) ([]byte, error) {
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	u, body, err := r.render(s)
	if err != nil {
		return nil, err
	}
	method := http.MethodGet
	if r.body != nil {
		method = http.MethodPost
	}
	q, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	q.Header = r.Header.Clone()
	client := r.Client
	if client == nil {
		client = stayHere
	}
	resp, err := client.Do(q)
	if err != nil {
		return nil, withoutQuery(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", u.Host, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxSpoken+1))
	if err == nil && len(b) > maxSpoken {
		err = fmt.Errorf("%s answers more than %d bytes", u.Host, maxSpoken)
	}
	return b, err
}

// stayHere follows no redirect: it could lead the secret elsewhere.
var stayHere = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// withoutQuery takes the URL, which has the text that was to be spoken, out of a client's error.
func withoutQuery(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// quoteJSON writes a text as a JSON string, quotes included.
func quoteJSON(s string) (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}
