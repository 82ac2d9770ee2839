package actor

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
)

// guardian is the machine of the platform's guard among those of a shard.
type guardian struct {
	*guard.Machine
	bystander
}

func restoreGuard(snapshot []byte) (Machine, error) {
	m, err := guard.Restore(snapshot)
	return guardian{Machine: m}, err
}

// Guard reaches the guard of the platform, wherever it is served.
type Guard struct {
	Live *Live
}

// Do gives the guard an op, and returns what it has decided once the journal holds it. brain.EUnavailable: nobody can decide now.
func (g *Guard) Do(ctx context.Context, op *guard.Op) (guard.Reply, error) {
	data := guard.AppendOp(nil, op)
	if _, err := guard.ReadOp(data); err != nil {
		return guard.Reply{}, brain.Errorf(brain.EInvalid, "%s", err)
	}
	reply, err := g.Live.Do(ctx, brain.GuardObject, ClassStep, data)
	if err != nil {
		return guard.Reply{}, err
	}
	return guard.ReadReply(reply.Data)
}

// Bans lists bans.
func (g *Guard) Bans(ctx context.Context, q guard.Question) (list api.BanList, err error) {
	q.What = guard.AskBans
	return list, g.ask(ctx, &q, &list)
}

// Allowed is the allow list.
func (g *Guard) Allowed(ctx context.Context) (list guard.Allowances, err error) {
	return list, g.ask(ctx, &guard.Question{What: guard.AskAllow}, &list)
}

// Compare says what is wrong with what a node enforces.
func (g *Guard) Compare(ctx context.Context, node string, active []api.ActiveBan) (c guard.Compared, err error) {
	return c, g.query(ctx, guard.AppendListed(nil, node, active), &c)
}

func (g *Guard) ask(ctx context.Context, q *guard.Question, into any) error {
	question, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("encode a question to the guard: %w", err)
	}
	return g.query(ctx, question, into)
}

func (g *Guard) query(ctx context.Context, question []byte, into any) error {
	answer, err := g.Live.Query(ctx, brain.GuardObject, question)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read the answer of the guard: %w", err)
	}
	return nil
}
