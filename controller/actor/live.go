package actor

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/pack"
)

// Live reaches the machine of an account wherever it is served: here, or at the brain that owns its shard.
type Live struct {
	Host *Host
	// Ask passes a question on to the owner of a shard; an error for which IsNoOwner holds says at once that
	// there is none. nil: there is no other brain.
	Ask       func(ctx context.Context, shard int, data []byte) ([]byte, error)
	IsNoOwner func(error) bool
}

// verb is what is passed on.
type verb uint64

const (
	verbDo verb = iota
	verbQuery
	verbWatch
	verbIDs
	verbStep
	verbRenew
)

// Outcomes of what was passed on.
const (
	passedOK uint64 = iota
	passedUnlogged
	passedUnavailable
	passedFault
)

// Do is Host.Do at the owner.
func (l *Live) Do(ctx context.Context, id string, class Class, op []byte) (Reply, error) {
	reply, err := l.Host.Do(ctx, id, class, op)
	if !l.elsewhere(err) {
		return reply, err
	}
	return l.pass(ctx, brain.ShardOfObject(id), verbDo, class, id, op)
}

// Query is Host.Query at the owner.
func (l *Live) Query(ctx context.Context, id string, question []byte) ([]byte, error) {
	data, err := l.Host.Query(ctx, id, question)
	if !l.elsewhere(err) {
		return data, err
	}
	reply, err := l.pass(ctx, brain.ShardOfObject(id), verbQuery, ClassStep, id, question)
	return reply.Data, err
}

// Watch keeps the feed of an account going for a while and returns what followed the delta after.
func (l *Live) Watch(ctx context.Context, id, after string, question []byte) (api.Watched, error) {
	data, err := l.Host.watchHere(ctx, id, after, question)
	if l.elsewhere(err) {
		var reply Reply
		reply, err = l.pass(ctx, brain.ShardOfObject(id), verbWatch, ClassStep, id, pack.AppendBytes(pack.AppendText(nil, after), question))
		data = reply.Data
	}
	if err != nil {
		return api.Watched{}, err
	}
	return readWatched(data)
}

func (l *Live) elsewhere(err error) bool {
	return err != nil && l.Ask != nil && errors.Is(err, ErrNoOwner)
}

// IDs lists the live objects of every shard, sorted. A shard that cannot be asked fails it: a list that is not
// whole would say that calls are over.
func (l *Live) IDs(ctx context.Context) ([]string, error) {
	var all []string
	for n := range brain.Shards {
		ids, err := l.Host.ids(ctx, n)
		if l.elsewhere(err) {
			var reply Reply
			reply, err = l.pass(ctx, n, verbIDs, ClassStep, "", nil)
			ids = reply.Data
		}
		if err != nil {
			return nil, err
		}
		r := pack.NewReader(ids)
		for r.Rest() > 0 && r.Err() == nil {
			all = append(all, r.Text())
		}
		if err := r.Err(); err != nil {
			return nil, brain.Errorf(brain.EInternal, "list of shard %d: %s", n, err)
		}
	}
	slices.Sort(all)
	return all, nil
}

// pass asks the owner of a shard.
func (l *Live) pass(ctx context.Context, shard int, v verb, class Class, id string, body []byte) (Reply, error) {
	msg := make([]byte, 0, len(id)+len(body)+16)
	msg = pack.AppendUint(pack.AppendUint(msg, uint64(v)), uint64(class))
	msg = append(pack.AppendText(msg, id), body...)
	answer, err := l.Ask(ctx, shard, msg)
	switch {
	case err != nil && l.IsNoOwner(err):
		return Reply{}, ErrNoOwner
	case err != nil:
		return Reply{}, brain.Errorf(brain.EUnavailable, "the owner of the account's shard: %s", err)
	}
	r := pack.NewReader(answer)
	outcome, data := r.Uint(), bytes.Clone(r.Bytes())
	switch err := r.End(); {
	case err != nil:
		return Reply{}, brain.Errorf(brain.EInternal, "answer of the shard's owner: %s", err)
	case outcome == passedUnavailable:
		return Reply{}, brain.Errorf(brain.EUnavailable, "%s", data)
	case outcome == passedFault:
		return Reply{}, brain.Errorf(brain.EInternal, "%s", data)
	}
	return Reply{Data: data, Unlogged: outcome == passedUnlogged}, nil
}

// Answer serves what another brain has passed on to the owner of a shard. nil: the shard is not served here any more.
func (l *Live) Answer(ctx context.Context, shard int, msg []byte) []byte {
	r := pack.NewReader(msg)
	v, class, id := verb(r.Uint()), Class(r.Uint()), r.Text()
	if r.Err() != nil {
		return passed(passedFault, []byte("a question that cannot be read"))
	}
	body := msg[len(msg)-r.Rest():]
	var (
		reply Reply
		err   error
	)
	switch v {
	case verbDo:
		reply, err = l.Host.Do(ctx, id, min(class, ClassSoft), body)
	case verbQuery:
		reply.Data, err = l.Host.Query(ctx, id, body)
	case verbWatch:
		w := pack.NewReader(body)
		after, question := w.Text(), w.Bytes()
		if err = w.End(); err == nil {
			reply.Data, err = l.Host.watchHere(ctx, id, after, question)
		}
	case verbIDs:
		reply.Data, err = l.Host.ids(ctx, shard)
	case verbStep:
		reply.Data, err = l.Host.stepped(ctx, id, body)
	case verbRenew:
		reply.Data, err = l.Host.renew(ctx, shard, body)
	default:
		err = brain.Errorf(brain.EInternal, "verb %d is not known", v)
	}
	switch {
	case err == error(ErrNoOwner):
		return nil
	case err == nil && reply.Unlogged:
		return passed(passedUnlogged, reply.Data)
	case err == nil:
		return passed(passedOK, reply.Data)
	case brain.CodeOf(err) == brain.EUnavailable:
		return passed(passedUnavailable, []byte(err.Error()))
	}
	return passed(passedFault, []byte(err.Error()))
}

func passed(outcome uint64, data []byte) []byte {
	return pack.AppendBytes(pack.AppendUint(make([]byte, 0, len(data)+12), outcome), data)
}
