package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/pack"
)

// Kinds of an op.
const (
	Report   = "report"   // offences that a node tells of
	Add      = "add"      // an operator bans an address
	Lift     = "lift"     // an operator lifts it
	Allow    = "allow"    // an entry of the allow list
	Disallow = "disallow" // it is taken off
	Protect  = "protect"  // networks that the configuration protects now: bans of them end
	Policy   = "policy"   // the content of the policy, by its digest: another one gets the next version
	Expire   = "expire"   // made by Due
	Known    = "known"    // addresses from which a device was believed: they are not banned for KnownFor
)

var opKinds = [...]string{"", Report, Add, Lift, Allow, Disallow, Protect, Policy, Expire, Known}

// Op is something that happens to the guard. Which fields count depends on Kind.
type Op struct {
	Kind string `json:"op"`

	Node     string    `json:"node,omitempty"`     // report
	Share    string    `json:"share,omitempty"`    // report: a Share constant
	Offences []Offence `json:"offences,omitempty"` // report

	Addr   string `json:"addr,omitempty"`    // add, lift: as KeyOf reads it; allow, disallow: a prefix
	ForSec int64  `json:"for_sec,omitempty"` // add; allow: 0 = for good
	Why    string `json:"why,omitempty"`     // add: why; allow: the note; protect: what they are
	Who    string `json:"who,omitempty"`     // add, lift, allow, disallow: the operator
	Shield string `json:"shield,omitempty"`  // add: what the configuration protects there, "" = nothing

	Nets   []string `json:"nets,omitempty"`   // protect: prefixes; known: addresses, at most api.MaxGuardOffences
	Digest string   `json:"digest,omitempty"` // policy
}

// Offence is what a node tells of an address, with what the asker knows of it.
type Offence struct {
	api.Offence
	Shield string `json:"shield,omitempty"` // what the configuration protects there, "" = nothing
	Listed bool   `json:"listed,omitempty"` // a ban that the node enforces by itself, of which no offence was heard
}

var errOp = errors.New("not an operation of the guard")

// AppendOp appends an op.
func AppendOp(b []byte, o *Op) []byte {
	b = append(b, byte(max(0, slices.Index(opKinds[:], o.Kind))))
	switch o.Kind {
	case Report:
		b = pack.AppendUint(pack.AppendText(pack.AppendText(b, o.Node), o.Share), uint64(len(o.Offences)))
		for i := range o.Offences {
			b = o.Offences[i].append(b)
		}
		for i := range o.Offences {
			if o.Offences[i].Proven {
				b = pack.AppendUint(b, uint64(i))
			}
		}
	case Add, Lift, Allow, Disallow:
		for _, s := range [...]string{o.Addr, o.Why, o.Who, o.Shield} {
			b = pack.AppendText(b, s)
		}
		b = pack.AppendInt(b, o.ForSec)
	case Protect, Known:
		b = pack.AppendUint(pack.AppendText(b, o.Why), uint64(len(o.Nets)))
		for _, s := range o.Nets {
			b = pack.AppendText(b, s)
		}
	case Policy:
		b = pack.AppendText(b, o.Digest)
	}
	return b
}

func (o *Offence) append(b []byte) []byte {
	b = pack.AppendText(b, o.Addr)
	b = pack.AppendUint(b, uint64(max(0, slices.Index(tiers[:], o.Tier))))
	b = pack.AppendUint(b, uint64(max(0, slices.Index(kinds[:], o.Kind))))
	b = pack.AppendInt(pack.AppendInt(pack.AppendInt(b, int64(o.Count)), o.TimeMS), o.UntilMS)
	b = pack.AppendText(pack.AppendText(b, o.Evidence), o.Shield)
	return pack.AppendBool(pack.AppendBool(b, o.Known), o.Listed)
}

func readOffence(r *pack.Reader) (o Offence) {
	o.Addr = r.Text()
	o.Tier, o.Kind = readName(r, tiers[:]), readName(r, kinds[:])
	o.Count = int(max(-1, min(r.Int(), math.MaxInt32)))
	o.TimeMS, o.UntilMS = r.Int(), r.Int()
	o.Evidence, o.Shield = r.Text(), r.Text()
	o.Known, o.Listed = r.Bool(), r.Bool()
	return o
}

func readName(r *pack.Reader, names []string) string {
	if n := r.Uint(); n < uint64(len(names)) {
		return names[n]
	}
	return ""
}

