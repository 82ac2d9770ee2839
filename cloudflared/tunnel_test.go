package cloudflared

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func toBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// Bounds of waits.
const (
	startTimeout = 30 * time.Second // of a process, on a busy machine
	askTimeout   = 10 * time.Second
)

// hostname of the node, as the brain calls it.
const hostname = "node-1.op.example.org"

// opKey is the node's token.
const opKey = "the-token-of-this-very-node"

func TestTunnel_OrderNeedsBothCredentials(t *testing.T) {
	// Proves the way of an order to a node that cannot be called: the real cloudflared with the rendered file between an edge that
	// stands for Cloudflare's and the real node agent. Without Access's token the order stays outside, without the node's the agent
	// refuses it, with both it is carried out, once however often it comes; other hostnames and paths end in cloudflared.
	// Nothing of it leaves the machine.
	bin := alone(t)
	if bin == "" {
		return
	}
	noNetwork(t)
	t.Run("Access checks", func(t *testing.T) { askAll(t, bin, false) })
	t.Run("Access and the node check", func(t *testing.T) { askAll(t, bin, true) })
}

// askAll asks through a tunnel of its own. With nodeChecks the node agent wants the service token too.
func askAll(t *testing.T, bin string, nodeChecks bool) {
	dir := t.TempDir()
	kamailio := newKamailio(t, dir)
	e := newEdge(t, filepath.Join(dir, "ca.pem"))
	var checks []string
	if nodeChecks {
		e.handsOn = true
		write(t, dir, "access", e.id+"\n"+e.access+"\n")
		checks = []string{"--op-access-file=" + dir + "/access"}
	}
	agent := startAgent(t, bin, dir, kamailio.path, checks...)
	config := render(t, bin, dir, e.tunnel.String(), e.credentials(t, dir), agent)
	start(t, unitEnvironment(t), filepath.Join(bin, "cloudflared"), dir, "--config", config, "tunnel",
		"--edge", e.ln.Addr().String(), "--protocol", "http2", "--cacert", filepath.Join(dir, "ca.pem"), "run")
	via := wait(t, e)

	access := map[string]string{"CF-Access-Client-Id": e.id, "CF-Access-Client-Secret": e.access}
	both := map[string]string{"CF-Access-Client-Id": e.id, "CF-Access-Client-Secret": e.access, "Authorization": "Bearer " + opKey}
	wrongAccess := map[string]string{"CF-Access-Client-Id": e.id, "CF-Access-Client-Secret": e.access + "x", "Authorization": "Bearer " + opKey}
	wrongToken := map[string]string{"CF-Access-Client-Id": e.id, "CF-Access-Client-Secret": e.access, "Authorization": "Bearer token-of-another-node"}
	now := time.Now()
	order := func(id string, sent time.Time) string {
		return fmt.Sprintf(`{"id":%q,"time_ms":%d,"kind":"end","call_id":"call@192.0.2.1"}`, id, sent.UnixMilli())
	}
	for _, c := range []struct {
		name, host, path string
		headers          map[string]string
		want             int
		says             string // in the body; "" = an empty body, as cloudflared's own 404 has
		ended            int64  // calls that Kamailio was told to end, from the start on
	}{
		{"no token at all", hostname, "/op", nil, 403, "", 0},
		{"the node's token alone", hostname, "/op", map[string]string{"Authorization": "Bearer " + opKey}, 403, "", 0},
		{"a wrong Access secret", hostname, "/op", wrongAccess, 403, "", 0},
		{"Access alone", hostname, "/op", access, 401, "no valid key", 0},
		{"another node's token", hostname, "/op", wrongToken, 401, "no valid key", 0},
		{"another hostname", "node-2.op.example.org", "/op", both, 404, "", 0},
		{"a name above it", "op.example.org", "/op", both, 404, "", 0},
		{"another path", hostname, "/metrics", both, 404, "", 0},
		{"a path below", hostname, "/op/x", both, 404, "", 0},
		{"a path beside", hostname, "/op/../health/", both, 404, "", 0},
		{"the root", hostname, "/", both, 404, "", 0},
		{"both", hostname, "/op", both, 200, `{"id":"o-1","ok":true}`, 1},
		{"both again", hostname, "/op", both, 200, `{"id":"o-1","ok":true}`, 1},
	} {
		status, body := e.post(t, via, c.host, c.path, c.headers, order("o-1", now))
		if status != c.want || c.says == "" && body != "" || !strings.Contains(body, c.says) || kamailio.ended.Load() != c.ended {
			t.Errorf("%s: %d %q, %d calls ended; want %d %q, %d", c.name, status, body, kamailio.ended.Load(), c.want, c.says, c.ended)
		}
	}
	if status, body := e.post(t, via, hostname, "/op", both, order("o-2", now.Add(-24*time.Hour))); status != 409 || kamailio.ended.Load() != 1 {
		t.Errorf("yesterday's order: %d %s, %d calls ended", status, body, kamailio.ended.Load())
	}
	if status, body := e.get(t, via, "/health", both); status != 200 || !strings.Contains(body, `"node":"node-1"`) {
		t.Errorf("health: %d %s", status, body)
	}
	if status, _ := e.get(t, via, "/health", nil); status != 403 {
		t.Errorf("health without Access: %d", status)
	}
	// Cloudflare's dashboard asks through the same connection, with a token that its edge has judged. It may see that
	// the connector lives; what the unit switches off is not there.
	for path, want := range map[string]int{"/ping": 200, "/metrics": 404, "/debug/pprof/heap": 404} {
		if status, body := e.send(t, via, http.MethodGet, "management.argotunnel.com", path+"?access_token="+dashboardToken(), both, ""); status != want {
			t.Errorf("dashboard's %s: %d %s", path, status, body)
		}
	}
	// Past the tunnel, from the node itself, the node's token alone is enough unless the node checks both.
	want := map[bool]int{false: 200, true: 401}[nodeChecks]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+agent+"/op", strings.NewReader(order("o-1", now)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+opKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != want {
		t.Errorf("past the tunnel: %d, want %d", resp.StatusCode, want)
	}
}

// dashboardToken is a token as cloudflared reads it: it leaves the signature to the edge.
func dashboardToken() string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"ES256"}`)) + "." + part([]byte(`{"tun":{"id":"t","account_tag":"a"},"actor":{"id":"o"}}`)) + "." + part([]byte("signature"))
}

// unitEnvironment is what the product's unit gives cloudflared.
func unitEnvironment(t *testing.T) []string {
	unit, err := os.ReadFile("../deploy/sipio-cloudflared.service")
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for line := range strings.Lines(string(unit)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "Environment="); ok {
			env = append(env, value)
		}
	}
	if len(env) == 0 {
		t.Fatal("the unit sets no environment")
	}
	return env
}

// build makes cloudflared from this module, sipio and sipio-node from the one above.
func build(t *testing.T, dir string) string {
	bin := filepath.Join(dir, "bin")
	began := time.Now()
	for _, b := range []struct{ in, out, pkg string }{
		{".", filepath.Join(bin, "cloudflared"), "github.com/cloudflare/cloudflared/cmd/cloudflared"},
		{"..", bin + "/", "./cmd/sipio"},
		{"..", bin + "/", "./cmd/sipio-node"},
	} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", b.out, b.pkg)
		cmd.Dir = b.in
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", b.pkg, err, out)
		}
	}
	t.Logf("built in %v", time.Since(began).Round(time.Second))
	return bin
}

// kamailio is as much of Kamailio's control socket as an order needs: it has one call, and counts how often it is told to end it.
type kamailio struct {
	path  string
	ended atomic.Int64
}

func newKamailio(t *testing.T, dir string) *kamailio {
	k := &kamailio{path: filepath.Join(dir, "k")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: k.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFromUnix(buf)
			if err != nil {
				return
			}
			var req struct {
				Method string `json:"method"`
				ID     int64  `json:"id"`
			}
			if json.Unmarshal(buf[:n], &req) != nil || from == nil {
				continue
			}
			answer := `"error":{"code":-32601,"message":"Method not found"}`
			switch req.Method {
			case "dlg.dlg_list":
				answer = `"result":{"h_entry":7,"h_id":9,"state":4}`
			case "dlg.end_dlg":
				k.ended.Add(1)
				answer = `"result":{}`
			}
			_, _ = conn.WriteToUnix(fmt.Appendf(nil, `{"jsonrpc":"2.0",%s,"id":%d}`, answer, req.ID), from)
		}
	}()
	return k
}

// startAgent runs sipio-node without a brain and returns where it takes orders.
func startAgent(t *testing.T, bin, dir, kamailio string, more ...string) string {
	write(t, dir, "node-key", "sk_node")
	write(t, dir, "op-key", opKey)
	lines := start(t, nil, filepath.Join(bin, "sipio-node"), dir, append(more, "--name=node-1", "--brain-urls=http://127.0.0.1:9", "--brain-key-file="+dir+"/node-key", "--op-key-file="+dir+"/op-key",
		"--door-listen=127.0.0.1:0", "--op-listen=127.0.0.1:0", "--kamailio-socket="+kamailio, "--kamailio-client="+dir+"/c", "--rtpengine-ng=127.0.0.1:9",
		"--trunk-file=", "--spool-dir="+dir+"/spool")...)
	deadline := time.After(startTimeout)
	for {
		select {
		case line, more := <-lines:
			var said struct{ Msg, Op string }
			if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "node agent answers" {
				return said.Op
			}
			if !more {
				t.Fatal("the node agent ended")
			}
		case <-deadline:
			t.Fatal("the node agent does not answer")
		}
	}
}

// render has the product write the configuration, and this module judge it.
func render(t *testing.T, bin, dir, tunnel, credentials, agent string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metrics := ln.Addr().String()
	_ = ln.Close()
	text, err := exec.CommandContext(t.Context(), filepath.Join(bin, "sipio"), "tunnel", "render", "--hostname", hostname, "--tunnel", tunnel,
		"--credentials-file", credentials, "--op-listen", agent, "--metrics", metrics).CombinedOutput()
	if err != nil {
		t.Fatalf("render: %v\n%s", err, text)
	}
	if door, err := Check(text); err != nil || door != (Door{hostname, "http://" + agent}) {
		t.Fatalf("%+v, %v:\n%s", door, err, text)
	}
	return write(t, dir, "cloudflared.yml", string(text))
}

// write makes a file that only its owner can read.
func write(t *testing.T, dir, name, text string) string {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs a program until the end of the test and returns what it writes to standard error, line by line; lines that
// nobody fetches are dropped from the channel, none from the test's log.
func start(t *testing.T, env []string, program, dir string, args ...string) <-chan string {
	cmd := exec.Command(program, args...)
	cmd.Env = append(env, "HOME="+dir, "PATH="+os.Getenv("PATH")) // nothing of the user's ~/.cloudflared
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			_, _ = fmt.Fprintln(t.Output(), scan.Text())
			select {
			case lines <- scan.Text():
			default:
			}
		}
	}()
	t.Cleanup(func() {
		kill := time.AfterFunc(askTimeout, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		for range lines { // until it has closed its end
		}
		_ = cmd.Wait()
	})
	return lines
}

// wait returns the connection of the first cloudflared that registers.
func wait(t *testing.T, e *edge) *http2.ClientConn {
	select {
	case via := <-e.connected:
		return via
	case err := <-e.refused:
		t.Fatalf("the edge could not take the connection: %v", err)
	case <-time.After(startTimeout):
		t.Fatal("cloudflared does not register")
	}
	return nil
}

// post asks as the brain does, from outside of the tunnel.
func (e *edge) post(t *testing.T, via *http2.ClientConn, host, path string, headers map[string]string, body string) (int, string) {
	return e.send(t, via, http.MethodPost, host, path, headers, body)
}

func (e *edge) get(t *testing.T, via *http2.ClientConn, path string, headers map[string]string) (int, string) {
	return e.send(t, via, http.MethodGet, hostname, path, headers, "")
}

func (e *edge) send(t *testing.T, via *http2.ClientConn, method, host, path string, headers map[string]string, body string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "https://"+host+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := e.ask(via, req)
	if err != nil {
		t.Fatalf("%s %s%s: %v", method, host, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
