package journal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of nodes on the server inside the process.
const (
	nodeHello    = 5                // seconds for the handshake, and again to say who it is; the brain's own connections have them too
	nodePing     = 10 * time.Second // a connection that has not answered two of them is closed
	nodeReplies  = 30 * time.Second // an order's reply may be sent for so long; longer than anybody waits for it
	refusalsTold = time.Minute      // between two lines about connections that were refused
)

// Admit says whether whoever connects from an address is the node that he calls himself, by his token.
type Admit func(from netip.Addr, node, token string) bool

// nodeDoor lets nodes connect to the server inside the process. Each hears the orders to itself and answers them; nothing else on
// the server is there for it.
type nodeDoor struct {
	log     *slog.Logger
	admit   atomic.Pointer[Admit] // nil: nobody yet
	refused atomic.Int64
	toldAt  atomic.Int64 // unix seconds
}

// listenForNodes has the server listen on an address, over TLS.
func (d *nodeDoor) listenForNodes(o *server.Options, address string, secured *tls.Config) error {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address for nodes %q: %w", address, err)
	}
	if secured == nil {
		return errors.New("nodes connect over TLS alone: there is no certificate")
	}
	if o.Port, err = strconv.Atoi(text); err != nil || o.Port < 0 {
		return fmt.Errorf("address for nodes %q: the port is no number", address)
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT // 0 is the server's usual one
	}
	o.Host, o.DontListen, o.TLSConfig, o.TLSTimeout, o.AuthTimeout = host, false, secured, nodeHello, nodeHello
	o.PingInterval, o.CustomClientAuthentication = nodePing, d
	return nil
}

// Check is server.Authentication: who comes through the process is this brain, who comes through the port is a node or nobody.
func (d *nodeDoor) Check(c server.ClientAuthentication) bool {
	from := c.RemoteAddress()
	if from != nil && from.Network() == "pipe" { // of net.Pipe, which no network makes
		return true
	}
	peer, ok := from.(*net.TCPAddr)
	if !ok || c.Kind() != server.CLIENT || c.GetTLSConnectionState() == nil {
		return false
	}
	said, admit := c.GetOpts(), d.admit.Load()
	if admit == nil {
		return false // the brain is starting: the node comes again
	}
	// Nkey is nothing that nodes have; with one the connection would not be found by its name (Dismiss).
	if said.Nkey != "" || !(*admit)(peer.AddrPort().Addr(), said.Username, said.Password) {
		d.tell(peer, said.Username)
		return false
	}
	c.RegisterUser(&server.User{Username: said.Username, Permissions: &server.Permissions{
		Subscribe: &server.SubjectPermission{Allow: []string{api.OpSubject(said.Username)}},
		Publish:   &server.SubjectPermission{Allow: []string{}}, // nothing but a reply
		Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: nodeReplies},
	}})
	return true
}

// tell logs who was refused, at most once a minute, with how many there have been.
func (d *nodeDoor) tell(from net.Addr, name string) {
	count, now, last := d.refused.Add(1), time.Now().Unix(), d.toldAt.Load()
	if now-last >= int64(refusalsTold/time.Second) && d.toldAt.CompareAndSwap(last, now) {
		d.log.Warn("a connection of a node was refused: its name, its key or its address is wrong", "from", from, "name", fmt.Sprintf("%.64q", name), "refused_since_start", count)
	}
}

// AdmitNodes lets nodes in from now on. Before, and without an address for them, none is.
func (b *Bus) AdmitNodes(admit Admit) { b.nodes.admit.Store(&admit) }

// NodeAddr is where nodes connect, "" when nowhere.
func (b *Bus) NodeAddr() string {
	if b.cfg.NodeListen == "" {
		return ""
	}
	return b.srv.Addr().String()
}

// Dismiss ends the connections of a node, which may come again: it is judged anew then.
func (b *Bus) Dismiss(node string) error {
	if b.cfg.NodeListen == "" {
		return nil
	}
	list, err := b.srv.Connz(&server.ConnzOptions{Username: true, User: node, Limit: b.srv.NumClients() + 1})
	if err != nil {
		return fmt.Errorf("look for connections of node %s: %w", node, err)
	}
	for _, c := range list.Conns {
		_ = b.srv.DisconnectClientByID(c.Cid) // fails only when it is gone
	}
	return nil
}

// Order gives a node an order, as HTTP would, and returns its status and its answer. A node that is not connected is told at once.
func (b *Bus) Order(ctx context.Context, node string, head http.Header, body []byte) (status int, answer []byte, err error) {
	m, err := b.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: api.OpSubject(node), Header: nats.Header(head), Data: body})
	if errors.Is(err, nats.ErrNoResponders) {
		return 0, nil, errors.New("it is not connected to this brain's bus")
	}
	if err != nil {
		return 0, nil, fmt.Errorf("order over the bus: %w", err)
	}
	if status, err = strconv.Atoi(m.Header.Get(api.HeaderOpStatus)); err != nil {
		return 0, nil, errors.New("its answer has no status")
	}
	return status, m.Data, nil
}

// ofNode tells whether a line of the server is about a connection through the port, which begins with the other end's address:
// what strangers do there is no fault.
func ofNode(text string) bool {
	from, _, ok := strings.Cut(text, " - cid:")
	_, err := netip.ParseAddrPort(from)
	return ok && err == nil
}
