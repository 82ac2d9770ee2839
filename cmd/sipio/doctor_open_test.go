package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/doctor"
)

func TestDoctor_LooksForWhatIsOpen(t *testing.T) {
	// Proves that each way to open a machine that no door of a process shows is told, with what to do, and that nothing of it is told where it is not so.
	dir := t.TempDir()
	open, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	tcp, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	_, port, _ := net.SplitHostPort(open.LocalAddr().String())
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	examine := func(brain, node, cfg, rtpengine string) map[string]doctor.Finding {
		var out, errs bytes.Buffer
		run(context.Background(), []string{"doctor", "--json", "--units", dir, "--brain-env", file("brain.env", brain), "--bus-env", dir + "/none",
			"--node-env", file("node.env", "SIPIO_NODE_MEDIA_KEY_FILE="+dir+"/none\nSIPIO_NODE_BRAIN_URLS=http://127.0.0.1:1\nSIPIO_NODE_BAN_TABLE=none\n"+node), "--kamailio-cfg", file("node.cfg", cfg),
			"--freeswitch-vars", dir + "/none", "--rtpengine-conf", file("rtpengine.conf", rtpengine), "--tunnel-key", file("tunnel.json", "{}")}, &out, &errs)
		var list []doctor.Finding
		if err := json.Unmarshal(out.Bytes(), &list); err != nil {
			t.Fatalf("%v: %s %s", err, &out, &errs)
		}
		found := map[string]doctor.Finding{}
		for _, f := range list {
			found[f.What] = f
		}
		return found
	}
	media := `#!substdef "!MEDIA_PORT!` + port + `!g"` + "\n"
	bad := examine("SIPIO_BRAIN_ALLOW_PEERS=0.0.0.0/0\nSIPIO_BRAIN_OPERATOR_NETS=128.0.0.0/1\n", "", "listen=udp:192.0.2.1:5060\nlisten=tls:[2001:db8::1]:5071\n"+media, "#endpoint-learning = heuristic\n")
	for what, says := range map[string]string{
		"who may ask the brain": "0.0.0.0/0 is wider", "networks that the guard spares": "128.0.0.0/1 is wider", "FreeSWITCH's SIP": "open on 0.0.0.0",
		"ports that the guard guards": "listens on 5071 too", "rtpengine's endpoint-learning": `""`, "cloudflared's own page": "", "ports that are not sipio's": "tcp " + tcp.Addr().String(),
	} {
		if f := bad[what]; f.What == "" || f.Level == doctor.OK && says != "" || !strings.Contains(f.Text, says) || f.Level != doctor.OK && f.Cure == "" {
			t.Errorf("%s: %+v", what, f)
		}
	}
	good := examine("SIPIO_BRAIN_ALLOW_PEERS=10.0.0.0/8\n", "SIPIO_NODE_BAN_PORTS=5060,5071\n", "listen=udp:192.0.2.1:5060\nlisten=tls:192.0.2.1:5071\n"+media, "endpoint-learning = heuristic\n")
	for _, what := range []string{"who may ask the brain", "networks that the guard spares", "ports that the guard guards", "rtpengine's endpoint-learning"} {
		if f := good[what]; f.Level != doctor.OK {
			t.Errorf("%s: %+v", what, f)
		}
	}
}
