package kamailio

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/test/edge"
)

// guardedSite is a site at 10.99.0.1 in a network namespace in which every 10.99.0.x is an address of this machine, and fd99:…::7 and ::8 are
// in each of two networks.
func guardedSite(t *testing.T, more string) *site {
	t.Helper()
	return guardedSiteWith(t, func(path, content string) string {
		if path == "node.cfg" {
			content += more
		}
		return content
	})
}

// guardedSiteWith is guardedSite with an edited configuration.
func guardedSiteWith(t *testing.T, edit func(path, content string) string) *site {
	t.Helper()
	addresses := []string{"10.99.0.1/24", "fd99:0:0:1::1/128", "fd99:0:0:1::7/128", "fd99:0:0:1::8/128", "fd99:0:0:2::7/128"}
	for _, a := range addresses {
		args := []string{"addr", "add", a, "dev", "lo"}
		if strings.Contains(a, ":") {
			args = append(args, "nodad")
		}
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	return startSite(t, edge.Options{IP: "10.99.0.1", Children: 4}, func(path, content string) string {
		if path == "node.cfg" {
			content += "listen=udp:[fd99:0:0:1::1]:5060\n"
		}
		return edit(path, content)
	})
}

// rpc has Kamailio do something, as the node agent does.
func (s *site) rpc(t *testing.T, method string, params ...any) {
	t.Helper()
	if err := s.ask(t, nil, method, params...); err != nil {
		t.Fatalf("%s %v: %v", method, params, err)
	}
}

func (s *site) ask(t *testing.T, into any, method string, params ...any) error {
	t.Helper()
	client, err := kam.Open(s.KamailioSocket, filepath.Join(t.TempDir(), "c.sock"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	return client.Call(context.Background(), method, params, into)
}

// stored is an entry of a table and how many seconds it still lives; "" and 0 when it is not there, -1 when it lives for ever.
func (s *site) stored(t *testing.T, table, key string) (value string, seconds int) {
	t.Helper()
	var got struct {
		Item struct {
			Value   any    `json:"value"`
			Expires string `json:"expire"` // "NEVER" or a local time
		} `json:"item"`
	}
	if err := s.ask(t, &got, "htable.get", table, key); err != nil {
		return "", 0
	}
	end, err := time.ParseInLocation(time.DateTime, got.Item.Expires, time.Local)
	if err != nil {
		return fmt.Sprint(got.Item.Value), -1
	}
	return fmt.Sprint(got.Item.Value), int(time.Until(end).Seconds())
}

// sender sends datagrams from one address and hears what comes back.
type sender struct {
	t    *testing.T
	site *site
	conn net.Conn
	ip   string
}

func (s *site) from(t *testing.T, ip string) *sender {
	t.Helper()
	to := s.SIP
	if strings.Contains(ip, ":") {
		to = "[fd99:0:0:1::1]:5060"
	}
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(ip)}}
	conn, err := d.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &sender{t, s, conn, ip}
}

// request is a request without credentials as a scanner or a phone may write it; what is empty takes the usual value.
type request struct{ method, user, from, agent, callID string }

func (p *sender) send(r request) {
	p.t.Helper()
	or := func(v, usual string) string {
		if v == "" {
			return usual
		}
		return v
	}
	method, user := or(r.method, "OPTIONS"), or(r.user, "100")
	_, err := fmt.Fprintf(p.conn, "%s sip:%s@acme.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: %s;tag=f\r\nTo: <sip:%s@acme.test>\r\n"+
		"Call-ID: %s\r\nCSeq: 1 %s\r\nContact: <sip:x@%[3]s>\r\nUser-Agent: %[10]s\r\nContent-Length: 0\r\n\r\n",
		method, user, p.conn.LocalAddr(), id("b"), or(r.from, "<sip:"+user+"@acme.test>"), user, or(r.callID, id("c")), method, "", or(r.agent, "Phone 1"))
	if err != nil {
		p.t.Fatal(err)
	}
}

// code is the status of the next answer.
func (p *sender) code() int {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 64<<10)
	n, err := p.conn.Read(buf)
	if err != nil {
		p.t.Fatalf("%s hears nothing: %v", p.ip, err)
	}
	code, err := strconv.Atoi(string(buf[:n])[8:11])
	if err != nil {
		p.t.Fatalf("%s hears %q", p.ip, buf[:n])
	}
	return code
}

