package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/netns"
	"github.com/sipio/sipio/test/phone"
)

// Addresses of scenarios with a network of their own, in which the node stands at guardIP and everybody else in a
// namespace beside it.
const (
	guardIP    = "10.9.0.1"
	secondIP   = "10.9.0.2"
	trunkIP    = "10.9.0.40"
	operatorIP = "10.9.0.60"
)

// floodPause spreads a flood of requests so that it stays below the limit of packets.
const floodPause = 7 * time.Millisecond

// guardYAML is what the guard needs to know beside the account acme.
const guardYAML = `
---
- {kind: node, name: node-1, spec: {agent_url: %q, sip_addresses: ["10.9.0.1"]}}
- {kind: node, name: node-2, spec: {agent_url: %q, sip_addresses: ["10.9.0.2"]}}
- {kind: sip_trunk, account: acme, name: carrier, spec: {direction: both, proxy: "10.9.0.40:5060", inbound_acl: ["10.9.0.40"], options_ping_sec: 0}}
`

// guarded is a node on the network of its attackers.
type guarded struct {
	*edge.Edge
	t      *testing.T
	net    *netns.Bridge
	second *edge.Edge // nil: there is one node
	ns     *netns.NS  // of the second
}

// guardedEdge starts it. The test runs in a namespace of its own already.
func guardedEdge(t *testing.T, nodes int) *guarded {
	t.Helper()
	g := &guarded{t: t, net: netns.NewBridge(t, guardIP+"/24")}
	key := filepath.Join(t.TempDir(), "op-key")
	if err := os.WriteFile(key, []byte("the key of orders"), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(opt edge.Options) *edge.Edge {
		opt.SIPPort, opt.WSSPort, opt.Children = 5060, 8443, 4
		opt.NodeFlags = []string{"--ban-table=sipio", "--op-key-file=" + key, "--heartbeat-interval=500ms"}
		e, err := edge.Start(t.Context(), opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		tails(t, e)
		return e
	}
	g.Edge = start(edge.Options{IP: guardIP, Name: "node-1", BrainFlags: []string{"--op-key-file=" + key, "--operator-nets=" + operatorIP + "/32"}})
	urls := []string{strings.TrimSuffix(g.NodeHealth, "/health"), "http://127.0.0.1:9"}
	if nodes == 2 {
		g.ns = g.net.Join(t, secondIP+"/24")
		brain := strings.TrimPrefix(g.BrainURL, "http://")
		netns.Relay(t, g.ns, nil, brain)
		g.second = start(edge.Options{IP: secondIP, Name: "node-2", NetNS: g.ns, BrainURLs: []string{g.BrainURL}, BrainKey: g.AdminKey})
		urls[1] = strings.TrimSuffix(g.second.NodeHealth, "/health")
		netns.Relay(t, nil, g.ns, strings.TrimPrefix(urls[1], "http://"))
	}
	if err := g.Apply(t.Context(), acme+fmt.Sprintf(guardYAML, urls[0], urls[1])); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 30*time.Second)
	for _, e := range g.edges() {
		eventually(t, ctx, "the policy of the guard", func() error {
			if got := g.rpc(e, "permissions.addressDump"); !strings.Contains(got, operatorIP) || !strings.Contains(got, trunkIP) {
				return fmt.Errorf("Kamailio protects %s", got)
			}
			return nil
		})
	}
	return g
}

func (g *guarded) edges() []*edge.Edge {
	if g.second == nil {
		return []*edge.Edge{g.Edge}
	}
	return []*edge.Edge{g.Edge, g.second}
}

// rpc asks the Kamailio of a node; a refusal is the answer too.
func (g *guarded) rpc(e *edge.Edge, method string, params ...any) string {
	g.t.Helper()
	client, err := kam.Open(e.KamailioSocket, filepath.Join(e.Dir, "guard-test.sock"), 5*time.Second)
	if err != nil {
		g.t.Fatal(err)
	}
	defer client.Close()
	var result json.RawMessage
	if err := client.Call(context.Background(), method, params, &result); err != nil {
		return err.Error()
	}
	return string(result)
}

// heard is how many requests the Kamailio of the first node has received.
func (g *guarded) heard() int {
	g.t.Helper()
	digits := regexp.MustCompile(`rcv_requests = (\d+)`).FindStringSubmatch(g.rpc(g.Edge, "stats.get_statistics", "rcv_requests"))
	if digits == nil {
		g.t.Fatal("Kamailio does not say how many requests it has received")
	}
	n, _ := strconv.Atoi(digits[1])
	return n
}

// kernelBan is a ban as nft(8) lists it.
type kernelBan struct {
	Tier    string `json:"comment"` // "" = made by the kernel
	Counter struct {
		Packets int `json:"packets"`
	} `json:"counter"`
}

// inKernel lists what the kernel of a node bans, by address, from nft(8): what an operator sees.
func (g *guarded) inKernel(e *edge.Edge) map[string]kernelBan {
	g.t.Helper()
	cmd := exec.Command("nft", "-j", "list", "set", "inet", "sipio", "ban4")
	var out bytes.Buffer
	cmd.Stdout = &out
	run := cmd.Run
	if e != g.Edge {
		run = func() error { return g.ns.Do(cmd.Run) }
	}
	if err := run(); err != nil {
		g.t.Fatalf("nft: %v", err)
	}
	var list struct {
		Nftables []struct {
			Set *struct {
				Elem []struct {
					Elem struct {
						Val string `json:"val"`
						kernelBan
					} `json:"elem"`
				} `json:"elem"`
			} `json:"set"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(out.Bytes(), &list); err != nil {
		g.t.Fatalf("nft: %v\n%s", err, out.Bytes())
	}
	bans := map[string]kernelBan{}
	for _, part := range list.Nftables {
		if part.Set == nil {
			continue
		}
		for _, el := range part.Set.Elem {
			bans[el.Elem.Val] = el.Elem.kernelBan
		}
	}
	return bans
}

// inKamailio is the tier for which Kamailio bans an address, "" when it does not.
func (g *guarded) inKamailio(e *edge.Edge, addr string) string {
	g.t.Helper()
	var got struct {
		Item struct {
			Value string `json:"value"`
		} `json:"item"`
	}
	_ = json.Unmarshal([]byte(g.rpc(e, "htable.get", "ipban", addr)), &got)
	return got.Item.Value
}

// attacker is a socket of an address in another namespace.
type attacker struct {
	g    *guarded
	addr string
	conn *net.UDPConn
	sent int
}

func (g *guarded) attacker(ns *netns.NS, addr string) *attacker {
	g.t.Helper()
	conn, err := ns.ListenUDP(addr + ":0")
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return &attacker{g: g, addr: addr, conn: conn}
}

// newcomer is an attacker alone in a namespace.
func (g *guarded) newcomer(addr string) *attacker {
	return g.attacker(g.net.Join(g.t, addr+"/24"), addr)
}

// send sends a request to the first node.
func (a *attacker) send(method, user, agent string) {
	a.sent++
	id := fmt.Sprintf("%s-%d-%d", a.addr, time.Now().UnixNano(), a.sent)
	text := fmt.Sprintf("%s sip:%s@acme.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@acme.test>;tag=a%d\r\nTo: <sip:%s@acme.test>\r\n"+
		"Call-ID: %s\r\nCSeq: 1 %s\r\nContact: <sip:%s@%s>\r\nUser-Agent: %s\r\nContent-Length: 0\r\n\r\n",
		method, user, a.conn.LocalAddr(), id, user, a.sent, user, id, method, user, a.conn.LocalAddr(), agent)
	_, _ = a.conn.WriteTo([]byte(text), a.node())
}

func (a *attacker) node() *net.UDPAddr { return &net.UDPAddr{IP: net.ParseIP(guardIP), Port: 5060} }

// answers counts what comes back within d.
func (a *attacker) answers(d time.Duration) (n int) {
	_ = a.conn.SetReadDeadline(time.Now().Add(d))
	buf := make([]byte, 4096)
	for {
		if _, err := a.conn.Read(buf); err != nil {
			return n
		}
		n++
	}
}

// ask sends a request and returns the first line of the final answer, "" for none.
func (a *attacker) ask(method, user string) string {
	a.send(method, user, "Phone/1.0")
	return a.final()
}

// final is the first line of the next final answer, "" for none.
func (a *attacker) final() string {
	_ = a.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 4096)
	for {
		n, err := a.conn.Read(buf)
		if err != nil {
			return ""
		}
		if line, _, _ := strings.Cut(string(buf[:n]), "\r\n"); !strings.HasPrefix(line, "SIP/2.0 1") {
			return line
		}
	}
}

// banned waits until an address is banned in kernel and Kamailio, and in the brain's list with one of the tiers.
func (g *guarded) banned(addr string, tiers ...string) {
	g.t.Helper()
	eventually(g.t, g.t.Context(), "the ban of "+addr, func() error {
		_, kernel := g.inKernel(g.Edge)[addr]
		if listed := g.listed(addr); !kernel || g.inKamailio(g.Edge, addr) == "" || !slices.Contains(tiers, listed) {
			return fmt.Errorf("kernel %t, Kamailio %q, listed as %q, want %s", kernel, g.inKamailio(g.Edge, addr), listed, tiers)
		}
		return nil
	})
}

// listed is the tier of the ban of an address at the brain, "" when there is none.
func (g *guarded) listed(addr string) string {
	g.t.Helper()
	body, err := g.Request(g.t.Context(), "GET", "/security/bans?addr="+addr, "", nil)
	if err != nil {
		g.t.Fatal(err)
	}
	var list struct {
		Bans []struct{ Addr, Tier string }
	}
	if err := json.Unmarshal(body, &list); err != nil {
		g.t.Fatal(err)
	}
	for _, b := range list.Bans {
		if b.Addr == addr {
			return b.Tier
		}
	}
	return ""
}

// spared fails the test when an address is banned anywhere.
func (g *guarded) spared(who, addr string) {
	g.t.Helper()
	_, kernel := g.inKernel(g.Edge)[addr]
	if tier, listed := g.inKamailio(g.Edge, addr), g.listed(addr); kernel || tier != "" || listed != "" {
		g.t.Errorf("%s, %s, is banned: kernel %t, Kamailio %q, brain %q", who, addr, kernel, tier, listed)
	}
}

// silenced proves that what a banned attacker sends ends in the kernel: its counter rises, Kamailio's does not.
func (a *attacker) silenced() {
	a.g.t.Helper()
	const packets = 50
	a.caughtUp()
	kamailio := a.g.heard()
	a.swallowed(packets, 100*time.Millisecond)
	if rose := a.g.heard() - kamailio; rose >= packets/2 {
		a.g.t.Errorf("%s: Kamailio has heard %d requests more", a.addr, rose)
	}
}

// swallowed proves that the kernel drops what a banned attacker sends, and that nothing answers within d. It sends again when its ban was
// replaced meanwhile, as by one of another tier: then the kernel counts from 0.
func (a *attacker) swallowed(packets int, d time.Duration) {
	a.g.t.Helper()
	eventually(a.g.t, a.g.t.Context(), fmt.Sprintf("the kernel to drop what %s sends", a.addr), func() error {
		before := a.g.inKernel(a.g.Edge)[a.addr].Counter.Packets
		for range packets {
			a.send("OPTIONS", "1001", "Phone/1.0")
		}
		if n := a.answers(d); n > 0 {
			a.g.t.Errorf("%s is banned and gets %d answers", a.addr, n)
		}
		if n := a.g.inKernel(a.g.Edge)[a.addr].Counter.Packets; n < before+packets {
			return fmt.Errorf("it has dropped %d, before %d", n, before)
		}
		return nil
	})
}

// caughtUp waits until Kamailio has answered what it had taken from an attacker before the ban: each of its workers has one request in hand.
func (a *attacker) caughtUp() {
	a.g.t.Helper()
	for range 8 {
		if _, err := a.g.Options(10 * time.Second); err != nil {
			a.g.t.Fatal(err)
		}
	}
	a.answers(10 * time.Millisecond)
}

// dropped waits until the kernel has dropped so many packets of a banned attacker.
func (a *attacker) dropped(packets int) {
	a.g.t.Helper()
	eventually(a.g.t, a.g.t.Context(), fmt.Sprintf("%d packets of %s to be dropped", packets, a.addr), func() error {
		if n := a.g.inKernel(a.g.Edge)[a.addr].Counter.Packets; n < packets {
			return fmt.Errorf("the kernel has dropped %d", n)
		}
		return nil
	})
}

// tool runs one of sipvicious' programs from a namespace and returns what it prints. disguised: with the User-Agent of a phone.
func (g *guarded) tool(ns *netns.NS, disguised bool, name string, args ...string) string {
	g.t.Helper()
	home := g.t.TempDir()
	if disguised {
		if err := os.CopyFS(filepath.Join(home, "sipvicious"), os.DirFS("/usr/share/sipvicious/sipvicious")); err != nil {
			g.t.Skip("needs sipvicious: run deploy/install-packages.sh")
		}
		file := filepath.Join(home, "sipvicious/libs/svhelper.py")
		code, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(code, []byte("friendly-scanner")) {
			g.t.Fatalf("sipvicious cannot be disguised: %v", err)
		}
		if err := os.WriteFile(file, bytes.ReplaceAll(code, []byte("friendly-scanner"), []byte("Deskphone/2.1")), 0o644); err != nil {
			g.t.Fatal(err)
		}
		args = append([]string{"-c", fmt.Sprintf("import sys; sys.argv[0] = %q; from sipvicious.%s import main; main()", name, name)}, args...)
		name = "python3"
	} else if _, err := exec.LookPath(name); err != nil {
		g.t.Skip("needs sipvicious: run deploy/install-packages.sh")
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute) // these end by themselves, or wait for ever when nothing answers
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = home, append(os.Environ(), "HOME="+home, "PYTHONPATH="+home)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, time.Second
	if err := ns.Start(cmd); err != nil {
		g.t.Fatal(err)
	}
	_ = cmd.Wait()
	return out.String()
}

// phoneIn registers a phone that lives in a namespace.
func (g *guarded) phoneIn(ns *netns.NS, ip, user string) *phone.Phone {
	g.t.Helper()
	return registered(g.t, g.Edge, user, inside(ns, ip))
}
