package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipio/sipio/test/edge"
)

// tenMistakes has a mistake of its own kind in each line with a number; wantMistakes tells where.
const tenMistakes = `kind: account
name: initech
spec: {timezone: Mars/Olympus}               # 1: no such zone
---
kind: sip_domain
account: initech
name: initech.test
spec: {is_primary: maybe}                    # 2: not a boolean
---
kind: sip_user
account: initech
name: "3001"
spec:
  ring_timeout_sec: 900                      # 3: out of range
  ring_strategy: backwards                   # 4: not of the enumeration
  colour: red                                # 5: no such field
  fwd_busy_dest_kind: user
  fwd_busy_dest_id: "3999"                   # 6: refers to nobody
---
kind: sip_device
account: initech
name: 3001                                   # 7: without a realm
spec: {user_id: "3001", password: x}
---
kind: extension
account: initech
name: "*1"
spec: {dest_kind: hangup, dest_id: "200"}    # 8: no refusal
---
kind: sip_user
account: nobody                              # 9: no such account
name: "1"
---
kind: printer                                # 10: no such kind
name: laser
`

var wantMistakes = []struct {
	line int
	path string
}{
	{3, "spec.timezone"}, {8, "spec.is_primary"}, {14, "spec.ring_timeout_sec"}, {15, "spec.ring_strategy"},
	{16, "spec.colour"}, {18, "spec.fwd_busy_dest_id"}, {22, "name"}, {28, "spec.dest_id"}, {31, "account"}, {34, "kind"},
}

// A file with ten mistakes is answered with all ten, each at its line, and the exit status 1; it leaves
// the configuration and the list of revisions as they were, even where the file is right.
func TestApply_TellsTenMistakesAndChangesNothing(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	export, revisions := must(t, e, 0, "export").out, must(t, e, 0, "revisions").out
	file := write(t, e, "wrong.yaml", two+"---\n"+tenMistakes)
	before := strings.Count(two, "\n") + 1

	got := must(t, e, 1, "apply", "-f", file)
	lines := strings.Split(strings.TrimSpace(got.err), "\n")
	for i, want := range wantMistakes {
		prefix := fmt.Sprintf("%s:%d: ", file, before+want.line)
		if i >= len(lines) || !strings.HasPrefix(lines[i], prefix) || !strings.Contains(lines[i], want.path+": ") {
			t.Errorf("mistake %d: want %s… %s: …", i+1, prefix, want.path)
		}
	}
	if len(lines) != 12 || lines[len(lines)-2] != "10 mistakes" || lines[len(lines)-1] != "nothing was changed" || got.out != "" {
		t.Errorf("want ten mistakes and a last word\n%v", got)
	}
	if now := must(t, e, 0, "export").out; now != export {
		t.Errorf("the configuration was changed to\n%s", now)
	}
	if now := must(t, e, 0, "revisions").out; now != revisions {
		t.Errorf("there is a new revision\n%s", now)
	}
}

// A good file is answered with its plan and applied; what export writes then is no change, with prune or
// without, and makes no revision.
func TestExport_AppliedAgainChangesNothing(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{})
	got := must(t, e, 0, "apply", "-f", write(t, e, "two.yaml", two))
	for _, want := range []string{"+ account acme\n", "+ sip_device globex/1001@globex.test\n", "13 to create, 0 to update, 0 to delete\n", "the configuration is now version "} {
		if !strings.Contains(got.out, want) {
			t.Errorf("the plan lacks %q\n%v", want, got)
		}
	}
	if strings.Contains(got.String(), password) {
		t.Errorf("the plan shows a password\n%v", got)
	}
	revisions := must(t, e, 0, "revisions").out
	file := filepath.Join(e.Dir, "export.yaml")
	must(t, e, 0, "export", "-o", file)
	for _, args := range [][]string{{"apply", "-f", file}, {"apply", "--prune", "-f", file}, {"diff", "--prune", "-f", file}} {
		if got := must(t, e, 0, args...); got.out != "no changes\n" {
			t.Errorf("sipio %v after export\n%v", args, got)
		}
	}
	if now := must(t, e, 0, "revisions").out; now != revisions {
		t.Errorf("there is a new revision\n%s", now)
	}
	text, err := os.ReadFile(file)
	if err != nil || must(t, e, 0, "export").out != string(text) {
		t.Errorf("a second export differs from the first, %v", err)
	}
}

