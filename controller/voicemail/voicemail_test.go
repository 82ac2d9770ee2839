package voicemail

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sipio/sipio/brain"
)

// within runs a test in a bubble with boxes that tell; settled waits until they have told all they can.
func within(t *testing.T, test func(t *testing.T, o *office, settled func())) {
	synctest.Test(t, func(t *testing.T) {
		o := open()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { o.Run(ctx); close(done) }()
		defer func() { stop(); <-done }()
		test(t, o, synctest.Wait)
	})
}

// lamps are what phones were told since the last time, sorted: "1001@a.test 1/0".
func (o *office) lamps() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var told []string
	for _, op := range o.pushed {
		told = append(told, fmt.Sprintf("%s %d/%d", strings.TrimPrefix(op.AOR, "sip:"), op.New, op.Old))
	}
	o.pushed = nil
	slices.Sort(told)
	return strings.Join(told, ", ")
}

// A message is entered, read and deleted, each of it twice, as a call does whose brain died in between: it is done
// once, the lamps of the owner's registered phones follow each time, also the second time, for the first may have ended
// before them, and the sound goes with the row.
func TestBoxes_DoThingsOnce(t *testing.T) {
	within(t, func(t *testing.T, o *office, settled func()) {
		ctx, msg := t.Context(), o.message("msg_1")
		for _, step := range []struct {
			what  string
			do    func() error
			lamps string
		}{
			{"store", func() error { return o.Store(ctx, msg) }, "1001@a.test 1/0, 1001b@a.test 1/0"},
			{"store again", func() error { return o.Store(ctx, msg) }, "1001@a.test 1/0, 1001b@a.test 1/0"},
			{"read", func() error { return o.MarkRead(ctx, "acc_1", "msg_1") }, "1001@a.test 0/1, 1001b@a.test 0/1"},
			{"read again", func() error { return o.MarkRead(ctx, "acc_1", "msg_1") }, "1001@a.test 0/1, 1001b@a.test 0/1"},
			{"another", func() error { return o.Store(ctx, o.message("msg_2")) }, "1001@a.test 1/1, 1001b@a.test 1/1"},
			{"delete", func() error { return o.Delete(ctx, msg) }, "1001@a.test 1/0, 1001b@a.test 1/0"},
			{"delete again", func() error { return o.Delete(ctx, msg) }, "1001@a.test 1/0, 1001b@a.test 1/0"},
			{"read what is gone", func() error { return o.MarkRead(ctx, "acc_1", "msg_1") }, ""},
		} {
			if err := step.do(); err != nil {
				t.Errorf("%s: %v", step.what, err)
			}
			settled()
			if got := o.lamps(); got != step.lamps {
				t.Errorf("%s: lamps %q, want %q", step.what, got, step.lamps)
			}
		}
		if msg.Read || o.changes != 4 || len(o.objects) != 1 || o.objects["acc_1/vm/vm_1/msg_2.wav"] == "" {
			t.Errorf("changes %d, objects %v, the caller's message %+v", o.changes, o.objects, msg)
		}
		if n := o.Counts(); n["lamps_set"] != 14 || n["notifications_failed"] != 0 || n["notifications_dropped"] != 0 {
			t.Errorf("counts %v", n)
		}
	})
}

