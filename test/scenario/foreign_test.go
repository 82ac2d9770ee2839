package scenario

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
)

// Phones that nobody here wrote: sipsak and sipp register and call, baresip registers, is called and is heard.

// sipsak registers with the right password and is refused with a wrong one.
func TestForeign_SipsakRegisters(t *testing.T) {
	tails(t, node)
	for _, c := range []struct {
		password string
		exit     int
	}{{"secret-1001", 0}, {"wrong", 1}} {
		ctx := within(t, 20*time.Second)
		out, err := exec.CommandContext(ctx, "sipsak", "-U", "-n", "-s", "sip:1001@acme.test", "--outbound-proxy", node.SIP,
			"-C", "sip:1001@127.0.0.1:9", "-x", "5", "-a", c.password, "-vv").CombinedOutput()
		if code := exitCode(err); (code == 0) != (c.exit == 0) {
			t.Errorf("password %s: exit %d\n%s", c.password, code, out)
		}
	}
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return -1
}

// sipp registers, answers and calls with its own digest code: 20 calls, none fails.
func TestForeign_SippCalls(t *testing.T) {
	tails(t, node)
	ctx := within(t, 40*time.Second)
	dir := t.TempDir()
	port := freeUDP(t)
	scenarios := filepath.Join(edge.Root(), "test", "bench", "sipp")
	sipp := func(table, scenario string, args ...string) *exec.Cmd {
		path := filepath.Join(dir, fmt.Sprintf("%d.csv", time.Now().UnixNano()))
		if err := os.WriteFile(path, []byte("SEQUENTIAL\n"+table+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{node.SIP, "-sf", filepath.Join(scenarios, scenario), "-inf", path, "-i", "127.0.0.1", "-nostdin", "-timeout", "20"}, args...)
		cmd := exec.CommandContext(ctx, "sipp", args...)
		cmd.Dir = dir
		return cmd
	}
	callee := "1002;acme.test;[authentication username=1002 password=secret-1002];1002"
	if out, err := sipp(callee, "register.xml", "-p", port, "-m", "1").CombinedOutput(); err != nil {
		t.Fatalf("register: %v\n%s", err, out)
	}
	answer := sipp(callee, "answer.xml", "-p", port, "-m", "20")
	if err := answer.Start(); err != nil {
		t.Fatal(err)
	}
	caller := "1001;acme.test;[authentication username=1001 password=secret-1001];1002"
	if out, err := sipp(caller, "call.xml", "-p", freeUDP(t), "-m", "20", "-r", "20").CombinedOutput(); err != nil {
		t.Errorf("call: %v\n%s", err, out)
	}
	if err := answer.Wait(); err != nil {
		t.Errorf("answer: %v", err)
	}
	out, err := sipp(callee, "unregister.xml", "-p", port, "-m", "1").CombinedOutput()
	if err != nil {
		t.Errorf("unregister: %v\n%s", err, out)
	}
}

func freeUDP(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return fmt.Sprint(c.LocalAddr().(*net.UDPAddr).Port)
}

// baresip registers over each of UDP, TCP and TLS, answers by itself and plays a tone of 500 Hz, which the
// calling phone hears; with a wrong password it is refused.
func TestForeign_BaresipIsHeard(t *testing.T) {
	tails(t, node)
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			ctx := within(t, 40*time.Second)
			alice := registered(t, node, "1001")
			log := baresip(t, ctx, transport, "secret-1002")
			eventually(t, ctx, "baresip to register", func() error { return logged(log, "200 OK") })
			call, err := alice.Call(ctx, "1002")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := call.HearTone(ctx, 500); err != nil {
				t.Errorf("baresip is not heard: %v", err)
			}
			if err := call.Bye(ctx); err != nil {
				t.Errorf("BYE: %v", err)
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		log := baresip(t, ctx, "udp", "wrong")
		eventually(t, ctx, "baresip to be refused", func() error { return logged(log, "403 Forbidden") })
	})
}

func logged(path, what string) error {
	b, err := os.ReadFile(path)
	if err == nil && !strings.Contains(string(b), what) {
		err = fmt.Errorf("%q is not in\n%s", what, b)
	}
	return err
}

// baresip starts a baresip as 1002 and returns the path of what it prints.
func baresip(t *testing.T, ctx context.Context, transport, password string) string {
	t.Helper()
	dir := t.TempDir()
	proxy := map[string]string{"udp": node.SIP, "tcp": node.SIP, "tls": node.TLS}[transport]
	files := map[string]string{
		"config": `sip_listen 127.0.0.1:0
sip_verify_server no
audio_player aufile,` + dir + `/heard.wav
audio_source ausine,500
audio_alert aufile,/dev/null
net_interface lo
module_path /usr/lib/baresip/modules
module stdio.so
module g711.so
module ausine.so
module aufile.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
`,
		"accounts": fmt.Sprintf("<sip:1002@acme.test>;auth_user=1002;auth_pass=%s;outbound=\"sip:%s;transport=%s\";answermode=auto;regint=60;audio_codecs=pcmu\n", password, proxy, transport),
		"contacts": "\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "baresip", "-f", dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start baresip: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // unregisters
		_ = cmd.Wait()
		log.Close()
	})
	return log.Name()
}
