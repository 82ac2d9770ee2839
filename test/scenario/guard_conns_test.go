package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/guard"
	"github.com/sipio/sipio/test/netns"
)

// overshoot is how many connections an address opens beyond its limit until the node agent has counted them: it looks once a second, and
// the kernel takes 400 packets at once and 200 a second of an address (nodeagent/ban), two for each connection.
const overshoot = 200 + 100 + 100

// idlers are connections that nothing ever comes of.
type idlers struct {
	mu    sync.Mutex
	conns []net.Conn
}

// open tries to open n connections from an address, of which some never say a word, some begin a handshake of TLS, and some half a message.
func (i *idlers) open(ctx context.Context, ns *netns.NS, from string, n int) {
	first := []string{"", "\x16\x03\x01", "REGISTER sip:acme.test SIP/2.0\r\nVia: SIP/2.0/TCP x"}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 400 * time.Millisecond, Control: ns.Control}
	for k := range n {
		conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", guardIP, []int{5060, 5061, 8443}[k%3]))
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			continue
		}
		_, _ = conn.Write([]byte(first[k%7%3]))
		i.mu.Lock()
		i.conns = append(i.conns, conn)
		i.mu.Unlock()
	}
}

func (i *idlers) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, conn := range i.conns {
		_ = conn.Close()
	}
}

// connections is how many Kamailio holds.
func (g *guarded) connections() (n int) {
	g.t.Helper()
	var info struct {
		Opened int `json:"opened_connections"`
	}
	if err := json.Unmarshal([]byte(g.rpc(g.Edge, "core.tcp_info")), &info); err != nil {
		g.t.Fatal(err)
	}
	return info.Opened
}

// shown are the connections that the node's health shows.
func (g *guarded) shown() (c struct {
	Open, Strangers int
	Full            []string
	Shut            bool
	Refused         int
	Error           string
}) {
	g.t.Helper()
	resp, err := http.Get(g.NodeHealth)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	var health struct{ Connections any }
	health.Connections = &c
	if err := json.NewDecoder(resp.Body).Decode(&health); err != nil {
		g.t.Fatal(err)
	}
	return c
}

func TestGuard_IdleConnectionsKeepNobodyOut(t *testing.T) {
	// Proves that an address which opens 3,000 idle connections, although a device has authenticated from there, holds no more than its limit
	// while a phone from a new address registers over TLS and talks; that many such addresses together leave room, so that a known phone
	// comes in anew; and that what is idle is closed, after which strangers come in again.
	if netns.Reexec(t) {
		return
	}
	g := guardedEdge(t, 1)
	attack, stop := context.WithCancel(t.Context())
	defer stop()
	var attackers sync.WaitGroup
	defer attackers.Wait()
	idle := &idlers{}
	defer idle.close()

	home := g.net.Join(t, "10.9.0.90/24")
	g.phoneIn(home, "10.9.0.90", "1003a")
	for range 30 {
		attackers.Go(func() { idle.open(attack, home, "10.9.0.90", 100) })
	}
	eventually(t, t.Context(), "the limit of one address", func() error {
		if c := g.shown(); len(c.Full) != 1 || c.Refused == 0 {
			return fmt.Errorf("Kamailio holds %d, %+v", g.connections(), c)
		}
		return nil
	})
	if n := g.connections(); n < guard.ConnMax/2 {
		t.Errorf("Kamailio holds %d connections: the attack is none", n)
	}
	office := g.net.Join(t, "10.9.0.50/24")
	alice := registered(t, g.Edge, "1001", over("tls"), inside(office, "10.9.0.50"))
	bob := g.phoneIn(g.net.Join(t, "10.9.0.51/24"), "10.9.0.51", "1002")
	converse(t, within(t, 30*time.Second), g.Edge, alice, bob, "1002")
	attackers.Wait()
	if n := g.connections(); n > guard.ConnMax+overshoot {
		t.Errorf("Kamailio holds %d connections, want %d at most", n, guard.ConnMax+overshoot)
	}
	t.Logf("one address: %+v", g.shown())

	const crowd = 45 // 200 each before anybody has counted are more than Kamailio's table has
	var addrs []string
	for k := range crowd {
		addrs = append(addrs, fmt.Sprintf("10.9.0.%d/24", 100+k))
	}
	beside := g.net.Join(t, addrs...)
	for k := range crowd {
		for range 2 {
			attackers.Go(func() { idle.open(attack, beside, fmt.Sprintf("10.9.0.%d", 100+k), 250) })
		}
	}
	eventually(t, t.Context(), "the limit of all strangers", func() error {
		if c := g.shown(); !c.Shut {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	again := registered(t, g.Edge, "1001", over("tls"), inside(office, "10.9.0.50"))
	converse(t, within(t, 30*time.Second), g.Edge, again, bob, "1002")
	t.Logf("%d addresses: Kamailio holds %d; %+v", crowd, g.connections(), g.shown())
	stop()
	attackers.Wait()
	late := g.net.Join(t, "10.9.0.52/24")
	began := time.Now()
	for {
		conn, err := late.DialContext(within(t, time.Second), "tcp", guardIP+":5061")
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Since(began) > 90*time.Second {
			t.Fatalf("a stranger does not come in: %v; Kamailio holds %d, %+v", err, g.connections(), g.shown())
		}
	}
	t.Logf("idle ones are gone %s later", time.Since(began).Round(time.Second))
	g.spared("a known address", "10.9.0.90")
}
