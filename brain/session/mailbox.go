package session

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// How a mailbox is listened to.
const (
	maxListed    = 200 // messages of one visit; the rest is there on the next
	menuTries    = 3   // without a usable key
	menuMS       = 7000
	allKeys      = "0123456789*#"
	statePIN     = "pin"
	stateCounts  = "counts"
	stateMessage = "message"
	stateBye     = "goodbye"
)

// mailbox plays the messages of a mailbox, the new ones first. Keys, at any time while one is heard:
//
//	1 hear it again   2 keep it and go on   3 delete it and go on   0 what the keys do   # leave
//
// A message that was heard without a key afterwards stays new. The list is made when the visit begins.
type mailbox struct {
	ID    string   `json:"id"`
	State string   `json:"state"`
	PIN   pin      `json:"pin,omitzero"`
	List  []string `json:"list,omitempty"` // ids of messages
	At    int      `json:"at,omitempty"`
	Tries int      `json:"tries,omitempty"`
}

func (b *mailbox) begin(t *turn, id string, vars map[string]string) {
	acct := t.env.Account
	caller := acct.Users[vars["caller_user_id"]]
	if id == "" && caller != nil {
		id = caller.VoicemailID
	}
	b.ID = id
	box := acct.Voicemails[id]
	if box == nil {
		t.note("mailbox", "the caller has no mailbox")
		t.finish(api.OutcomeDenied, flow.End{SIPCode: 404, Cause: "UNALLOCATED_NUMBER", Why: "the caller has no mailbox"})
		return
	}
	if box.PINHash != "" {
		b.State, b.PIN.Target = statePIN, "voicemail/"+id
		b.PIN.ask(t, prompt(promptPINEnter))
		return
	}
	if caller == nil || caller.VoicemailID != id {
		t.note("mailbox", "a mailbox without a PIN opens to its own user only")
		t.finish(api.OutcomeDenied, flow.End{SIPCode: 403, Cause: "CALL_REJECTED", Why: "a mailbox without a PIN opens to its own user only"})
		return
	}
	b.open(t)
}

// messages are those of the box, the new ones first, each in the order they came.
func (b *mailbox) messages(t *turn) (list []*brain.VoicemailMessage) {
	all := t.env.Account.MessagesByVoicemail[b.ID]
	for _, read := range [2]bool{false, true} {
		for _, msg := range all {
			if msg.Read == read {
				list = append(list, msg)
			}
		}
	}
	return list[:min(len(list), maxListed)]
}

// open says how many messages there are.
func (b *mailbox) open(t *turn) {
	fresh, kept := 0, 0
	for _, msg := range b.messages(t) {
		b.List = append(b.List, msg.ID)
		if msg.Read {
			kept++
		} else {
			fresh++
		}
	}
	if len(b.List) == 0 {
		b.bye(t, prompt("vm-no-messages"))
		return
	}
	b.State = stateCounts
	sounds := []brain.Sound{prompt("vm-you-have")}
	if fresh > 0 {
		sounds = append(sounds, brain.Sound{Text: strconv.Itoa(fresh)}, prompt("vm-new-messages"))
	}
	if kept > 0 {
		sounds = append(sounds, brain.Sound{Text: strconv.Itoa(kept)}, prompt("vm-saved-messages"))
	}
	t.command(api.CommandPlay, api.CommandParams{BargeIn: allKeys}, sounds...)
}

func (b *mailbox) bye(t *turn, sounds ...brain.Sound) {
	b.State = stateBye
	t.command(api.CommandPlay, api.CommandParams{}, append(sounds, prompt(promptGoodbye))...)
}