// ReadOp reads an op. What is no op, or breaks a bound, is an error. Its texts are a copy.
func ReadOp(b []byte) (*Op, error) {
	r := pack.NewReader(b)
	o := &Op{Kind: readName(r, opKinds[:])}
	switch o.Kind {
	case "":
		return nil, errOp
	case Report:
		o.Node, o.Share = r.Text(), r.Text()
		for range r.Count(api.MaxGuardOffences) {
			o.Offences = append(o.Offences, readOffence(r))
		}
		for r.Rest() > 0 && r.Err() == nil { // of an older brain nothing follows
			i := r.Uint()
			if i >= uint64(len(o.Offences)) {
				return nil, errOp
			}
			o.Offences[i].Proven = true
		}
	case Add, Lift, Allow, Disallow:
		o.Addr, o.Why, o.Who, o.Shield, o.ForSec = r.Text(), r.Text(), r.Text(), r.Text(), r.Int()
	case Protect, Known:
		o.Why = r.Text()
		for range r.Count(api.MaxGuardProtected) {
			o.Nets = append(o.Nets, r.Text())
		}
	case Policy:
		o.Digest = r.Text()
	}
	err := r.End()
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return nil, fmt.Errorf("read an op %s of the guard: %w", o.Kind, err)
	}
	return o, nil
}

// check holds what was read to its bounds.
func (o *Op) check() error {
	if !texts(o.Node, o.Share, o.Addr, o.Why, o.Who, o.Shield, o.Digest) {
		return errFields
	}
	switch o.Kind {
	case Report:
		if o.Node == "" || !slices.Contains(Shares, o.Share) {
			return errFields
		}
		for i := range o.Offences {
			if err := o.Offences[i].check(); err != nil {
				return err
			}
		}
	case Add:
		if o.ForSec < 1 || o.ForSec > api.MaxBanForSec || o.Why == "" {
			return errFields
		}
		_, err := KeyOf(o.Addr)
		return err
	case Lift:
		_, err := KeyOf(o.Addr)
		return err
	case Allow, Disallow:
		if o.ForSec < 0 || o.ForSec > MaxTimeMS/1000 {
			return errFields
		}
		_, err := AllowedNet(o.Addr)
		return err
	case Protect:
		for _, s := range o.Nets {
			if _, err := netip.ParsePrefix(s); err != nil {
				return err
			}
		}
	case Known:
		if len(o.Nets) > api.MaxGuardOffences {
			return errFields
		}
		for _, s := range o.Nets {
			if _, err := KeyOf(s); err != nil {
				return err
			}
		}
	case Policy:
		if o.Digest == "" {
			return errFields
		}
	}
	return nil
}

func (o *Offence) check() error {
	if o.Tier == "" || o.Tier == api.TierOperator || o.Kind == "" || o.Count < 0 || !inTime(o.TimeMS) || !inTime(o.UntilMS) ||
		!texts(o.Evidence, o.Shield) || len(o.Evidence) > api.MaxEvidence {
		return errFields
	}
	_, err := KeyOf(o.Addr)
	return err
}

// AllowedNet reads a network for the allow list: a prefix, or one address. One that is wider than any network of somebody's
// own is refused: it would switch the guard off.
func AllowedNet(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if addr, aerr := netip.ParseAddr(text); aerr == nil {
		p, err = netip.PrefixFrom(addr.WithZone(""), addr.BitLen()), nil
	}
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a network such as 192.0.2.0/24", text)
	}
	p = unmapped(p)
	if widest := map[bool]int{true: 8, false: 16}[p.Addr().Is4()]; p.Bits() < widest {
		return p, fmt.Errorf("%s is wider than a /%d: that much is not taken off the guard", p, widest)
	}
	return p, nil
}

// Describe reads an op for people: an *Op, which encodes to JSON.
func Describe(op []byte) (any, error) {
	o, err := ReadOp(op)
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	return o, nil
}

// Decision is what the guard has decided about an address. It says what is to be done by whom.
type Decision struct {
	Addr     string `json:"addr"`
	Action   string `json:"action,omitempty"` // api.GuardBan, api.GuardLift; "" = nothing is to be done
	Tier     string `json:"tier,omitempty"`
	UntilMS  int64  `json:"until_ms,omitempty"`
	GraceSec int    `json:"grace_sec,omitempty"`
	Everyone bool   `json:"everyone,omitempty"` // every node is to do it; else the node that told of it alone
	Why      string `json:"why"`                // in words

	Only []string `json:"only,omitempty"` // these nodes are to do it, and no other
}

// Order is the decision as nodes are told.
func (d *Decision) Order() api.GuardOrder {
	return api.GuardOrder{Addr: d.Addr, Action: d.Action, Tier: d.Tier, UntilMS: d.UntilMS, GraceSec: d.GraceSec, Why: d.Why}
}

// Reply is the answer to an op.
type Reply struct {
	Decisions    []Decision `json:"decisions,omitempty"`
	Refused      string     `json:"refused,omitempty"` // add, allow: why nothing was done
	Ban          *api.Ban   `json:"ban,omitempty"`     // add: the new one; lift: the one that was lifted, absent when there was none
	AllowVersion int64      `json:"allow_version"`     // rises with each change of the allow list
	Version      int64      `json:"version,omitempty"` // policy
	Done         bool       `json:"done,omitempty"`    // disallow: it was on the list
}

// ReadReply reads the reply to an op.
func ReadReply(data []byte) (y Reply, err error) {
	if err = json.Unmarshal(data, &y); err != nil {
		err = fmt.Errorf("read a reply of the guard: %w", err)
	}
	return y, err
}
