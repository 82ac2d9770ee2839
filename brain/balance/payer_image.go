package balance

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/pack"
)

const payerVersion = 2 // 1 had no triedMS: it is read

// errPayer: a snapshot that no payer wrote.
var errPayer = errors.New("not a snapshot of a payer")

// AppendSnapshot writes everything that Apply changed: payers that went through the same changes write the same bytes.
func (p *Payer) AppendSnapshot(b []byte) []byte {
	b = pack.AppendNested(append(b, payerVersion), p.wallet.AppendSnapshot)
	b = pack.AppendUint(b, uint64(len(p.bills)))
	for _, token := range slices.Sorted(maps.Keys(p.bills)) {
		b = pack.AppendNested(b, p.bills[token].append)
	}
	return b
}

func (b *bill) append(out []byte) []byte {
	for _, s := range [...]string{b.token, b.callID, b.node} {
		out = pack.AppendText(out, s)
	}
	for _, v := range b.figures() {
		out = pack.AppendInt(out, *v)
	}
	out = pack.AppendUint(pack.AppendBool(pack.AppendBool(out, b.ending), b.missed), uint64(len(b.old)))
	for _, c := range b.chains() {
		out = pack.AppendNested(out, c.AppendImage)
	}
	return out
}

// figures are the numbers of a call that are kept, in their order.
func (b *bill) figures() [14]*int64 {
	return [...]*int64{&b.attempt, &b.tries, &b.heardMS, &b.skewMS, &b.answeredMS, &b.endedMS, &b.startMS, &b.waitMS, &b.stepSec,
		&b.moneySec, &b.triedSec, &b.retryMS, &b.forgetMS, &b.triedMS}
}

// RestorePayer makes the payer of an account from a snapshot of it. What no payer wrote is refused. Before it is used, Resume.
func RestorePayer(accountID string, snapshot []byte) (*Payer, error) {
	p, err := restorePayer(accountID, snapshot)
	if err != nil {
		return nil, fmt.Errorf("restore the payer of account %s: %w", accountID, err)
	}
	return p, nil
}

func restorePayer(accountID string, snapshot []byte) (*Payer, error) {
	r := pack.NewReader(snapshot)
	version := r.Uint()
	if version != 1 && version != payerVersion {
		return nil, fmt.Errorf("version %d, not %d: %w", version, payerVersion, errPayer)
	}
	p := NewPayer(accountID)
	wallet, err := Restore(accountID, r.Bytes())
	if err != nil {
		return nil, err
	}
	p.wallet = wallet
	for range r.Count(MaxHolds) {
		b, err := readBill(r.Bytes(), version)
		if err != nil {
			return nil, err
		}
		if p.bills[b.token] != nil {
			return nil, fmt.Errorf("call %q is there twice: %w", b.token, errPayer)
		}
		p.bills[b.token] = b
		b.againMS = 1 // Resume gives its tasks, if there are any
		p.place(b)
	}
	return p, r.End()
}

func readBill(image []byte, version uint64) (*bill, error) {
	r := pack.NewReader(image)
	b := &bill{token: r.Text(), callID: r.Text(), node: r.Text(), index: -1}
	kept := b.figures()
	for _, v := range kept[:len(kept)-int(payerVersion-version)] {
		*v = r.Int()
	}
	b.ending, b.missed = r.Bool(), r.Bool()
	for n := r.Count(MaxHolds) + 1; n > 0; n-- {
		c, err := RestoreChain(r.Bytes())
		if err != nil {
			return nil, fmt.Errorf("call %q: %w", b.token, err)
		}
		b.old = append(b.old, c)
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	b.chain, b.old = b.old[len(b.old)-1], b.old[:len(b.old)-1]
	if b.token == "" || !texts(maxField, b.token, b.callID, b.node) || b.chain.CallID != b.callID {
		return nil, fmt.Errorf("call %q: %w", b.token, errPayer)
	}
	for _, v := range b.figures() {
		if *v > maxTimeMS || *v < -maxTimeMS {
			return nil, fmt.Errorf("call %q: %w", b.token, errPayer)
		}
	}
	return b, nil
}
