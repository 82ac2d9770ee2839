// Package client asks the brain's HTTP API: the configuration under /v1 and the live calls. It is
// what the command line speaks through.
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Timeout bounds one request. Applying a large document takes seconds; a question is answered at once or not at all.
const (
	Timeout         = 60 * time.Second
	questionTimeout = 5 * time.Second
)

// maxReply bounds what is read of a reply in bytes: an export of a large platform, not an endless stream.
const maxReply = 256 << 20

// PageSize is how many resources one request for a list gets.
const PageSize = 500

// versionHeader of a reply carries the configuration version that a write made.
const versionHeader = "X-Sipio-Config-Version"

// Client asks one brain with one API key. The zero HTTP is a client with Timeout.
type Client struct {
	Server string // base URL, for example http://127.0.0.1:8080
	Key    string // sk_…
	HTTP   *http.Client
}

// New makes a client after checking that the server is a URL one can ask.
func New(server, key string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("the server %q is not a URL like http://127.0.0.1:8080", server)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the API key has characters that no key has: is it the right file?")
	}
	return &Client{Server: strings.TrimRight(server, "/"), Key: key, HTTP: &http.Client{Timeout: Timeout}}, nil
}

// Apply applies a YAML document, or only plans it, and returns the plan and the version afterwards. A
// document with mistakes is a brain.Error with their lines in Fields.
func (c *Client) Apply(ctx context.Context, doc []byte, opt brain.ApplyOptions) (brain.Plan, int64, error) {
	query := url.Values{"dry_run": {strconv.FormatBool(opt.DryRun)}, "prune": {strconv.FormatBool(opt.Prune)}}
	return c.plan(ctx, "/v1/apply", forAccount(query, opt.AccountID), "application/yaml", doc)
}

// Rollback goes back to a revision, or only plans it.
func (c *Client) Rollback(ctx context.Context, rev int64, dryRun bool) (brain.Plan, int64, error) {
	body, err := json.Marshal(map[string]any{"version": rev, "dry_run": dryRun})
	if err != nil {
		return brain.Plan{}, 0, fmt.Errorf("write the request: %w", err)
	}
	return c.plan(ctx, "/v1/rollback", nil, "application/json", body)
}

func (c *Client) plan(ctx context.Context, path string, query url.Values, contentType string, body []byte) (brain.Plan, int64, error) {
	var plan brain.Plan
	reply, header, err := c.do(ctx, http.MethodPost, path, query, contentType, body)
	if err != nil {
		return plan, 0, err
	}
	if err := json.Unmarshal(reply, &plan); err != nil {
		return plan, 0, fmt.Errorf("read the plan: %w", err)
	}
	version, err := strconv.ParseInt(cmp.Or(header.Get(versionHeader), "0"), 10, 64)
	if err != nil {
		return plan, 0, fmt.Errorf("read the version: %w", err)
	}
	return plan, version, nil
}

// Export returns the configuration of an account as a YAML document, of all accounts for "".
func (c *Client) Export(ctx context.Context, accountID string) ([]byte, error) {
	doc, _, err := c.do(ctx, http.MethodGet, "/v1/export", forAccount(nil, accountID), "", nil)
	return doc, err
}

// Revisions returns the newest revisions, newest first.
func (c *Client) Revisions(ctx context.Context, limit int) ([]brain.Revision, error) {
	var list struct{ Items []brain.Revision }
	err := c.get(ctx, "/v1/revisions", url.Values{"limit": {strconv.Itoa(limit)}}, &list)
	return list.Items, err
}

// NewKey makes an API key and returns the key itself, which the brain does not show again.
func (c *Client) NewKey(ctx context.Context, accountID, name string, scopes []brain.Scope) (string, brain.APIKey, error) {
	return c.newKey(ctx, accountID, map[string]any{"name": name, "scopes": scopes})
}

// NewNodeKey is NewKey for a key that speaks for one node and no other.
func (c *Client) NewNodeKey(ctx context.Context, name, node string) (string, brain.APIKey, error) {
	return c.newKey(ctx, "", map[string]any{"name": name, "scopes": []brain.Scope{brain.ScopeNode}, "node": node})
}

func (c *Client) newKey(ctx context.Context, accountID string, wanted map[string]any) (string, brain.APIKey, error) {
	var made struct {
		Key    string       `json:"key"`
		APIKey brain.APIKey `json:"api_key"`
	}
	body, err := json.Marshal(wanted)
	if err != nil {
		return "", brain.APIKey{}, fmt.Errorf("write the request: %w", err)
	}
	reply, _, err := c.do(ctx, http.MethodPost, collection(brain.KindAPIKey), forAccount(nil, accountID), "application/json", body)
	if err != nil {
		return "", brain.APIKey{}, err
	}
	if err := json.Unmarshal(reply, &made); err != nil {
		return "", brain.APIKey{}, fmt.Errorf("read the key: %w", err)
	}
	return made.Key, made.APIKey, nil
}

