package actor

import (
	"slices"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
	"github.com/sipio/sipio/brain/presence"
)

// wallet is the machine of an account's wallet among those of a shard.
type wallet struct {
	*balance.Payer
	bystander
}

func newWallet(id string) (Machine, bool) {
	accountID, ok := brain.IsWalletObject(id)
	if !ok {
		return nil, false
	}
	return wallet{Payer: balance.NewPayer(accountID)}, true
}

func restoreWallet(accountID string, snapshot []byte) (Machine, error) {
	p, err := balance.RestorePayer(accountID, snapshot)
	return wallet{Payer: p}, err
}

// maxWords bounds the words in one op to a wallet: it stands well below MaxOp.
const maxWords = 10_000

// hear tells the wallet of an account what the last op of its presence told of calls. Both are of this shard, and their records of
// one message: a wallet never misses what the presence knows, nor the other way. It is true when the wallet is another.
func (s *shard) hear(o *object, now int64) (changed bool) {
	p, ok := o.machine.(*presence.Machine)
	if !ok || len(p.Words()) == 0 {
		return false
	}
	w := s.objects[brain.WalletObject(o.id)]
	if w == nil {
		return false
	}
	for part := range slices.Chunk(p.Words(), maxWords) {
		words := make([]balance.Word, len(part))
		for i, v := range part {
			words[i] = balance.Word{Token: v.Token, CallID: v.CallID, Kind: wordKind(v.Type), TimeMS: v.TimeMS, Attempt: int64(v.Attempt)}
		}
		changed = s.force(w, now, balance.AppendWords(nil, words)) || changed
	}
	s.settle(w)
	return changed
}

func wordKind(event string) string {
	switch event {
	case api.EventDialogStart:
		return balance.WordAnswered
	case api.EventDialogEnd:
		return balance.WordEnded
	case api.EventDialogFailed:
		return balance.WordFailed
	case presence.TypeLost:
		return balance.WordUp
	}
	return balance.WordGone
}

// doubt asks the account's presence about the calls of a wallet of which nobody has told for long. Only one that reports of its node do not
// list is over: a place that was lost by silence or by an operator's hand frees no money.
func (s *shard) doubt(o *object, now int64) {
	w, ok := o.machine.(wallet)
	if !ok {
		return
	}
	var words []balance.Word
	for _, d := range w.Doubtful(now) {
		fate, seenMS := s.fate(w.Wallet().AccountID(), &d)
		switch {
		case fate == presence.Over:
			words = append(words, balance.Word{Token: d.Token, Kind: balance.WordGone})
			continue
		case seenMS > 0:
			words = append(words, balance.Word{Token: d.Token, Kind: balance.WordUp, TimeMS: seenMS})
		}
		w.Renew(now, d.Token)
	}
	for part := range slices.Chunk(words, maxWords) {
		s.force(o, now, balance.AppendWords(nil, part))
	}
}

func (s *shard) fate(accountID string, d *balance.Doubt) (f presence.Fate, seenMS int64) {
	if o := s.objects[accountID]; o != nil {
		if p, ok := o.machine.(*presence.Machine); ok {
			return p.Fate(d.Token, d.Node, d.AskedMS)
		}
	}
	return presence.Unknown, 0
}
