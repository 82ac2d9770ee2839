package balance

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/pack"
)

// snapshotVersion is the first byte of a snapshot. Another layout gets another number.
const snapshotVersion = 2

// errSnapshot: a snapshot that no wallet wrote.
var errSnapshot = errors.New("not a snapshot of a wallet")

// AppendSnapshot writes everything that Apply changed: wallets that went through the same changes write the same bytes.
func (m *Machine) AppendSnapshot(b []byte) []byte {
	b = pack.AppendText(append(b, snapshotVersion), m.account)
	for _, v := range [...]int64{m.balanceMicros, m.limitMicros, m.limitMS, m.opening.Seq, m.opening.Micros} {
		b = pack.AppendInt(b, v)
	}
	var one []byte
	b = pack.AppendUint(b, uint64(len(m.moves)-m.head))
	for i := range m.moves[m.head:] {
		v := &m.moves[m.head+i]
		one = pack.AppendUint(one[:0], uint64(slices.Index(kinds[:], v.Kind)))
		one = pack.AppendInt(pack.AppendInt(pack.AppendInt(pack.AppendInt(one, v.TimeMS), v.Micros), v.TalkMS), v.BilledSec)
		for _, s := range [...]string{v.ID, v.CallID, v.To, v.Prefix, v.Text} {
			one = pack.AppendText(one, s)
		}
		b = pack.AppendBytes(b, one)
	}
	b = pack.AppendUint(b, uint64(len(m.holds)))
	for _, id := range slices.Sorted(maps.Keys(m.holds)) {
		one = m.holds[id].append(one[:0])
		b = pack.AppendBytes(b, one)
	}
	return m.hands.append(m.calls.append(b))
}

func (h *hold) append(b []byte) []byte {
	for _, s := range [...]string{h.id, h.callID, h.to, h.prefix} {
		b = pack.AppendText(b, s)
	}
	b = appendTerms(b, h.terms)
	for _, v := range [...]int64{h.askedMS, h.sec, h.mostSec, h.micros, h.talkMS} {
		b = pack.AppendInt(b, v)
	}
	return pack.AppendBool(b, h.answered)
}

func (m *memory) append(b []byte) []byte {
	b = pack.AppendUint(pack.AppendInt(b, m.horizonMS), uint64(len(m.byID)))
	var one []byte
	for e := m.first; e != nil; e = e.next {
		one = pack.AppendUint(pack.AppendText(one[:0], e.id), uint64(slices.Index(kinds[:], e.kind)))
		one = pack.AppendInt(pack.AppendInt(pack.AppendInt(one, e.timeMS), e.askedMS), e.micros)
		if one = pack.AppendBool(one, e.was != nil); e.was != nil {
			one = e.was.append(one)
		} else {
			one = pack.AppendText(one, e.callID)
		}
		b = pack.AppendBytes(b, one)
	}
	return b
}

// Restore makes the wallet of an account from a snapshot of it. A snapshot that is cut off, of another account or version,
// breaks a bound, or whose sums are wrong, is refused. Before it is used, Resume.
func Restore(accountID string, snapshot []byte) (*Machine, error) {
	m, err := restore(accountID, snapshot)
	if err != nil {
		return nil, fmt.Errorf("restore the wallet of account %s: %w", accountID, err)
	}
	return m, nil
}

func restore(accountID string, snapshot []byte) (*Machine, error) {
	r := pack.NewReader(snapshot)
	if version := r.Uint(); version != snapshotVersion {
		return nil, fmt.Errorf("version %d, not %d: %w", version, snapshotVersion, errSnapshot)
	}
	if of := string(r.Bytes()); of != accountID {
		return nil, fmt.Errorf("it is of account %q: %w", of, errSnapshot)
	}
	m := New(accountID)
	balance := r.Int()
	m.limitMicros, m.limitMS, m.opening.Seq, m.opening.Micros = r.Int(), r.Int(), r.Int(), r.Int()
	m.balanceMicros = m.opening.Micros
	bounded := m.limitMicros >= 0 && m.limitMicros <= MaxMicros && inTime(m.limitMS) && m.opening.Seq >= 0 && inBounds(m.opening.Micros)
	if !bounded || m.opening.Seq == 0 && m.opening.Micros != 0 {
		return nil, fmt.Errorf("the limit or the opening balance: %w", errSnapshot)
	}
	for _, part := range []func(*pack.Reader) error{m.restoreMoves, m.restoreHolds, m.calls.restore, m.hands.restore} {
		if err := part(r); err != nil {
			return nil, err
		}
		if r.Err() != nil {
			return nil, r.Err()
		}
	}
	if m.balanceMicros != balance {
		return nil, fmt.Errorf("the movements come to %d, the balance is %d: %w", m.balanceMicros, balance, errSnapshot)
	}
	for id := range m.holds {
		if m.calls.byID[id] != nil {
			return nil, fmt.Errorf("call %q is held and over: %w", id, errSnapshot)
		}
	}
	return m, r.End()
}

