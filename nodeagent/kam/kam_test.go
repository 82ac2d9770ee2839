package kam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const kamailioCfg = `#!KAMAILIO
debug=1
log_stderror=yes
children=1
listen=udp:%s
auto_aliases=no
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "dialog.so"
loadmodule "htable.so"
loadmodule "jsonrpcs.so"
modparam("htable", "htable", "shared=>size=4;autoexpire=7200;")
modparam("jsonrpcs", "transport", 4)
modparam("jsonrpcs", "dgram_socket", "%s")
request_route {
	if (is_method("REGISTER")) { save("location"); exit; }
	t_newtran();
	dlg_manage();
	if ($rU == "b") $dlg_var(call) = $_s(account_id=acc_1&token=tok$(ci{s.md5})&from=$(fu{s.urlencode.param})&to=$(ru{s.urlencode.param}));
	$shv(boot) = "" + $Tb + "-" + $pp;
	$du = "sip:127.0.0.1:%d";
	t_relay();
}
`

// phone is the test's SIP side: one UDP socket that sends requests and is the callee who never
// answers.
type phone struct {
	conn  net.PacketConn
	proxy net.Addr
}

// startKamailio runs a real Kamailio on a free loopback port until the test ends.
func startKamailio(t *testing.T) (socket string, p phone) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kam") // t.TempDir is too long for a socket path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	callee, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = callee.Close() })
	proxy := freeAddr(t)
	socket = filepath.Join(dir, "kam.sock")
	cfg := filepath.Join(dir, "kamailio.cfg")
	text := fmt.Sprintf(kamailioCfg, proxy, socket, callee.LocalAddr().(*net.UDPAddr).Port)
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("kamailio", "-f", cfg, "-x", "tlsf", "-X", "tlsf", "-DD", "-E", "-w", dir, "-Y", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start kamailio (install Debian's kamailio): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("kamailio said:\n%s", &log)
		}
	})
	eventually(t, "kamailio's socket is there", func() bool { _, err := os.Stat(socket); return err == nil })
	c, err := Open(socket, filepath.Join(dir, "start.sock"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "kamailio answers", func() bool { _, err := c.DialogStats(t.Context()); return err == nil }) // it has bound its port for SIP before
	return socket, phone{callee, proxy}
}

