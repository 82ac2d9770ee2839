package config

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// plainPINs stands for the hash of PINs: readable, and another one each time.
func plainPINs() PINs {
	made := 0
	return PINs{
		Seal: func(pin string) string {
			made++
			return fmt.Sprintf("$argon2id$v=19$m=1,t=1,p=1$%d$%s", made, pin)
		},
		Check: func(hash, pin string) bool { return strings.HasSuffix(hash, "$"+pin) },
	}
}

// graphOf is a flow that rings a group and offers a mailbox.
func graphOf(group, box string) brain.FlowGraph {
	step := func(id, data string) brain.FlowStep { return brain.FlowStep{ID: id, Data: []byte(data)} }
	return brain.FlowGraph{Start: "in", Nodes: []brain.FlowStep{step("in", `{"kind":"entry"}`),
		step("ring", fmt.Sprintf(`{"kind":"ringGroup","ringGroupId":%q}`, group)), step("box", fmt.Sprintf(`{"kind":"voicemail","mailboxId":%q}`, box))},
		Edges: []brain.FlowEdge{{Source: "in", Target: "ring"}, {Source: "ring", Target: "box", SourceHandle: "no_answer"}}}
}

// only returns the one resource of a kind in an account that has a name.
func only[P brain.Resource](t testing.TB, s *Store, owner string, kind brain.Kind, name string) P {
	t.Helper()
	list, err := s.List(context.Background(), kind, owner, "", MaxList)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if brain.NameOf(r) == name {
			return r.(P)
		}
	}
	t.Fatalf("no %s %q", kind, name)
	panic("not reached")
}

// Proves that references are ids after a document of names, in fields and inside graphs, that a new view finds
// numbers, trunks and zones, and that an unknown name inside a graph is told at its line.
func TestApply_ResolvesNamesOfWhatIsAnswered(t *testing.T) {
	s := acmeStore(t)
	c := account(t, s, "acme.test")
	owner, did := s.Directory().ByDID("493012345")
	if owner != c || did == nil || did.AllowAnonymous || did.DestXform["queue"] != "yes" || c.RingGroups[did.DestID] == nil || c.Voicemails[did.ClosedDestID] == nil || c.Schedules[did.ScheduleID] == nil {
		t.Fatalf("the number is %+v", did)
	}
	f := only[*brain.CallFlow](t, s, c.Account.ID, brain.KindCallFlow, "main")
	box := only[*brain.Voicemail](t, s, c.Account.ID, brain.KindVoicemail, "alice")
	if f.Version != 1 || !f.LiveGraph.Equal(f.Graph) || !strings.Contains(string(f.Graph.Nodes[3].Data), `"mailboxId":"`+box.ID+`"`) || c.Account.DIDDefaultDestID != f.ID {
		t.Errorf("the flow is %+v", f)
	}
	if other := only[*brain.CallFlow](t, s, c.Account.ID, brain.KindCallFlow, "other"); other.Version != 0 || len(other.LiveGraph.Nodes) != 0 {
		t.Errorf("a draft runs: %+v", other)
	}
	if got := c.Zone(did.ScheduleID).String(); got != "Europe/London" || c.Zone("").String() != "Europe/Berlin" {
		t.Errorf("zones: %s and %s", got, c.Zone(""))
	}
	if none, number := s.Directory().ByDID("4930"); none != nil || number != nil {
		t.Error("a number that nobody has was found")
	}
	_, _, err := s.Apply(context.Background(), "test", []byte("kind: call_flow\naccount: acme\nname: bad\nspec:\n  graph:\n    start: in\n    nodes:\n"+
		"      - {id: in, data: {kind: entry}}\n      - id: ring\n        data:\n          kind: ringGroup\n          ringGroupId: nobody\n    edges: [{source: in, target: ring}]\n"), brain.ApplyOptions{})
	wantCode(t, err, brain.EInvalid, `line 12: call_flow "bad": spec.graph.nodes[1].data.ringGroupId: no ring_group "nobody" in account "acme"`)
	_, _, err = s.Apply(context.Background(), "test", []byte("- {kind: media_file, account: acme, name: x, spec: {object_key: a/b}}\n- {kind: call_flow, account: acme, name: main, spec: {version: 7}}\n"+
		"- {kind: voicemail_message, account: acme, name: x}\n- {kind: time_schedule, account: acme, name: y, spec: {timezone: Mars/Olympus, rules: []}}\n"), brain.ApplyOptions{})
	for _, part := range []string{"line 1: media_file \"x\": spec.object_key: is written by the platform alone", "line 2: call_flow \"main\": spec.version: is written by", `line 3: kind: "voicemail_message" is none of`, "line 4: time_schedule \"y\": spec.timezone: no time zone"} {
		wantCode(t, err, brain.EInvalid, part)
	}
}