func inBounds(micros int64) bool { return micros >= floor && micros <= -floor }

func (m *Machine) restoreMoves(r *pack.Reader) error {
	var one pack.Reader
	for range r.Count(MaxMovements) {
		one.Reset(r.Bytes())
		v := Movement{Kind: readKind(&one), TimeMS: one.Int(), Micros: one.Int(), TalkMS: one.Int(), BilledSec: one.Int(),
			ID: one.Text(), CallID: one.Text(), To: one.Text(), Prefix: one.Text(), Text: one.Text()}
		if err := one.End(); err != nil {
			return err
		}
		moves := v.Kind == Settle || v.Kind == TopUp || v.Kind == Adjust
		if !moves || !inTime(v.TimeMS) || !inBounds(v.Micros) || !inBounds(m.balanceMicros+v.Micros) || v.TalkMS < 0 || v.TalkMS > MaxTalkMS || v.BilledSec < 0 ||
			v.ID == "" || !texts(maxField, v.ID, v.CallID, v.To, v.Prefix) || !texts(maxText, v.Text) {
			return fmt.Errorf("movement %d: %w", m.seq()+1, errSnapshot)
		}
		m.move(v)
	}
	return nil
}

func readKind(r *pack.Reader) string {
	if k := r.Uint(); k < uint64(len(kinds)) {
		return kinds[k]
	}
	return ""
}

func readHold(r *pack.Reader) (*hold, error) {
	h := &hold{id: r.Text(), callID: r.Text(), to: r.Text(), prefix: r.Text(), terms: *readTerms(r),
		askedMS: r.Int(), sec: r.Int(), mostSec: r.Int(), micros: r.Int(), talkMS: r.Int(), answered: r.Bool(), index: -1}
	if err := r.Err(); err != nil {
		return nil, err
	}
	if h.id == "" || !texts(maxField, h.id, h.callID, h.to, h.prefix) || !inTime(h.askedMS) || h.sec < 0 || h.sec > h.mostSec || h.mostSec > maxSec ||
		h.talkMS < 0 || h.talkMS > MaxTalkMS || h.micros < 0 {
		return nil, fmt.Errorf("hold %q: %w", h.id, errSnapshot)
	}
	return h, nil
}

func (m *Machine) restoreHolds(r *pack.Reader) error {
	var one pack.Reader
	for range r.Count(MaxHolds) {
		one.Reset(r.Bytes())
		h, err := readHold(&one)
		if err == nil {
			err = one.End()
		}
		if err != nil {
			return err
		}
		if h.terms.Check() != nil || h.sec == 0 || h.micros != h.terms.Charge(h.sec*1000) || m.holds[h.id] != nil {
			return fmt.Errorf("hold %q is there twice or pays for something else: %w", h.id, errSnapshot)
		}
		m.holds[h.id] = h
		m.heldMicros += h.micros
	}
	m.Resume(0)
	return nil
}

func (m *memory) restore(r *pack.Reader) error {
	if m.horizonMS = r.Int(); m.horizonMS < -1 || m.horizonMS > maxTimeMS {
		return fmt.Errorf("the horizon: %w", errSnapshot)
	}
	var one pack.Reader
	for range r.Count(2 * m.most) {
		one.Reset(r.Bytes())
		e := &ended{id: one.Text(), kind: readKind(&one), timeMS: one.Int(), askedMS: one.Int(), micros: one.Int()}
		if one.Bool() {
			h, err := readHold(&one)
			if err != nil {
				return err
			}
			if e.was = h; h.terms.Check() != nil || h.id != e.id {
				return fmt.Errorf("call %q: %w", e.id, errSnapshot)
			}
			e.callID = h.callID
		} else {
			e.callID = one.Text()
		}
		if err := one.End(); err != nil {
			return err
		}
		if e.id == "" || e.kind == "" || m.byID[e.id] != nil || !texts(maxField, e.id, e.callID) || !inTime(e.timeMS) || !inTime(e.askedMS) || !inBounds(e.micros) {
			return fmt.Errorf("%q is there twice or out of bounds: %w", e.id, errSnapshot)
		}
		m.remember(e)
	}
	return nil
}