// freeAddr is a loopback address that is nobody else's with a free port: one of 127.0.0.1 may be somebody's by the time that it is bound.
func freeAddr(t *testing.T) net.Addr {
	t.Helper()
	l, err := net.ListenPacket("udp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.LocalAddr()
}

// invite makes Kamailio begin a dialog with that Call-ID, which rings nowhere.
func (p phone) invite(t *testing.T, callID string) {
	p.send(t, "INVITE", callID, "Contact: <sip:a@127.0.0.1>\r\n")
}

func (p phone) send(t *testing.T, method, callID, more string) {
	t.Helper()
	msg := fmt.Sprintf("%s sip:b@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%x\r\nMax-Forwards: 70\r\n"+
		"From: <sip:a@x>;tag=f\r\nTo: <sip:a@x>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\n%sContent-Length: 0\r\n\r\n",
		method, p.conn.LocalAddr(), callID, callID, method, more)
	if _, err := p.conn.WriteTo([]byte(msg), p.proxy); err != nil {
		t.Fatal(err)
	}
}

func openClient(t *testing.T, server string, timeout time.Duration) *Client {
	t.Helper()
	c, err := Open(server, filepath.Join(filepath.Dir(server), "client.sock"), timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// eventually calls ask until it says true; a daemon needs a moment to take what it was sent.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ask(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// Everything the node agent asks is answered by a real Kamailio as this package reads it: version,
// uptime, dialogs by number and by Call-ID, contacts, and refusals.
func TestClient_AsksARealKamailio(t *testing.T) {
	socket, phone := startKamailio(t)
	c, ctx := openClient(t, socket, 5*time.Second), t.Context()
	if v, err := c.Version(ctx); err != nil || !strings.HasPrefix(v, "kamailio 5.") {
		t.Errorf("Version: %q, %v", v, err)
	}
	if up, err := c.Uptime(ctx); err != nil || up < 0 || up > time.Minute {
		t.Errorf("Uptime: %v, %v", up, err)
	}
	if s, err := c.DialogStats(ctx); err != nil || s != (DialogStats{}) {
		t.Errorf("DialogStats of an idle Kamailio: %+v, %v", s, err)
	}
	var kamError *Error
	if err := c.Call(ctx, "no.such", nil, nil); !errors.As(err, &kamError) || kamError.Code != 500 {
		t.Errorf("unknown method: %v, want Kamailio's error", err)
	}
	calls := []string{"plain@x", `quoted"\<&>@x`, "12345"}
	for _, id := range calls {
		phone.invite(t, id)
	}
	phone.send(t, "REGISTER", "reg@x", "Contact: <sip:a@127.0.0.1:9>;expires=60\r\n")
	eventually(t, "the dialogs are there", func() bool {
		s, err := c.DialogStats(ctx)
		return err == nil && s.Starting == len(calls) && s.All == len(calls)
	})
	for _, id := range calls {
		if has, err := c.HasDialog(ctx, id); err != nil || !has {
			t.Errorf("HasDialog(%q): %v, %v; want true", id, has, err)
		}
	}
	if has, err := c.HasDialog(ctx, "other@x"); err != nil || has {
		t.Errorf("HasDialog of an unknown call: %v, %v; want false", has, err)
	}
	eventually(t, "the contact is counted", func() bool { n, err := c.Contacts(ctx); return err == nil && n == 1 })
}

// An answer larger than a datagram never comes: the call times out, and Kamailio answers the next request as
// if nothing had been. The same dialogs come whole by a Lister.
func TestClient_SurvivesAnAnswerLargerThanADatagram(t *testing.T) {
	socket, phone := startKamailio(t)
	c, ctx := openClient(t, socket, 2*time.Second), t.Context()
	const many = 500
	for i := range many {
		phone.invite(t, fmt.Sprintf("call%d@x", i))
		if i%50 == 49 { // one UDP worker: let it take them
			eventually(t, "the dialogs are there", func() bool { s, err := c.DialogStats(ctx); return err == nil && s.All == i+1 })
		}
	}
	var all []any
	if err := c.Call(ctx, "dlg.list", nil, &all); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("dlg.list: %v with %d dialogs, want a timeout", err, len(all))
	}
	c.timeout = 10 * time.Second
	if _, err := c.Version(ctx); err != nil {
		t.Errorf("after it: %v", err)
	}
	list, err := NewLister(c, socket+".dialogs").Dialogs(ctx)
	ids := map[string]bool{}
	for _, d := range list {
		ids[d.CallID] = true
	}
	if err != nil || len(list) != many || len(ids) != many {
		t.Errorf("list of %d dialogs: %d, %d Call-IDs, %v", many, len(list), len(ids), err)
	}
}

// fakeKamailio answers each request with what say makes of it.
func fakeKamailio(t *testing.T, say func(conn *net.UnixConn, from *net.UnixAddr, request string)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kam")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFromUnix(buf)
			if err != nil {
				return
			}
			say(conn, from, string(buf[:n]))
		}
	}()
	return path
}

// Answers to earlier requests, garbage, and datagrams from any other socket are skipped; only the
// answer with the request's id, from Kamailio's socket, counts.
func TestClient_SkipsStaleAndForeignAnswers(t *testing.T) {
	stranger, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	server := fakeKamailio(t, func(conn *net.UnixConn, from *net.UnixAddr, request string) {
		id := request[strings.Index(request, `"id":`)+5 : strings.LastIndex(request, "}")]
		_, _ = stranger.WriteToUnix(fmt.Appendf(nil, `{"jsonrpc":"2.0","result":"forged","id":%s}`, id), from)
		for _, answer := range []string{`{"result":"stale","id":1}`, "garbage", "", fmt.Sprintf(`{"result":"right","id":%s}`, id)} {
			_, _ = conn.WriteToUnix([]byte(answer), from)
		}
	})
	c := openClient(t, server, 5*time.Second)
	if got, err := c.Version(t.Context()); err != nil || got != "right" {
		t.Errorf("got %q, %v; want the answer with this id from Kamailio", got, err)
	}
}

// A Kamailio that is silent, away or given up on costs the timeout at most and an error.
func TestClient_EndsWithoutAnAnswer(t *testing.T) {
	silent := fakeKamailio(t, func(*net.UnixConn, *net.UnixAddr, string) {})
	c := openClient(t, silent, 50*time.Millisecond)
	if _, err := c.Version(t.Context()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("silent: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	slow := openClient(t, silent, time.Hour)
	if _, err := slow.Version(ctx); err == nil {
		t.Error("a cancelled call was answered")
	}
	_ = os.Remove(silent)
	if _, err := c.Version(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("away: %v", err)
	}
}

// The client's socket is gone after Close, and one left by a crash does not stop the next start.
func TestOpen_ReplacesAndRemovesItsSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Open("/nowhere", path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket after Close: %v", err)
	}
}