// silent fails when anything has come back. What Kamailio was sent before it has dealt with: another address asks after it, and is answered.
func (p *sender) silent(s *site) {
	p.t.Helper()
	s.settled(p.t)
	_ = p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	buf := make([]byte, 64<<10)
	if n, err := p.conn.Read(buf); err == nil {
		p.t.Errorf("%s is answered: %.60q", p.ip, buf[:n])
	}
}

// settled waits until Kamailio has dealt with all that was sent so far: each of its processes has been seen to wait for more. That others
// answer what was sent later says nothing of a worker which was interrupted.
func (s *site) settled(t *testing.T) {
	t.Helper()
	probe := s.from(t, "127.0.0.1")
	probe.send(request{})
	if code := probe.code(); code != 200 {
		t.Fatalf("OPTIONS from loopback: %d", code)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.Kamailio.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(children)) {
		eventually(t, "process "+pid+" of Kamailio to wait", func() error {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			if _, state, _ := strings.Cut(string(stat), ") "); err == nil && !strings.HasPrefix(state, "S") {
				return fmt.Errorf("it is in state %.1s", state)
			}
			return nil
		})
	}
}

// answered sends an OPTIONS and tells whether it is answered.
func (p *sender) answered() {
	p.t.Helper()
	p.send(request{})
	if code := p.code(); code != 200 {
		p.t.Errorf("%s: OPTIONS is answered %d", p.ip, code)
	}
}

// dropped sends an OPTIONS and fails when it is answered.
func (p *sender) dropped(s *site) {
	p.t.Helper()
	p.send(request{})
	p.silent(s)
}

// expectLine waits for the line about an address that has these values, and fails when it has other fields.
func (d *door) expectLine(t *testing.T, want map[string]string) url.Values {
	t.Helper()
	var found url.Values
	eventually(t, fmt.Sprint("a line with ", want), func() error {
		for _, line := range d.guardLines(want["addr"]) {
			same := true
			for name, value := range want {
				same = same && line.Get(name) == value
			}
			if same {
				found = line
				return nil
			}
		}
		return fmt.Errorf("not among %v", d.guardLines(want["addr"]))
	})
	names := []string{"type", "time_ms", "addr", "aor"}
	if want["type"] == "offence" {
		names = []string{"type", "time_ms", "addr", "tier", "kind", "count", "known", "proven", "term", "evidence"}
	}
	for _, name := range names {
		if len(found[name]) != 1 {
			t.Errorf("%v has no %s", found, name)
		}
	}
	if len(found) != len(names) {
		t.Errorf("%v has other fields than %v", found, names)
	}
	if ms, err := strconv.ParseInt(found.Get("time_ms"), 10, 64); err != nil || time.Since(time.UnixMilli(ms)).Abs() > time.Minute {
		t.Errorf("time_ms %q is not now", found.Get("time_ms"))
	}
	return found
}

// guardLines are the lines about an address so far.
func (d *door) guardLines(addr string) []url.Values {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []url.Values
	for _, line := range d.guard {
		if line.Get("addr") == addr {
			out = append(out, line)
		}
	}
	return out
}

// linesOf are the lines about an address, when those of all that was done so far have come: they come in their order, and the one about
// another address that offends now is behind them.
func (s *site) linesOf(t *testing.T, addr string) []url.Values {
	t.Helper()
	s.settled(t)
	s.marks++
	p := s.from(t, fmt.Sprintf("10.99.0.%d", 255-s.marks))
	p.send(request{agent: "friendly-scanner"})
	s.door.expectLine(t, map[string]string{"type": "offence", "addr": p.ip, "kind": "scanner"})
	return s.door.guardLines(addr)
}

// hears tells whether an answer comes. None does when there is none behind what Kamailio was sent before.
func (p *sender) hears() bool {
	p.t.Helper()
	buf := make([]byte, 64<<10)
	for _, wait := range []func(*testing.T){func(*testing.T) {}, p.site.settled} {
		wait(p.t)
		_ = p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := p.conn.Read(buf); err == nil {
			return true
		}
	}
	return false
}

// sendsAndHearsNothing sends one request that must not be answered.
func (p *sender) sendsAndHearsNothing(s *site, r request) {
	p.t.Helper()
	p.send(r)
	p.silent(s)
}

// isClosed is an error until the other side has closed the connection.
func (p *set) isClosed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		return fmt.Errorf("%s is open", p.local)
	}
	return nil
}
