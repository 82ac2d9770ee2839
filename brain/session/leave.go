package session

import (
	"fmt"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// What a caller may do to a mailbox.
const (
	silenceMS   = 4000 // ends a message
	shortestMS  = 1000 // shorter ones are dropped
	maxCaller   = 64   // bytes kept of a caller's number or name
	stateGreet  = "greeting"
	stateRecord = "recording"
	stateSaved  = "saved"
	stateFull   = "full"
)

// leave takes a message: greeting, tone, recording, confirmation. Outcomes: recorded, full, failed; who hangs up
// after a second of speech has left a message too.
type leave struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Message string `json:"message,omitempty"` // id of the message being recorded
	Number  string `json:"number,omitempty"`
	Name    string `json:"name,omitempty"`
	Kept    bool   `json:"kept,omitempty"`
}

func (l *leave) begin(t *turn, id string, vars map[string]string) {
	l.ID = id
	l.Number, l.Name = clip(vars["caller_number"]), clip(vars["caller_name"])
	box := t.env.Account.Voicemails[id]
	if box == nil {
		t.note("voicemail", "there is no mailbox "+id)
		t.finish(api.OutcomeFailed, flow.End{SIPCode: 404, Cause: "UNALLOCATED_NUMBER", Why: "there is no mailbox " + id})
		return
	}
	if used := t.boxBytes(id); used >= box.QuotaMB<<20 {
		t.note("voicemail", fmt.Sprintf("the mailbox is full: %d bytes of %d MB", used, box.QuotaMB))
		l.State = stateFull
		t.command(api.CommandPlay, api.CommandParams{}, prompt("vm-full"))
		return
	}
	l.State = stateGreet
	sounds := []brain.Sound{{MediaID: box.GreetingMediaID}}
	if box.GreetingMediaID == "" {
		sounds[0] = prompt("vm-greeting")
	}
	if !box.SkipInstructions {
		sounds = append(sounds, prompt("vm-beep-instructions"))
	}
	t.command(api.CommandPlay, api.CommandParams{BargeIn: "#"}, sounds...)
}

// boxBytes is what the messages of a mailbox take, as far as the configuration has heard of them.
func (t *turn) boxBytes(id string) int {
	sum := 0
	for _, msg := range t.env.Account.MessagesByVoicemail[id] {
		sum += msg.Bytes
	}
	return sum
}

func (l *leave) input(t *turn, in flow.Input) {
	switch {
	case l.State == stateFull:
		t.finish("full", flow.End{Why: "the mailbox is full"})
	case l.State == stateGreet && t.env.Account.Voicemails[l.ID] == nil:
		t.finish(api.OutcomeFailed, flow.End{Why: "the mailbox was deleted", Cause: causeFailure})
	case l.State == stateGreet: // also when the greeting could not be played
		l.record(t)
	case l.State == stateRecord && in.Outcome == api.OutcomeRecorded:
		l.keep(t, in.Data)
		l.State = stateSaved
		if !l.Kept {
			t.finish(api.OutcomeRecorded, flow.End{Why: "nothing was said"})
			return
		}
		t.command(api.CommandPlay, api.CommandParams{}, prompt("vm-saved"))
	case l.State == stateRecord:
		t.note("voicemail", "recording failed: "+clip(in.Data["reason"]))
		t.finish(api.OutcomeFailed, flow.End{Why: "recording failed", Cause: causeFailure})
	default:
		t.finish(api.OutcomeRecorded, flow.End{Why: "a message was left"})
	}
}

func (l *leave) record(t *turn) {
	box := t.env.Account.Voicemails[l.ID]
	l.State = stateRecord
	l.Message = t.messageID()
	t.command(api.CommandRecord, api.CommandParams{Key: t.messageKey(l.ID, l.Message), MaxMS: box.MaxMessageSec * 1000,
		SilenceMS: silenceMS, Terminators: "#", Beep: true})
}

func (t *turn) messageKey(box, message string) string {
	return t.env.Account.Account.ID + "/vm/" + box + "/" + message + ".wav"
}

// hangup keeps what was said until the caller hung up.
func (l *leave) hangup(t *turn, data map[string]string) {
	if l.State == stateRecord {
		l.keep(t, data)
	}
}

// keep stores a message, unless it is too short.
func (l *leave) keep(t *turn, data map[string]string) {
	length, size := number(data["duration_ms"]), number(data["bytes"])
	switch {
	case size == 0 || data["key"] != t.im.Params.Key:
		t.note("voicemail", "no message: nothing was stored")
		return
	case length < shortestMS:
		t.note("voicemail", fmt.Sprintf("a message of %d ms is dropped", length))
		return
	}
	msg := &brain.VoicemailMessage{ID: l.Message, AccountID: t.env.Account.Account.ID, VoicemailID: l.ID, Caller: l.Number,
		CallerName: l.Name, DurationMS: length, CreatedTS: int(t.now / 1000), ObjectKey: data["key"], Bytes: size, SHA256: data["sha256"]}
	t.effect(Effect{Kind: EffectMessageStored, Message: msg, VoicemailID: l.ID})
	t.effect(Effect{Kind: EffectNotify, Message: msg, VoicemailID: l.ID})
	l.Kept = true
}

// clip bounds a text that only people read.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxCaller)], "") }
