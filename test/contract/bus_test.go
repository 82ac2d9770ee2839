package contract

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller"
	"github.com/sipio/sipio/controller/ca"
	"github.com/sipio/sipio/controller/journal"
	"github.com/sipio/sipio/controller/node"
	"github.com/sipio/sipio/nodeagent"
	"github.com/sipio/sipio/nodeagent/bus"
	"github.com/sipio/sipio/nodeagent/op"
	"github.com/sipio/sipio/test/edge"
)

// brainPair makes an authority with a certificate of the brain, and returns its folder.
func brainPair(t *testing.T, dir string) string {
	t.Helper()
	folder := filepath.Join(dir, "ca")
	if err := ca.Init(folder, ca.Life, time.Now()); err != nil {
		t.Fatal(err)
	}
	a, err := ca.Open(folder, time.Now())
	if err == nil {
		_, err = a.Issue(api.Identity{Kind: api.IdentityBrain, Name: "brain-1"}, []string{"127.0.0.1"}, ca.LeafLife)
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// orders is a brain's bus with the agent of edge-1 at it.
type orders struct {
	bus  *journal.Bus
	ops  *node.Ops
	done atomic.Int64 // orders of kind work
}

func startOrders(t *testing.T) *orders {
	t.Helper()
	dir := t.TempDir()
	folder := brainPair(t, dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "brain-brain-1.pem"), filepath.Join(folder, "brain-brain-1.key"))
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	o := &orders{}
	o.bus, err = journal.Open(t.Context(), journal.Config{Dir: filepath.Join(dir, "journal"), NodeListen: "127.0.0.1:0",
		NodeTLS: &tls.Config{Certificates: []tls.Certificate{pair}}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.bus.Close() })
	o.bus.AdmitNodes(func(_ netip.Addr, name, token string) bool { return name == "edge-1" && token == "key" })
	o.ops = &node.Ops{Key: agentToken, Bus: o.bus}
	roots := x509.NewCertPool()
	text, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	handler := op.New(op.Config{Key: agentToken, Log: quiet, Kinds: map[string]op.Func{
		"work": func(context.Context, api.Op) (api.OpReply, error) {
			o.done.Add(1)
			return api.OpReply{Locked: true}, nil
		},
		"fail": func(context.Context, api.Op) (api.OpReply, error) {
			return api.OpReply{}, errors.New("no such call on this node")
		},
		"panic": func(context.Context, api.Op) (api.OpReply, error) { panic("in an order") },
	}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- bus.Run(ctx, bus.Config{URLs: []string{"tls://" + o.bus.NodeAddr()}, Node: "edge-1", Key: "key", TLS: &tls.Config{RootCAs: roots}, Handler: handler, Log: quiet})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the agent's end of the bus: %v", err)
		}
	})
	return o
}

// onBus is a node that keeps a connection.
func onBus(name string) *brain.Node { return &brain.Node{Name: name, Reach: brain.ReachBus} }

func TestBus_OrdersAreThoseOfHTTP(t *testing.T) {
	// Proves, with a real bus and a node agent's own handler at the other end, that orders over the bus are judged, done once and answered
	// as over HTTP: the token, the size, the time, the id, an order's own error; and that a panic ends one order alone.
	o := startOrders(t)
	ctx := within(t, 30*time.Second)
	eventually(t, ctx, "the node's connection", func() error {
		_, err := o.ops.Push(ctx, onBus("edge-1"), api.Op{ID: "first", Kind: "nothing"})
		return err
	})
	for range 3 {
		if reply, err := o.ops.Push(ctx, onBus("edge-1"), api.Op{ID: "1", Kind: "work"}); err != nil || !reply.OK || !reply.Locked || reply.ID != "1" {
			t.Errorf("%+v %v", reply, err)
		}
	}
	if n := o.done.Load(); n != 1 {
		t.Errorf("done %d times", n)
	}
	if reply, err := o.ops.Push(ctx, onBus("edge-1"), api.Op{ID: "2", Kind: "fail"}); err != nil || reply.OK || reply.Error != "no such call on this node" {
		t.Errorf("%+v %v", reply, err)
	}
	for name, row := range map[string]struct {
		ops  *node.Ops
		op   api.Op
		want string
	}{
		"another token":    {&node.Ops{Key: "key-of-all-nodes", Bus: o.bus}, api.Op{ID: "3", Kind: "work"}, "answered 401: no valid key"},
		"no token":         {&node.Ops{Bus: o.bus}, api.Op{ID: "3", Kind: "work"}, "answered 401: no valid key"},
		"an id used twice": {o.ops, api.Op{ID: "1", Kind: "work", Token: "x"}, "answered 409"},
		"too much":         {o.ops, api.Op{ID: "3", Kind: "work", Token: strings.Repeat("x", 64<<10)}, "answered 413"},
		"no kind":          {o.ops, api.Op{ID: "3"}, "answered 400"},
		"a panic":          {o.ops, api.Op{ID: "4", Kind: "panic"}, "answered 500"},
	} {
		if _, err := row.ops.Push(ctx, onBus("edge-1"), row.op); brain.CodeOf(err) != brain.EUnavailable || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	old := fmt.Sprintf(`{"id":"5","kind":"work","time_ms":%d}`, time.Now().Add(-3*time.Minute).UnixMilli())
	if status, body, err := o.bus.Order(ctx, "edge-1", http.Header{"Authorization": {"Bearer " + agentToken}}, []byte(old)); err != nil || status != http.StatusConflict {
		t.Errorf("an old order: %d %s %v", status, body, err)
	}
	if _, err := o.ops.Push(ctx, onBus("edge-2"), api.Op{ID: "6", Kind: "work"}); brain.CodeOf(err) != brain.EUnavailable || !strings.Contains(err.Error(), "not connected") {
		t.Errorf("a node that is away: %v", err) // in these words: nobody waited
	}
	if _, err := (&node.Ops{}).Push(ctx, onBus("edge-1"), api.Op{ID: "7", Kind: "work"}); brain.CodeOf(err) != brain.EInvalid {
		t.Errorf("a brain without a bus: %v", err)
	}
	if n := o.done.Load(); n != 1 {
		t.Errorf("done %d times in the end", n)
	}
}

// busBrain is a brain with a port for nodes, and what is asked of it.
type busBrain struct {
	*known
	port string
	stop func()
	room string
}

// startBusBrain starts it, or starts it again at the same port.
func (b *busBrain) startBusBrain(t *testing.T) {
	t.Helper()
	cfg := controller.DefaultConfig()
	cfg.DataDir, cfg.Listen, cfg.PromptLanguages, cfg.NodeListen = filepath.Join(b.dir, "brain"), "127.0.0.1:0", nil, b.port
	cfg.TLSCertFile, cfg.TLSKeyFile = filepath.Join(b.ca, "brain-brain-1.pem"), filepath.Join(b.ca, "brain-brain-1.key")
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	ready, done := make(chan controller.Addrs, 1), make(chan error, 1)
	cfg.Ready = func(a controller.Addrs) { ready <- a }
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- controller.Run(ctx, cfg) }()
	select {
	case b.known.brain = <-ready:
	case err := <-done:
		t.Fatalf("it did not start: %v", err)
	}
	ended := false
	b.stop = func() {
		if cancel(); ended {
			return
		}
		ended = true
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
	}
	t.Cleanup(b.stop)
}

