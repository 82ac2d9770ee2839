package actor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
	"github.com/sipio/sipio/brain/pack"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/brain/session"
)

// Sessions reaches the calls that the platform answers, wherever they are served.
type Sessions struct {
	Live *Live
}

// Step gives a question to a call's session and returns what it says once the journal has it. brain.EUnavailable:
// the same question again later; nothing is done twice. brain.EForbidden: there is no such account.
func (s *Sessions) Step(ctx context.Context, accountID, token string, req *session.Request) (session.Reply, error) {
	id := brain.CallObject(accountID, token)
	reply, err := s.Live.Host.step(ctx, id, req)
	if !s.Live.elsewhere(err) {
		return reply, err
	}
	text, err := json.Marshal(req)
	if err != nil {
		return reply, fmt.Errorf("encode a question to a session: %w", err)
	}
	answer, err := s.Live.pass(ctx, brain.ShardOfObject(id), verbStep, ClassStep, id, text)
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(answer.Data, &reply); err != nil {
		return reply, fmt.Errorf("read what session %s says: %w", id, err)
	}
	return reply, nil
}

// maxRenew bounds the calls in one message between brains.
const maxRenew = 4096

// Renew says that a node still has these calls. One whose shard cannot be told now is told the next time; the
// error is the first of them.
func (s *Sessions) Renew(ctx context.Context, calls []api.AliveCall) error {
	var of [brain.Shards][]string
	for _, c := range calls {
		id := brain.CallObject(c.AccountID, c.Token)
		n := brain.ShardOfObject(id)
		of[n] = append(of[n], id)
	}
	var first error
	for n, ids := range of {
		for part := range slices.Chunk(ids, maxRenew) {
			var b []byte
			for _, id := range part {
				b = pack.AppendText(b, id)
			}
			_, err := s.Live.Host.renew(ctx, n, b)
			if s.Live.elsewhere(err) {
				_, err = s.Live.pass(ctx, n, verbRenew, ClassStep, "", b)
			}
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// Late lists the calls of the shards served here that are over and left effects that nobody has confirmed.
func (s *Sessions) Late(ctx context.Context) []api.AliveCall {
	var late []api.AliveCall
	for n := range brain.Shards {
		data, err := s.Live.Host.look(ctx, n, (*shard).late)
		if err != nil {
			continue // not ours, or busy: the next time
		}
		r := pack.NewReader(data)
		for r.Rest() > 0 && r.Err() == nil {
			id := r.Text()
			if accountID, ok := brain.IsCallObject(id); ok {
				late = append(late, api.AliveCall{AccountID: accountID, Token: id[len(brain.CallObject(accountID, "")):]})
			}
		}
	}
	return late
}

// maxLate bounds the late calls of a shard that are listed at once.
const maxLate = 256

func (s *shard) late() []byte {
	var b []byte
	now, found := s.now(), 0
	for id, o := range s.objects {
		if c, ok := o.machine.(call); ok && found < maxLate && c.Late(now) {
			b = pack.AppendText(b, id)
			found++
		}
	}
	return b
}

// step is Host.Do for a question that must be decided by the owner of the call.
func (h *Host) step(ctx context.Context, id string, req *session.Request) (session.Reply, error) {
	r := &request{id: id, class: ClassStep, step: &question{asked: req}}
	if _, err := h.send(ctx, r); err != nil {
		return session.Reply{}, err // r may still be at work: it is not looked at
	}
	return r.step.said, nil
}

// stepped is step for a question that another brain has passed on.
func (h *Host) stepped(ctx context.Context, id string, question []byte) ([]byte, error) {
	req, err := session.ReadRequest(question)
	if err != nil {
		return json.Marshal(&session.Reply{Refused: err.Error()})
	}
	reply, err := h.step(ctx, id, req)
	if err != nil {
		return nil, err
	}
	return json.Marshal(&reply)
}

// renew begins the leases of calls anew.
func (h *Host) renew(ctx context.Context, n int, ids []byte) ([]byte, error) {
	ids = bytes.Clone(ids)
	return h.look(ctx, n, func(s *shard) []byte {
		now := s.now()
		r := pack.NewReader(ids)
		for r.Rest() > 0 && r.Err() == nil {
			o := s.objects[r.Text()]
			if o == nil {
				continue
			}
			if c, ok := o.machine.(call); ok {
				c.Renew(now)
				s.settle(o)
			}
		}
		return nil
	})
}

// step decides a question in the loop and applies what it leads to, with the record of a wrong PIN in the same
// message. A decision that panics has changed nothing: it costs its question, not the shard.
func (s *shard) step(r *request, o *object, now int64) {
	c, ok := o.machine.(call)
	if !ok {
		r.err = brain.Errorf(brain.EInternal, "%s is no call", o.id)
		return
	}
	op, reply, err := s.decide(c, r, now)
	if err != nil {
		r.err = err
		return
	}
	r.step.said = reply
	if op != nil {
		s.force(o, now, op)
		r.changed = true
	}
	if reply.Wrong != "" {
		accountID, _ := brain.IsCallObject(o.id)
		if locks := s.object(brain.LocksObject(accountID)); locks != nil {
			s.force(locks, now, session.WrongOp(reply.Wrong))
			s.settle(locks)
		}
	}
}

func (s *shard) decide(c call, r *request, now int64) (op []byte, reply session.Reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.host.Log.Error("a step of a session failed; the call stays where it was", "call", r.id, "panic", p, "stack", string(debug.Stack()))
			op, err = nil, brain.Errorf(brain.EInternal, "a step of session %s failed", r.id)
		}
	}()
	accountID, _ := brain.IsCallObject(r.id)
	env := s.host.Env(accountID)
	if env == nil {
		return nil, reply, brain.Errorf(brain.EForbidden, "there is no account %s", accountID)
	}
	mine := *env
	mine.Locked = func(target string) bool {
		o := s.objects[brain.LocksObject(accountID)]
		if o == nil {
			return false
		}
		l, ok := o.machine.(locks)
		return ok && l.Locked(now, target)
	}
	op, reply = c.Decide(now, &mine, r.step.asked)
	return op, reply, checkOp(r.id, op)
}

// newMachine makes the machine that belongs to the id of a live object.
func newMachine(id string) Machine {
	if _, ok := brain.IsCallObject(id); ok {
		return call{Machine: session.New(id)}
	}
	if brain.IsLocksObject(id) {
		return locks{Locks: session.NewLocks()}
	}
	if w, ok := newWallet(id); ok {
		return w
	}
	if id == brain.GuardObject {
		return guardian{Machine: guard.New()}
	}
	return presence.New(id)
}

func restoreMachine(id string, snapshot []byte) (Machine, error) {
	if _, ok := brain.IsCallObject(id); ok {
		m, err := session.Restore(id, snapshot)
		return call{Machine: m}, err
	}
	if brain.IsLocksObject(id) {
		l, err := session.RestoreLocks(snapshot)
		return locks{Locks: l}, err
	}
	if accountID, ok := brain.IsWalletObject(id); ok {
		return restoreWallet(accountID, snapshot)
	}
	if id == brain.GuardObject {
		return restoreGuard(snapshot)
	}
	return presence.Restore(id, snapshot)
}

// bystander is the part of a Machine that calls and locks have no use for.
type bystander struct{}

func (bystander) Observe(int64, *presence.Report) []byte { return nil }
func (bystander) Watch(bool)                             {}
func (bystander) Deltas() []api.Delta                    { return nil }
func (bystander) Effects() presence.Effects              { return presence.Effects{} }

// call is the machine of a call among those of a shard.
type call struct {
	*session.Machine
	bystander
}

// locks is the machine of an account's wrong PINs among those of a shard.
type locks struct {
	*session.Locks
	bystander
}

func (locks) Resume(int64)                        {}
func (locks) Query(int64, []byte) ([]byte, error) { return []byte("null"), nil }
