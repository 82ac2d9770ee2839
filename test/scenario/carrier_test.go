package scenario

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/test/netns"
)

// registrar is a carrier that phones register with: it challenges every REGISTER with MD5, keeps the bindings of one
// address of record, and answers OPTIONS. Whoever registers is remembered with the time.
type registrar struct {
	conn           net.PacketConn
	user, password string

	mu       sync.Mutex
	bindings map[string]time.Time // Contact URI → its end
	history  []string             // bindings after each accepted REGISTER
	most     int                  // bindings there ever were at a time
	options  map[string]int       // by source address
	silent   bool
	peer     net.Addr // who takes its calls; nil = nobody does
}

// startRegistrar listens on a free port of ip, in a namespace.
func startRegistrar(t *testing.T, ns *netns.NS, ip, user, password string) *registrar {
	t.Helper()
	conn, err := ns.ListenUDP(ip + ":0")
	if err != nil {
		t.Fatal(err)
	}
	r := &registrar{conn: conn, user: user, password: password, bindings: map[string]time.Time{}, options: map[string]int{}}
	done := make(chan struct{})
	go func() { defer close(done); r.serve() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return r
}

// takes has a phone take the calls.
func (r *registrar) takes(t *testing.T, c *carrier) {
	t.Helper()
	at, err := net.ResolveUDPAddr("udp", c.address())
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peer = at
}

func (r *registrar) addr() string { return r.conn.LocalAddr().String() }

func (r *registrar) serve() {
	buf := make([]byte, 16<<10)
	for {
		n, from, err := r.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		head, _, _ := strings.Cut(string(buf[:n]), "\r\n\r\n")
		lines := strings.Split(head, "\r\n")
		method, _, _ := strings.Cut(lines[0], " ")
		r.mu.Lock()
		switch {
		case r.silent:
		case r.peer != nil && method != "REGISTER" && method != "OPTIONS":
			r.relay(buf[:n], lines, from)
		default:
			r.answer(method, lines, from)
		}
		r.mu.Unlock()
	}
}

// answer answers one request. Caller holds r.mu.
func (r *registrar) answer(method string, lines []string, from net.Addr) {
	switch method {
	case "OPTIONS":
		r.options[from.String()]++
		r.reply(lines, from, "200 OK", "")
	case "REGISTER":
		if !r.proves(lines) {
			r.reply(lines, from, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"carrier.test\", nonce=\"abc123\", algorithm=MD5\r\n")
			return
		}
		r.bind(lines)
		more := ""
		for uri, until := range r.bindings {
			more += fmt.Sprintf("Contact: <%s>;expires=%d\r\n", uri, int(time.Until(until).Seconds()))
		}
		r.reply(lines, from, "200 OK", more)
	}
}

// relay passes a request on to the peer, and its answer back to who sent it. Caller holds r.mu.
func (r *registrar) relay(packet []byte, lines []string, from net.Addr) {
	if from.String() != r.peer.String() {
		// It is to answer here (RFC 3581).
		_, _ = r.conn.WriteTo(bytes.Replace(packet, []byte(";branch="), []byte(";rport;branch="), 1), r.peer)
		return
	}
	for _, via := range values(lines, "Via")[:1] {
		sent, _, _ := strings.Cut(strings.TrimPrefix(via, "SIP/2.0/UDP "), ";")
		if to, err := net.ResolveUDPAddr("udp", sent); err == nil {
			_, _ = r.conn.WriteTo(packet, to)
		}
	}
}

// bind does what a REGISTER says, as one step.
func (r *registrar) bind(lines []string) {
	for _, value := range values(lines, "Contact") {
		uri, params, _ := strings.Cut(strings.TrimPrefix(value, "<"), ">")
		sec, _ := strconv.Atoi(strings.TrimPrefix(params, ";expires="))
		if sec == 0 {
			delete(r.bindings, uri)
			continue
		}
		r.bindings[uri] = time.Now().Add(time.Duration(sec) * time.Second)
	}
	maps.DeleteFunc(r.bindings, func(_ string, until time.Time) bool { return time.Now().After(until) })
	r.most = max(r.most, len(r.bindings))
	r.history = append(r.history, strings.Join(slices.Sorted(maps.Keys(r.bindings)), " "))
}

func values(lines []string, name string) (found []string) {
	for _, l := range lines {
		if n, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(n, name) {
			found = append(found, strings.TrimSpace(v))
		}
	}
	return found
}

// proves checks the digest of a request (RFC 2617 without qop).
func (r *registrar) proves(lines []string) bool {
	given := values(lines, "Authorization")
	if len(given) != 1 {
		return false
	}
	field := map[string]string{}
	for part := range strings.SplitSeq(strings.TrimPrefix(given[0], "Digest "), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		field[name] = strings.Trim(value, `"`)
	}
	sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
	want := sum(sum(r.user+":carrier.test:"+r.password) + ":abc123:" + sum("REGISTER:"+field["uri"]))
	return field["username"] == r.user && field["nonce"] == "abc123" && field["response"] == want
}

func (r *registrar) reply(lines []string, to net.Addr, status, more string) {
	reply := "SIP/2.0 " + status + "\r\n"
	for _, l := range lines[1:] {
		switch name, _, _ := strings.Cut(l, ":"); name {
		case "Via", "From", "Call-ID", "CSeq":
			reply += l + "\r\n"
		case "To":
			reply += l + ";tag=carrier\r\n"
		}
	}
	_, _ = r.conn.WriteTo([]byte(reply+more+"Content-Length: 0\r\n\r\n"), to)
}

// bound lists what is registered now, and the most there ever was at a time.
func (r *registrar) bound() (contacts string, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.bindings, func(_ string, until time.Time) bool { return time.Now().After(until) })
	return strings.Join(slices.Sorted(maps.Keys(r.bindings)), " "), r.most
}
