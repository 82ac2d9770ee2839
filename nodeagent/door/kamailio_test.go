package door

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// One worker, which asks the door for every OPTIONS and answers with what it heard.
const kamailioCfg = `#!KAMAILIO
debug=1
log_stderror=yes
children=1
listen=udp:%s
auto_aliases=no
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "http_client.so"
modparam("http_client", "httpcon", "door=>http://%s")
modparam("http_client", "keep_connections", 1)
modparam("http_client", "connection_timeout", 1)
request_route {
	if (is_method("INFO")) {
		sl_send_reply("200", "Up");
		exit;
	}
	$var(res) = "";
	$var(q) = $_s(call_id=$(ci{s.urlencode.param})&cseq=$cs&branch=b&from=$(fU{s.urlencode.param}));
	http_connect("door", "/auth", "application/x-www-form-urlencoded", "$var(q)", "$var(res)");
	$var(code) = $rc;
	append_to_reply("X-Answer: $var(code) $var(res)\r\n");
	sl_send_reply("200", "OK");
}
`

// The real http_client of Kamailio understands the door: its form arrives byte for byte, and a frozen brain costs the worker one stall time, after which it is free again.
func TestServe_IsUnderstoodByKamailio(t *testing.T) {
	var frozen atomic.Bool
	release := make(chan struct{})
	asked := make(chan string, 10)
	brain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if frozen.Load() {
			<-release
			return
		}
		body, _ := io.ReadAll(r.Body)
		asked <- string(body)
		_, _ = io.WriteString(w, accepted)
	}))
	defer brain.Close()
	defer close(release)
	addr, d := serveDoor(t, usual, brain.URL)
	ask := startKamailio(t, addr)
	for i := range 3 {
		if got := ask(fmt.Sprintf("call-%d", i)); got != "200 "+accepted {
			t.Fatalf("answer %q, want the brain's", got)
		}
	}
	if want := "call_id=call-0%40x&cseq=1&branch=b&from=o%27%c3%a9"; len(asked) != 3 {
		t.Errorf("brain was asked %d times, want 3", len(asked))
	} else if got := <-asked; got != want {
		t.Errorf("brain was asked %q, want %q", got, want)
	}
	frozen.Store(true)
	var took []time.Duration
	for i := range 6 {
		start := time.Now()
		got := ask(fmt.Sprintf("frozen-%d", i)) // the first within the second after which Kamailio gives up
		if took = append(took, time.Since(start)); !strings.HasPrefix(got, `200 {"action":"reject","sip_code":503`) {
			t.Errorf("question %d of a frozen brain: %q after %v", i, got, took)
		}
	}
	if quickest := slices.Min(took[1:]); quickest > DefaultConfig().StallAfter/2 {
		t.Errorf("answered after %v, want no stall time after the first", took)
	}
	if s := d.Stats(); s.Decisions != 9 || s.Fallbacks != 6 {
		t.Errorf("stats %+v, want 9 decisions and 6 fallbacks", s)
	}
}

// startKamailio runs a real Kamailio in front of the door and returns a function that sends it one
// request and returns what it heard from the door.
func startKamailio(t *testing.T, door string) (ask func(callID string) string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	// An address of its own: a port of 127.0.0.1 may be somebody's by the time that Kamailio binds it.
	free, err := net.ListenPacket("udp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil {
		t.Fatal(err)
	}
	proxy := free.LocalAddr()
	_ = free.Close()
	dir := t.TempDir()
	cfg := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(cfg, fmt.Appendf(nil, kamailioCfg, proxy, door), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("kamailio", "-f", cfg, "-x", "tlsf", "-X", "tlsf", "-DD", "-E", "-w", dir, "-Y", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start kamailio (install Debian's kamailio and kamailio-utils-modules): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("kamailio said:\n%s", &log)
		}
	})
	send := func(method, callID string) {
		t.Helper()
		msg := fmt.Sprintf("%s sip:x SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s\r\nFrom: <sip:o'\xc3\xa9@x>;tag=f\r\nTo: <sip:b@x>\r\n"+
			"Call-ID: %s@x\r\nCSeq: 1 %[1]s\r\nMax-Forwards: 9\r\nContent-Length: 0\r\n\r\n", method, conn.LocalAddr(), callID, callID)
		if _, err := conn.WriteTo([]byte(msg), proxy); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 4096)
	receive := func(callID string, deadline time.Time) (answer string, ok bool) {
		_ = conn.SetReadDeadline(deadline)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return "", false
			}
			if strings.Contains(string(buf[:n]), "Call-ID: "+callID+"@x\r\n") {
				return string(buf[:n]), true
			}
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		send("INFO", "up")
		if _, up := receive("up", time.Now().Add(100*time.Millisecond)); up {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("kamailio does not come up")
		}
	}
	return func(callID string) string {
		t.Helper()
		send("OPTIONS", callID)
		got, ok := receive(callID, time.Now().Add(20*time.Second))
		if !ok {
			t.Fatal("kamailio does not answer")
		}
		_, rest, _ := strings.Cut(got, "X-Answer: ")
		answer, _, _ := strings.Cut(rest, "\r\n")
		return answer
	}
}
