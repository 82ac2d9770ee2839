package guard

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/pack"
)

// snapshotVersion is the first byte of a snapshot. Another layout gets another number.
const snapshotVersion = 1

// errSnapshot: a snapshot that no guard wrote.
var errSnapshot = errors.New("not a snapshot of the guard")

// AppendSnapshot writes everything that Apply changed: guards that went through the same changes write the same bytes.
func (m *Machine) AppendSnapshot(b []byte) []byte {
	b = pack.AppendInt(pack.AppendInt(append(b, snapshotVersion), m.allowVersion), m.policyVersion)
	b = pack.AppendText(b, m.policyDigest)
	b = appendBook(b, &m.bans, (*ban).append)
	b = appendBook(b, &m.offenders, (*offender).append)
	b = appendBook(b, &m.allowed, (*allowed).append)
	return appendBook(b, &m.known, func(_ struct{}, b []byte) []byte { return b })
}

func appendBook[T any](b []byte, of *book[T], add func(T, []byte) []byte) []byte {
	b = pack.AppendUint(b, uint64(of.len()))
	for _, key := range of.keys() {
		e := of.get(key)
		b = pack.AppendNested(b, func(b []byte) []byte {
			return add(e.of, pack.AppendInt(pack.AppendText(b, key.String()), e.endMS))
		})
	}
	return b
}

func (v *ban) append(b []byte) []byte {
	for _, s := range [...]string{v.tier, v.kind, v.why, v.evidence, v.who, v.node} {
		b = pack.AppendText(b, s)
	}
	b = pack.AppendInt(pack.AppendInt(pack.AppendInt(b, v.fromMS), int64(v.before)), int64(v.long))
	b = pack.AppendUint(pack.AppendBool(b, v.shared), uint64(len(v.nodes)))
	for _, s := range v.nodes {
		b = pack.AppendText(b, s)
	}
	if v.proven {
		b = pack.AppendBool(b, true)
	}
	return b
}

func readBan(r *pack.Reader) (*ban, bool) {
	v := &ban{tier: r.Text(), kind: r.Text(), why: r.Text(), evidence: r.Text(), who: r.Text(), node: r.Text(), fromMS: r.Int()}
	v.before, v.long, v.shared = readCount(r), readCount(r), r.Bool()
	for range r.Count(MaxNodes) {
		v.nodes = append(v.nodes, r.Text())
	}
	if r.Rest() > 0 && r.Err() == nil {
		v.proven = r.Bool()
	}
	return v, v.tier != "" && inTime(v.fromMS) && v.before >= 0 && v.long >= 0 && texts(v.nodes...) && texts(v.tier, v.kind, v.evidence, v.who, v.node)
}

// readCount is -1 for what is no count.
func readCount(r *pack.Reader) int {
	if n := r.Int(); n >= 0 && n <= maxCount {
		return int(n)
	}
	return -1
}

func (v *offender) append(b []byte) []byte {
	for _, n := range [...]int64{int64(v.count), int64(v.long), v.anchorMS, v.endMS, v.lastMS, v.liftMS, v.graceMS} {
		b = pack.AppendInt(b, n)
	}
	b = pack.AppendText(pack.AppendText(b, v.lastKind), v.liftWho)
	b = pack.AppendText(pack.AppendInt(b, int64(v.lastCount)), v.evidence)
	return pack.AppendText(pack.AppendText(b, v.tier), v.node)
}

func readOffender(r *pack.Reader) (*offender, bool) {
	v := &offender{count: readCount(r), long: readCount(r), anchorMS: r.Int(), endMS: r.Int(), lastMS: r.Int(), liftMS: r.Int(), graceMS: r.Int()}
	v.lastKind, v.liftWho = r.Text(), r.Text()
	if r.Rest() > 0 && r.Err() == nil { // of an older brain nothing follows
		v.lastCount, v.evidence = readCount(r), r.Text()
	}
	if r.Rest() > 0 && r.Err() == nil { // the same
		v.tier, v.node = r.Text(), r.Text()
	}
	return v, v.lastCount >= 0 && len(v.evidence) <= api.MaxKeptEvidence && v.count >= 0 && v.long >= 0 && inTime(v.anchorMS) && inTime(v.endMS) && inTime(v.lastMS) && inTime(v.liftMS) && inTime(v.graceMS) &&
		texts(v.lastKind, v.liftWho, v.evidence, v.tier, v.node)
}

func (v *allowed) append(b []byte) []byte {
	return pack.AppendInt(pack.AppendText(pack.AppendText(b, v.who), v.note), v.sinceMS)
}

func readAllowed(r *pack.Reader) (*allowed, bool) {
	v := &allowed{who: r.Text(), note: r.Text(), sinceMS: r.Int()}
	return v, inTime(v.sinceMS) && texts(v.who, v.note)
}

// Restore makes the guard from a snapshot of it. A snapshot that is cut off, of another version or breaks a bound is refused.
func Restore(snapshot []byte) (*Machine, error) {
	r := pack.NewReader(snapshot)
	if version := r.Uint(); version != snapshotVersion {
		return nil, fmt.Errorf("version %d, not %d: %w", version, snapshotVersion, errSnapshot)
	}
	m := New()
	m.allowVersion, m.policyVersion = r.Int(), r.Int()
	if m.policyDigest = r.Text(); m.allowVersion < 0 || !inTime(m.policyVersion) || !texts(m.policyDigest) {
		return nil, fmt.Errorf("its versions: %w", errSnapshot)
	}
	pack.Own(&m.policyDigest)
	if err := restoreBook(r, MaxBans, &m.bans, offending, readBan); err != nil {
		return nil, fmt.Errorf("restore bans: %w", err)
	}
	if err := restoreBook(r, MaxOffenders, &m.offenders, offending, readOffender); err != nil {
		return nil, fmt.Errorf("restore offenders: %w", err)
	}
	if err := restoreBook(r, MaxAllowed, &m.allowed, AllowedNet, readAllowed); err != nil {
		return nil, fmt.Errorf("restore the allow list: %w", err)
	}
	if r.Rest() > 0 { // of an older brain nothing follows
		if err := restoreBook(r, MaxKnown, &m.known, offending, func(*pack.Reader) (struct{}, bool) { return struct{}{}, true }); err != nil {
			return nil, fmt.Errorf("restore known addresses: %w", err)
		}
	}
	return m, r.End()
}

// offending reads the key of a ban or an offender.
func offending(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, err
	}
	key, err := KeyOf(Name(p))
	if err == nil && key != p {
		err = errSnapshot
	}
	return key, err
}

func restoreBook[T any](r *pack.Reader, most int, into *book[T], key func(string) (netip.Prefix, error), read func(*pack.Reader) (T, bool)) error {
	var one pack.Reader
	for range r.Count(most) {
		one.Reset(r.Bytes())
		text, endMS := one.Text(), one.Int()
		of, ok := read(&one)
		if err := one.End(); err != nil {
			return err
		}
		p, err := key(text)
		switch {
		case err != nil:
			return err
		case !ok || !inTime(endMS) || into.get(p) != nil:
			return fmt.Errorf("%s is there twice or out of bounds: %w", p, errSnapshot)
		}
		into.put(p, endMS, of)
	}
	return r.Err()
}
