package balance

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sipio/sipio/brain/pack"
)

// Kinds of an op.
const (
	Hold    = "hold"    // reserve money for a call that is to be made
	Extend  = "extend"  // reserve more for a call that is up, and tell of its talk
	Settle  = "settle"  // the call was answered and is over: charge it
	Release = "release" // the call is over, and its talk is not known: mostly it was not answered
	TopUp   = "topup"   // money comes in
	Adjust  = "adjust"  // a correction by hand, of either sign
	Limit   = "limit"   // sets the credit limit
	Expire  = "expire"  // made by Due
)

var kinds = [...]string{"", Hold, Extend, Settle, Release, TopUp, Adjust, Limit, Expire}

// Op is an operation of a wallet. Which fields count depends on Kind. ID makes it happen once: of the four of a call it is the
// call's token, of the three by hand one that the asker made up. AskedMS is the asker's clock, epoch milliseconds, and
// stays what it was when the op is repeated: for a call, in all its ops, when it asked for its route.
type Op struct {
	Kind    string `json:"op"`
	ID      string `json:"id,omitempty"`
	AskedMS int64  `json:"asked_ms,omitempty"`

	CallID   string `json:"call_id,omitempty"` // hold, settle, release
	To       string `json:"to,omitempty"`      // the same: the number that was called
	Prefix   string `json:"prefix,omitempty"`  // the same: of the rate
	Terms    *Terms `json:"terms,omitempty"`   // hold: pinned for the call; settle, release: what counts without a hold
	Sec      int64  `json:"sec,omitempty"`     // hold: to reserve, at least the first interval is; extend: in all, from the answer on
	MostSec  int64  `json:"most_sec,omitempty"`
	Answered bool   `json:"answered,omitempty"` // extend, release: the call is known to have been answered
	TalkMS   int64  `json:"talk_ms,omitempty"`  // extend, release: as far as is known; settle: in all

	Micros int64    `json:"micros,omitempty"` // topup, adjust, limit
	Text   string   `json:"text,omitempty"`   // topup, adjust, limit: by whom and why, for people
	IDs    []string `json:"ids,omitempty"`    // expire
}

var errOp = errors.New("not an operation of a wallet")

// AppendOp appends an op.
func AppendOp(b []byte, o *Op) []byte {
	b = append(b, byte(max(0, slices.Index(kinds[:], o.Kind))))
	if o.Kind == Expire {
		b = pack.AppendUint(b, uint64(len(o.IDs)))
		for _, id := range o.IDs {
			b = pack.AppendText(b, id)
		}
		return b
	}
	b = pack.AppendInt(pack.AppendText(b, o.ID), o.AskedMS)
	switch o.Kind {
	case Hold, Settle, Release:
		for _, s := range [...]string{o.CallID, o.To, o.Prefix} {
			b = pack.AppendText(b, s)
		}
		b = appendTerms(b, o.terms())
		b = pack.AppendInt(pack.AppendInt(pack.AppendInt(b, o.Sec), o.MostSec), o.TalkMS)
		b = pack.AppendBool(b, o.Answered)
	case Extend:
		b = pack.AppendInt(pack.AppendBool(pack.AppendInt(b, o.Sec), o.Answered), o.TalkMS)
	case TopUp, Adjust, Limit:
		b = pack.AppendText(pack.AppendInt(b, o.Micros), o.Text)
	}
	return b
}

func (o *Op) terms() Terms {
	if o.Terms == nil {
		return Terms{}
	}
	return *o.Terms
}

func appendTerms(b []byte, t Terms) []byte {
	b = pack.AppendInt(pack.AppendInt(b, t.ConnectMicros), t.PerMinuteMicros)
	return pack.AppendInt(pack.AppendInt(b, int64(t.FirstSec)), int64(t.NextSec))
}

func readTerms(r *pack.Reader) *Terms {
	second := func() int32 { return int32(max(math.MinInt32, min(r.Int(), math.MaxInt32))) }
	return &Terms{r.Int(), r.Int(), second(), second()}
}

