package presence

import (
	"errors"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/pack"
)

// Admit asks for a call's place. CalleeUser is named only when the call rings exactly that user.
type Admit struct {
	cac.Call
	From       string `json:"from,omitempty"`
	To         string `json:"to,omitempty"`
	CallerUser string `json:"caller_user,omitempty"`
	CalleeUser string `json:"callee_user,omitempty"`
}

// Event is one thing that happened at the edge, with what the configuration knew of it when it arrived.
type Event struct {
	api.Event
	UserID   string     `json:"user_id,omitempty"`   // contact events: whose device it is
	DeviceID string     `json:"device_id,omitempty"` // contact events
	Takes    []cac.Take `json:"takes,omitempty"`     // dialog.start: what the call takes when its admission is not known
}

// Why a call's place was given back.
const (
	WhyAbsent    = "absent"    // two complete reports of its node did not list it
	WhyLease     = "lease"     // nobody told of it for cac.Lease
	WhyReset     = "reset"     // an operator's hand
	WhyAbandoned = "abandoned" // the edge was refused after the place was given
)

// Report is a node's complete list of dialogs, cut down to one account. No dialog at all is a report too.
type Report struct {
	Node, Boot string
	Seq        int64 // rises within the life of the node agent and from one to the next
	BootMS     int64 // epoch milliseconds at the node, as the times below
	TakenMS    int64
	Dialogs    []Dialog
}

// Dialog is a call that a node's report lists. Takes is what it takes should it not be known.
type Dialog struct {
	Token   string     `json:"token"`
	CallID  string     `json:"call_id"`
	From    string     `json:"from,omitempty"`
	To      string     `json:"to,omitempty"`
	SinceMS int64      `json:"since_ms"`
	Takes   []cac.Take `json:"takes,omitempty"`
}

// Op is an operation as read; which fields are set depends on Kind.
type Op struct {
	Kind   string    `json:"op"`              // admit, events, release, agent, expire, report, acd, swap, lease
	Admit  *Admit    `json:"admit,omitempty"` // admit
	Node   string    `json:"node,omitempty"`  // events, report, lease
	Events []Event   `json:"events,omitempty"`
	Tokens []string  `json:"tokens,omitempty"` // release, and what expire and report release
	Why    string    `json:"why,omitempty"`    // release
	Lapsed []string  `json:"lapsed,omitempty"` // expire: reservations of queues
	Adopt  []Dialog  `json:"adopt,omitempty"`  // report
	ACD    *acd.Op   `json:"acd,omitempty"`    // acd, when it was described
	Swap   *cac.Swap `json:"swap,omitempty"`   // swap

	Leases []LeaseAsk `json:"leases,omitempty"` // lease

	desk []byte // acd: the op of brain/acd, a part of what was read
}

// Kinds of an op.
const (
	kindAdmit = iota + 1
	kindEvents
	kindRelease
	kindAgent // what an agent wanted before there were queues: read, so that old journals can be, and nothing now
	kindExpire
	kindReport
	kindACD
	kindSwap
	kindLease
)

var kindNames = [...]string{"", "admit", "events", "release", "agent", "expire", "report", "acd", "swap", "lease"}

// Bounds of one op.
const (
	MaxEvents = 10_000  // of a batch
	MaxTokens = 100_000 // of a release
	// MaxOp is about how many bytes Due and Observe put into one op; what is left over comes with the next.
	MaxOp = 6 << 20

	maxAdopt = 100_000
)

// errOp: bytes that are no op.
var errOp = errors.New("not an operation of a presence machine")

// AppendAdmit appends the op that asks for a call's place; its reply is a verdict, see ReadVerdict.
func AppendAdmit(b []byte, a *Admit) []byte {
	b = append(b, kindAdmit)
	for _, s := range [...]string{a.Token, a.CallID, a.Node, a.From, a.To, a.CallerUser, a.CalleeUser} {
		b = pack.AppendText(b, s)
	}
	b = pack.AppendBool(pack.AppendInt(b, a.AskedMS), a.Emergency)
	b = appendTakes(b, a.Takes)
	return appendWindows(b, a.Windows)
}

func appendTakes(b []byte, takes []cac.Take) []byte {
	b = pack.AppendUint(b, uint64(len(takes)))
	for _, t := range takes {
		b = pack.AppendInt(pack.AppendText(pack.AppendUint(b, uint64(t.Kind)), t.ID), int64(t.Limit))
	}
	return b
}

func appendWindows(b []byte, windows []cac.Window) []byte {
	b = pack.AppendUint(b, uint64(len(windows)))
	for _, w := range windows {
		b = pack.AppendInt(pack.AppendText(pack.AppendUint(b, uint64(w.Kind)), w.ID), int64(w.Max))
		b = pack.AppendBool(pack.AppendInt(b, w.PeriodMS), w.Hard)
	}
	return b
}

// AppendEvents appends the op that tells a node's events, at most MaxEvents, in order. It has no reply.
func AppendEvents(b []byte, node string, evs []Event) []byte {
	b = pack.AppendText(append(b, kindEvents), node)
	b = pack.AppendUint(b, uint64(len(evs)))
	var one []byte
	for i := range evs {
		e := &evs[i]
		one = pack.AppendInt(pack.AppendInt(one[:0], e.Seq), e.TimeMS)
		one = pack.AppendInt(pack.AppendInt(one, int64(e.ExpiresS)), int64(e.SIPCode))
		for _, s := range [...]string{e.Type, e.AccountID, e.AOR, e.Contact, e.SourceIP, e.Transport, e.UserAgent,
			e.CallID, e.Token, e.From, e.To, e.UserID, e.DeviceID} {
			one = pack.AppendText(one, s)
		}
		if one = appendTakes(one, e.Takes); e.Attempt != 0 {
			one = pack.AppendInt(one, int64(e.Attempt))
		}
		b = pack.AppendBytes(b, one)
	}
	return b
}

// AppendRelease appends the op that gives back the places of at most MaxTokens calls; why is one of the Why
// values. Its reply is how many had one, see ReadReleased.
func AppendRelease(b []byte, tokens []string, why string) []byte {
	return appendTokens(pack.AppendText(append(b, kindRelease), why), tokens)
}

func appendTokens(b []byte, tokens []string) []byte {
	b = pack.AppendUint(b, uint64(len(tokens)))
	for _, t := range tokens {
		b = pack.AppendText(b, t)
	}
	return b
}

// AppendACD appends the op that hands an op of brain/acd to the account's queues. Its reply is theirs.
func AppendACD(b, op []byte) []byte {
	return append(append(b, kindACD), op...)
}

func appendExpire(b []byte, tokens, lapsed []string) []byte {
	return appendTokens(appendTokens(append(b, kindExpire), tokens), lapsed)
}

// appendAgent appends an op that says nothing, in the layout that it had.
func appendAgent(b []byte) []byte {
	b = append(b, kindAgent)
	return pack.AppendInt(pack.AppendText(pack.AppendText(pack.AppendText(b, ""), ""), ""), 0)
}

func appendReport(b []byte, node string, absent []string, adopt []Dialog) []byte {
	b = appendTokens(pack.AppendText(append(b, kindReport), node), absent)
	b = pack.AppendUint(b, uint64(len(adopt)))
	for i := range adopt {
		b = pack.AppendBytes(b, appendDialog(nil, &adopt[i]))
	}
	return b
}

func appendDialog(b []byte, d *Dialog) []byte {
	for _, s := range [...]string{d.Token, d.CallID, d.From, d.To} {
		b = pack.AppendText(b, s)
	}
	return appendTakes(pack.AppendInt(b, d.SinceMS), d.Takes)
}
