package config

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// message is one of a mailbox, named by the call that left it.
func message(owner, box, id string) *brain.VoicemailMessage {
	return &brain.VoicemailMessage{ID: id, AccountID: owner, VoicemailID: box, ObjectKey: owner + "/vm/" + id + ".wav", SHA256: strings.Repeat("0", 64)}
}

// Proves that a message keeps the id that its call gave it, so that it is entered once however often it is told, and that
// nothing else may bring an id.
func TestChange_AMessageBringsItsID(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	c := account(t, s, "acme.test")
	box := only[*brain.Voicemail](t, s, c.Account.ID, brain.KindVoicemail, "alice")
	mustChange(t, s, brain.OpCreate, message(c.Account.ID, box.ID, "msg_call1"))
	if m, err := s.Get(ctx, brain.KindVoicemailMessage, c.Account.ID, "msg_call1"); err != nil || m.(*brain.VoicemailMessage).VoicemailID != box.ID {
		t.Fatalf("%+v, %v", m, err)
	}
	version := s.Directory().Version()
	if _, err := s.Change(ctx, "test", brain.Change{Op: brain.OpCreate, Resource: message(c.Account.ID, box.ID, "msg_call1")}); brain.CodeOf(err) != brain.EConflict {
		t.Errorf("again: %v", err)
	}
	if _, err := s.Change(ctx, "test", brain.Change{Op: brain.OpCreate, Resource: &brain.Voicemail{ID: "vm_mine", AccountID: c.Account.ID, Name: "x"}}); brain.CodeOf(err) != brain.EInvalid {
		t.Errorf("a mailbox with an id: %v", err)
	}
	if s.Directory().Version() != version {
		t.Errorf("version %d after %d", s.Directory().Version(), version)
	}
}

// Proves that Changed is told of every change that was made, whichever way it was made, with what was before and who did
// it, when Directory shows it; and of none that changed nothing, was refused, or was only planned.
func TestChanged_IsToldOfWhatWasMade(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	c := account(t, s, "acme.test")
	box := only[*brain.Voicemail](t, s, c.Account.ID, brain.KindVoicemail, "alice")
	var told []string
	s.Changed = func(actor string, changes []brain.Change) {
		for _, ch := range changes {
			row := ch.Resource
			if row == nil {
				row = ch.Before
			}
			shown := s.Directory().(*state).get(row.ResourceKind(), row.OwnerID(), row.ResourceID()) != nil
			told = append(told, fmt.Sprintf("%s %s %s before=%v shown=%v", actor, ch.Op, row.ResourceKind(), ch.Before != nil, shown))
		}
	}
	want := func(lines ...string) {
		t.Helper()
		if !slices.Equal(told, lines) {
			t.Errorf("told %q, want %q", told, lines)
		}
		told = nil
	}
	m := message(c.Account.ID, box.ID, "msg_1")
	mustChange(t, s, brain.OpCreate, m)
	want("test create voicemail_message before=false shown=true")
	heard := *m
	heard.Read = true
	mustChange(t, s, brain.OpUpdate, &heard)
	want("test update voicemail_message before=true shown=true")
	mustChange(t, s, brain.OpUpdate, &heard)
	want()
	if _, err := s.Change(ctx, "test", brain.Change{Op: brain.OpUpdate, Resource: message(c.Account.ID, "vm_none", "msg_1")}); err == nil {
		t.Error("a message of no mailbox")
	}
	want()
	mustChange(t, s, brain.OpDelete, &heard)
	want("test delete voicemail_message before=true shown=false")
	file := []byte("{kind: media_file, account: acme, name: jingle, spec: {}}")
	mustApply(t, s, file, brain.ApplyOptions{DryRun: true})
	want()
	rev := s.Directory().Version()
	mustApply(t, s, file, brain.ApplyOptions{})
	if len(told) != 1 || !strings.HasSuffix(told[0], "create media_file before=false shown=true") {
		t.Errorf("apply: %q", told)
	}
	told = nil
	if _, _, err := s.Rollback(ctx, "back", rev, false); err != nil {
		t.Fatal(err)
	}
	want("back delete media_file before=true shown=false")
}