func (b *mailbox) input(t *turn, in flow.Input) {
	box := t.env.Account.Voicemails[b.ID]
	if box == nil && b.State != stateBye {
		t.finish(api.OutcomeDenied, flow.End{Why: "the mailbox was deleted", Cause: causeFailure})
		return
	}
	switch b.State {
	case statePIN:
		switch v, _ := b.PIN.given(t, in, []string{box.PINHash}, false, promptPINEnter); v {
		case pinOpen:
			b.open(t)
		case pinDenied:
			t.finish(api.OutcomeDenied, flow.End{Why: "no right PIN was given"})
		}
	case stateCounts:
		b.play(t)
	case stateMessage:
		b.key(t, in)
	default:
		t.finish(api.OutcomeLeft, flow.End{Why: "the mailbox was listened to"})
	}
}

// current is the message being heard; nil when it was deleted meanwhile.
func (b *mailbox) current(t *turn) *brain.VoicemailMessage {
	list := t.env.Account.MessagesByVoicemail[b.ID]
	if i := slices.IndexFunc(list, func(msg *brain.VoicemailMessage) bool { return msg.ID == b.List[b.At] }); i >= 0 {
		return list[i]
	}
	return nil
}

// play lets the current message be heard, or the next one that is still there.
func (b *mailbox) play(t *turn) {
	for ; b.At < len(b.List); b.At++ {
		msg := b.current(t)
		if msg == nil {
			continue
		}
		b.State, b.Tries = stateMessage, 0
		from := prompt("vm-withheld")
		if msg.Caller != "" {
			from = brain.Sound{Text: strings.Join(strings.Split(msg.Caller, ""), " ")}
		}
		b.menu(t, prompt("vm-message-from"), from, brain.Sound{Text: t.when(msg.CreatedTS)}, brain.Sound{Key: msg.ObjectKey}, prompt("vm-menu"))
		return
	}
	b.bye(t, prompt("vm-end"))
}

// when says a time in figures that any speech engine reads: the time of today, the date before it for another day.
func (t *turn) when(epochSec int) string {
	at := time.Unix(int64(epochSec), 0).In(t.local().Location())
	if at.Format(time.DateOnly) == t.local().Format(time.DateOnly) {
		return at.Format("15:04")
	}
	return at.Format("2.1. 15:04")
}

func (b *mailbox) menu(t *turn, sounds ...brain.Sound) {
	t.command(api.CommandGather, api.CommandParams{MinDigits: 1, MaxDigits: 1, BargeIn: allKeys, TimeoutMS: menuMS}, sounds...)
}

// key does what a key says.
func (b *mailbox) key(t *turn, in flow.Input) {
	key := in.Data["digits"] + in.Data["terminator"]
	switch {
	case in.Outcome == api.OutcomeFailed:
		t.note("mailbox", "a message cannot be played: "+clip(in.Data["reason"]))
		b.At++
		b.play(t)
	case key == "1":
		b.play(t)
	case key == "2":
		if msg := b.current(t); msg != nil && !msg.Read {
			t.effect(Effect{Kind: EffectMessageRead, MessageID: msg.ID, VoicemailID: b.ID})
		}
		b.At++
		b.play(t)
	case key == "3":
		if msg := b.current(t); msg != nil {
			t.effect(Effect{Kind: EffectMessageDeleted, MessageID: msg.ID, VoicemailID: b.ID, Message: msg})
			sounds := []brain.Sound{prompt("vm-deleted")}
			b.At++
			b.playAfter(t, sounds)
			return
		}
		b.At++
		b.play(t)
	case key == "#":
		b.bye(t)
	case key == "0":
		b.Tries = 0
		b.menu(t, prompt("vm-menu"))
	default:
		if b.Tries++; b.Tries >= menuTries {
			b.bye(t)
			return
		}
		if key == "" {
			b.menu(t, prompt("vm-menu"))
			return
		}
		b.menu(t, prompt("invalid"), prompt("vm-menu"))
	}
}

// playAfter is play with something to be heard first.
func (b *mailbox) playAfter(t *turn, first []brain.Sound) {
	b.play(t)
	t.im.Sounds = append(first, t.im.Sounds...)
}
