package actor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
)

// tally is a machine that adds up. The first byte of an op says what to add; 0 changes nothing, 255 panics, 254, 252 and
// 251 set the deadline a second ahead, for an alarm that adds 253, orders, panics.
type tally struct {
	sum     int64
	dueMS   int64
	due     byte // the op of the alarm
	applied []byte
	resumed int64
	watched bool
	deltas  []api.Delta
	seen    []string
	orders  []acd.Order
}

func (m *tally) Apply(nowMS int64, op []byte) ([]byte, bool, error) {
	if len(op) == 0 {
		return nil, false, errors.New("no such operation")
	}
	switch op[0] {
	case 255:
		panic("planted")
	case 254, 252, 251:
		m.dueMS, m.due = nowMS+1000, map[byte]byte{254: 253, 252: opOrder, 251: 255}[op[0]]
		m.applied = append(m.applied, op[0])
		return m.total(), true, nil
	case m.due:
		m.dueMS = 0
	}
	if op[0] > 0 {
		m.applied = append(m.applied, op[0])
	}
	m.sum += int64(op[0])
	if op[0] == opOrder {
		m.order("first")
	}
	if m.watched && op[0] > 0 {
		m.deltas = append(m.deltas, api.Delta{Type: api.DeltaCall})
	}
	return m.total(), op[0] > 0, nil
}

// opOrder adds up as any other, and orders something by the name of the sum.
const opOrder = 200

func (m *tally) order(kind string) {
	m.orders = append(m.orders, acd.Order{ID: strconv.FormatInt(m.sum, 10), Kind: kind})
}

func (m *tally) total() []byte { return binary.AppendVarint(nil, m.sum) }

func (m *tally) Observe(_ int64, r *presence.Report) []byte {
	m.seen = append(m.seen, r.Node)
	if len(r.Dialogs) > 0 {
		return []byte{byte(len(r.Dialogs))}
	}
	return nil
}

func (m *tally) Due(nowMS int64) []byte {
	if m.dueMS > 0 && m.dueMS <= nowMS {
		return []byte{m.due}
	}
	return nil
}
func (m *tally) Deadline() (int64, bool)             { return m.dueMS, m.dueMS > 0 }
func (m *tally) Query(int64, []byte) ([]byte, error) { return m.total(), nil }
func (m *tally) AppendSnapshot(b []byte) []byte      { return binary.AppendVarint(b, m.sum) }
func (m *tally) Empty() bool                         { return m.sum == 0 && m.dueMS == 0 }
func (m *tally) Watch(on bool)                       { m.watched = on }
func (m *tally) Deltas() (d []api.Delta)             { d, m.deltas = m.deltas, nil; return d }
func (m *tally) Effects() (e presence.Effects)       { e.Orders, m.orders = m.orders, nil; return e }

// Resume gives the order of a sum again that stands.
func (m *tally) Resume(nowMS int64) {
	if m.resumed = nowMS; m.sum > 0 && m.sum%opOrder == 0 {
		m.order("again")
	}
}

func restoreTally(_ string, snap []byte) (Machine, error) {
	sum, n := binary.Varint(snap)
	if n != len(snap) {
		return nil, errors.New("not a tally")
	}
	return &tally{sum: sum}, nil
}

// store is the journal of all shards in memory: the message list of each, and its fence.
type store struct {
	mu     sync.Mutex
	shards [brain.Shards]struct {
		epoch uint64
		msgs  []message
	}
	hold    chan struct{} // while open, appends wait for it
	appends int           // of records
}

type message struct {
	data              []byte
	part, first, last bool
}

type memLog struct {
	s     *store
	shard int
	epoch uint64
}

func (s *store) open(_ context.Context, shard int, epoch uint64, snapshot func([]byte, bool) error, record func([]byte) error) (Log, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := &s.shards[shard]
	j.epoch = epoch
	var late [][]byte
	whole := len(j.msgs) == 0 || !j.msgs[0].part
	for _, m := range j.msgs {
		switch {
		case m.part && !whole:
			if err := snapshot(m.data, m.last); err != nil {
				return nil, err
			}
			if whole = m.last; whole {
				for _, data := range late {
					if err := record(data); err != nil {
						return nil, err
					}
				}
			}
		case m.part:
		case !whole:
			late = append(late, m.data)
		default:
			if err := record(m.data); err != nil {
				return nil, err
			}
		}
	}
	return &memLog{s, shard, epoch}, nil
}

func (l *memLog) append(ctx context.Context, m message) error {
	l.s.mu.Lock()
	hold := l.s.hold
	l.s.mu.Unlock()
	if len(m.data) > MaxMessage {
		return brain.Errorf(brain.EInvalid, "%d bytes in one message", len(m.data))
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	j := &l.s.shards[l.shard]
	if j.epoch != l.epoch {
		return errors.New("fenced")
	}
	if !m.part {
		l.s.appends++
	}
	m.data = bytes.Clone(m.data)
	j.msgs = append(j.msgs, m)
	if m.last {
		for i := len(j.msgs) - 1; i >= 0; i-- {
			if j.msgs[i].first {
				j.msgs = j.msgs[i:]
				break
			}
		}
	}
	return nil
}

func (l *memLog) Append(ctx context.Context, data []byte) error {
	return l.append(ctx, message{data: data})
}

func (l *memLog) AppendSnapshot(ctx context.Context, part []byte, first, last bool) error {
	return l.append(ctx, message{data: part, part: true, first: first, last: last})
}

func (l *memLog) Close() {}

func (s *store) setHold(c chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = c
}

// stall keeps the loop of the shard of an object busy until it is let go: what comes meanwhile is taken in one pass. To be
// called in a bubble of testing/synctest.
func stall(h *Host, id string) (release func()) {
	busy := make(chan struct{})
	h.shards[brain.ShardOf(id)].Load().do(func() { <-busy })
	synctest.Wait()
	return func() { close(busy); synctest.Wait() }
}

// neighbour is another object of the shard of an object.
func neighbour(id string) string {
	for i := 0; ; i++ {
		if other := fmt.Sprint("x", i); brain.ShardOf(other) == brain.ShardOf(id) {
			return other
		}
	}
}

// newTallies makes a host of tallies on a store, owning every shard under an epoch.
func newTallies(t *testing.T, s *store, epoch uint64) *Host {
	t.Helper()
	h := NewHost(s.open)
	h.New = func(string) Machine { return &tally{} }
	h.Restore = restoreTally
	h.Log = quiet()
	own(t, h, epoch)
	return h
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func own(t *testing.T, h *Host, epoch uint64) {
	t.Helper()
	for n := range brain.Shards {
		if err := h.Acquire(t.Context(), n, epoch); err != nil {
			t.Fatal(err)
		}
	}
}

func closeHost(h *Host) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	h.Close(ctx)
}

func sum(t *testing.T, reply Reply, err error) int64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	n, _ := binary.Varint(reply.Data)
	return n
}
