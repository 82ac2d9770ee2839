package netns

import (
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// Bridge is a network: every namespace that is joined to it, and the one that the test runs in.
type Bridge struct {
	name string
	home *NS
}

// made counts bridges and links, for their names.
var made atomic.Int32

// NewBridge makes a network in which the test itself has the addresses, each with its prefix length: "10.9.0.1/24",
// "fd09::1/64". Only a test that runs in a namespace of its own may do so.
func NewBridge(t testing.TB, addrs ...string) *Bridge {
	t.Helper()
	if !Inside() {
		t.Fatal("a bridge outside of a namespace of the test's own: call Reexec first")
	}
	home, err := here()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = home.file.Close() })
	n := made.Add(1)
	b := &Bridge{name: fmt.Sprintf("br%d", n), home: home}
	// A bridge without a hardware address of its own takes the lowest of its links: who has it from ARP finds nobody, for half a minute, once a
	// lower one has joined.
	mac := fmt.Sprintf("02:00:00:00:%02x:%02x", byte(n>>8), byte(n))
	home.ip(t, "link", "add", b.name, "address", mac, "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
	t.Cleanup(func() { _ = home.Do(exec.Command("ip", "link", "del", b.name).Run) })
	home.ip(t, "link", "set", b.name, "up")
	home.address(t, b.name, addrs)
	return b
}

// here is the namespace of the calling thread.
func here() (*NS, error) {
	f, err := current()
	return &NS{f}, err
}

// Join makes a namespace with these addresses in the network. It ends with the test.
func (b *Bridge) Join(t testing.TB, addrs ...string) *NS {
	t.Helper()
	ns := New(t)
	link := fmt.Sprintf("veth%d", made.Add(1))
	b.home.ip(t, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", ns.path())
	b.home.ip(t, "link", "set", link, "master", b.name, "up")
	ns.ip(t, "link", "set", "eth0", "up")
	ns.address(t, "eth0", addrs)
	return ns
}

// address gives a link addresses, v6 ones without waiting for somebody who might have them.
func (n *NS) address(t testing.TB, link string, addrs []string) {
	t.Helper()
	for _, a := range addrs {
		args := []string{"addr", "add", a, "dev", link}
		if strings.Contains(a, ":") {
			args = append(args, "nodad")
		}
		n.ip(t, args...)
	}
}
