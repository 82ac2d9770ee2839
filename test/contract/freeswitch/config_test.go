package freeswitch

import (
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/test/contract/freeswitch/daemon"
)

// configFolder is freeswitch-cfg as seen from this package.
const configFolder = "../../../freeswitch-cfg"

// configFiles are the files of freeswitch-cfg: path → text.
func configFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(configFolder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(configFolder, path)
		files[rel] = string(text)
		return err
	})
	if err != nil || len(files) < 8 {
		t.Fatalf("read freeswitch-cfg: %d files, %v", len(files), err)
	}
	return files
}

// wellFormed reads a whole document.
func wellFormed(text string) error {
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

var (
	usedValue    = regexp.MustCompile(`\$\$\{([^}]*)\}`)
	definedValue = regexp.MustCompile(`<X-PRE-PROCESS cmd="set" data="([^="]*)=`)
	comment      = regexp.MustCompile(`(?s)<!--.*?-->`)
)

// findings are the faults of a configuration that FreeSWITCH itself passes over: it reads what it can of a broken
// file, and takes a value that is not defined for the empty string.
func findings(files map[string]string) []string {
	var out []string
	used, defined := map[string]bool{}, map[string]bool{}
	for _, m := range definedValue.FindAllStringSubmatch(files["vars.xml"], -1) {
		defined[m[1]] = true
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := wellFormed(files[name]); err != nil {
			out = append(out, name+": "+err.Error())
		}
		text := comment.ReplaceAllString(files[name], "")
		for _, m := range usedValue.FindAllStringSubmatch(text, -1) {
			used[m[1]] = true
			if !defined[m[1]] {
				out = append(out, name+": "+m[0]+" is not in vars.xml")
			}
		}
		for line := range strings.Lines(text) {
			if strings.Count(line, "<X-PRE-PROCESS") > 1 || strings.Contains(line, "<X-PRE-PROCESS") && !strings.Contains(line, "/>") {
				out = append(out, name+": a preprocessor command must be the only one on its line: "+strings.TrimSpace(line))
			}
		}
	}
	if strings.Contains(comment.ReplaceAllString(files["vars.xml"], ""), "|") {
		out = append(out, "vars.xml: one agent drives a FreeSWITCH, and no second one")
	}
	for _, name := range slices.Sorted(maps.Keys(defined)) {
		if !used[name] {
			out = append(out, "vars.xml: "+name+" is used nowhere")
		}
	}
	return out
}

// Proves that freeswitch-cfg is well-formed and complete, by parsing every file and comparing the values used with
// those of vars.xml.
func TestConfig_IsWellFormedAndEveryValueIsDefined(t *testing.T) {
	for _, f := range findings(configFiles(t)) {
		t.Error(f)
	}
}

// Proves that the check can fail, by breaking the real configuration in each way that it looks for.
func TestConfig_TheCheckFindsWhatIsBroken(t *testing.T) {
	for _, c := range []struct{ file, from, to, want string }{
		{"dialplan/sipio.xml", "</context>", "", "dialplan/sipio.xml: XML syntax error"},
		{"autoload/sofia.conf.xml", "$${sip_ip}", "$${sip_adress}", "sip_adress} is not in vars.xml"},
		{"vars.xml", "agents=127.0.0.1:8484", "agents=127.0.0.1:8484|127.0.0.1:8485", "no second one"},
		{"vars.xml", "esl_port=", "esl_prot=", "$${esl_port} is not in vars.xml"},
		{"vars.xml", "esl_port=", "esl_prot=", "esl_prot is used nowhere"},
		{"freeswitch.xml", "data=\"vars.xml\"/>", "data=\"vars.xml\"/><X-PRE-PROCESS cmd=\"set\" data=\"a=b\"/>", "only one on its line"},
	} {
		files := configFiles(t)
		broken := strings.Replace(files[c.file], c.from, c.to, 1)
		if broken == files[c.file] {
			t.Fatalf("%s: nothing to break: %s", c.file, c.from)
		}
		files[c.file] = broken
		if got := strings.Join(findings(files), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s with %q: found %q, want %q", c.file, c.to, got, c.want)
		}
	}
}

// Proves that a node's values get into vars.xml whole or not at all: known names are replaced, unknown names and
// characters that would end the value or be expanded are refused, and the file with the password is for its owner only.
func TestRender_PutsValuesInOrRefuses(t *testing.T) {
	to := filepath.Join(t.TempDir(), "conf")
	if err := daemon.Render(configFolder, to, map[string]string{"esl_password": "Secret0123", "agents": "127.0.0.1:1|127.0.0.1:2"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(to, "vars.xml"))
	if err != nil || !strings.Contains(string(text), `data="esl_password=Secret0123"/>`) || !strings.Contains(string(text), `data="agents=127.0.0.1:1|127.0.0.1:2"/>`) {
		t.Errorf("vars.xml (%v):\n%s", err, text)
	}
	if info, err := os.Stat(filepath.Join(to, "vars.xml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of vars.xml: %v, %v", info.Mode(), err)
	}
	for _, bad := range []map[string]string{{"nosuch": "1"}, {"sip_ip": `1"/>`}, {"sip_ip": "$${esl_password}"}, {"sip_ip": "a\nb"}, {"sip_ip": "a<b"}} {
		if err := daemon.Render(configFolder, filepath.Join(t.TempDir(), "conf"), bad); err == nil {
			t.Errorf("%v was rendered", bad)
		}
	}
}
