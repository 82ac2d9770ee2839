package presence

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/pack"
)

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