// order has an order given to the node, and says why it was not.
func (b *busBrain) order(t *testing.T) error {
	t.Helper()
	a := newAsker(t, "http://"+b.known.brain.Plain, b.admin).ask(http.MethodGet, b.room, "", "")
	if a.status != http.StatusOK {
		return fmt.Errorf("%d %s", a.status, a.body)
	}
	return nil
}

func TestBus_NodeConnectsAgainToABrainThatWasRestarted(t *testing.T) {
	// Proves, with a real brain and a real node agent and by their settings alone, that a node of reach bus gets orders without an address;
	// that they go again, by themselves, when the brain was away; and that a node whose key is taken away gets none from then on.
	dir, err := os.MkdirTemp("", "bus") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ports, err := edge.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	b := &busBrain{known: &known{dir: dir, ca: brainPair(t, dir)}, port: ports[0]}
	b.startBusBrain(t)
	b.admin = strings.TrimSpace(b.read(t, "brain/admin.key"))
	a := newAsker(t, "http://"+b.known.brain.Plain, b.admin)
	a.send(201, "POST", "/v1/nodes", `{"name":"edge-1","reach":"bus","agent_token":"`+agentToken+`"}`)
	var made struct {
		Key    string
		APIKey struct{ ID string } `json:"api_key"`
	}
	if err := json.Unmarshal(a.send(201, "POST", "/v1/api_keys", `{"name":"edge-1","scopes":["node"],"node":"edge-1"}`).body, &made); err != nil {
		t.Fatal(err)
	}
	acme := a.send(201, "POST", "/v1/accounts", `{"name":"acme"}`).field("id")
	b.room = api.PathConference + "?account_id=" + acme + "&conference_id=" + a.send(201, "POST", "/v1/conferences?account_id="+acme, `{"name":"room"}`).field("id")
	if err := b.order(t); err == nil || !strings.Contains(err.Error(), "503") {
		t.Fatalf("an order to a node that is away: %v", err)
	}
	startBusNode(t, b, made.Key)
	ctx := within(t, 60*time.Second)
	eventually(t, ctx, "an order over the bus", func() error { return b.order(t) })
	b.stop()
	b.startBusBrain(t)
	eventually(t, ctx, "an order after the brain's restart", func() error { return b.order(t) })
	newAsker(t, "http://"+b.known.brain.Plain, b.admin).send(204, "DELETE", "/v1/api_keys/"+made.APIKey.ID, "")
	eventually(t, ctx, "the end of the orders", func() error {
		if err := b.order(t); err == nil {
			return errors.New("an order was carried out")
		}
		return nil
	})
}

// startBusNode starts the agent of edge-1, which no brain has an address of.
func startBusNode(t *testing.T, b *busBrain, key string) {
	t.Helper()
	cfg := nodeagent.DefaultConfig()
	cfg.Name, cfg.BrainURLs, cfg.BusURLs = "edge-1", []string{"http://" + b.known.brain.Plain}, []string{"tls://" + b.port}
	cfg.BrainCAFile, cfg.BrainKeyFile, cfg.OpKeyFile = filepath.Join(b.ca, "ca.pem"), filepath.Join(b.dir, "node.key"), filepath.Join(b.dir, "op.key")
	for file, text := range map[string]string{cfg.BrainKeyFile: key, cfg.OpKeyFile: agentToken} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg.DoorListen, cfg.OpListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.KamailioSocket, cfg.KamailioClient = filepath.Join(b.dir, "kam"), filepath.Join(b.dir, "node")
	cfg.RTPEngineNG, cfg.SpoolDir, cfg.TrunkFile, cfg.Log = "127.0.0.1:9", filepath.Join(b.dir, "spool"), "", slog.New(slog.DiscardHandler)
	ready := make(chan nodeagent.Addrs, 1)
	cfg.Ready = func(a nodeagent.Addrs) { ready <- a }
	run(t, ready, func(ctx context.Context) error { return nodeagent.Run(ctx, cfg) })
}
