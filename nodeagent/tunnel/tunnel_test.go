package tunnel

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// node is a node as most are.
func node() Config {
	return Config{
		Hostname: "node-1.op.example.org", Tunnel: "6f1a3c52-8d0e-4b57-9c61-0f2ad9e4b713", Credentials: DefaultCredentials,
		OpListen: "127.0.0.1:8481", Metrics: DefaultMetrics,
	}
}

func TestRender_LeadsOrdersAndHealthToTheAgent(t *testing.T) {
	// Proves the bytes of the file for a node of either address family, by golden files. The module in cloudflared/ reads the same
	// files with cloudflared's own code.
	six := node()
	six.Hostname, six.OpListen, six.Metrics, six.Credentials = "fra2.op.example.org", "[::1]:18481", "[::1]:18482", "/etc/cloudflared/fra2.json"
	for name, c := range map[string]Config{"node.yml": node(), "six.yml": six} {
		got, err := c.Render()
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s (-update rewrites it): %v\n%s", name, err, got)
		}
	}
}

func TestRender_RefusesWhatWouldOpenMore(t *testing.T) {
	// Proves that a value which is no plain name, id, path or loopback address is refused and named, so that nothing typed can become
	// another line of the file, another hostname or a service that is not the agent.
	refused := map[string]struct {
		set    func(*Config, string)
		values []string
	}{
		"hostname": {func(c *Config, v string) { c.Hostname = v }, []string{
			"", "node-1", "*.op.example.org", "Node-1.example.org", "node-1.example.org.", "node-1.example.org:443", "https://node-1.example.org",
			"192.0.2.1", "-a.example.org", "a-.example.org", "a..example.org", "a.example.org\nservice: ssh://", "a.example.org #", "n\u00f6de.example.org",
			strings.Repeat("a", 64) + ".example.org", strings.Repeat("abcdefg.", 32) + "example.org",
		}},
		"tunnel": {func(c *Config, v string) { c.Tunnel = v }, []string{
			"", "edge", "6F1A3C52-8D0E-4B57-9C61-0F2AD9E4B713", "6f1a3c528d0e4b579c610f2ad9e4b713", "00000000-0000-0000-0000-000000000000", node().Tunnel + "\n",
		}},
		"credentials-file": {func(c *Config, v string) { c.Credentials = v }, []string{
			"", "tunnel.json", "/", "/etc/../tunnel.json", "/etc//tunnel.json", "/etc/cloudflared/", "/etc/a b.json", "/etc/a\x00.json", "/" + strings.Repeat("a", 4096),
		}},
		"op-listen": {func(c *Config, v string) { c.OpListen = v }, []string{
			"", "127.0.0.1", "localhost:8481", "0.0.0.0:8481", "192.0.2.1:8481", "[::]:8481", "127.0.0.1:0", "127.0.0.1:70000", "127.0.0.1:8481/x", "[::1%lo]:8481",
		}},
		"metrics": {func(c *Config, v string) { c.Metrics = v }, []string{"", ":8482", "192.0.2.1:8482"}},
	}
	for what, bad := range refused {
		for _, v := range bad.values {
			c := node()
			bad.set(&c, v)
			if got, err := c.Render(); err == nil || got != nil || !strings.HasPrefix(err.Error(), what+" ") {
				t.Errorf("%s %q: %v %s", what, v, err, got)
			}
		}
	}
	err := Config{}.Check()
	for what := range refused {
		if err == nil || !strings.Contains(err.Error(), what+" ") {
			t.Errorf("an empty configuration: %s is not among %v", what, err)
		}
	}
}
