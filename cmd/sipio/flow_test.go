package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/flow"
)

// flowFile writes text into a file.
func flowFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.flow")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadFlows_RefusesWhatIsNoFlow(t *testing.T) {
	// Proves that a file which is not what it should be is refused with what is wrong, and that nothing of YAML that JSON
	// cannot say gets through.
	for text, want := range map[string]string{
		"":                                  "has no graph",
		"kind: sip_user\nname: x":           "has no graph",
		"nodes: [":                          "line 2",
		"nodes: &a []\nedges: *a":           "aliases are not taken",
		"nodes: []\nnodes: []":              "there twice",
		"nodes: []\n? [a]\n: b":             "no text",
		"nodes: []\ncolour: red":            "unknown field",
		"nodes: " + strings.Repeat("[", 40): "line 2",
		"nodes: {a: 1}":                     "cannot unmarshal",
		"nodes: [{id: a, data: {x: !!binary a}}]": "",
		strings.Repeat(" ", maxFlowFile) + "x":    "longer than 4 MiB",
	} {
		_, err := readFlows(flowFile(t, text), nil)
		if (want == "") != (err == nil) || want != "" && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	if _, err := readFlows(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestFlowTest_UpdatesTheGoldenFile(t *testing.T) {
	// Proves that --update writes what happens into a golden file that has only events, keeps the rest of it to the byte,
	// and that the file then is as expected; and that a file with DOS line ends is read alike.
	head := "# remark\nnodes:\n  - {id: in, data: {kind: entry}}\n  - {id: bye, data: {kind: hangup}}\nedges: [{source: in, target: bye}]\n"
	file := flowFile(t, head+flowDashes+"call\n")
	if text := transcript("sipio flow test " + file + " --update"); strings.Contains(text, "!") {
		t.Fatal(text)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(raw), head+flowDashes+"call\n"+flowDashes+"> call\n") {
		t.Errorf("the file is now\n%s", raw)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(raw), "\n", "\r\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if text := transcript("sipio flow test " + file); !strings.Contains(text, "as expected") {
		t.Error(text)
	}
	if text := transcript("sipio flow test " + file + " --update --event call"); !strings.Contains(text, "without --event") {
		t.Error(text)
	}
}

// FuzzFlowFile proves that no file of flows makes reading or checking it panic.
func FuzzFlowFile(f *testing.F) {
	for _, name := range []string{"welcome.yaml", "broken.yaml", "office.yaml", "ivr.flow"} {
		raw, err := os.ReadFile("testdata/flow/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := readFlows("-", strings.NewReader(text))
		if err != nil {
			return
		}
		for _, named := range s.flows {
			flow.Compile(named.graph)
		}
	})
}
