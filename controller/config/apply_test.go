package config

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// golden compares a text with testdata/<name>, or rewrites the file with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

// Proves that a file with more than ten different mistakes is answered by all of them, each with line
// and field, and changes nothing: the answer is compared with testdata/ten-mistakes.golden.
func TestApply_ListsAllMistakesOfAFileAndChangesNothing(t *testing.T) {
	s := openStore(t)
	before := dump(t, s)
	_, _, err := s.Apply(context.Background(), "test", readFile(t, "ten-mistakes.yaml"), brain.ApplyOptions{Prune: true})
	wantCode(t, err, brain.EInvalid, "")
	golden(t, "ten-mistakes.golden", err.Error()+"\n")
	for _, f := range err.(*brain.Error).Fields {
		if f.Line == 0 || f.Path == "" {
			t.Errorf("without a place: %v", f)
		}
	}
	if after := dump(t, s); after != before {
		t.Errorf("something was written:\n%s", after)
	}
}

// Proves that what is exported, applied again with and without prune, makes neither plan nor revision,
// for the platform and restricted to one account; that it parses alone; and that it holds no secret.
func TestExport_AppliedAgainIsANoOp(t *testing.T) {
	s := acmeStore(t)
	for _, domain := range []string{"", "acme.test", "beta.test"} {
		owner := ""
		if domain != "" {
			owner = account(t, s, domain).Account.ID
		}
		doc, err := s.Export(context.Background(), owner)
		if err != nil {
			t.Fatal(err)
		}
		if domain == "" {
			golden(t, "acme.export.golden", string(doc))
		}
		for _, opt := range []brain.ApplyOptions{{}, {Prune: true}, {AccountID: owner}, {AccountID: owner, Prune: true}} {
			plan, version, err := s.Apply(context.Background(), "test", doc, opt)
			if err != nil || len(plan.Items) != 0 || version != 1 {
				t.Errorf("%q %+v: version %d, %v\n%s", domain, opt, version, err, plan)
			}
		}
		for _, secret := range []string{"secret-", "ha1", "password:", "0x12", "pass: word", "PRIVATE KEY", "sealed", account(t, s, "acme.test").DeviceByAuth["1001@acme.test"].HA1MD5} {
			if bytes.Contains(doc, []byte(secret)) {
				t.Errorf("the export contains %q", secret)
			}
		}
		if _, mistakes := FromYAML(doc); domain != "beta.test" && mistakes != nil {
			t.Errorf("FromYAML of the export: %v", mistakes)
		}
	}
}

