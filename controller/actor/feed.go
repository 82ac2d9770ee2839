package actor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/pack"
)

// Bounds of a feed.
const (
	feedKeep  = 1024   // deltas kept for watchers that come back
	feedMS    = 90_000 // a feed nobody asked about for so long ends
	feedReply = 512    // deltas in one answer
)

// feed is the recent deltas of a watched account. It lives in memory: after a change of owner its numbers mean
// nothing, and a watcher begins again with the whole state.
type feed struct {
	first   uint64 // number of deltas[0]
	deltas  [][]byte
	untilMS int64
}

// publish tells the watchers of an actor what its last operation changed.
func (s *shard) publish(o *object, now int64) {
	if o.feed == nil {
		return
	}
	for _, d := range o.machine.Deltas() {
		d.TimeMS = now
		data, err := json.Marshal(d)
		if err != nil {
			panic(fmt.Sprintf("encode a delta: %v", err)) // our own type
		}
		n := o.feed.first + uint64(len(o.feed.deltas))
		o.feed.deltas = append(o.feed.deltas, data)
		if len(o.feed.deltas) > feedKeep {
			o.feed.deltas = append(o.feed.deltas[:0], o.feed.deltas[feedKeep/4:]...)
			o.feed.first += feedKeep / 4
		}
		s.host.Publish(o.id, appendDelta(nil, api.Numbered{ID: api.DeltaID(s.epoch, n), Data: data}))
	}
}

// unwatch ends a feed whose time is over.
func (o *object) unwatch(now int64) {
	if o.feed != nil && o.feed.untilMS <= now {
		o.machine.Watch(false)
		o.feed = nil
	}
}

// deadline is when the actor wants to be woken.
func (o *object) deadline() (int64, bool) {
	at, ok := o.machine.Deadline()
	if o.feed != nil && (!ok || o.feed.untilMS < at) {
		return o.feed.untilMS, true
	}
	return at, ok
}

func appendDelta(b []byte, d api.Numbered) []byte {
	return pack.AppendBytes(pack.AppendText(b, d.ID), d.Data)
}

// ReadDelta reads what Host.Publish was given.
func ReadDelta(data []byte) (api.Numbered, error) {
	r := pack.NewReader(data)
	d := api.Numbered{ID: r.Text(), Data: bytes.Clone(r.Bytes())}
	return d, r.End()
}

// watch keeps the feed of an actor going and answers from it.
func watch(after string, question []byte) func(s *shard, o *object, now int64) ([]byte, error) {
	return func(s *shard, o *object, now int64) ([]byte, error) {
		if o.feed == nil {
			o.feed = &feed{first: 1}
			o.machine.Watch(true)
		}
		f := o.feed
		f.untilMS = now + feedMS
		newest := f.first + uint64(len(f.deltas)) - 1
		b := pack.AppendText(nil, api.DeltaID(s.epoch, newest))
		from, known := f.after(s.epoch, after)
		if !known || len(f.deltas)-from > feedReply {
			state, err := o.machine.Query(now, question)
			if err != nil {
				return nil, err
			}
			return pack.AppendUint(pack.AppendBytes(b, state), 0), nil
		}
		b = pack.AppendBytes(b, nil)
		b = pack.AppendUint(b, uint64(len(f.deltas)-from))
		for i := from; i < len(f.deltas); i++ {
			b = appendDelta(b, api.Numbered{ID: api.DeltaID(s.epoch, f.first+uint64(i)), Data: f.deltas[i]})
		}
		return b, nil
	}
}

// after finds the index of the delta that follows a number; false when it is not of this feed.
func (f *feed) after(epoch uint64, id string) (int, bool) {
	owner, num, ok := api.ParseDeltaID(id)
	if !ok || owner != epoch || num+1 < f.first || num >= f.first+uint64(len(f.deltas)) {
		return 0, false
	}
	return int(num + 1 - f.first), true
}

func readWatched(data []byte) (api.Watched, error) {
	r := pack.NewReader(data)
	w := api.Watched{ID: r.Text(), State: bytes.Clone(r.Bytes())}
	for range r.Count(feedReply) {
		w.Deltas = append(w.Deltas, api.Numbered{ID: r.Text(), Data: bytes.Clone(r.Bytes())})
	}
	if len(w.State) == 0 {
		w.State = nil
	}
	return w, r.End()
}

// watchHere asks this host's actor for what followed the delta after; question is what the whole state is.
func (h *Host) watchHere(ctx context.Context, id, after string, question []byte) ([]byte, error) {
	reply, err := h.send(ctx, &request{id: id, class: ClassStep, ask: watch(after, question)})
	return reply.Data, err
}
