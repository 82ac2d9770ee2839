// Package wallet is money in calls as the process does it: who pays for a call by which price list, the price lists themselves, and
// what wallets want done outside.
package wallet

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
)

// Owner reaches the wallets of accounts, wherever they are served.
type Owner interface {
	Pay(ctx context.Context, accountID string, p *balance.Payment) (balance.Paid, error)
	Drop(ctx context.Context, accountID, token, callID string, attempt int) error
	Carry(ctx context.Context, accountID, chain string, o balance.Order) (balance.Paid, error)
	Do(ctx context.Context, accountID string, op *balance.Op) (balance.Reply, error)
	Balance(ctx context.Context, accountID string) (balance.Balance, error)
	Statement(ctx context.Context, accountID string, after, fromMS int64, limit int) (balance.Page, error)
	Holds(ctx context.Context, accountID string) ([]balance.Held, error)
}

// Nodes pushes ops to nodes.
type Nodes interface {
	Push(ctx context.Context, n *brain.Node, op api.Op) (api.OpReply, error)
}

// Wallets is the wallets of all accounts, and what they charge by.
type Wallets struct {
	Owner
	Directory func() brain.Directory
	Plans     *Plans
	Nodes     Nodes
	Log       *slog.Logger
	Now       func() time.Time

	carried slots
}

// New makes the wallets of an installation.
func New(owner Owner, directory func() brain.Directory, plans *Plans, nodes Nodes, log *slog.Logger) *Wallets {
	return &Wallets{Owner: owner, Directory: directory, Plans: plans, Nodes: nodes, Log: log, Now: time.Now, carried: newSlots()}
}

// WhyRate: a plan has no rate for the number, so nobody knows what the call costs.
const WhyRate = "rate"

// Pay holds money for a call of an account by the plans that it and its resellers pay by. charged is false when nobody pays
// for its calls. A refusal has a Why of brain/balance, or WhyRate, and for these two a Text. brain.EUnavailable: nobody can say now.
func (w *Wallets) Pay(ctx context.Context, acct *brain.AccountConfig, p *balance.Payment) (paid balance.Paid, charged bool, err error) {
	if p.Levels, err = w.levels(ctx, acct, p.To); err != nil {
		return balance.Paid{}, true, err
	}
	for i := range p.Levels {
		if l := &p.Levels[i]; l.Rate.Prefix == "" {
			text := fmt.Sprintf("%s has no rate for +%s", w.plan(acct, l.AccountID), p.To)
			return balance.Paid{State: balance.Refused, Why: WhyRate, Text: text}, true, nil
		}
	}
	if len(p.Levels) == 0 {
		return balance.Paid{}, false, nil
	}
	paid, err = w.Owner.Pay(ctx, acct.Account.ID, p)
	if err == nil && paid.State == balance.Refused && paid.Why == balance.WhyMoney {
		paid.Text = w.short(ctx, acct, p.Levels)
	}
	return paid, true, err
}

// plan names what the account at a level pays by: whose it is too, when that is a reseller of the caller's account.
func (w *Wallets) plan(acct *brain.AccountConfig, levelID string) string {
	if levelID == acct.Account.ID {
		return "plan " + acct.Account.RatePlan
	}
	if payer := w.Directory().ByAccount(levelID); payer != nil {
		return "plan " + payer.Account.RatePlan + " of " + payer.Account.Name
	}
	return "the plan of account " + levelID
}

// short says which wallet has not enough for the first interval, as it stands now.
func (w *Wallets) short(ctx context.Context, acct *brain.AccountConfig, levels []balance.Level) string {
	for i := range levels {
		l := &levels[i]
		b, err := w.Owner.Balance(ctx, l.AccountID)
		if err != nil || l.Rate.Affords(b.AvailableMicros, balance.MaxTalkMS/1000) > 0 {
			continue
		}
		text := fmt.Sprintf("balance %s, limit %s", balance.FormatMicros(b.BalanceMicros), balance.FormatMicros(b.LimitMicros))
		if b.HeldMicros > 0 {
			text += ", held for other calls " + balance.FormatMicros(b.HeldMicros)
		}
		if payer := w.Directory().ByAccount(l.AccountID); l.AccountID != acct.Account.ID && payer != nil {
			text = payer.Account.Name + ": " + text
		}
		return text + ": not enough for the first interval"
	}
	return "not enough money for the first interval"
}

// Drop gives back what is held for the number that a call was paid for last, before that attempt: it was not reached, and the call goes on without
// it. When there is none nothing happens. brain.EUnavailable: nobody can say now.
func (w *Wallets) Drop(ctx context.Context, acct *brain.AccountConfig, token, callID string, attempt int) error {
	if acct.Account.RatePlan == "" && acct.Account.ParentID == nil {
		return nil // nobody pays
	}
	return w.Owner.Drop(ctx, acct.Account.ID, token, callID, attempt)
}

// levels lists who pays for a call to a number: the account first, then its resellers up to the platform, without those that have no
// plan. A level without a prefix has no rate for it.
func (w *Wallets) levels(ctx context.Context, acct *brain.AccountConfig, number string) ([]balance.Level, error) {
	var levels []balance.Level
	now := w.Now().Unix()
	for dir := w.Directory(); ; {
		a := &acct.Account
		if a.RatePlan != "" {
			plan, err := w.Plans.Plan(ctx, a.ChargedBy(), a.RatePlan)
			if err != nil {
				return nil, err
			}
			level, ok, err := balance.LevelFor(a.ID, a.Currency, plan, number, now)
			if err != nil {
				return nil, fmt.Errorf("account %s, plan %s: %w", a.ID, a.RatePlan, err)
			}
			if !ok {
				level = balance.Level{AccountID: a.ID}
			}
			levels = append(levels, level)
		}
		if a.ParentID == nil {
			return levels, nil
		}
		if acct = dir.ByAccount(*a.ParentID); acct == nil || len(levels) > balance.MaxLevels {
			return nil, brain.Errorf(brain.EUnavailable, "account %s: its reseller %s is not known, or there are too many", a.ID, *a.ParentID)
		}
	}
}
