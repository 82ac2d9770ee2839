package kamailio

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
)

// get sends a WebSocket handshake over a connection and returns the status, 0 when the connection was closed
// without one; without = a header that is left out.
func get(t *testing.T, conn net.Conn, path, subprotocol string) int {
	t.Helper()
	defer conn.Close()
	proto := ""
	if subprotocol != "" {
		proto = "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: acme.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: https://acme.test\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n", path, proto)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// A WebSocket is opened on the WSS listener with the subprotocol sip and nowhere else: the TLS and the TCP port
// for SIP refuse it, and so does the WSS port without the subprotocol. Any path will do.
func TestWebSocket_OnlyOnItsPortAndWithItsSubprotocol(t *testing.T) {
	t.Parallel()
	dial := func(addr string, secure bool) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if secure {
			return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // the node's certificate is self-signed
		}
		return conn
	}
	for _, c := range []struct {
		name, addr, path, subprotocol string
		secure                        bool
		want                          []int
	}{
		{"its port", shared.WSS, "/", "sip", true, []int{101}},
		{"any path", shared.WSS, "/ws/sip?x=1", "sip", true, []int{101}},
		{"no subprotocol", shared.WSS, "/", "", true, []int{400, 404}},
		{"another subprotocol", shared.WSS, "/", "xmpp", true, []int{400, 404}},
		{"TLS port", shared.TLS, "/", "sip", true, []int{403}},
		{"TCP port", shared.SIP, "/", "sip", false, []int{403}},
		{"WSS port without TLS", shared.WSS, "/", "sip", false, []int{0}},
	} {
		if got := get(t, dial(c.addr, c.secure), c.path, c.subprotocol); !slices.Contains(c.want, got) {
			t.Errorf("%s: %d, want %v", c.name, got, c.want)
		}
	}
}

// With WITH_SIPTRACE defined, the messages of a call are mirrored to the collector in HEP version 3; without it the
// same collector hears nothing.
func TestTrace_MirrorsACallOnlyWhenSwitchedOn(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			t.Parallel()
			collector, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer collector.Close()
			s := startSite(t, edge.Options{Children: 2}, func(path, content string) string {
				if path != "node.cfg" {
					return content
				}
				content += "#!substdef \"!HEP_URI!sip:" + collector.LocalAddr().String() + "!g\"\n"
				if on {
					content += "#!define WITH_SIPTRACE\n"
				}
				return content
			})
			a, b := registered(t, s, "udp", user("a")), registered(t, s, "udp", user("b"))
			caller, callee, _ := connect(t, s, a, b)
			hangUp(t, caller, callee)
			want := []string{"REGISTER sip:", "INVITE sip:", "SIP/2.0 200", "BYE sip:"}
			wait := patience
			if !on {
				want, wait = nil, 300*time.Millisecond
			}
			_ = collector.SetReadDeadline(time.Now().Add(wait))
			buf, heard := make([]byte, 64<<10), 0
			for len(want) > 0 || !on {
				n, _, err := collector.ReadFrom(buf)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				heard++
				if !strings.HasPrefix(string(buf[:n]), "HEP3") {
					t.Fatalf("no HEP3: %q", buf[:n])
				}
				want = slices.DeleteFunc(want, func(w string) bool { return strings.Contains(string(buf[:n]), w) })
			}
			if len(want) > 0 || !on && heard > 0 {
				t.Errorf("switched on: %t; heard %d packets, missing %q", on, heard, want)
			}
		})
	}
}

// Kamailio answers JSON-RPC on its unix socket, which only its own user may use.
func TestControl_JSONRPCOnItsUnixSocket(t *testing.T) {
	t.Parallel()
	own := filepath.Join(t.TempDir(), "own.sock")
	conn, err := net.DialUnix("unixgram", &net.UnixAddr{Name: own, Net: "unixgram"}, &net.UnixAddr{Name: shared.KamailioSocket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(`{"jsonrpc":"2.0","method":"core.version","id":42}`)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		ID     int    `json:"id"`
		Result string `json:"result"`
	}
	if err := json.Unmarshal(buf[:n], &answer); err != nil || answer.ID != 42 || !strings.Contains(answer.Result, "kamailio") {
		t.Errorf("answer %s (%v)", buf[:n], err)
	}
	for _, path := range []string{shared.KamailioSocket, shared.KamailioSocket + ".ctl"} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v, want nobody else to be let in", filepath.Base(path), info.Mode(), err)
		}
	}
}

// Kamailio takes requests from the network on its four SIP listeners and nowhere else: no control port, no other
// UDP socket that is open to everybody.
func TestControl_NoPortButTheSIPListeners(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 2}, nil)
	want := []string{"tcp " + s.SIP, "tcp " + s.TLS, "tcp " + s.WSS, "udp " + s.SIP}
	slices.Sort(want)
	// Kamailio's process for TCP is the last to start.
	eventually(t, "Kamailio to listen", func() error {
		got, err := listeners(s.Kamailio.PID())
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("on %q, want %q", got, want)
		}
		return err
	})
}
