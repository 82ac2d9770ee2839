package actor

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sipio/sipio/brain/presence"
)

// Desks reaches the queues of every account, wherever they are served: they live in the account's presence.
type Desks struct {
	Live *Live
}

// Do runs an op of brain/acd and returns its reply once the journal has it. brain.EUnavailable: nobody can say now; the
// op may still take effect, and is safe to be asked again.
func (d *Desks) Do(ctx context.Context, accountID string, op []byte) ([]byte, error) {
	reply, err := d.Live.Do(ctx, accountID, ClassStep, presence.AppendACD(make([]byte, 0, len(op)+1), op))
	return reply.Data, err
}

// Ask answers a question about queues or agents.
func (d *Desks) Ask(ctx context.Context, accountID string, q presence.Question) (presence.Desk, error) {
	var desk presence.Desk
	question, err := json.Marshal(q)
	if err != nil {
		return desk, fmt.Errorf("encode a question to account %s: %w", accountID, err)
	}
	answer, err := d.Live.Query(ctx, accountID, question)
	if err != nil {
		return desk, err
	}
	if err := json.Unmarshal(answer, &desk); err != nil {
		return desk, fmt.Errorf("read the answer of account %s: %w", accountID, err)
	}
	return desk, nil
}
