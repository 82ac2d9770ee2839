package actor

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/presence"
)

// Desks reaches the queues of every account, wherever they are served: they live in the account's presence.
type Desks struct {
	Live *Live
}

// maxDeskOp is how many bytes an op of brain/acd may have. Only what the configuration says of an account's queues and
// agents comes near it: it is written again at each change of them.
const maxDeskOp = 4 << 20

// Do runs an op of brain/acd and returns its reply once the journal has it. brain.EUnavailable: nobody can say now; the
// op may still take effect, and is safe to be asked again. brain.EInvalid: it is too large to be written down.
func (d *Desks) Do(ctx context.Context, accountID string, op []byte) ([]byte, error) {
	if len(op) > maxDeskOp {
		return nil, brain.Errorf(brain.EInvalid, "what is to be kept of the queues and agents of account %s has %d bytes, more than %d", accountID, len(op), maxDeskOp)
	}
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