// The configuration takes no change: the call is asked to come again, the message is not in the box, and nothing is
// lost. Another brain entered it meanwhile: that is no error.
func TestBoxes_ConfigurationIsAway(t *testing.T) {
	o := open()
	msg := o.message("msg_1")
	o.refuse = brain.Errorf(brain.EUnavailable, "the disk is full")
	for what, do := range map[string]func() error{
		"store":  func() error { return o.Store(t.Context(), msg) },
		"delete": func() error { return o.Delete(t.Context(), msg) },
	} {
		if err := do(); brain.CodeOf(err) != brain.EUnavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(o.objects) != 1 {
		t.Error("the sound of a message is gone whose row may be there")
	}
	o.refuse = brain.Errorf(brain.EInvalid, "no")
	if err := o.Store(t.Context(), msg); brain.CodeOf(err) != brain.EInvalid || len(o.objects) != 1 {
		t.Errorf("a message that is refused although its box is there: %v, objects %v", err, o.objects)
	}
}

// The mailbox is deleted while a caller speaks: his message has no place, its sound is deleted, and the log says so.
// The same for a whole account.
func TestBoxes_MessageOfABoxThatIsGone(t *testing.T) {
	for name, end := range map[string]func(o *office){
		"box":     func(o *office) { o.rows.Voicemails = nil },
		"account": func(o *office) { o.rows.Account.ID, o.refuse = "acc_2", brain.Errorf(brain.ENotFound, "no account") },
	} {
		o := open()
		msg := o.message("msg_1")
		end(o)
		if err := o.Store(t.Context(), msg); err != nil || len(o.objects) != 0 || !strings.Contains(o.said.String(), "its mailbox is gone") {
			t.Errorf("%s: %v; objects %v; log %s", name, err, o.objects, o.said.String())
		}
	}
}

// A phone registers: it alone is told, by the node where it registered, also that its box is empty. Phones without a
// box, of nobody, or of unknown accounts are told nothing.
func TestBoxes_RegisteredPhoneIsTold(t *testing.T) {
	within(t, func(t *testing.T, o *office, settled func()) {
		for _, r := range []struct{ account, aor, lamps string }{
			{"acc_1", "sip:1001b@a.test", "1001b@a.test 0/0"},
			{"acc_1", "sip:1002@a.test", ""},
			{"acc_1", "sip:nobody@a.test", ""},
			{"acc_9", "sip:1001@a.test", ""},
		} {
			o.Registered("n7", r.account, r.aor)
			settled()
			if got := o.lamps(); got != r.lamps {
				t.Errorf("%s registers: %q, want %q", r.aor, got, r.lamps)
			}
		}
		o.nameless = true
		o.Registered("n7", "acc_1", "sip:1001@a.test")
		settled()
		if got := o.lamps(); got != "" {
			t.Errorf("a node that nobody knows was told %q", got)
		}
	})
}

// One node is silent, or refuses: the phones of the other are told all the same, and the failure is counted and
// logged once.
func TestBoxes_SilentNodeKeepsNoLampOfOthers(t *testing.T) {
	within(t, func(t *testing.T, o *office, settled func()) {
		o.pushErr["n1"] = errors.New("no answer")
		o.Lamp("acc_1", "vm_1")
		settled()
		if got := o.lamps(); got != "1001b@a.test 0/0" {
			t.Errorf("told %q", got)
		}
		o.pushErr, o.refused = nil, "no such phone"
		o.Registered("n2", "acc_1", "sip:1001@a.test")
		settled()
		if n := o.Counts(); n["notifications_failed"] != 2 || n["lamps_set"] != 1 || strings.Count(o.said.String(), "level=WARN") != 2 {
			t.Errorf("counts %v, log %s", n, o.said.String())
		}
	})
}

// The server outside hangs, and message after message comes: the queue is bounded, what is too much is counted, the
// callers do not wait, and lamps go on being set. When the server is back, all that was kept is told.
func TestBoxes_QueueIsBoundedAndLampsGoOn(t *testing.T) {
	within(t, func(t *testing.T, o *office, settled func()) {
		o.hold = make(chan struct{})
		msg := o.message("msg_1")
		for range tellers {
			_ = o.Notify(t.Context(), msg)
		}
		settled() // each teller waits for the server
		const more = 10
		for range maxQueue + more {
			_ = o.Notify(t.Context(), msg)
		}
		o.Lamp("acc_1", "vm_1")
		settled()
		if got := o.lamps(); got == "" {
			t.Error("no lamp is set while the server outside hangs")
		}
		if n := o.Counts()["notifications_dropped"]; n != more {
			t.Errorf("%d were dropped, want %d", n, more)
		}
		close(o.hold)
		settled()
		if len(o.posts) != maxQueue+tellers || o.Counts()["messages_told_of"] != maxQueue+tellers {
			t.Errorf("%d posts, counts %v", len(o.posts), o.Counts())
		}
	})
}

// Something is told of a box that was deleted meanwhile: nobody is told, and that is no failure.
func TestBoxes_TellsNothingOfABoxThatIsGone(t *testing.T) {
	within(t, func(t *testing.T, o *office, settled func()) {
		o.rows.Voicemails = nil
		o.Lamp("acc_1", "vm_1")
		_ = o.Notify(t.Context(), o.message("msg_1"))
		settled()
		if len(o.posts) != 0 || o.lamps() != "" || o.Counts()["notifications_failed"] != 0 {
			t.Errorf("posts %v, counts %v", o.posts, o.Counts())
		}
	})
}