// Proves that a flow is compiled on every save, that a published one gets a version that rises with another graph
// only, that its pointer stays while others change, and that calls go on with the graph that was published.
func TestChange_PublishesFlows(t *testing.T) {
	s := acmeStore(t)
	c := account(t, s, "acme.test")
	box, group := only[*brain.Voicemail](t, s, c.Account.ID, brain.KindVoicemail, "alice"), only[*brain.RingGroup](t, s, c.Account.ID, brain.KindRingGroup, "sales")
	f := &brain.CallFlow{AccountID: c.Account.ID, Name: "new", Graph: graphOf(group.ID, box.ID), Version: 9}
	mustChange(t, s, brain.OpCreate, f)
	live := account(t, s, "acme.test").Flows[f.ID]
	if f.Version != 1 || live == nil || !live.LiveGraph.Equal(live.Graph) || live.Status != brain.StatusPublished {
		t.Fatalf("published as %+v", live)
	}
	box.SkipInstructions = true
	mustChange(t, s, brain.OpUpdate, box)
	if account(t, s, "acme.test").Flows[f.ID] != live {
		t.Error("the flow is another one after a change of a mailbox")
	}
	draft := brain.Clone(live).(*brain.CallFlow)
	draft.Status, draft.Graph.Nodes = brain.StatusDraft, draft.Graph.Nodes[:2]
	draft.Graph.Edges = draft.Graph.Edges[:1]
	mustChange(t, s, brain.OpUpdate, draft)
	if now := account(t, s, "acme.test").Flows[f.ID]; now.Version != 1 || !now.LiveGraph.Equal(live.Graph) || now.Graph.Equal(now.LiveGraph) {
		t.Errorf("the draft runs: %+v", now)
	}
	draft.Status = brain.StatusPublished
	mustChange(t, s, brain.OpUpdate, draft)
	if now := account(t, s, "acme.test").Flows[f.ID]; now.Version != 2 || !now.LiveGraph.Equal(now.Graph) {
		t.Errorf("published again as %+v", now)
	}
	for path, spoil := range map[string]func(g *brain.FlowGraph){
		"graph.nodes[1].data.kind":        func(g *brain.FlowGraph) { g.Nodes[1].Data = []byte(`{"kind":"moon"}`) },
		"graph.nodes[1].data.ringGroupId": func(g *brain.FlowGraph) { g.Nodes[1].Data = []byte(`{"kind":"ringGroup","ringGroupId":"rg_9"}`) },
		"graph.nodes":                     func(g *brain.FlowGraph) { g.Nodes = nil },
	} {
		bad := brain.Clone(draft).(*brain.CallFlow)
		spoil(&bad.Graph)
		_, err := change(s, brain.OpUpdate, bad)
		wantCode(t, err, brain.EInvalid, path)
	}
}

