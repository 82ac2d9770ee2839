package controller

import (
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite files that are made from the code")

// samples are the sample files and what they must be.
var samples = map[string]func() string{"../deploy/sipio-brain.env": SampleEnv, "../deploy/sipio-bus.env": SampleBusEnv}

// The sample file shows every variable with its default, so that nobody needs to guess either. Rewrite
// it with: go test ./controller -run Sample -update
func TestSampleEnv_ShowsTheDefaults(t *testing.T) {
	for file, sample := range samples {
		if *update {
			if err := os.WriteFile(file, []byte(sample()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != sample() {
			t.Errorf("%s is not what the defaults are:\n%s\nwant\n%s", file, got, sample())
		}
	}
}

// Each variable sets its setting and nothing else: every setting is given a value that differs from its
// default, through its variable alone, and only its text changes.
func TestSetFromEnv_EachVariableIsOneSetting(t *testing.T) {
	values := map[string]string{"data-dir": "/x", "listen": "127.0.0.1:1", "tls-listen": ":2", "tls-cert-file": "/c", "tls-key-file": "/k",
		"allow-peers": "192.0.2.0/24,2001:db8::/32", "log-level": "debug", "log-decisions": "true",
		"name": "b2", "peers": "b1,b2", "bus-urls": "nats://127.0.0.1:4222", "bus-creds-file": "/b", "bus-ca-file": "/a", "accept-journal-loss": "true",
		"media-store": "/m", "prompt-languages": "de,fr", "speech-url": "https://tts.test/{{.Text}}", "speech-body": "{{.Text}}", "speech-key-file": "/s", "speech-languages": "en,pt-br",
		"flow-ca-file": "/f", "flow-allow-nets": "10.0.0.0/8", "op-key-file": "/o", "secret-key-file": "/e", "v1-rate": "7", "mail-server": "127.0.0.1:25", "mail-from": "box@acme.test",
		"trusted-proxies": "203.0.113.0/24", "operator-nets": "198.51.100.0/24", "guard-share": "false", "guard-signatures-file": "/g", "node-ca-file": "/n", "node-cert-file": "/nc", "node-cert-key-file": "/nk", "node-bus-listen": "127.0.0.1:4223",
		"stir-key-file": "/k", "stir-x5u": "https://cr.test/a.pem", "stir-hosts": "cr.test,.example.org", "stir-roots-file": "/r"}
	def := DefaultConfig()
	for i, s := range def.Settings() {
		c := DefaultConfig()
		want := values[s.Name]
		err := c.SetFromEnv(func(name string) (string, bool) { return want, name == s.Env() })
		if err != nil || want == "" || want == s.Get() {
			t.Fatalf("%s=%q: %v", s.Env(), want, err)
		}
		for j, now := range c.Settings() {
			if expect := def.Settings()[j].Get(); i != j && now.Get() != expect || i == j && now.Get() != want {
				t.Errorf("%s=%s makes %s %q", s.Env(), want, now.Name, now.Get())
			}
		}
	}
}

// A bad value is refused with the name of its variable, and all bad ones are told at once.
func TestSetFromEnv_NamesEveryBadVariable(t *testing.T) {
	env := map[string]string{"SIPIO_BRAIN_LOG_LEVEL": "loud", "SIPIO_BRAIN_ALLOW_PEERS": "10.0.0.0/33", "SIPIO_BRAIN_LOG_DECISIONS": "maybe"}
	c := DefaultConfig()
	err := c.SetFromEnv(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	for name := range env {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in: %v", name, err)
		}
	}
	if c.LogLevel != slog.LevelInfo {
		t.Errorf("log level %v", c.LogLevel)
	}
}

// Settings that would be unsafe or leave nobody able to ask are refused; loopback in every spelling is taken.
func TestCheck_RefusesAPlainListenerOffLoopback(t *testing.T) {
	for listen, ok := range map[string]bool{"127.0.0.1:8080": true, "127.8.9.10:0": true, "[::1]:8080": true, "": false,
		"0.0.0.0:8080": false, ":8080": false, "[::]:8080": false, "192.0.2.1:8080": false, "example.com:80": false, "127.0.0.1": false} {
		c := DefaultConfig()
		c.Listen = listen
		if err := c.Check(); (err == nil) != ok {
			t.Errorf("listen %q: %v", listen, err)
		}
	}
	for name, break_ := range map[string]func(*Config){
		"data-dir":      func(c *Config) { c.DataDir = "" },
		"tls-cert-file": func(c *Config) { c.TLSListen = ":8443" },
		"allow-peers":   func(c *Config) { c.AllowPeers = nil },
		"operator-nets: 0.0.0.0/0 is wider than a /8":   func(c *Config) { c.OperatorNets = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} },
		"operator-nets: 128.0.0.0/1 is wider than a /8": func(c *Config) { c.OperatorNets = []netip.Prefix{netip.MustParsePrefix("128.0.0.0/1")} },
		"operator-nets: 2000::/3 is wider than a /16":   func(c *Config) { c.OperatorNets = []netip.Prefix{netip.MustParsePrefix("2000::/3")} },
		"tls-key-file": func(c *Config) { c.NodeListen = ":4443" },
		"without bus-urls": func(c *Config) {
			c.NodeListen, c.TLSCertFile, c.TLSKeyFile, c.BusURLs = ":4443", "/c", "/k", []string{"tls://bus:4222"}
		},
	} {
		c := DefaultConfig()
		break_(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Networks are read with commas or spaces, an address alone is one host, and host bits are dropped.
func TestParsePrefixes_TakesAddressesAndNetworks(t *testing.T) {
	got, err := parsePrefixes("127.0.0.1, 192.0.2.9/24  2001:db8::1")
	if want := "127.0.0.1/32,192.0.2.0/24,2001:db8::1/128"; err != nil || joinPrefixes(got) != want {
		t.Errorf("%s, %v", joinPrefixes(got), err)
	}
	for _, bad := range []string{"localhost", "10.0.0.0/33", "10.0.0.1-10.0.0.9"} {
		if _, err := parsePrefixes(bad); err == nil {
			t.Errorf("took %q", bad)
		}
	}
	if names := flagNames(); len(names) != len(slices.Compact(names)) {
		t.Errorf("two settings with one name: %v", names)
	}
}

func flagNames() (names []string) {
	c := DefaultConfig()
	for _, s := range c.Settings() {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}