// Proves that values that look like something else to YAML survive export and apply.
func TestExport_QuotesWhatYAMLWouldMisread(t *testing.T) {
	s := openStore(t)
	for _, name := range []string{"null", "true", "1e3", "~", "- a", "a: b", "#x", "é", "0x10", "2001-01-01", "&a", "*a", "'", `"`, "---", "...", "a\u00a0b", "yes", "<<", "1_000", "\u0085x"} {
		a := &brain.Account{Name: name}
		if _, err := change(s, brain.OpCreate, a); err != nil && name != "\u0085x" {
			t.Fatalf("%q: %v", name, err)
		}
	}
	doc, err := s.Export(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	if plan := mustApply(t, s, doc, brain.ApplyOptions{}); len(plan.Items) != 0 {
		t.Errorf("plan:\n%s\nof:\n%s", plan, doc)
	}
}

// Proves create, update field by field with names, delete by prune, and that secrets are not shown: the
// plan of a changed file is compared with testdata/plan.golden; a dry run tells the same and does nothing.
func TestApply_PlansFieldByFieldAndDryRunDoesNothing(t *testing.T) {
	s := acmeStore(t)
	doc := string(readFile(t, "acme.yaml"))
	for _, r := range [][2]string{
		{"fwd_noanswer_dest_kind: user", "fwd_noanswer_dest_kind: ring_group"}, {`fwd_noanswer_dest_id: "1002"`, "fwd_noanswer_dest_id: sales"},
		{"secret-1001", "secret-1001-new"}, {"name: \"600\"", "name: \"601\""}, {"    - user_id: \"1001\"\n", ""}, {"weight: 0", "weight: 5"},
		{"name: phones.acme.test", "name: desk.acme.test"},
	} {
		if !strings.Contains(doc, r[0]) {
			t.Fatalf("nothing to replace: %q", r[0])
		}
		doc = strings.Replace(doc, r[0], r[1], 1)
	}
	before := dump(t, s)
	dry, version, err := s.Apply(context.Background(), "test", []byte(doc), brain.ApplyOptions{Prune: true, DryRun: true})
	if err != nil || version != 1 || dump(t, s) != before {
		t.Fatalf("dry run: version %d, %v", version, err)
	}
	plan := mustApply(t, s, []byte(doc), brain.ApplyOptions{Prune: true})
	golden(t, "plan.golden", plan.String())
	if plan.String() != dry.String() {
		t.Errorf("the dry run said:\n%s", dry)
	}
	if again := mustApply(t, s, []byte(doc), brain.ApplyOptions{Prune: true}); len(again.Items) != 0 {
		t.Errorf("applied again:\n%s", again)
	}
	c := account(t, s, "desk.acme.test")
	if c.Extensions["600"] != nil || c.Extensions["601"] == nil || s.Directory().ByDomain("phones.acme.test") != nil {
		t.Error("not pruned")
	}
}

// Proves that without prune nothing is deleted, that fields left out fall back to their defaults, and
// that a device declared without a password keeps its credentials.
func TestApply_WithoutPruneOnlyCreatesAndUpdates(t *testing.T) {
	s := acmeStore(t)
	old := account(t, s, "acme.test").DeviceByAuth["1002@acme.test"]
	mustApply(t, s, []byte(`[{kind: sip_user, account: acme, name: 1002, spec: {is_agent: true}}, {kind: sip_device, account: acme, name: 1002@ACME.test, spec: {user_id: 1001}}]`), brain.ApplyOptions{})
	c := account(t, s, "acme.test")
	if len(c.Users) != 2 || len(c.Extensions) != 4 || len(c.RingGroups) != 1 {
		t.Error("something was deleted")
	}
	if u := c.UserByName["1002"]; u.DND || u.FwdBusy().IsSet() || u.Skills != nil || u.RingStrategy != brain.RingSimultaneous {
		t.Errorf("fields left out kept their value: %+v", u)
	}
	d := c.DeviceByAuth["1002@acme.test"]
	if d.ID != old.ID || d.HA1MD5 != old.HA1MD5 || d.HA1SHA256 != old.HA1SHA256 || !d.RingOnFork || d.UserID != c.UserByName["1001"].ID {
		t.Errorf("the device is %+v, was %+v", d, old)
	}
}

// Proves that a document restricted to an account can neither touch nor name anything else, and cannot
// change the account itself.
func TestApply_RestrictedToAnAccountSeesNoOther(t *testing.T) {
	s := acmeStore(t)
	opt := brain.ApplyOptions{AccountID: account(t, s, "beta.test").Account.ID}
	before := dump(t, s)
	for doc, part := range map[string]string{
		`{kind: sip_user, account: acme, name: 9}`:                                                 `account: no account "acme"`,
		`{kind: sip_user, account: nobody, name: 9}`:                                               `account: no account "nobody"`,
		`{kind: account, name: acme}`:                                                              `name: no account "acme"`,
		`{kind: account, name: new}`:                                                               `name: no account "new"`,
		`{kind: account, name: beta, spec: {parent_id: acme, status: closed}}`:                     "key of the platform",
		`{kind: node, name: edge-1}`:                                                               "key of the platform",
		`{kind: extension, account: beta, name: 1, spec: {dest_kind: user, dest_id: "1002"}}`:      `no sip_user "1002"`,
		`{kind: sip_domain, account: beta, name: acme.test}`:                                       `"acme.test" is taken`,
		`{kind: sip_device, account: beta, name: 9@acme.test, spec: {user_id: 1001, password: x}}`: `not one of the account's domains`,
	} {
		_, _, err := s.Apply(context.Background(), "test", []byte(doc), opt)
		wantCode(t, err, brain.EInvalid, part)
	}
	if dump(t, s) != before {
		t.Error("something was written")
	}
	plan := mustApply(t, s, []byte(`{kind: extension, account: beta, name: 1, spec: {dest_kind: user, dest_id: 1001}}`), opt)
	if len(plan.Items) != 1 {
		t.Errorf("its own account: %s", plan)
	}
}

// Proves that each kind of mistake is told at the right line with the right field. Each row is a
// document whose mistake is in the line given.
func TestFromYAML_TellsEachMistakeAtItsLine(t *testing.T) {
	const head = "kind: account\nname: a\n---\n"
	for _, c := range []struct{ doc, want string }{
		{"kind: account\nname: [x\n", "line 2: yaml: did not find expected ',' or ']'"},
		{"a: b\n---\nkind: [\n---\nkind: moon\nname: x", "line 1: kind: is required|line 3: yaml: did not find|line 5: kind: \"moon\" is none of"},
		{head + "kind: moon\nname: x\n", `line 4: kind: "moon" is none of`},
		{head + "kind: api_key\nname: x\n", `line 4: kind: "api_key" is none of`},
		{head + "name: x\n", "line 4: kind: is required"},
		{head + "kind: node\n", `line 4: node "": name: is required`},
		{head + "kind: node\nname: n\nspecs: {}\n", `line 6: node "n": specs: is unknown`},
		{head + "kind: node\nname: n\naccount: a\n", `line 6: node "n": account: node belongs to no account`},
		{head + "kind: node\nname: n\nspec:\n  wieght: 1\n", `line 7: node "n": spec.wieght: is no field of node`},
		{head + "kind: node\nname: n\nspec:\n  id: node_1\n", `line 7: node "n": spec.id: is no field of node`},
		{head + "kind: node\nname: n\nspec:\n  name: m\n", `line 7: node "n": spec.name: is given by the document's name`},
		{head + "kind: node\nname: n\nspec:\n  weight: 1\n  weight: 2\n", `line 8: node "n": spec.weight: is given twice`},
		{head + "kind: node\nname: n\nspec:\n  weight: heavy\n", `line 7: node "n": spec.weight: must be a whole number, not "heavy"`},
		{head + "kind: node\nname: n\nspec:\n  weight: 1.5\n", `line 7: node "n": spec.weight: must be a whole number, not "1.5"`},
		{head + "kind: node\nname: n\nspec:\n  weight: 99999999999999999999\n", `line 7: node "n": spec.weight: must be a whole number`},
		{head + "kind: node\nname: n\nspec:\n  sip_addresses: 192.0.2.1\n", `line 7: node "n": spec.sip_addresses: must be a list, not "192.0.2.1"`},
		{head + "kind: node\nname: n\nspec:\n  sip_addresses:\n    - ok\n    - {a: b}\n", `line 9: node "n": spec.sip_addresses[1]: must be text, not a mapping`},
		{head + "kind: node\nname: true\n", `line 5: node "": name: must be text (in quotes), not "true"`},
		{head + "kind: node\nname: &n x\n", `line 5: node "": name: anchors and aliases are refused`},
		{head + "kind: node\nname: *98\n", `line 5: yaml: unknown anchor '98' referenced (write a value that begins with * in quotes)`},
		{head + "kind: sip_user\nname: u\n", `line 4: sip_user "u": account: is required`},
		{head + "kind: sip_user\nname: u\naccount: b\n", `line 6: sip_user "u": account: no account "b"`},
		{head + "kind: sip_user\nname: u@x\naccount: a\n", `line 5: sip_user "u@x": name: must be 1 to 64 of`},
		{head + "kind: sip_user\nname: u\naccount: a\nspec: {dnd: 1}\n", `line 7: sip_user "u": spec.dnd: must be true or false, not "1"`},
		{head + "kind: sip_user\nname: u\naccount: a\nspec: {fwd_busy_dest_id: x}\n", `line 7: sip_user "u": spec.fwd_busy_dest_id: is set without fwd_busy_dest_kind`},
		{head + "kind: sip_device\nname: u\naccount: a\n", `line 5: sip_device "u": name: must be auth_username@realm`},
		{head + "kind: account\nname: b\nspec: {timezone: Mars/Olympus}\n", `line 6: account "b": spec.timezone: no time zone`},
		{head + "kind: account\nname: b\nspec: {country: uk}\n", `line 6: account "b": spec.country: no dial plan is known for "UK"`},
		{head + "kind: account\nname: b\nspec: {outbound_countries: ['*', xx]}\n", `line 6: account "b": spec.outbound_countries[1]: no dial plan is known for "XX"`},
		{head + "kind: account\nname: a\n", `line 5: account "a": name: is declared already in line 2`},
		{head + "kind: account\nname: b\nspec: {parent_id: c}\n", `line 6: account "b": spec.parent_id: no account "c"`},
		{head + "kind: account\nname: b\nspec: {parent_id: b}\n", `line 6: account "b": spec.parent_id: an account is not its own parent`},
		{head + "kind: sip_domain\nname: x.test\naccount: a\n", `line 4: sip_domain "x.test": spec.is_primary: one domain of the account must be`},
		{head + "just text\n", `line 4: document: must be fields with values, not "just text"`},
		{"\xff\xfe", "file: is not UTF-8"},
	} {
		dir, mistakes := FromYAML([]byte(c.doc))
		var lines []string
		for _, m := range mistakes {
			lines = append(lines, m.String())
		}
		all := strings.Join(lines, "\n")
		for _, want := range strings.Split(c.want, "|") {
			if dir != nil || !strings.Contains(all, want) {
				t.Errorf("%q:\ngot  %s\nwant %s", c.doc, all, want)
			}
		}
	}
}

// Proves that sizes are bounded: bytes, documents, and mistakes told.
func TestFromYAML_IsBounded(t *testing.T) {
	for name, doc := range map[string]string{
		"bytes":      strings.Repeat("#", MaxDocumentBytes+1),
		"documents":  strings.Repeat("- {kind: node, name: n}\n", MaxDocuments+2),
		"stretches":  strings.Repeat("---\n", MaxDocumentBytes/4),
		"mistakes":   strings.Repeat("- x\n", maxMistakes+2),
		"nesting":    strings.Repeat("[", 1<<20),
		"alias bomb": "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n",
	} {
		dir, mistakes := FromYAML([]byte(doc))
		if dir != nil || len(mistakes) == 0 || len(mistakes) > maxMistakes+1 {
			t.Errorf("%s: %v, %d mistakes", name, dir, len(mistakes))
		}
	}
}

// Proves that a directory made of YAML alone answers as one of a store does, with ids that do not
// change from run to run.
func TestFromYAML_MakesADirectory(t *testing.T) {
	dir, mistakes := FromYAML(readFile(t, "acme.yaml"))
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	c := dir.ByDomain("ACME.test")
	if c == nil || len(c.Users) != 2 || len(c.RingGroups) != 1 || c.PrimaryDomain != "acme.test" {
		t.Fatalf("got %+v", c)
	}
	target := c.UserByName["1001"].FwdNoanswer()
	if c.Users[target.ID] != c.UserByName["1002"] {
		t.Errorf("the forward leads to %v", target)
	}
	if c.DeviceByAuth["1001@acme.test"].HA1SHA256 == "" || dir.ByDomain("beta.test").UserByName["1001"] == nil {
		t.Error("a device or an account is missing")
	}
	again, _ := FromYAML(readFile(t, "acme.yaml"))
	if again.ByDomain("acme.test").UserByName["1001"].ID != c.UserByName["1001"].ID {
		t.Error("ids differ from run to run")
	}
}

// Proves that no bytes make the parser panic, that a directory comes exactly when there is no mistake,
// and that what was accepted survives a store, its export and another apply unchanged in number.
func FuzzFromYAML(f *testing.F) {
	for _, name := range []string{"acme.yaml", "ten-mistakes.yaml"} {
		f.Add(readFile(f, name))
	}
	f.Add([]byte("# nothing\n"))
	f.Add([]byte("--- \n...\n---\nkind: account\nname: \"\\0\"\n"))
	f.Add([]byte("a: &a [*a]\n--- |\n ---\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		dir, mistakes := FromYAML(doc)
		if (dir == nil) != (len(mistakes) > 0) {
			t.Errorf("directory %v with %d mistakes", dir, len(mistakes))
		}
		if dir == nil {
			return
		}
		base := dir.(*state)
		var out bytes.Buffer
		if err := writeExport(&out, base, ""); err != nil {
			t.Fatal(err)
		}
		again, mistakes := FromYAML(out.Bytes())
		if mistakes != nil {
			t.Fatalf("the export is refused: %v\n%s", mistakes, out.Bytes())
		}
		var twice bytes.Buffer
		if err := writeExport(&twice, again.(*state), ""); err != nil || out.String() != twice.String() {
			t.Errorf("exported twice: %v\n%s\n%s", err, out.String(), twice.String())
		}
	})
}

// A phone that nodes would ban for its name is refused, with the signature and its line.
func TestApply_RefusesTheNamesOfScanners(t *testing.T) {
	s := acmeStore(t)
	doc := `- {kind: sip_user, account: acme, name: SIPVicious}
- {kind: sip_user, account: acme, name: sipclient7}
- {kind: sip_device, account: acme, name: my-sipvicious@acme.test, spec: {user_id: sipclient7, password: "0123456789abc"}}
`
	_, _, err := s.Apply(context.Background(), "test", []byte(doc), brain.ApplyOptions{})
	wantCode(t, err, brain.EInvalid, "")
	if got := err.Error(); strings.Count(got, `"from:sipvicious"`) != 2 || !strings.Contains(got, "line 1: ") || !strings.Contains(got, "line 3: ") || strings.Contains(got, "line 2: ") {
		t.Error(got)
	}
}