// Proves that nothing goes that something refers to: a mailbox of a flow, be it that which is drawn or that which
// runs, a schedule of a number, a file of a playlist, a mailbox with messages.
func TestChange_KeepsWhatIsReferredTo(t *testing.T) {
	s := acmeStore(t)
	id := account(t, s, "acme.test").Account.ID
	spare := &brain.Voicemail{AccountID: id, Name: "spare"}
	mustChange(t, s, brain.OpCreate, spare)
	group := only[*brain.RingGroup](t, s, id, brain.KindRingGroup, "sales")
	f := &brain.CallFlow{AccountID: id, Name: "new", Graph: graphOf(group.ID, spare.ID)}
	mustChange(t, s, brain.OpCreate, f)
	_, err := change(s, brain.OpDelete, spare)
	wantCode(t, err, brain.EConflict, `voicemail "spare" is still named by call_flow "new" (graph.nodes[2].data.mailboxId)`)
	f.Status, f.Graph.Nodes, f.Graph.Edges = brain.StatusDraft, f.Graph.Nodes[:2], f.Graph.Edges[:1]
	mustChange(t, s, brain.OpUpdate, f)
	_, err = change(s, brain.OpDelete, spare)
	wantCode(t, err, brain.EConflict, `voicemail "spare" is still named by call_flow "new" (live_graph.nodes[2].data.mailboxId)`)
	f.Status = brain.StatusPublished
	mustChange(t, s, brain.OpUpdate, f)
	m := &brain.VoicemailMessage{AccountID: id, VoicemailID: spare.ID, ObjectKey: "k", SHA256: strings.Repeat("0", 64)}
	mustChange(t, s, brain.OpCreate, m)
	_, err = change(s, brain.OpDelete, spare)
	wantCode(t, err, brain.EConflict, "voicemail_message")
	mustChange(t, s, brain.OpDelete, m)
	mustChange(t, s, brain.OpDelete, spare)
	for part, r := range map[string]brain.Resource{
		`by did "493012345" (schedule_id)`:            only[*brain.TimeSchedule](t, s, id, brain.KindTimeSchedule, "office"),
		`by media_playlist "waiting" (media_ids[0])`:  only[*brain.MediaFile](t, s, id, brain.KindMediaFile, "song"),
		`by voicemail "alice" (greeting_media_id)`:    only[*brain.MediaFile](t, s, id, brain.KindMediaFile, "hello"),
		`by account "acme" (did_default_dest_id)`:     only[*brain.CallFlow](t, s, id, brain.KindCallFlow, "main"),
		`by sip_user "1001" (voicemail_id)`:           only[*brain.Voicemail](t, s, id, brain.KindVoicemail, "alice"),
		`by call_flow "main" (graph.nodes[4].data.fl`: only[*brain.CallFlow](t, s, id, brain.KindCallFlow, "other"),
	} {
		_, err := change(s, brain.OpDelete, r)
		wantCode(t, err, brain.EConflict, part)
	}
}

// Proves that a number is one account's, platform-wide, and free again when it goes.
func TestChange_ANumberIsOneAccounts(t *testing.T) {
	s := acmeStore(t)
	acme, beta := account(t, s, "acme.test").Account.ID, account(t, s, "beta.test").Account.ID
	taken := &brain.DID{AccountID: beta, E164: "493012345"}
	_, err := change(s, brain.OpCreate, taken)
	wantCode(t, err, brain.EConflict, `did "493012345": e164: "493012345" is taken already`)
	mustChange(t, s, brain.OpDelete, only[*brain.DID](t, s, acme, brain.KindDID, "493012345"))
	mustChange(t, s, brain.OpCreate, taken)
	if owner, did := s.Directory().ByDID("493012345"); owner == nil || owner.Account.ID != beta || did.ID != taken.ID {
		t.Errorf("the number is %+v", did)
	}
	if owner, did := s.Directory().ByDID("493012346"); owner == nil || owner.Account.ID != acme || did.Status != brain.StatusVirtual {
		t.Errorf("the other number is %+v", did)
	}
}

// Proves that PINs are kept as hashes alone, that a PIN given again changes nothing, that leaving it out keeps it,
// that none takes it away, and that neither plan, export nor the log of changes tells it.
func TestApply_SealsPINs(t *testing.T) {
	s := acmeStore(t)
	_, _, err := s.Apply(context.Background(), "test", []byte(`{kind: voicemail, account: acme, name: box, spec: {pin: "4711"}}`), brain.ApplyOptions{})
	wantCode(t, err, brain.EInvalid, "pin: cannot be kept by this program")
	s.PINs = plainPINs()
	id := account(t, s, "acme.test").Account.ID
	apply := func(spec string) string { return mustApply(t, s, []byte(spec), brain.ApplyOptions{}).String() }
	box := func() *brain.Voicemail { return only[*brain.Voicemail](t, s, id, brain.KindVoicemail, "box") }
	const with = `{kind: voicemail, account: acme, name: box, spec: {pin: "4711"}}`
	apply(with)
	first := box()
	if !s.PINs.Check(first.PINHash, "4711") || first.PIN != "" {
		t.Fatalf("kept as %+v", first)
	}
	if plan := apply(with); plan != "no changes\n" {
		t.Errorf("the same PIN again: %s", plan)
	}
	if plan := apply(`{kind: voicemail, account: acme, name: box}`); plan != "no changes\n" || box().PINHash != first.PINHash {
		t.Errorf("without a PIN: %s", plan)
	}
	if plan := apply(strings.Replace(with, "4711", "0815", 1)); !strings.Contains(plan, "pin: (secret) → (changed)") || strings.Contains(plan, "argon") {
		t.Errorf("another PIN: %s", plan)
	}
	doc, err := s.Export(context.Background(), "")
	if err != nil || bytes.Contains(doc, []byte("argon2id")) || bytes.Contains(doc, []byte("pin:")) {
		t.Errorf("exported: %v\n%s", err, doc)
	}
	if apply(`{kind: voicemail, account: acme, name: box, spec: {pin: none}}`); box().PINHash != "" {
		t.Error("none left the PIN")
	}
	room := func() *brain.Conference { return only[*brain.Conference](t, s, id, brain.KindConference, "weekly") }
	apply(`{kind: conference, account: acme, name: weekly, spec: {pin: "1111", moderator_pin: "2222"}}`)
	if r := room(); !s.PINs.Check(r.PINHash, "1111") || !s.PINs.Check(r.ModeratorPINHash, "2222") {
		t.Errorf("kept as %+v", r)
	}
	for spec, part := range map[string]string{`pin: "2222"`: "moderator_pin: must differ from pin", `moderator_pin: "1111"`: "moderator_pin: must differ", `pin: "12"`: "pin: must be 4 to 12 digits",
		`pin: "1111", pin_hash: "$argon2id$v=19$m=1,t=1,p=1$a$b"`: "pin: give either"} {
		_, _, err := s.Apply(context.Background(), "test", []byte(`{kind: conference, account: acme, name: weekly, spec: {`+spec+`}}`), brain.ApplyOptions{})
		wantCode(t, err, brain.EInvalid, part)
	}
}

