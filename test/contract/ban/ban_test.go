// Package ban holds the node's table of bans against the real kernel: packets of other network namespaces are counted
// at the socket that would get them.
package ban

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/ban"
	"github.com/sipio/sipio/test/netns"
)

// field is a node with its table, and attackers beside it.
type field struct {
	t       *testing.T
	table   *ban.Table
	beside  *netns.NS
	sockets map[string]*net.UDPConn
}

const guarded = 5060

var senders = []string{"10.9.0.2", "10.9.0.3", "10.9.0.4", "fd09:0:0:1::2", "fd09:0:0:1::3", "fd09:0:0:2::2"}

// newField must be called in a namespace of the test's own.
func newField(t *testing.T) *field {
	bridge := netns.NewBridge(t, "10.9.0.1/24", "fd09::1/32")
	var addrs []string
	for _, s := range senders {
		addrs = append(addrs, s+map[bool]string{true: "/32", false: "/24"}[strings.Contains(s, ":")])
	}
	f := &field{t: t, beside: bridge.Join(t, addrs...), sockets: map[string]*net.UDPConn{}}
	for _, at := range []string{"10.9.0.1:5060", "10.9.0.1:5999", "10.9.0.1:5990", "10.9.0.1:5998", "[fd09::1]:5994", "[fd09::1]:5060"} {
		addr := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at))
		conn, err := net.ListenUDP("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetReadBuffer(8 << 20)
		f.sockets[at] = conn
	}
	for _, s := range senders { // so that the way is known when it matters
		f.arrives("without a table", s, guarded, 1, 1)
	}
	f.open()
	return f
}

func (f *field) open() {
	f.t.Helper()
	table, err := ban.Open("sipio_test", []uint16{guarded, 5061}, ban.PortRange{First: 5990, Last: 5998})
	if err != nil {
		f.t.Fatal(err)
	}
	f.table = table
}

// send sends n packets from an address, as many at once as every queue on the way has room for, and returns how many of them arrive. The last
// one to come is a mark from an address of its own that nothing is done about. Nobody promises that two ways keep an order: for so many as
// least are sure to come it waits behind the mark.
func (f *field) send(from string, port, n, least int) (got int) {
	f.t.Helper()
	at := fmt.Sprintf("10.9.0.1:%d", port)
	if strings.Contains(from, ":") {
		at = fmt.Sprintf("[fd09::1]:%d", port)
	}
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at))
	conn, err := f.beside.ListenUDP(net.JoinHostPort(from, "0"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	mark, err := net.DialUDP("udp", nil, to) // over loopback
	if err != nil {
		f.t.Fatal(err)
	}
	defer mark.Close()
	for first := true; first || n > 0; first = false {
		atOnce := min(n, 200)
		for range atOnce {
			if _, err := conn.WriteTo([]byte("x"), to); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				f.t.Fatal(err)
			}
		}
		if n -= atOnce; n > 0 {
			got += f.read(mark, at, 0)
		} else {
			got += f.read(mark, at, least-got)
		}
	}
	return got
}

// read counts what has come to a socket before a mark, and goes on behind it while that is less than least, for five seconds.
func (f *field) read(mark *net.UDPConn, at string, least int) (got int) {
	f.t.Helper()
	if _, err := mark.Write([]byte("mark")); err != nil {
		f.t.Fatal(err)
	}
	home := f.sockets[at]
	_ = home.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 16)
	for marked := false; !marked || got < least; {
		size, err := home.Read(buf)
		if err != nil && !marked {
			f.t.Fatalf("after %d packets: %v", got, err)
		}
		if err != nil {
			break
		}
		if string(buf[:size]) == "mark" {
			marked = true
		} else {
			got++
		}
	}
	return got
}

// bans are those that the kernel has now, as text.
func (f *field) bans() map[string]ban.Ban {
	f.t.Helper()
	list, err := f.table.List()
	if err != nil {
		f.t.Fatal(err)
	}
	byAddr := map[string]ban.Ban{}
	for _, b := range list {
		byAddr[b.Addr.String()] = b
	}
	return byAddr
}

func (f *field) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func unit(addr string) netip.Prefix { return ban.Of(netip.MustParseAddr(addr)) }

// arrives fails the test unless as many packets as want get through.
func (f *field) arrives(what, from string, port, n, want int) {
	f.t.Helper()
	if got := f.send(from, port, n, want); got != want {
		f.t.Errorf("%s: %d of %d packets of %s to port %d arrive, want %d", what, got, n, from, port, want)
	}
}

