package contract

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller"
	"github.com/sipio/sipio/controller/ca"
	"github.com/sipio/sipio/controller/node"
	"github.com/sipio/sipio/nodeagent"
)

// agentToken is what the node of these tests wants with orders.
const agentToken = "token-of-edge-1-alone"

// known is a brain and a node agent in this process that know each other by certificates alone.
type known struct {
	dir, ca string
	brain   controller.Addrs
	admin   string
	orders  string // URL of the node agent's orders
}

func startKnown(t *testing.T) *known {
	t.Helper()
	dir, err := os.MkdirTemp("", "known") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	k := &known{dir: dir, ca: filepath.Join(dir, "ca")}
	for _, d := range []string{k.ca, filepath.Join(dir, "other")} {
		if err := ca.Init(d, ca.Life, time.Now()); err != nil {
			t.Fatal(err)
		}
		authority, err := ca.Open(d, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []api.Identity{{Kind: "brain", Name: "brain-1"}, {Kind: "node", Name: "edge-1"}, {Kind: "node", Name: "edge-2"}, {Kind: "operator", Name: "anna"}} {
			if _, err := authority.Issue(id, []string{"127.0.0.1"}, ca.LeafLife); err != nil {
				t.Fatal(err)
			}
		}
	}
	k.startBrain(t)
	k.admin = strings.TrimSpace(k.read(t, "brain/admin.key"))
	if status := k.change(t, http.MethodPost, "/v1/nodes", `{"name":"edge-1"}`); status != http.StatusCreated {
		t.Fatalf("the node is not registered: %d", status)
	}
	k.startNode(t)
	return k
}

func (k *known) read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(k.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (k *known) startBrain(t *testing.T) {
	cfg := controller.DefaultConfig()
	cfg.DataDir, cfg.Listen, cfg.TLSListen, cfg.PromptLanguages = filepath.Join(k.dir, "brain"), "127.0.0.1:0", "127.0.0.1:0", nil
	cfg.TLSCertFile, cfg.TLSKeyFile = filepath.Join(k.ca, "brain-brain-1.pem"), filepath.Join(k.ca, "brain-brain-1.key")
	cfg.NodeCAFile, cfg.Log = filepath.Join(k.ca, "ca.pem"), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	ready := make(chan controller.Addrs, 1)
	cfg.Ready = func(a controller.Addrs) { ready <- a }
	k.brain = run(t, ready, func(ctx context.Context) error { return controller.Run(ctx, cfg) })
}

func (k *known) startNode(t *testing.T) {
	cfg := nodeagent.DefaultConfig()
	cfg.Name, cfg.BrainURLs = "edge-1", []string{"https://" + k.brain.TLS}
	cfg.BrainCAFile, cfg.OpCAFile = filepath.Join(k.ca, "ca.pem"), filepath.Join(k.ca, "ca.pem")
	cfg.CertFile, cfg.CertKeyFile = filepath.Join(k.ca, "node-edge-1.pem"), filepath.Join(k.ca, "node-edge-1.key")
	cfg.DoorListen, cfg.OpListen, cfg.OpTLSListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.KamailioSocket, cfg.KamailioClient = filepath.Join(k.dir, "kam"), filepath.Join(k.dir, "node")
	cfg.RTPEngineNG, cfg.SpoolDir, cfg.TrunkFile = "127.0.0.1:9", filepath.Join(k.dir, "spool"), ""
	cfg.OpKeyFile = filepath.Join(k.dir, "op.key")
	if err := os.WriteFile(cfg.OpKeyFile, []byte(agentToken), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	ready := make(chan nodeagent.Addrs, 1)
	cfg.Ready = func(a nodeagent.Addrs) { ready <- a }
	k.orders = "https://" + run(t, ready, func(ctx context.Context) error { return nodeagent.Run(ctx, cfg) }).OpTLS
}

// run runs a process's main until the test ends, and returns what it says when it is ready.
func run[T any](t *testing.T, ready chan T, do func(ctx context.Context) error) (said T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	select {
	case said = <-ready:
	case err := <-done:
		done <- err
		t.Fatalf("it did not start: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("it is not ready")
	}
	return said
}

func (k *known) change(t *testing.T, method, path, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+k.brain.Plain+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+k.admin)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// holder shows a certificate of a folder, nil for who has none.
func (k *known) holder(t *testing.T, file string) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	t.Helper()
	if file == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(k.dir, file+".pem"), filepath.Join(k.dir, file+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
}

func (k *known) authority(t *testing.T) *api.Authority {
	t.Helper()
	a, err := api.ParseAuthority([]byte(k.read(t, "ca/ca.pem")))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestIdentity_NodeAndBrainKnowEachOtherByCertificates(t *testing.T) {
	// Proves, with a real brain and a real node agent over TLS, that a node without a key is heard by its certificate, that its orders
	// reach it by a direct address only from who shows a brain's certificate of the authority and the node's own token, and that a
	// brain gives none to an address that shows another node's certificate. The same order again is answered and not done again.
	k := startKnown(t)
	ctx := within(t, 30*time.Second)
	eventually(t, ctx, "the node's heartbeat", func() error {
		var list struct{ Nodes []struct{ Node string } }
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.brain.Plain+"/node", nil)
		req.Header.Set("Authorization", "Bearer "+k.admin)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&list); err != nil || len(list.Nodes) != 1 || list.Nodes[0].Node != "edge-1" {
			return fmt.Errorf("%+v %v", list, err)
		}
		return nil
	})
	authority := k.authority(t)
	for _, row := range []struct {
		name, node, cert, token, want string
	}{
		{"the brain", "edge-1", "ca/brain-brain-1", agentToken, ""},
		{"no certificate", "edge-1", "", agentToken, "tls"},
		{"the certificate of a node", "edge-1", "ca/node-edge-2", agentToken, "tls"},
		{"the certificate of an operator", "edge-1", "ca/operator-anna", agentToken, "tls"},
		{"a brain of another authority", "edge-1", "other/brain-brain-1", agentToken, "tls"},
		{"no token", "edge-1", "ca/brain-brain-1", "", "401"},
		{"the platform's key", "edge-1", "ca/brain-brain-1", "key-of-all-nodes", "401"},
		{"another node's token", "edge-1", "ca/brain-brain-1", "token-of-edge-2-alone", "401"},
		{"meant for another node", "edge-2", "ca/brain-brain-1", agentToken, "sipio://node/edge-1"},
	} {
		ops := &node.Ops{Key: row.token, TLS: node.TLS{Authority: func() *api.Authority { return authority }, Certificate: k.holder(t, row.cert)}}
		reply, err := ops.Push(ctx, &brain.Node{Name: row.node, AgentURL: k.orders}, api.Op{ID: row.name, Kind: "nothing"})
		switch {
		case row.want == "" && (err != nil || reply.ID != row.name || !strings.Contains(reply.Error, "knows no order of kind")):
			t.Errorf("%s: %+v %v", row.name, reply, err)
		case row.want != "" && (brain.CodeOf(err) != brain.EUnavailable || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: %+v %v, want %s", row.name, reply, err, row.want)
		}
	}
	ops := &node.Ops{Key: agentToken}
	if _, err := ops.Push(ctx, &brain.Node{Name: "edge-1", AgentURL: k.orders}, api.Op{ID: "x", Kind: "nothing"}); err == nil {
		t.Error("a brain that trusts the system's authorities alone gave an order")
	}
}