// Proves that rows which the platform makes are in no export, survive prune and rollback, and that what the
// platform knows of an uploaded file survives an apply that does not know it.
func TestApply_LeavesAloneWhatThePlatformMade(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	s.PINs = plainPINs()
	doc := readFile(t, "acme.yaml")
	id := account(t, s, "acme.test").Account.ID
	box, file := only[*brain.Voicemail](t, s, id, brain.KindVoicemail, "alice"), only[*brain.MediaFile](t, s, id, brain.KindMediaFile, "song")
	old := &brain.VoicemailMessage{AccountID: id, VoicemailID: box.ID, ObjectKey: "k1", SHA256: strings.Repeat("0", 64), CreatedTS: 1}
	mustChange(t, s, brain.OpCreate, old)
	rev := s.Directory().Version()
	mustChange(t, s, brain.OpDelete, old)
	young := &brain.VoicemailMessage{AccountID: id, VoicemailID: box.ID, ObjectKey: "k2", SHA256: strings.Repeat("0", 64), CreatedTS: 2}
	mustChange(t, s, brain.OpCreate, young)
	file.ObjectKey, file.Format, file.Bytes, file.Text = "k", "wav", 44, "sung"
	box.PIN, box.QuotaMB = "4711", 99
	f := only[*brain.CallFlow](t, s, id, brain.KindCallFlow, "main")
	past := f.LiveGraph
	f.Graph.Nodes[0].Position = []byte(`{"x":99}`)
	mustChange(t, s, brain.OpUpdate, file, box, f)
	text, err := s.Export(ctx, "")
	if err != nil || bytes.Contains(text, []byte("k2")) || bytes.Contains(text, []byte("object_key")) || bytes.Contains(text, []byte("live_graph")) {
		t.Errorf("exported: %v\n%s", err, text)
	}
	if _, _, err := s.Rollback(ctx, "test", rev, false); err != nil {
		t.Fatal(err)
	}
	check := func(when string, version int64) {
		t.Helper()
		c := account(t, s, "acme.test")
		if got := c.MessagesByVoicemail[box.ID]; len(got) != 1 || got[0].ID != young.ID {
			t.Errorf("%s: messages %+v", when, got)
		}
		if got := c.MediaFiles[file.ID]; got.ObjectKey != "k" || got.Bytes != 44 || got.Text != "" {
			t.Errorf("%s: file %+v", when, got)
		}
		if got := c.Voicemails[box.ID]; got.QuotaMB != 10 || !s.PINs.Check(got.PINHash, "4711") {
			t.Errorf("%s: mailbox %+v", when, got)
		}
		if got := c.Flows[f.ID]; got.Version != version || !got.LiveGraph.Equal(past) || !got.Graph.Equal(past) {
			t.Errorf("%s: flow %+v", when, got)
		}
	}
	check("after the rollback", 3)
	mustApply(t, s, doc, brain.ApplyOptions{Prune: true})
	check("after the apply", 3)
	if err := s.reload(ctx); err != nil {
		t.Fatal(err)
	}
	check("read back", 3)
}