func TestBan_DropsCountsAndLifts(t *testing.T) {
	// Proves that a banned address is dropped at the guarded ports alone, that the kernel counts it, and that a lift frees it, v4
	// and v6; a v6 ban is that of the whole /64.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	for _, row := range []struct{ addr, neighbour, stranger string }{{"10.9.0.2", "", "10.9.0.3"}, {"fd09:0:0:1::2", "fd09:0:0:1::3", "fd09:0:0:2::2"}} {
		f.arrives("before", row.addr, guarded, 5, 5)
		f.must(f.table.Ban(ban.Ban{Addr: unit(row.addr), Tier: api.TierUA, Left: time.Hour}))
		f.arrives("banned", row.addr, guarded, 7, 0)
		if row.neighbour != "" {
			f.arrives("banned with its site", row.neighbour, guarded, 3, 0)
		} else {
			f.arrives("another port", row.addr, 5999, 5, 5)
		}
		f.arrives("somebody else", row.stranger, guarded, 5, 5)
		b := f.bans()[unit(row.addr).String()]
		want := int64(7)
		if row.neighbour != "" {
			want = 10
		}
		if b.Tier != api.TierUA || b.Packets != want || b.Left > time.Hour || b.Left < 59*time.Minute {
			t.Errorf("the ban of %s is %+v, want %d packets, tier ua, an hour", row.addr, b, want)
		}
		f.must(f.table.Lift(unit(row.addr), 0))
		f.must(f.table.Lift(unit(row.addr), time.Minute)) // twice is well
		f.arrives("lifted", row.addr, guarded, 5, 5)
	}
	if left := f.bans(); len(left) != 0 {
		t.Errorf("bans are left: %v", left)
	}
}

func TestBan_EndsByItselfAndIsReplaced(t *testing.T) {
	// Proves that a ban ends when its term does, and that another ban of the same address replaces the term, shorter and longer,
	// whatever the kernel does with a refreshed timeout.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	f.must(f.table.Ban(ban.Ban{Addr: unit("10.9.0.2"), Tier: api.TierPike, Left: time.Hour}))
	f.must(f.table.Ban(ban.Ban{Addr: unit("10.9.0.2"), Tier: api.TierNft, Left: 2 * time.Hour}))
	if b := f.bans()["10.9.0.2/32"]; b.Left < 110*time.Minute || b.Tier != api.TierNft {
		t.Fatalf("after a longer ban: %+v", b)
	}
	f.must(f.table.Ban(ban.Ban{Addr: unit("10.9.0.2"), Tier: api.TierPike, Left: 2 * time.Second}))
	f.arrives("banned", "10.9.0.2", guarded, 1, 0)
	for deadline := time.Now().Add(10 * time.Second); f.send("10.9.0.2", guarded, 1, 0) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still banned: %v", f.bans())
		}
	}
	if left := f.bans(); len(left) != 0 {
		t.Errorf("bans are left: %v", left)
	}
}

func TestFlood_IsBannedInTheKernel(t *testing.T) {
	// Proves that the kernel bans a flood by itself behind the burst and says so once; that a known address and one just lifted
	// lose their excess and are not banned, and that nothing of a protected one is dropped.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	f.must(f.table.Protect([]netip.Prefix{netip.MustParsePrefix("10.9.0.4/32"), netip.MustParsePrefix("fd09:0:0:2::/64"), netip.MustParsePrefix("10.9.0.4/30")}))
	f.must(f.table.Known(unit("10.9.0.3")))
	for _, row := range []struct{ what, addr string }{{"v4", "10.9.0.2"}, {"v6", "fd09:0:0:1::2"}} {
		lost := f.flooded(row.what, row.addr)
		if b := f.bans()[unit(row.addr).String()]; b.Tier != api.TierNft || b.Left < 59*time.Minute || b.Packets < int64(lost-100) {
			t.Errorf("%s: the ban of the flood is %+v, %d packets were lost", row.what, b, lost)
		}
		caught, err := f.table.Caught()
		f.must(err)
		if len(caught) != 1 || caught[0] != unit(row.addr) {
			t.Errorf("%s: caught %v, want %s", row.what, caught, unit(row.addr))
		}
		again, err := f.table.Caught()
		f.must(err)
		if len(again) != 0 {
			t.Errorf("%s: caught again %v", row.what, again)
		}
	}
	f.flooded("known", "10.9.0.3")
	f.must(f.table.Lift(unit("10.9.0.2"), time.Minute))
	f.flooded("lifted", "10.9.0.2")
	f.arrives("protected", "10.9.0.4", guarded, 2000, 2000)
	f.arrives("protected", "fd09:0:0:2::2", guarded, 2000, 2000)
	if left := f.bans(); len(left) != 1 {
		t.Errorf("bans %v, want that of the v6 flood alone", left)
	}
	f.must(f.table.Protect(nil))
	f.flooded("no longer protected", "10.9.0.4")
	if _, ok := f.bans()["10.9.0.4/32"]; !ok {
		t.Error("no longer protected, and not banned")
	}
}

