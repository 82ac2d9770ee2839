package nodeagent

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the sample environment file")

const sampleFile = "../deploy/sipio-node.env"

// The sample environment file in deploy/ is the defaults, word for word.
func TestSampleEnv_IsTheDefaults(t *testing.T) {
	if *update {
		if err := os.WriteFile(sampleFile, []byte(SampleEnv()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(sampleFile)
	if err != nil || string(got) != SampleEnv() {
		t.Errorf("%s differs from the defaults (%v): run go test ./nodeagent -update", sampleFile, err)
	}
}

// Every setting can be read from its variable: what a setting prints, it takes again, and a value
// it cannot read is an error that names the variable.
func TestSettings_RoundTripThroughTheEnvironment(t *testing.T) {
	want := map[string]string{
		"SIPIO_NODE_NAME": "edge-7", "SIPIO_NODE_BRAIN_URLS": "http://127.0.0.1:1,https://b.example",
		"SIPIO_NODE_DEADLINE": "500ms", "SIPIO_NODE_MAX_IN_FLIGHT": "3", "SIPIO_NODE_LOG_LEVEL": "debug",
	}
	c := DefaultConfig()
	if err := c.SetFromEnv(func(name string) (string, bool) { v, ok := want[name]; return v, ok }); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Settings() {
		if v, ok := want[s.Env()]; ok && s.Get() != v {
			t.Errorf("%s is %q, want %q", s.Env(), s.Get(), v)
		}
		if err := s.Set(s.Get()); err != nil {
			t.Errorf("%s does not take its own value: %v", s.Env(), err)
		}
	}
	err := c.SetFromEnv(func(name string) (string, bool) { return "soon", name == "SIPIO_NODE_DEADLINE" })
	if err == nil || !strings.Contains(err.Error(), "SIPIO_NODE_DEADLINE") {
		t.Errorf("a bad value: %v, want an error that names the variable", err)
	}
}

// Settings that would hurt Kamailio or open the door to the network are refused.
func TestCheck_RefusesHarmfulSettings(t *testing.T) {
	for name, harm := range map[string]func(*Config){
		"deadline past curl's":    func(c *Config) { c.Deadline = time.Second },
		"stall past the deadline": func(c *Config) { c.StallAfter = c.Deadline },
		"open door":               func(c *Config) { c.DoorListen = "0.0.0.0:8480" },
		"open op":                 func(c *Config) { c.OpListen = ":8481" },
		"no brain":                func(c *Config) { c.BrainURLs = nil },
		"no name":                 func(c *Config) { c.Name = "" },
		"no spool":                func(c *Config) { c.SpoolDir = "" },
		"a bus in clear":          func(c *Config) { c.BusURLs = []string{"nats://brain:4443"} },
		"certificate, no key":     func(c *Config) { c.CertFile = "/c" },
		"orders without an authority": func(c *Config) {
			c.OpTLSListen, c.CertFile, c.CertKeyFile = ":8482", "/c", "/k"
		},
		"orders without a certificate": func(c *Config) { c.OpTLSListen, c.OpCAFile = ":8482", "/a" },
	} {
		c := DefaultConfig()
		if err := c.Check(); err != nil {
			t.Fatalf("defaults: %v", err)
		}
		if harm(&c); c.Check() == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// The key comes from a file or a systemd credential, and never from a file that everybody can read.
func TestKey_ComesFromAFileOrACredential(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, CredentialKey)
	write := func(content string, mode os.FileMode) {
		t.Helper()
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	c := DefaultConfig()
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := c.key(); err == nil {
		t.Error("no key was needed")
	}
	write("secret\n", 0o600)
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if key, err := c.key(); err != nil || key != "secret" {
		t.Errorf("credential: %q, %v", key, err)
	}
	c.BrainKeyFile = path
	if key, err := c.key(); err != nil || key != "secret" {
		t.Errorf("file: %q, %v", key, err)
	}
	write("secret", 0o644)
	if _, err := c.key(); err == nil {
		t.Error("a key that everybody can read was taken")
	}
	write(" \n", 0o600)
	if _, err := c.key(); err == nil {
		t.Error("an empty key was taken")
	}
}