// List returns every resource of a kind, page after page; accountID "" means all that the key may see.
func (c *Client) List(ctx context.Context, kind brain.Kind, accountID string) ([]brain.Resource, error) {
	var all []brain.Resource
	query := forAccount(url.Values{"limit": {strconv.Itoa(PageSize)}}, accountID)
	for {
		var page struct {
			Items []json.RawMessage
			Next  string
		}
		if err := c.get(ctx, collection(kind), query, &page); err != nil {
			return nil, err
		}
		for _, raw := range page.Items {
			r, err := decode(kind, raw)
			if err != nil {
				return nil, err
			}
			all = append(all, r)
		}
		if page.Next == "" {
			return all, nil
		}
		if page.Next <= query.Get("after") {
			return nil, fmt.Errorf("list %s: the brain answers the same page again", kind)
		}
		query.Set("after", page.Next)
	}
}

// Get returns one resource.
func (c *Client) Get(ctx context.Context, kind brain.Kind, id string) (brain.Resource, error) {
	raw, _, err := c.do(ctx, http.MethodGet, collection(kind)+"/"+url.PathEscape(id), nil, "", nil)
	if err != nil {
		return nil, err
	}
	return decode(kind, raw)
}

// Delete deletes one resource.
func (c *Client) Delete(ctx context.Context, kind brain.Kind, id string) error {
	_, _, err := c.do(ctx, http.MethodDelete, collection(kind)+"/"+url.PathEscape(id), nil, "", nil)
	return err
}

// Publish has new calls run a call flow as it is drawn, and returns the flow as it is then.
func (c *Client) Publish(ctx context.Context, id string) (*brain.CallFlow, error) {
	raw, _, err := c.do(ctx, http.MethodPost, collection(brain.KindCallFlow)+"/"+url.PathEscape(id)+"/publish", nil, "", nil)
	if err != nil {
		return nil, err
	}
	r, err := decode(brain.KindCallFlow, raw)
	if err != nil {
		return nil, err
	}
	return r.(*brain.CallFlow), nil
}

// Calls returns the live calls, at most limit of them, and whether there are more.
func (c *Client) Calls(ctx context.Context, limit int) (calls []api.Call, more bool, err error) {
	query := url.Values{}
	for len(calls) < limit {
		var page api.CallList
		query.Set("limit", strconv.Itoa(min(limit-len(calls), PageSize)))
		if err := c.get(ctx, api.PathCalls, query, &page); err != nil {
			return nil, false, err
		}
		calls = append(calls, page.Calls...)
		if page.Next == "" || len(page.Calls) == 0 {
			return calls, false, nil
		}
		query.Set("after", page.Next)
	}
	return calls, true, nil
}

// collection is where a kind lives: its plural under /v1.
func collection(kind brain.Kind) string { return "/v1/" + string(kind) + "s" }

func decode(kind brain.Kind, raw []byte) (brain.Resource, error) {
	r := brain.NewResource(kind)
	if r == nil {
		return nil, fmt.Errorf("no such kind: %s", kind)
	}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("read a %s: %w", kind, err)
	}
	return r, nil
}

func forAccount(query url.Values, accountID string) url.Values {
	if query == nil {
		query = url.Values{}
	}
	if accountID != "" {
		query.Set("account_id", accountID)
	}
	return query
}

func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	raw, _, err := c.do(ctx, http.MethodGet, path, query, "", nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read the reply of %s: %w", path, err)
	}
	return nil
}

// do sends one request and returns the body of a good reply. Any other reply becomes a brain.Error.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, contentType string, body []byte) ([]byte, http.Header, error) {
	target := c.Server + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	if method == http.MethodGet && path != "/v1/export" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, questionTimeout, errors.New("it does not answer: is it running, and not stopped?"))
		defer cancel()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("ask %s: %w", c.Server, err)
	}
	if c.Key != "" {
		r.Header.Set("Authorization", "Bearer "+c.Key)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	reply, err := cmp.Or(c.HTTP, &http.Client{Timeout: Timeout}).Do(r)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		return nil, nil, fmt.Errorf("ask the brain at %s: %w", c.Server, err)
	}
	defer reply.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(reply.Body, maxReply+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("read the reply of %s: %w", path, err)
	case len(raw) > maxReply:
		return nil, nil, fmt.Errorf("the reply of %s is longer than %d bytes", path, maxReply)
	case reply.StatusCode >= 300:
		return nil, nil, problem(reply, raw)
	}
	return raw, reply.Header, nil
}

// problem reads the brain's words about what is wrong; from anything else that answered, the status.
func problem(reply *http.Response, raw []byte) error {
	if kind, _, _ := mime.ParseMediaType(reply.Header.Get("Content-Type")); kind == "application/problem+json" {
		var p struct {
			Title  string
			Detail string
			Code   brain.Code
			Errors []brain.FieldError
		}
		if err := json.Unmarshal(raw, &p); err == nil && p.Code != "" {
			return &brain.Error{Code: p.Code, Text: cmp.Or(p.Detail, p.Title), Fields: p.Errors}
		}
	}
	return fmt.Errorf("%s answered %s, not as a brain does: is this the right server?", reply.Request.URL.Host, reply.Status)
}