func TestBurst_ToAPortOfRTPIsBounded(t *testing.T) {
	// Proves that of a burst to a port of RTP, from whomever, no more arrives than rtpengine reads without giving the port up, that each port has
	// a bound of its own, that others have none, and that nobody is banned for it.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	f.must(f.table.Protect([]netip.Prefix{netip.MustParsePrefix("10.9.0.4/32")}))
	for _, row := range []struct {
		from string
		port int
	}{{"10.9.0.2", 5990}, {"10.9.0.4", 5998}, {"fd09:0:0:1::2", 5994}} {
		began := time.Now()
		got := f.send(row.from, row.port, 2000, ban.RTPBurst-10)
		most := ban.RTPBurst + int(time.Since(began).Seconds()*ban.RTPRate) + 10
		if got < ban.RTPBurst-10 || got > most {
			t.Errorf("%d packets of a burst of %s to port %d arrive, want %d to %d", got, row.from, row.port, ban.RTPBurst, most)
		}
	}
	f.arrives("another port", "10.9.0.2", 5999, 2000, 2000)
	if left := f.bans(); len(left) != 0 {
		t.Errorf("bans %v, want none", left)
	}
}

// flooded sends 1,000 packets at once and expects the burst to arrive, and what the rate lets through meanwhile. It returns how many do not.
func (f *field) flooded(what, from string) (lost int) {
	f.t.Helper()
	began := time.Now()
	got := f.send(from, guarded, 1000, ban.FloodBurst-10)
	most := ban.FloodBurst + int(time.Since(began).Seconds()*ban.FloodRate) + 10
	if got < ban.FloodBurst-10 || got > most {
		f.t.Errorf("%s: %d packets of a flood arrive, want %d to %d", what, got, ban.FloodBurst, most)
	}
	return 1000 - got
}

func TestOpen_KeepsTheBansOfItsFormerSelf(t *testing.T) {
	// Proves that a new process finds the bans of the last one with their rest of time, tier and all, more of them than one message
	// holds, and that what it protects begins anew.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	const many = 3000
	var bans []ban.Ban
	for i := range many {
		bans = append(bans, ban.Ban{Addr: unit(fmt.Sprintf("10.10.%d.%d", i/250, i%250)), Tier: api.TierScore, Left: time.Hour})
	}
	f.must(f.table.Ban(append(bans, bans[:10]...)...)) // some twice
	f.must(f.table.Ban(ban.Ban{Addr: unit("10.9.0.2"), Tier: api.TierUA, Left: 2 * time.Hour}))
	f.must(f.table.Ban(ban.Ban{Addr: unit("fd09:0:0:1::2"), Tier: api.TierOperator, Left: 2 * time.Hour}))
	f.open()
	kept := f.bans()
	if b := kept["10.9.0.2/32"]; len(kept) != many+2 || b.Tier != api.TierUA || b.Left < 119*time.Minute || b.Left > 2*time.Hour {
		t.Errorf("%d bans after the restart, one of them %+v", len(kept), b)
	}
	f.arrives("banned before", "10.9.0.2", guarded, 3, 0)
	f.arrives("banned before", "fd09:0:0:1::3", guarded, 3, 0)
	f.arrives("never banned", "10.9.0.3", guarded, 3, 3)
}

func TestProtect_TakesAFullPolicy(t *testing.T) {
	// Proves that as many prefixes as a policy may have go in at once, again and again.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	var nets []netip.Prefix
	for i := range api.MaxGuardProtected {
		nets = append(nets, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(16 + i>>15), byte(i >> 7), byte(i << 1)}), 32),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 9, 9, byte(i >> 8), byte(i)}), 64))
	}
	nets = append(nets[:api.MaxGuardProtected-1], netip.MustParsePrefix("10.9.0.2/32"))
	for range 3 {
		f.must(f.table.Protect(nets))
	}
	f.arrives("protected", "10.9.0.2", guarded, 2000, 2000)
	f.flooded("not protected", "10.9.0.3")
}

func TestOpen_SaysWhatIsMissing(t *testing.T) {
	// Proves that a process without the capability gets an error that names it, by opening the table as nobody.
	if os.Getenv("BAN_TEST_NOBODY") != "" {
		_, err := ban.Open("sipio_test", []uint16{guarded}, ban.PortRange{})
		if err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") || !strings.Contains(err.Error(), "--ban-table=") {
			t.Fatalf("opened by nobody: %v", err)
		}
		return
	}
	if netns.Reexec(t) {
		return
	}
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^TestOpen_SaysWhatIsMissing$", "-test.v")
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = []string{"BAN_TEST_NOBODY=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("as nobody: %v\n%s", err, out)
	}
}
