package session

import (
	"crypto/sha256"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// How PINs are asked for.
const (
	pinTries     = 3 // wrong ones in a call
	pinMin       = 1 // digits; fewer than PINs have, so that a wrong one is heard as wrong
	pinMax       = 12
	pinTimeoutMS = 8000
	pinDigitMS   = 4000
)

// Prompts are ids of the platform's own sounds.
const (
	promptPINEnter  = "pin-enter"
	promptPINWrong  = "pin-wrong"
	promptPINLocked = "pin-locked"
	promptGoodbye   = "goodbye"
)

// pin asks for a PIN until it is right, wrong three times, or locked.
type pin struct {
	Target string `json:"target"` // what it opens, see Reply.Wrong
	Tries  int    `json:"tries,omitempty"`
	Locked bool   `json:"locked,omitempty"`
}

// verdict of a PIN.
type verdict int

const (
	pinOpen    verdict = iota // right: match says which hash
	pinWaiting                // a command or a check is under way
	pinDenied                 // and the caller has heard so
)

// ask gathers it, or says that it is locked.
func (p *pin) ask(t *turn, sounds ...brain.Sound) {
	if t.env.Locked != nil && t.env.Locked(p.Target) {
		p.Locked = true
		t.note("pin", "locked after too many wrong ones: "+p.Target)
		t.command(api.CommandPlay, api.CommandParams{}, prompt(promptPINLocked), prompt(promptGoodbye))
		return
	}
	t.command(api.CommandGather, api.CommandParams{MinDigits: pinMin, MaxDigits: pinMax, Terminators: "#", BargeIn: allKeys,
		TimeoutMS: pinTimeoutMS, InterDigitMS: pinDigitMS, Secret: true}, sounds...)
}

// given takes the outcome of ask. hashes are those that open; free: no digits at all are right as well (match -1).
func (p *pin) given(t *turn, in flow.Input, hashes []string, free bool, enter string) (v verdict, match int) {
	if p.Locked || p.Tries >= pinTries {
		return pinDenied, 0
	}
	digits := in.Data["digits"]
	if t.env.Locked != nil && t.env.Locked(p.Target) { // meanwhile, by other calls: even the right one opens nothing
		p.ask(t)
		return pinWaiting, 0
	}
	switch {
	case in.Outcome == api.OutcomeFailed:
		return pinDenied, 0
	case digits == "" && free:
		return pinOpen, -1
	case digits == "":
	case t.checked == nil:
		t.check = &PINCheck{Hashes: hashes, Digits: clip(digits)}
		return pinWaiting, 0
	case t.checked.Match >= 0 && t.checked.Match < len(hashes):
		return pinOpen, t.checked.Match
	default:
		t.wrong = p.Target
	}
	if p.Tries++; p.Tries >= pinTries {
		t.note("pin", "three tries for "+p.Target)
		t.command(api.CommandPlay, api.CommandParams{}, prompt(promptPINWrong), prompt(promptGoodbye))
		return pinWaiting, 0
	}
	p.ask(t, prompt(promptPINWrong), prompt(enter))
	return pinWaiting, 0
}

// messageID makes the id of a message from what the call is and when: the same one each time it is asked for, and
// in the order of time, as the configuration's own ids.
func (t *turn) messageID() string {
	sum := sha256.Sum256([]byte(t.m.id + "\x00" + t.effectID()))
	return "msg_" + ulid(t.now, sum[:10])
}

// ulid writes 48 bits of time and 80 bits of anything as a lower-case ULID.
func ulid(ms int64, rest []byte) string {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	out := make([]byte, 26)
	for i := 9; i >= 0; i-- {
		out[i] = alphabet[ms&31]
		ms >>= 5
	}
	bits, have, at := uint(0), uint(0), 10
	for _, b := range rest {
		bits, have = bits<<8|uint(b), have+8
		for have >= 5 {
			have -= 5
			out[at] = alphabet[bits>>have&31]
			at++
		}
	}
	return string(out)
}
