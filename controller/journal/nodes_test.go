package journal

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sipio/sipio/brain/api"
)

// nodeBus is a store whose server lets edge-1 and edge-2 in.
type nodeBus struct {
	*Bus
	roots *x509.CertPool
}

func openNodeBus(t *testing.T, dir string) nodeBus {
	t.Helper()
	far := httptest.NewTLSServer(nil) // for its certificate of 127.0.0.1
	far.Close()
	roots := x509.NewCertPool()
	roots.AddCert(far.Certificate())
	b, err := Open(t.Context(), Config{Dir: dir, NodeListen: "127.0.0.1:0", NodeTLS: &tls.Config{Certificates: far.TLS.Certificates}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return nodeBus{b, roots}
}

// admit lets two nodes in, from this machine.
func admit(from netip.Addr, node, token string) bool {
	return from.IsLoopback() && (node == "edge-1" || node == "edge-2") && token == "key of "+node
}

// dial connects as somebody. What the server refuses afterwards goes to the channel.
func (b nodeBus) dial(opts ...nats.Option) (*nats.Conn, chan error, error) {
	refused := make(chan error, 64)
	opts = append(opts, nats.Secure(&tls.Config{RootCAs: b.roots}), nats.NoReconnect(), nats.Timeout(10*time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	nc, err := nats.Connect("tls://"+b.NodeAddr(), opts...)
	return nc, refused, err
}

func (b nodeBus) node(t *testing.T, name string) (*nats.Conn, chan error) {
	t.Helper()
	nc, refused, err := b.dial(nats.UserInfo(name, "key of "+name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, refused
}

// hail connects with what no client of ours says, and returns the answer.
func (b nodeBus) hail(t *testing.T, hello string) string {
	t.Helper()
	raw, err := net.Dial("tcp", b.NodeAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := bufio.NewReader(raw).ReadString('\n'); err != nil { // its INFO
		t.Fatal(err)
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: b.roots, ServerName: "127.0.0.1"})
	if _, err := conn.Write([]byte("CONNECT " + hello + "\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return said
}

// denied waits for the server's word that something was not allowed.
func denied(t *testing.T, what string, refused chan error) {
	t.Helper()
	select {
	case err := <-refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("%s was allowed", what)
	}
}

func TestNodes_OnlyThoseWithTheirKeyComeIn(t *testing.T) {
	// Proves that nobody connects before the brain lets nodes in, and then only by a name with its own key, over TLS; that the brain's own
	// connections are what they were; and that the store is none of another mode for having had a port.
	dir := t.TempDir()
	b := openNodeBus(t, dir)
	own := nats.UserInfo("edge-1", "key of edge-1")
	if _, _, err := b.dial(own); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("before nodes are let in: %v", err)
	}
	b.AdmitNodes(admit)
	for who, opts := range map[string][]nats.Option{
		"nobody": nil, "a wrong key": {nats.UserInfo("edge-1", "key")}, "another node's key": {nats.UserInfo("edge-1", "key of edge-2")},
		"no name": {nats.UserInfo("", "key of edge-1")}, "a token": {nats.Token("key of edge-1")}, "every node": {nats.UserInfo("*", "key of edge-1")},
	} {
		if _, _, err := b.dial(opts...); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", who, err)
		}
	}
	if _, err := nats.Connect("nats://"+b.NodeAddr(), own, nats.NoReconnect(), nats.RootCAs("/none")); err == nil {
		t.Error("a node connected to who shows no certificate that it trusts")
	}
	if said := b.hail(t, `{"user":"edge-1","pass":"key of edge-1","nkey":"UX"}`); !strings.HasPrefix(said, "-ERR 'Authorization") {
		t.Errorf("with a name beside its own: %s", said)
	}
	if said := b.hail(t, `{"user":"edge-1","pass":"key of edge-1"}`); !strings.HasPrefix(said, "+OK") {
		t.Errorf("with its own alone: %s", said)
	}
	b.node(t, "edge-1")
	l, _ := openShard(t, b.Bus, 0, 1)
	appendAll(t, l, "one", "two")
	l.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again := openSolo(t, dir)
	if again.NodeAddr() != "" {
		t.Errorf("it listens on %s", again.NodeAddr())
	}
	if l, got := openShard(t, again, 0, 2); got != "r:one r:two" {
		t.Errorf("read %q", got)
	} else {
		l.Close()
	}
}

func TestNodes_HearTheirOrdersAndNothingElse(t *testing.T) {
	// Proves that a node hears orders to itself, and can say nothing but one reply to each: no subject of another node, of the brain, of
	// the store or of the server is there for it, neither to listen nor to speak.
	b := openNodeBus(t, t.TempDir())
	b.AdmitNodes(admit)
	l, _ := openShard(t, b.Bus, 0, 1)
	appendAll(t, l, "one")
	nc, refused := b.node(t, "edge-2")
	for _, subject := range []string{"node.edge-1.op", "node.*.op", "node.>", ">", "*.*.*", "_INBOX.>", "do.>", "report", "delta.>", "$JS.>", "$JS.API.>", "$KV.>", "$SYS.>", "JOURNAL.>"} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { t.Errorf("heard %s", m.Subject) }); err != nil {
			t.Fatal(err)
		}
		denied(t, "listening on "+subject, refused)
	}
	if _, err := nc.QueueSubscribe("node.edge-1.op", "owner", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	denied(t, "listening with others", refused)
	record := b.streams[0].CachedInfo()
	subjects := []string{"node.edge-1.op", "node.edge-2.op", "_INBOX.x", "do.0.1", "report", "delta.x", "$SYS.REQ.SERVER.PING", "$JS.API.INFO", "$JS.API.STREAM.NAMES",
		"$JS.API.STREAM.DELETE." + record.Config.Name, "$JS.API.STREAM.PURGE." + record.Config.Name, "$JS.ACK.x"}
	for _, s := range record.Config.Subjects {
		subjects = append(subjects, strings.NewReplacer("*", "0", ">", "0").Replace(s))
	}
	for _, subject := range subjects {
		if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: "node.edge-2.op", Data: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		denied(t, "saying "+subject, refused)
	}
	began := time.Now()
	if _, _, err := b.Order(t.Context(), "edge-1", nil, nil); err == nil || !strings.Contains(err.Error(), "not connected") {
		t.Errorf("an order to a node that is away: %v after %v", err, time.Since(began))
	}
	again := make(chan *nats.Msg, 1)
	if _, err := nc.Subscribe("node.edge-2.op", func(m *nats.Msg) {
		_ = m.RespondMsg(&nats.Msg{Header: nats.Header{api.HeaderOpStatus: {"200"}}, Data: append([]byte(m.Header.Get("Authorization")+" "), m.Data...)})
		again <- m
	}); err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	status, answer, err := b.Order(t.Context(), "edge-2", http.Header{"Authorization": {"Bearer x"}}, []byte("{}"))
	if err != nil || status != 200 || string(answer) != "Bearer x {}" {
		t.Errorf("%d %q %v", status, answer, err)
	}
	if err := (<-again).Respond(nil); err != nil {
		t.Fatal(err)
	}
	denied(t, "a second reply", refused)
	appendAll(t, l, "two")
	if info, err := b.streams[0].Info(t.Context()); err != nil || info.State.Msgs == 0 {
		t.Errorf("the store: %+v %v", info, err)
	}
}

func TestNodes_DismissedOnesAreJudgedAnew(t *testing.T) {
	// Proves that a node which is no longer let in loses the connection that it has, and that the others keep theirs.
	b := openNodeBus(t, t.TempDir())
	b.AdmitNodes(admit)
	one, _ := b.node(t, "edge-1")
	two, _ := b.node(t, "edge-2")
	gone := one.StatusChanged(nats.CLOSED)
	b.AdmitNodes(func(_ netip.Addr, node, _ string) bool { return node == "edge-2" })
	if err := b.Dismiss("edge-1"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("it keeps its connection")
	}
	if err := two.FlushTimeout(10 * time.Second); err != nil {
		t.Errorf("the other: %v", err)
	}
	if _, _, err := b.dial(nats.UserInfo("edge-1", "key of edge-1")); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("it came again: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.Order(ctx, "edge-2", nil, nil); err == nil {
		t.Error("an order after its time")
	}
}
