package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/nodeagent/kam"
)

// Request sends a request to the brain with the platform key and returns the body; a status of 300 or
// more is an error that carries the body.
func (e *Edge) Request(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, e.BrainURL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+e.AdminKey)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return out, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, out)
	}
	return out, nil
}

// Apply applies declarative configuration, as `sipio apply` does.
func (e *Edge) Apply(ctx context.Context, yaml string) error {
	_, err := e.Request(ctx, "POST", "/v1/apply", "application/yaml", []byte(yaml))
	return err
}

// nodeRow is the document that has the brain order this node, "" when it knows the node already: a folder that is used again
// keeps what has been configured of it.
func (e *Edge) nodeRow(ctx context.Context) (string, error) {
	body, err := e.Request(ctx, "GET", "/v1/nodes?limit=500", "", nil)
	if err != nil {
		return "", err
	}
	var page struct {
		Items []struct {
			Name     string
			AgentURL string `json:"agent_url"`
		}
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return "", fmt.Errorf("read the nodes: %w", err)
	}
	url := strings.TrimSuffix(e.NodeHealth, "/health")
	for _, n := range page.Items {
		if n.Name == e.name() && n.AgentURL == url {
			return "", nil
		}
	}
	return fmt.Sprintf("\n---\n- {kind: node, name: %s, spec: {agent_url: %q}}\n", e.name(), url), nil
}

// LiveCalls returns the Call-IDs the brain believes to be up.
func (e *Edge) LiveCalls(ctx context.Context) ([]string, error) {
	body, err := e.Request(ctx, "GET", "/calls?limit=500", "", nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		Calls []struct {
			CallID string `json:"call_id"`
		} `json:"calls"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("read the list of calls: %w", err)
	}
	ids := make([]string, len(list.Calls))
	for i, c := range list.Calls {
		ids[i] = c.CallID
	}
	return ids, nil
}

// AccountID finds an account by its name.
func (e *Edge) AccountID(ctx context.Context, name string) (string, error) {
	body, err := e.Request(ctx, "GET", "/v1/accounts?limit=500", "", nil)
	if err != nil {
		return "", err
	}
	var page struct {
		Items []struct{ ID, Name string }
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return "", fmt.Errorf("read the accounts: %w", err)
	}
	for _, a := range page.Items {
		if a.Name == name {
			return a.ID, nil
		}
	}
	return "", fmt.Errorf("no account is called %q", name)
}

// Dialogs returns the tokens of the dialogs that Kamailio has, sorted.
func (e *Edge) Dialogs(ctx context.Context) ([]string, error) {
	dir, err := os.MkdirTemp(e.Dir, "dialogs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	client, err := kam.Open(e.KamailioSocket, filepath.Join(dir, "sock"), 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	list, err := kam.NewLister(client, filepath.Join(dir, "list")).Dialogs(ctx)
	tokens := make([]string, len(list))
	for i, d := range list {
		tokens[i] = d.Token
	}
	slices.Sort(tokens)
	return tokens, err
}

// NGCommand sends one bencoded command to rtpengine and returns the bencoded answer. It is written for
// the tests on purpose: the node agent's own client is under test.
func (e *Edge) NGCommand(dict string) (string, error) {
	var conn net.Conn
	err := e.inside(func() (err error) { conn, err = net.Dial("udp", e.NG); return err })
	if err != nil {
		return "", err
	}
	defer conn.Close()
	cookie := randomHex(8)
	if _, err := io.WriteString(conn, cookie+" "+dict); err != nil {
		return "", err
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	if err != nil {
		return "", err
	}
	answer, ok := strings.CutPrefix(string(buf[:n]), cookie+" ")
	if !ok {
		return "", fmt.Errorf("rtpengine answered with another cookie: %.80s", buf[:n])
	}
	return answer, nil
}

// MediaSessions returns the Call-IDs rtpengine relays.
func (e *Edge) MediaSessions() ([]string, error) {
	answer, err := e.NGCommand("d7:command4:list5:limiti1000ee")
	if err != nil {
		return nil, err
	}
	_, list, ok := strings.Cut(answer, "5:callsl")
	if !ok {
		return nil, fmt.Errorf("rtpengine's list: %.200s", answer)
	}
	var ids []string
	for list != "" && list[0] != 'e' {
		size, rest, ok := strings.Cut(list, ":")
		var n int
		if _, err := fmt.Sscan(size, &n); !ok || err != nil || n > len(rest) {
			return nil, fmt.Errorf("rtpengine's list: %.200s", answer)
		}
		ids, list = append(ids, rest[:n]), rest[n:]
	}
	return ids, nil
}