// ReadOp reads an op. What is no op, or breaks a bound, is an error. Its texts are a copy.
func ReadOp(b []byte) (*Op, error) {
	r := pack.NewReader(b)
	code := r.Uint()
	if r.Err() != nil || code == 0 || code >= uint64(len(kinds)) {
		return nil, fmt.Errorf("kind %d: %w", code, errOp)
	}
	o := &Op{Kind: kinds[code]}
	if o.Kind == Expire {
		for range r.Count(MaxExpire) {
			o.IDs = append(o.IDs, r.Text())
		}
	} else {
		o.ID, o.AskedMS = r.Text(), r.Int()
	}
	switch o.Kind {
	case Hold, Settle, Release:
		o.CallID, o.To, o.Prefix, o.Terms = r.Text(), r.Text(), r.Text(), readTerms(r)
		o.Sec, o.MostSec, o.TalkMS, o.Answered = r.Int(), r.Int(), r.Int(), r.Bool()
	case Extend:
		o.Sec, o.Answered, o.TalkMS = r.Int(), r.Bool(), r.Int()
	case TopUp, Adjust, Limit:
		o.Micros, o.Text = r.Int(), r.Text()
	}
	err := r.End()
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return nil, fmt.Errorf("read an op %s: %w", o.Kind, err)
	}
	return o, nil
}

// check holds what was read to its bounds.
func (o *Op) check() error {
	if !texts(maxField, o.ID, o.CallID, o.To, o.Prefix) || !texts(maxText, o.Text) || !texts(maxField, o.IDs...) || !inTime(o.AskedMS) ||
		o.ID == "" && o.Kind != Expire {
		return errFields
	}
	if o.Sec < 0 || o.Sec > maxSec || o.MostSec < 0 || o.MostSec > maxSec || o.TalkMS < 0 || o.TalkMS > MaxTalkMS {
		return errFields
	}
	switch o.Kind {
	case Hold, Settle, Release:
		if o.Kind == Hold && o.MostSec == 0 {
			return errFields
		}
		return o.Terms.Check()
	case TopUp:
		if o.Micros <= 0 {
			return errFields
		}
	case Adjust:
		if o.Micros == 0 || o.Micros < -MaxMicros {
			return errFields
		}
	case Limit:
		if o.Micros < 0 {
			return errFields
		}
	}
	if o.Micros > MaxMicros {
		return errFields
	}
	return nil
}

// OpFromJSON makes the op that an *Op describes as JSON. What is not an op is refused.
func OpFromJSON(text []byte) ([]byte, error) {
	var o Op
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, fmt.Errorf("read an op as JSON: %w", err)
	}
	b := AppendOp(nil, &o)
	if _, err := ReadOp(b); err != nil {
		return nil, err
	}
	return b, nil
}

// Reply is the answer to an op; that to expire is empty. An op that was done already is answered as it was, marked
// Repeated, with the balance of now.
type Reply struct {
	Done     bool   `json:"done"`
	Repeated bool   `json:"repeated,omitempty"`
	Why      string `json:"why,omitempty"` // one of the Why values, when it was not done

	HeldSec       int64 `json:"held_sec,omitempty"`       // hold, extend: paid for, from the answer on
	MoneySec      int64 `json:"money_sec,omitempty"`      // hold, extend: what all that is available would pay for
	HeldMicros    int64 `json:"held_micros,omitempty"`    // hold, extend: reserved for the call
	ChargedMicros int64 `json:"charged_micros,omitempty"` // settle, release: for the call, in all
	BeyondMicros  int64 `json:"beyond_micros,omitempty"`  // settle: charged beyond what was held

	BalanceMicros   int64 `json:"balance_micros"`
	AvailableMicros int64 `json:"available_micros"`
}

func appendReply(b []byte, y *Reply) []byte {
	b = pack.AppendBool(pack.AppendBool(b, y.Done), y.Repeated)
	b = pack.AppendUint(b, uint64(max(0, slices.Index(whys[:], y.Why))))
	for _, v := range [...]int64{y.HeldSec, y.MoneySec, y.HeldMicros, y.ChargedMicros, y.BeyondMicros, y.BalanceMicros, y.AvailableMicros} {
		b = pack.AppendInt(b, v)
	}
	return b
}

// ReadReply reads the reply to an op.
func ReadReply(reply []byte) (Reply, error) {
	r := pack.NewReader(reply)
	y := Reply{Done: r.Bool(), Repeated: r.Bool()}
	why := r.Uint()
	for _, v := range [...]*int64{&y.HeldSec, &y.MoneySec, &y.HeldMicros, &y.ChargedMicros, &y.BeyondMicros, &y.BalanceMicros, &y.AvailableMicros} {
		*v = r.Int()
	}
	if err := r.End(); err != nil || why >= uint64(len(whys)) {
		return Reply{}, fmt.Errorf("read a reply of a wallet: %w", cmp.Or(err, pack.ErrRange))
	}
	y.Why = whys[why]
	return y, nil
}
