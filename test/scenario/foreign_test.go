package scenario

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
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

// sipsak registers with the right password and is refused with a wrong one. It looks its domain up as a host, so
// its account has the node's address as a domain.
func TestForeign_SipsakRegisters(t *testing.T) {
	tails(t, node)
	for _, c := range []struct {
		password string
		exit     int
	}{{"secret-1020", 0}, {"wrong", 1}} {
		ctx := within(t, 20*time.Second)
		out, err := exec.CommandContext(ctx, "sipsak", "-U", "-n", "-i", "-H", "127.0.0.1", "-s", "sip:1020@"+node.SIP,
			"-C", "sip:1020@127.0.0.1:9", "-x", "5", "-u", "1020", "-a", c.password, "-vv").CombinedOutput()
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
	ports, err := edge.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(ports[0])
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
				said, _ := os.ReadFile(log)
				t.Fatalf("%v\n%s", err, said)
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

// wav is a tone as a WAV file: PCM, mono, 8 kHz, 16 bits.
func wav(hz float64, d time.Duration) string {
	const rate = 8000
	n := uint32(d.Seconds() * rate)
	b := []byte("RIFF    WAVEfmt ")
	binary.LittleEndian.PutUint32(b[4:], 36+2*n)
	for _, v := range []any{uint32(16), uint16(1), uint16(1), uint32(rate), uint32(2 * rate), uint16(2), uint16(16)} {
		b, _ = binary.Append(b, binary.LittleEndian, v)
	}
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, 2*n)
	for i := range n {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(8000*math.Sin(2*math.Pi*hz*float64(i)/rate))))
	}
	return string(b)
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
audio_source aufile,` + dir + `/tone.wav
audio_alert aufile,/dev/null
net_interface 127.0.0.1
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
`,
		"accounts": fmt.Sprintf("<sip:1002@acme.test>;auth_user=1002;auth_pass=%s;outbound=\"sip:%s;transport=%s\";answermode=auto;regint=60;audio_codecs=pcmu\n", password, proxy, transport),
		"contacts": "\n",
		"tone.wav": wav(500, 20*time.Second),
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
