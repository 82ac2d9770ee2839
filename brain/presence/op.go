package presence

import (
	"errors"
	"fmt"
	"unicode/utf8"

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

// read makes o the op that b holds. Slices of o are used again.
func (o *Op) read(b []byte) error {
	var r pack.Reader
	r.Reset(b)
	code := r.Uint()
	if r.Err() != nil || code == 0 || code >= uint64(len(kindNames)) {
		return fmt.Errorf("kind %d: %w", code, errOp)
	}
	o.Kind, o.Node, o.Why, o.Events, o.Tokens, o.Adopt = kindNames[code], "", "", o.Events[:0], o.Tokens[:0], o.Adopt[:0]
	o.Lapsed, o.ACD, o.desk = o.Lapsed[:0], nil, nil
	var err error
	switch code {
	case kindAdmit:
		err = o.readAdmit(&r)
	case kindEvents:
		err = o.readEvents(&r)
	case kindRelease:
		o.Why = r.Text()
		o.Tokens, err = readTokens(&r, o.Tokens)
	case kindAgent:
		r.Text() // who
		r.Text() // the status, then the reason
		r.Text()
		r.Int() // since when
	case kindExpire:
		if o.Tokens, err = readTokens(&r, o.Tokens); err == nil && r.Rest() > 0 { // before there were queues nothing follows
			o.Lapsed, err = readTokens(&r, o.Lapsed)
		}
	case kindReport:
		o.Node = r.Text()
		if o.Tokens, err = readTokens(&r, o.Tokens); err == nil {
			err = o.readDialogs(&r)
		}
	case kindSwap:
		err = o.readSwap(&r)
	case kindLease:
		err = o.readLease(&r)
	case kindACD:
		o.desk = b[len(b)-r.Rest():] // the desk reads it
		return nil
	}
	if fault := r.End(); fault != nil {
		err = fault
	}
	if err != nil {
		return fmt.Errorf("read an op %s: %w", o.Kind, err)
	}
	return nil
}

func (o *Op) readAdmit(r *pack.Reader) error {
	if o.Admit == nil {
		o.Admit = &Admit{}
	}
	a := o.Admit
	a.Token, a.CallID, a.Node, a.From, a.To, a.CallerUser, a.CalleeUser = r.Text(), r.Text(), r.Text(), r.Text(), r.Text(), r.Text(), r.Text()
	a.AskedMS, a.Emergency = r.Int(), r.Bool()
	a.Takes = readTakes(r, a.Takes[:0])
	a.Windows = readWindows(r, a.Windows[:0])
	if a.Token == "" || !texts(a.Token, a.CallID, a.Node, a.From, a.To, a.CallerUser, a.CalleeUser) || !inTime(a.AskedMS) {
		return errFields
	}
	if err := checkWindows(a.Windows); err != nil {
		return err
	}
	return checkTakes(a.Takes)
}

// errFields: an op that can be read and means nothing.
var errFields = errors.New("a name is missing, too long or garbled, or a number is out of range")

func readKind(r *pack.Reader) cac.Kind { return cac.Kind(min(r.Uint(), 255)) }

func readTakes(r *pack.Reader, takes []cac.Take) []cac.Take {
	for range r.Count(cac.MaxTakes) {
		takes = append(takes, cac.Take{Kind: readKind(r), ID: r.Text(), Limit: int(r.Int())})
	}
	return takes
}

func readWindows(r *pack.Reader, windows []cac.Window) []cac.Window {
	for range r.Count(cac.MaxTakes) {
		windows = append(windows, cac.Window{Kind: readKind(r), ID: r.Text(), Max: int(r.Int()), PeriodMS: r.Int(), Hard: r.Bool()})
	}
	return windows
}

func checkWindows(windows []cac.Window) error {
	for _, w := range windows {
		if !w.Kind.Valid() || !texts(w.ID) || w.Max < 0 || w.PeriodMS < 0 || w.PeriodMS > maxTimeMS {
			return errFields
		}
	}
	return nil
}

func checkTakes(takes []cac.Take) error {
	for _, t := range takes {
		if !t.Kind.Valid() || !texts(t.ID) || t.Limit < 0 {
			return errFields
		}
	}
	return nil
}

func (o *Op) readEvents(r *pack.Reader) error {
	o.Node = r.Text()
	var one pack.Reader
	for range r.Count(MaxEvents) {
		one.Reset(r.Bytes())
		var e Event
		e.Seq, e.TimeMS, e.ExpiresS, e.SIPCode = one.Int(), one.Int(), int(one.Int()), int(one.Int())
		for _, s := range [...]*string{&e.Type, &e.AccountID, &e.AOR, &e.Contact, &e.SourceIP, &e.Transport, &e.UserAgent,
			&e.CallID, &e.Token, &e.From, &e.To, &e.UserID, &e.DeviceID} {
			*s = one.Text()
		}
		if e.Takes = readTakes(&one, nil); one.Rest() > 0 { // of a call's first directive nothing follows
			e.Attempt = int(one.Int())
		}
		if err := one.End(); err != nil {
			return err
		}
		if err := checkTakes(e.Takes); err != nil {
			return err
		}
		o.Events = append(o.Events, e)
	}
	return nil
}

func readTokens(r *pack.Reader, tokens []string) ([]string, error) {
	for range r.Count(MaxTokens) {
		tokens = append(tokens, r.Text())
	}
	if !texts(tokens...) {
		return tokens, errFields
	}
	return tokens, nil
}

func (o *Op) readDialogs(r *pack.Reader) error {
	var one pack.Reader
	for range r.Count(maxAdopt) {
		one.Reset(r.Bytes())
		d := Dialog{Token: one.Text(), CallID: one.Text(), From: one.Text(), To: one.Text(), SinceMS: one.Int(), Takes: readTakes(&one, nil)}
		if err := one.End(); err != nil {
			return err
		}
		if err := checkTakes(d.Takes); err != nil {
			return err
		}
		if !d.check() {
			return errFields
		}
		o.Adopt = append(o.Adopt, d)
	}
	return nil
}

func (d *Dialog) check() bool {
	return d.Token != "" && texts(d.Token, d.CallID, d.From, d.To) && inTime(d.SinceMS)
}

// texts tests what becomes a key or is kept as it is.
func texts(fields ...string) bool {
	for _, s := range fields {
		if len(s) > maxField || !utf8.ValidString(s) {
			return false
		}
	}
	return true
}

func inTime(ms int64) bool { return ms >= 0 && ms <= maxTimeMS }

func appendVerdict(b []byte, v *cac.Verdict) []byte {
	b = pack.AppendBool(pack.AppendBool(b, v.Admitted), v.Repeated)
	b = pack.AppendText(pack.AppendUint(b, uint64(v.Kind)), v.ID)
	b = pack.AppendInt(pack.AppendInt(pack.AppendInt(b, int64(v.Limit)), int64(v.Used)), v.RetryMS)
	if b = appendWindows(b, v.Soft); len(v.Held) > 0 {
		b = appendTakes(b, v.Held)
	}
	return b
}

// ReadVerdict reads the reply to an op of AppendAdmit or AppendSwap.
func ReadVerdict(reply []byte) (cac.Verdict, error) {
	r := pack.NewReader(reply)
	v := cac.Verdict{Admitted: r.Bool(), Repeated: r.Bool(), Kind: readKind(r), ID: r.Text(), Limit: int(r.Int()), Used: int(r.Int()), RetryMS: r.Int()}
	if v.Soft = readWindows(r, nil); r.Rest() > 0 {
		v.Held = readTakes(r, nil)
	}
	if err := r.End(); err != nil {
		return cac.Verdict{}, fmt.Errorf("read a verdict: %w", err)
	}
	return v, nil
}

// ReadReleased reads the reply to an op of AppendRelease: how many of its tokens had a place.
func ReadReleased(reply []byte) (int, error) {
	r := pack.NewReader(reply)
	n := r.Uint()
	if err := r.End(); err != nil {
		return 0, fmt.Errorf("read how many were released: %w", err)
	}
	return int(n), nil
}