// The exit status of diff tells apart no difference, a difference and a mistake, and diff changes nothing
// in any of the three; rollback brings back what was there before.
func TestDiff_TellsByItsExitStatus(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	was := must(t, e, 0, "export").out
	version := newest(t, e)
	changed := strings.Replace(two, "Ann", "Anne", 1)
	file := write(t, e, "changed.yaml", changed)

	must(t, e, 0, "diff", "-f", write(t, e, "same.yaml", two))
	if got := must(t, e, 2, "diff", "-f", file); !strings.Contains(got.out, "display_name: Ann → Anne") {
		t.Errorf("diff of a changed name\n%v", got)
	}
	must(t, e, 1, "diff", "-f", write(t, e, "wrong.yaml", strings.Replace(two, "Ann", "'"+strings.Repeat("n", 65)+"'", 1)))
	if now := must(t, e, 0, "export").out; now != was || newest(t, e) != version {
		t.Errorf("diff changed the configuration to\n%s", now)
	}

	must(t, e, 0, "apply", "-f", file)
	if now := must(t, e, 0, "export").out; !strings.Contains(now, "Anne") {
		t.Errorf("apply did not change the name\n%s", now)
	}
	must(t, e, 0, "rollback", version)
	if now := must(t, e, 0, "export").out; now != was {
		t.Errorf("after the rollback\n%s\nwant\n%s", now, was)
	}
	if got := must(t, e, 1, "rollback", "999999"); !strings.Contains(got.err, "no revision 999999") {
		t.Errorf("rollback to the future\n%v", got)
	}
}

// newest is the version of the last revision.
func newest(t *testing.T, e *edge.Edge) string {
	t.Helper()
	lines := strings.Split(must(t, e, 0, "revisions", "--limit", "1").out, "\n")
	if len(lines) < 2 || lines[1] == "" {
		t.Fatalf("no revision in %q", lines)
	}
	return strings.Fields(lines[1])[0]
}

// What belongs to one account can be neither referred to from another, nor taken away while something
// refers to it, nor named twice platform-wide: each such file is refused at the line of the fault, and
// the configuration stays.
func TestApply_KeepsReferencesInsideTheirAccount(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	was := must(t, e, 0, "export").out
	for name, c := range map[string]struct{ flag, text, want string }{
		"a member of another account": {"", `- {kind: ring_group, account: acme, name: sales, spec: {members: [{user_id: "2001"}]}}`,
			`:1: ring_group "sales": spec.members[0].user_id: no sip_user "2001" in account "acme"`},
		"a device under another account's user": {"", `- {kind: sip_device, account: globex, name: 1002@globex.test, spec: {user_id: "1002", password: x}}`,
			`:1: sip_device "1002@globex.test": spec.user_id: no sip_user "1002"`},
		"a realm of another account": {"", `- {kind: sip_device, account: globex, name: 1009@acme.test, spec: {user_id: "1001", password: x}}`,
			`:1: sip_device "1009@acme.test": name:`},
		"a domain of another account": {"", `- {kind: sip_domain, account: globex, name: acme.test}`,
			`:1: sip_domain "acme.test": name:`},
		"a forward to another account's extension": {"", `- {kind: sip_user, account: globex, name: "1001", spec: {fwd_busy_dest_kind: extension, fwd_busy_dest_id: "600"}}`,
			`:1: sip_user "1001": spec.fwd_busy_dest_id: no extension "600"`},
		"a user pruned who is a member": {"--prune", "- {kind: account, name: acme}\n- {kind: sip_domain, account: acme, name: acme.test, spec: {is_primary: true}}\n" +
			`- {kind: ring_group, account: acme, name: sales, spec: {members: [{user_id: "1001"}]}}`,
			`:3: ring_group "sales": spec.members[0].user_id: no sip_user "1001"`},
		"a file for one account that names another": {"--account=globex", `- {kind: sip_user, account: acme, name: "1001", spec: {dnd: true}}`,
			`:1: sip_user "1001": account: no account "acme" that may be changed here`},
	} {
		args := []string{"apply", "-f", write(t, e, "wrong.yaml", c.text)}
		if c.flag != "" {
			args = append(args, c.flag)
		}
		if got := must(t, e, 1, args...); !strings.Contains(got.err, c.want) {
			t.Errorf("%s: want %s\n%v", name, c.want, got)
		}
		if now := must(t, e, 0, "export").out; now != was {
			t.Fatalf("%s: the configuration was changed to\n%s", name, now)
		}
	}
}
