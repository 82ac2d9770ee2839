package kamailio

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
)

// A trunk that is known by its address connects from any port: what comes later for it goes to its Contact, on a connection of the edge's own when
// the trunk has closed its own. A phone at the same port, whom nobody knows, is still called where it came from.
func TestTrunkNAT_ContactIsCalledNotTheConnection(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 4}, nil)
	s.trunks(t, "1 127.0.0.9")
	l, err := net.Listen("tcp", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		m, _ := readStream(bufio.NewReader(c))
		got <- string(m)
		_, _ = c.Read(make([]byte, 1))
	}()
	b := registered(t, s, "udp", user("b"))
	trunk := newSetAt(t, s, "tcp", user("trunk"), addressOf("127.0.0.9"))
	trunk.local = l.Addr().String() // Via and Contact name its listener
	s.door.obey(trunk.user, ring(to(1, b.user)))
	call := trunk.newCall("+4930100")
	call.body = sdp(40000)
	call.open()
	invite := b.request("INVITE")
	if strings.Contains(invite.Header("Contact"), "alias") {
		t.Errorf("the phone is told %s", invite.Header("Contact"))
	}
	callee := b.answer(invite, sdp(40002))
	call.up()
	b.request("ACK")
	trunk.conn.Close()
	callee.ask("BYE", "")
	select {
	case m := <-got:
		if !strings.HasPrefix(m, "BYE sip:"+trunk.user+"@"+trunk.local) {
			t.Errorf("the trunk gets %.80q", m)
		}
	case <-time.After(8 * time.Second):
		t.Error("the trunk gets no BYE")
	}
}

// Answers go where Via says when a trunk asks for nothing else (RFC 3261 section 18.2.2), to where it sent from when it does (RFC 3581), and to
// strangers always.
func TestTrunkNAT_AnswersGoWhereViaSays(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 4}, nil)
	s.trunks(t, "1 127.0.0.9")
	for _, c := range []struct {
		ip, rport string
		there     bool // at the address in Via
	}{{"127.0.0.9", "", true}, {"127.0.0.9", ";rport", false}, {"127.0.0.10", "", false}} {
		l, err := net.ListenPacket("udp", c.ip+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		trunk := newSetAt(t, s, "udp", user("trunk"), addressOf(c.ip))
		trunk.local = l.LocalAddr().String()
		s.door.obey(trunk.user, reject(404, "Not Found", 0))
		trunk.send(strings.Replace(trunk.newCall("+4930100").write(2, ""), ";rport", c.rport, 1))
		if !c.there {
			trunk.expect("the answer", func(m *message) bool { return m.Code >= 400 })
			continue
		}
		buf := make([]byte, 4096)
		_ = l.SetReadDeadline(time.Now().Add(8 * time.Second))
		if n, _, err := l.ReadFrom(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "SIP/2.0 ") {
			t.Errorf("%s%s: %.80q %v", c.ip, c.rport, buf[:n], err)
		}
	}
}
