// Package ansible runs the roles of ansible/ with Debian's ansible-core: on this machine, as whoever runs the test, with
// every file below a folder of the test and without services, which systemd is not there to run. What the roles put in
// place is then judged by the programs that would read it.
package ansible

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// site is one node to be.
type site struct {
	dir   string
	built string         // folder of the programs
	vars  map[string]any // for the play
}

// newSite builds the programs and gives the node what it must be given.
func newSite(t *testing.T) *site {
	dir := t.TempDir()
	s := &site{dir: dir, built: filepath.Join(dir, "bin")}
	for _, b := range [][2]string{
		{root, "./cmd/sipio"}, {root, "./cmd/sipio-node"},
		{root + "/cloudflared", "github.com/cloudflare/cloudflared/cmd/cloudflared"}, {root + "/cloudflared", "./sipio-tunnel-check"},
	} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", s.built+"/", b[1])
		cmd.Dir = b[0]
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", b[1], err, out)
		}
	}
	for name, text := range map[string]string{"key": "sk_node", "op": "token", "tunnel.json": "{}"} {
		s.write(t, name, text, 0o600)
	}
	s.vars = map[string]any{
		"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3", "ansible_become": false,
		"sipio_root": filepath.Join(dir, "root"), "sipio_manage_service": false,
		"node_agent_name": "node-1", "node_agent_binary": s.built + "/sipio-node", "node_agent_key_file": dir + "/key", "node_agent_op_key_file": dir + "/op",
		"node_agent_settings":  map[string]any{"brain_urls": "https://brain-1.example.org,https://brain-2.example.org", "survival": false, "log_level": "debug"},
		"cloudflared_hostname": "node-1.op.example.org", "cloudflared_tunnel": "6f1a3c52-8d0e-4b57-9c61-0f2ad9e4b713", "cloudflared_credentials": dir + "/tunnel.json",
		"cloudflared_source": "binary", "cloudflared_file": s.built + "/cloudflared", "cloudflared_sipio": s.built + "/sipio",
	}
	return s
}

func (s *site) write(t *testing.T, name, text string, mode fs.FileMode) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// on is a file of the node.
func (s *site) on(path string) string { return filepath.Join(s.dir, "root", path) }

