package scenario

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/netns"
)

func TestDoctor_FindsADoorThatStandsOpen(t *testing.T) {
	// Proves that sipio doctor fails nothing of a real node and its brain as they are set up, and that it has looked: each of the
	// things that are then made wrong, one after the other, is told by a line FAIL of its own and exit status 1.
	if netns.Reexec(t) {
		return
	}
	e, err := edge.Start(t.Context(), edge.Options{Config: acme, Media: true, NodeFlags: []string{"--ban-table=sipio", "--heartbeat-interval=200ms"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	tails(t, e)
	doctor := newDoctor(t, e)

	out, code := "", 0
	eventually(t, within(t, 20*time.Second), "Kamailio's version in a heartbeat", func() error {
		if out, code = doctor.examine(t); !strings.Contains(out, "kamailio of node-1") {
			return errors.New(out)
		}
		return nil
	})
	for _, want := range []string{"door of the node agent: port", "orders and health of the node agent: port", "rtpengine's control (ng): port", "FreeSWITCH's event socket: port",
		"plain HTTP of the brain: port", "node key: the one in", "key of orders: the one in", "password of FreeSWITCH's event socket: the one in", "secret of the edge (EDGE_SECRET): the one in",
		"Kamailio's control socket: ", "certificate of the node's TLS: ", "first key of the platform: ", "kamailio here: ", "kamailio of node-1: ", "mend of kamailio: ", "mend of rtpengine: ",
		"bans in the kernel: nftables has the table", "brain of the node: " + e.BrainURL + " answers, and takes the key", "nodes of the installation: "} {
		if !strings.Contains(out, "OK    "+want) {
			t.Errorf("not OK, or not looked at: %s", want)
		}
	}
	if code != 0 || strings.Contains(out, "FAIL") {
		t.Fatalf("exit status %d:\n%s", code, out)
	}

	open, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	nodeCfg := filepath.Join(e.Dir, "kamailio-cfg", "node.cfg")
	secret := strings.Fields(after(t, read(t, nodeCfg), "!EDGE_SECRET!"))[0]
	for _, wrong := range []struct{ what, file, was, is, says string }{
		{"a control port on every address", doctor.rtpengine, "listen-cli = 127.0.0.1:" + portOf(e.BrainURL), "listen-cli = 0.0.0.0:" + portOf("http://"+open.Addr().String()), "rtpengine's control (cli): port"},
		{"the sample's secret", nodeCfg, "!EDGE_SECRET!" + secret, `!EDGE_SECRET!change-me-change-me-change-me-0000!g"`, "secret of the edge (EDGE_SECRET): the one in"},
		{"a table that is not there", doctor.nodeEnv, "BAN_TABLE=sipio", "BAN_TABLE=other", "bans in the kernel: nftables has no table"},
		{"FreeSWITCH's default password", filepath.Join(e.Dir, "media.key"), "", "ClueCon", "password of FreeSWITCH's event socket: the one in"},
		{"a key that the brain does not know", filepath.Join(e.Dir, "admin.key"), "sk_", "sk_0", "brain of the node: " + e.BrainURL},
	} {
		before := read(t, wrong.file)
		text := wrong.is
		if wrong.was != "" {
			text = strings.Replace(before, wrong.was, wrong.is, 1)
		}
		if text == before {
			t.Fatalf("%s: %q is not in %s", wrong.what, wrong.was, wrong.file)
		}
		write(t, wrong.file, text)
		if out, code := doctor.examine(t); code != 1 || strings.Count(out, "FAIL") != 1 || !strings.Contains(out, "FAIL  "+wrong.says) {
			t.Errorf("%s: exit status %d:\n%s", wrong.what, code, out)
		}
		write(t, wrong.file, before)
	}
	if err := os.Chmod(e.KamailioSocket, 0o666); err != nil {
		t.Fatal(err)
	}
	if out, code := doctor.examine(t); code != 1 || !strings.Contains(out, "FAIL  Kamailio's control socket: "+e.KamailioSocket+" is open to every user") {
		t.Errorf("a control socket of everybody: exit status %d:\n%s", code, out)
	}
}

// doctorOf runs sipio doctor on an edge whose settings it wrote into files, as provisioning would.
type doctorOf struct {
	nodeEnv, rtpengine string
	bin                string
	args               []string
}

func newDoctor(t *testing.T, e *edge.Edge) *doctorOf {
	bin, err := edge.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	op := strings.TrimSuffix(strings.TrimPrefix(e.NodeHealth, "http://"), "/health")
	d := &doctorOf{bin: bin, nodeEnv: filepath.Join(e.Dir, "node.env"), rtpengine: filepath.Join(e.Dir, "rtpengine.conf")}
	brainEnv, key := filepath.Join(e.Dir, "brain.env"), filepath.Join(e.Dir, "admin.key")
	var node, brain strings.Builder
	for _, s := range [][2]string{{"BRAIN_URLS", e.BrainURL}, {"BRAIN_KEY_FILE", key}, {"DOOR_LISTEN", e.DoorAddr}, {"OP_LISTEN", op}, {"RTPENGINE_NG", e.NG}, {"BAN_TABLE", "sipio"},
		{"OP_KEY_FILE", filepath.Join(e.Dir, "op.key")}, {"MEDIA_KEY_FILE", filepath.Join(e.Dir, "media.key")}, {"MEDIA_ESL", e.MediaESL}, {"MEDIA_LISTEN", e.MediaListen}} {
		fmt.Fprintf(&node, "SIPIO_NODE_%s=%s\n", s[0], s[1])
	}
	for _, s := range [][2]string{{"LISTEN", strings.TrimPrefix(e.BrainURL, "http://")}, {"DATA_DIR", filepath.Join(e.Dir, "brain")}, {"OP_KEY_FILE", filepath.Join(e.Dir, "op.key")}} {
		fmt.Fprintf(&brain, "SIPIO_BRAIN_%s='%s'\n", s[0], s[1])
	}
	write(t, d.nodeEnv, node.String())
	write(t, brainEnv, brain.String())
	write(t, d.rtpengine, "[rtpengine]\nlisten-ng = 127.0.0.1:2223\nlisten-cli = 127.0.0.1:"+portOf(e.BrainURL)+"\n") // some port of loopback
	d.args = []string{"doctor", "--server", e.BrainURL, "--key-file", key + ".operator", "--units", e.Dir, "--node-env", d.nodeEnv, "--brain-env", brainEnv, "--rtpengine-conf", d.rtpengine,
		"--kamailio-cfg", filepath.Join(e.Dir, "kamailio-cfg", "node.cfg"), "--freeswitch-vars", filepath.Join(e.Dir, "none"), "--tunnel-key", filepath.Join(e.Dir, "none")}
	write(t, key+".operator", e.AdminKey)
	return d
}

func (d *doctorOf) examine(t *testing.T) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(within(t, 30*time.Second), d.bin+"/sipio", d.args...)
	raw, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(raw), cmd.ProcessState.ExitCode()
}

func portOf(url string) string {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	return port
}

func after(t *testing.T, text, mark string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, mark)
	if !found {
		t.Fatalf("no %s", mark)
	}
	return rest
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// write keeps the mode of a file that is there.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
