package balance

import (
	"encoding/json"
	"fmt"
)

// Wallet is the wallet itself, to be asked, not to be changed.
func (p *Payer) Wallet() *Machine { return p.wallet }

// Len is how many calls are paid for, or were and are not forgotten yet.
func (p *Payer) Len() int { return len(p.bills) }

// Empty tells whether nothing is worth keeping.
func (p *Payer) Empty() bool { return len(p.bills) == 0 && p.wallet.Empty() }

// Tasks gives what there is to do since it was asked last, in order.
func (p *Payer) Tasks() []Task {
	tasks := p.tasks
	p.tasks = nil
	return tasks
}

// Question is what Query is asked.
type Question struct {
	What   string `json:"what"`              // balance, statement, holds
	After  int64  `json:"after,omitempty"`   // statement
	FromMS int64  `json:"from_ms,omitempty"` // statement: instead of after
	Limit  int    `json:"limit,omitempty"`   // statement
}

// Query answers a Question in JSON: a Balance, a Page, or a list of Held.
func (p *Payer) Query(_ int64, question []byte) ([]byte, error) {
	var q Question
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("read a question to a wallet: %w", err)
	}
	switch q.What {
	case "balance":
		return json.Marshal(p.wallet.Balance())
	case "statement":
		if q.FromMS > 0 {
			q.After = p.wallet.Since(q.FromMS)
		}
		return json.Marshal(p.wallet.Statement(q.After, q.Limit))
	case "holds":
		return json.Marshal(p.wallet.Holds())
	}
	return nil, fmt.Errorf("a question to a wallet: there is no %q", q.What)
}