func (s *site) read(t *testing.T, path string) string {
	raw, err := os.ReadFile(s.on(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// recap is the line in which Ansible counts.
var recap = regexp.MustCompile(`(?m)^node-1 .*changed=(\d+) .*unreachable=0 +failed=(\d+)`)

// play runs node.yml and returns its words, and how many tasks changed something ("failed" when it failed).
func (s *site) play(t *testing.T, args ...string) (text, changed string) {
	t.Helper()
	vars, err := json.Marshal(s.vars)
	if err != nil {
		t.Fatal(err)
	}
	inventory := s.write(t, "inventory.json", fmt.Sprintf(`{"sipio_nodes":{"hosts":{"node-1":%s}}}`, vars), 0o600)
	cmd := exec.CommandContext(t.Context(), "ansible-playbook", append([]string{"-i", inventory, "node.yml"}, args...)...)
	cmd.Dir = root + "/ansible"
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "ANSIBLE_NOCOLOR=1", "ANSIBLE_PIPELINING=1", "ANSIBLE_HOME="+s.dir+"/ansible", "ANSIBLE_LOCAL_TEMP="+s.dir+"/tmp", "ANSIBLE_REMOTE_TEMP="+s.dir+"/tmp")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if err != nil && out.Len() == 0 {
		t.Fatalf("ansible-playbook (package ansible-core): %v", err)
	}
	found := recap.FindStringSubmatch(out.String())
	if err != nil || found == nil || found[2] != "0" {
		return out.String(), "failed"
	}
	return out.String(), found[1]
}

func TestNode_IsPutInPlaceOnce(t *testing.T) {
	// Proves both roles: a first run puts program, keys, settings, tunnel and units in place, readable by whom they must be; a second
	// run changes nothing; what is given anew changes the files that say it and no other; and what a program refuses to read never gets there.
	s := newSite(t)
	if text, _ := s.play(t, "--syntax-check"); !strings.Contains(text, "playbook: node.yml") {
		t.Fatalf("syntax:\n%s", text)
	}
	if text, changed := s.play(t); changed == "failed" || changed == "0" {
		t.Fatalf("first run: %s\n%s", changed, text)
	}
	s.checkFiles(t)
	s.checkUnits(t)
	if text, changed := s.play(t); changed != "0" {
		t.Errorf("second run: %s\n%s", changed, text)
	}

	s.vars["cloudflared_op_listen"] = "127.0.0.1:9481"
	s.vars["node_agent_settings"] = map[string]any{"log_level": "warn"}
	for variable, name := range map[string]string{"node_agent_cert_file": "node.pem", "node_agent_cert_key_file": "node.key", "node_agent_ca_file": "ca.pem"} {
		s.vars[variable] = s.write(t, name, name, 0o600)
	}
	text, changed := s.play(t)
	env := s.read(t, "etc/sipio/sipio-node.env")
	if changed != "3" || !strings.Contains(s.read(t, "etc/sipio/cloudflared.yml"), "service: http://127.0.0.1:9481") || s.read(t, "etc/sipio/node.key") != "node.key" ||
		!strings.Contains(env, "SIPIO_NODE_CERT_FILE=/etc/sipio/node.pem\n") || !strings.Contains(env, "SIPIO_NODE_LOG_LEVEL=warn\n") || strings.Contains(env, "SURVIVAL") {
		t.Errorf("another port, another setting, a certificate: %s\n%s", changed, text)
	}
	s.checkRefusals(t)
}

// checkFiles looks at what a first run has left.
func (s *site) checkFiles(t *testing.T) {
	for path, mode := range map[string]fs.FileMode{
		"usr/local/bin/sipio-node": 0o755, "usr/bin/cloudflared": 0o755, "etc/sipio/node-key": 0o600, "etc/sipio/op-key": 0o600, "etc/sipio/tunnel.json": 0o600,
		"etc/sipio/sipio-node.env": 0o644, "etc/sipio/cloudflared.yml": 0o644, "etc/systemd/system/sipio-node.service": 0o644, "etc/systemd/system/sipio-cloudflared.service": 0o644,
	} {
		if info, err := os.Stat(s.on(path)); err != nil {
			t.Error(err)
		} else if info.Mode() != mode {
			t.Errorf("%s: %v, want %v", path, info.Mode(), mode)
		}
	}
	want := "# Settings of sipio-node on this node, written by Ansible.\nSIPIO_NODE_NAME=node-1\nSIPIO_NODE_BRAIN_URLS=https://brain-1.example.org,https://brain-2.example.org\n" +
		"SIPIO_NODE_LOG_LEVEL=debug\nSIPIO_NODE_SURVIVAL=False\n"
	if got := s.read(t, "etc/sipio/sipio-node.env"); got != want {
		t.Errorf("settings:\n%s", got)
	}
	rendered, err := exec.Command(s.built+"/sipio", "tunnel", "render", "--hostname", "node-1.op.example.org", "--tunnel", "6f1a3c52-8d0e-4b57-9c61-0f2ad9e4b713").Output()
	if got := s.read(t, "etc/sipio/cloudflared.yml"); err != nil || got != string(rendered) {
		t.Errorf("the tunnel's configuration, %v:\n%s", err, got)
	}
	said, err := exec.Command(s.built+"/sipio-tunnel-check", s.on("etc/sipio/cloudflared.yml")).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "/op and /health of node-1.op.example.org to http://127.0.0.1:8481, everything else 404") {
		t.Errorf("cloudflared's own package: %v %s", err, said)
	}
}

// checkUnits has systemd read the units, with the programs where the test has them.
func (s *site) checkUnits(t *testing.T) {
	for unit, program := range map[string]string{"sipio-node.service": "/usr/local/bin/sipio-node", "sipio-cloudflared.service": "/usr/bin/cloudflared"} {
		text := s.read(t, "etc/systemd/system/"+unit)
		if !strings.Contains(text, "\nExecStart="+program) {
			t.Errorf("%s does not start %s", unit, program)
		}
		path := s.write(t, unit, strings.ReplaceAll(text, "="+program, "="+s.on(program)), 0o644)
		if out, err := exec.Command("systemd-analyze", "verify", path).CombinedOutput(); err != nil || strings.Contains(string(out), unit) {
			t.Errorf("systemd-analyze (package systemd) verify %s: %v\n%s", unit, err, out)
		}
	}
}

// checkRefusals gives wrong values: the play says why, and the files stay as they were.
func (s *site) checkRefusals(t *testing.T) {
	before := s.read(t, "etc/sipio/cloudflared.yml") + s.read(t, "etc/sipio/sipio-node.env")
	open := s.write(t, "open", "#!/bin/sh\necho 'tunnel: a'; echo 'ingress: [{hostname: a.example.org, service: \"http://127.0.0.1:22\"}]'\n", 0o755)
	for _, c := range []struct {
		name  string
		value any // nil: not given
		says  string
	}{
		{"cloudflared_hostname", nil, "missing required arguments: cloudflared_hostname"},
		{"cloudflared_hostname", "*.op.example.org", "want one full name"},
		{"cloudflared_sipio", open, "The last ingress rule must match all URLs"}, // what cloudflared itself refuses
		{"node_agent_ca_file", nil, "go together"},
		{"node_agent_key_file", "secrets/no.key", "node_agent_key_file: there is no file secrets/no.key"},
		{"node_agent_op_key_file", "secrets/no.op", "node_agent_op_key_file: there is no file secrets/no.op"},
		{"node_agent_cert_file", "secrets/no.pem", "node_agent_cert_file: there is no file secrets/no.pem"},
		{"cloudflared_credentials", "secrets/no.json", "cloudflared_credentials: there is no file secrets/no.json"},
		{"node_agent_settings", map[string]any{"deadline": "soon"}, "SIPIO_NODE_DEADLINE"},
	} {
		kept := s.vars[c.name]
		if s.vars[c.name] = c.value; c.value == nil {
			delete(s.vars, c.name)
		}
		text, changed := s.play(t)
		flat := strings.Join(strings.Fields(text), " ")
		if changed != "failed" || !strings.Contains(flat, c.says) {
			t.Errorf("%s %v: %s, want %q in\n%s", c.name, c.value, changed, c.says, text)
		}
		if s.vars[c.name] = kept; kept == nil {
			delete(s.vars, c.name)
		}
	}
	if after := s.read(t, "etc/sipio/cloudflared.yml") + s.read(t, "etc/sipio/sipio-node.env"); after != before {
		t.Errorf("a refused value has changed the files:\n%s", after)
	}
}
