package cloudflared

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rendered is where the main module keeps the files that it renders.
const rendered = "../nodeagent/tunnel/testdata"

func TestCheck_AcceptsWhatIsRendered(t *testing.T) {
	// Proves with cloudflared's own parser and matcher that the rendered files lead exactly two paths of one hostname to the node
	// agent, and that whatever else could be asked for, near misses first, meets the rule that answers 404.
	doors := map[string]Door{
		"node.yml": {"node-1.op.example.org", "http://127.0.0.1:8481"},
		"six.yml":  {"fra2.op.example.org", "http://[::1]:18481"},
	}
	files, err := filepath.Glob(rendered + "/*.yml")
	if err != nil || len(files) != len(doors) {
		t.Fatalf("%d files, %v: each needs its row here", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		door, err := Check(raw)
		if want := doors[filepath.Base(file)]; err != nil || door != want {
			t.Errorf("%s: %+v, %v; want %+v", file, door, err, want)
		}
		rules, err := parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		host := door.Hostname
		for _, path := range []string{"", "/", "/op/", "/ops", "/xop", "//op", "/op/../debug", "/OP", "/op\n", "/op\x00", "/health/", "/healthz", "/metrics", "/v1", "/debug/pprof/"} {
			if rule, at := rules.FindMatchingRule(host, path); at != 1 || rule.Service.String() != closed {
				t.Errorf("%s: %q goes to %s", file, path, rule.Service)
			}
		}
		for _, other := range []string{"", "other.example.org", "x." + host, host + ".", host + ".example.net", strings.ToUpper(host), "localhost", "127.0.0.1", "127.0.0.1:8481"} {
			for _, path := range Paths {
				if rule, at := rules.FindMatchingRule(other, path); at != 1 || rule.Service.String() != closed {
					t.Errorf("%s: %s of %q goes to %s", file, path, other, rule.Service)
				}
			}
		}
	}
}

func TestCheck_RefusesWhatOpensMore(t *testing.T) {
	// Proves that a file is refused in which one thing was changed so that it opens more than it should, or nothing.
	raw, err := os.ReadFile(rendered + "/node.yml")
	if err != nil {
		t.Fatal(err)
	}
	for was, becomes := range map[string]string{
		"^/(op|health)$":         "^/(op|health)",
		"path: ^/(op|health)$":   "originRequest: {}",
		"node-1.op.example.org":  `"*.op.example.org"`,
		"127.0.0.1:8481":         "192.0.2.1:8481",
		"http://127.0.0.1:8481":  "ssh://127.0.0.1:22",
		"http_status:404":        "http://127.0.0.1:8480",
		"- service: http_status": "- hostname: a.example.org\n    service: http_status",
		"ingress:":               "ingress:\n  - hostname: a.example.org\n    service: http://127.0.0.1:22",
		"tunnel: 6f1a3c52":       "name: 6f1a3c52",
		"  - service":            "\t- service",
	} {
		changed := strings.Replace(string(raw), was, becomes, 1)
		if changed == string(raw) {
			t.Fatalf("%q is not in the file", was)
		}
		if door, err := Check([]byte(changed)); err == nil {
			t.Errorf("%q instead of %q was accepted: %+v", becomes, was, door)
		}
	}
	if _, err := Check(nil); err == nil {
		t.Error("an empty file was accepted")
	}
}
