package actor

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/balance"
)

// Wallets reaches the wallets of accounts, wherever they are served.
type Wallets struct {
	Live *Live
}

// Pay holds money for a call of an account at every level, and returns once all have said whether they pay: granted or refused. The
// same question again gets the same answer. brain.EUnavailable: nobody can say now; what was held meanwhile is given back
// once the call is known not to be there.
func (w *Wallets) Pay(ctx context.Context, accountID string, p *balance.Payment) (balance.Paid, error) {
	paid, err := w.tell(ctx, accountID, balance.AppendPayment(nil, p))
	for range 4 * balance.MaxLevels { // holds, and after a refusal none: releases are tasks
		if err != nil || paid.State != balance.Waiting {
			return paid, err
		}
		paid, err = w.Carry(ctx, accountID, paid.Chain, paid.Order)
	}
	return paid, brain.Errorf(brain.EUnavailable, "call %s waits for its resellers", p.Token)
}

// Drop gives back what is held for the number that a call was paid for last, before that attempt: it was not reached, and the call goes on without
// it.
func (w *Wallets) Drop(ctx context.Context, accountID, token, callID string, attempt int) error {
	word := balance.Word{Token: token, CallID: callID, Kind: balance.WordMissed, Attempt: int64(attempt)}
	_, err := w.Live.Do(ctx, brain.WalletObject(accountID), ClassStep, balance.AppendWords(nil, []balance.Word{word}))
	return err
}

// Carry gives an order of one of an account's chains to its wallet, and tells the account what that says.
func (w *Wallets) Carry(ctx context.Context, accountID, chain string, o balance.Order) (balance.Paid, error) {
	reply, err := w.Live.Do(ctx, brain.WalletObject(o.AccountID), ClassStep, o.Op)
	if err != nil {
		return balance.Paid{}, err
	}
	said, err := balance.ReadReply(reply.Data)
	if err != nil {
		return balance.Paid{}, fmt.Errorf("account %s, %s of call %s: %w", o.AccountID, o.Kind, chain, err)
	}
	return w.tell(ctx, accountID, balance.AppendAnswer(nil, &balance.Answer{Chain: chain, Level: o.Level, Kind: o.Kind, Op: o.Op, Reply: said}))
}

func (w *Wallets) tell(ctx context.Context, accountID string, op []byte) (balance.Paid, error) {
	reply, err := w.Live.Do(ctx, brain.WalletObject(accountID), ClassStep, op)
	if err != nil {
		return balance.Paid{}, err
	}
	return balance.ReadPaid(reply.Data)
}

// Do runs an op by hand and returns the answer once the journal has it: safe to be asked again under the same id.
func (w *Wallets) Do(ctx context.Context, accountID string, op *balance.Op) (balance.Reply, error) {
	data := balance.AppendOp(nil, op)
	if _, err := balance.ReadOp(data); err != nil {
		return balance.Reply{}, brain.Errorf(brain.EInvalid, "%s", err)
	}
	reply, err := w.Live.Do(ctx, brain.WalletObject(accountID), ClassStep, data)
	if err != nil {
		return balance.Reply{}, err
	}
	return balance.ReadReply(reply.Data)
}

// Balance tells what an account has.
func (w *Wallets) Balance(ctx context.Context, accountID string) (b balance.Balance, err error) {
	return b, w.ask(ctx, accountID, balance.Question{What: "balance"}, &b)
}

// Statement lists at most limit movements of an account behind a number, or from a time on, epoch milliseconds, when that is not 0.
func (w *Wallets) Statement(ctx context.Context, accountID string, after, fromMS int64, limit int) (p balance.Page, err error) {
	return p, w.ask(ctx, accountID, balance.Question{What: "statement", After: after, FromMS: fromMS, Limit: limit}, &p)
}

// Holds lists the calls that an account holds money for, its customers' included.
func (w *Wallets) Holds(ctx context.Context, accountID string) (list []balance.Held, err error) {
	return list, w.ask(ctx, accountID, balance.Question{What: "holds"}, &list)
}

func (w *Wallets) ask(ctx context.Context, accountID string, q balance.Question, into any) error {
	question, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("encode a question to a wallet: %w", err)
	}
	answer, err := w.Live.Query(ctx, brain.WalletObject(accountID), question)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read the answer of the wallet of account %s: %w", accountID, err)
	}
	return nil
}
