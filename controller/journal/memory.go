package journal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
)

// Memory does what a Bus does, without NATS and without a disk, for tests: any number of brains share one. Its logs
// and its change log run the same code down to the single message.
type Memory struct {
	// Delay, when set, is how long a message to the store or to a shard's owner is under way. Subjects: j.<shard>, cfg, do.<shard>.
	Delay func(subject string) time.Duration
	// Fail, when set, injects faults: an error for "publish" (nothing is stored), "ack" (stored, the answer is
	// lost), "read", "purge", "ask".
	Fail func(what, subject string) error
	// AcceptLoss and Log are those of a Config.
	AcceptLoss bool
	Log        *slog.Logger

	mu     sync.Mutex
	seq    uint64 // of all shards, so that a log's sequences have gaps as in JetStream
	lines  map[string]*memoryLine
	served map[string][]*memoryOwner
	subs   map[*memorySub]bool
	keys   map[string]memoryKey
	snap   []byte
	snapAt int64
}

// NewMemory makes an empty one.
func NewMemory() *Memory {
	return &Memory{
		Log: slog.Default(), lines: map[string]*memoryLine{}, served: map[string][]*memoryOwner{},
		subs: map[*memorySub]bool{}, keys: map[string]memoryKey{},
	}
}

// Close does nothing.
func (m *Memory) Close() error { return nil }

// Shard opens the log of a shard as Bus.Shard does.
func (m *Memory) Shard(ctx context.Context, shard int, epoch uint64, load Loader) (*Log, error) {
	if err := checkShard(shard); err != nil {
		return nil, err
	}
	o := opening{shard: shard, epoch: epoch, line: m.line(shardSubject(shard), &m.seq), onMark: func(uint64) {}, accept: m.AcceptLoss, log: m.Log}
	return openLog(ctx, o, load)
}

func (m *Memory) line(subject string, seq *uint64) *memoryLine {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lines[subject]
	if l == nil {
		l = &memoryLine{m: m, subject: subject, seq: seq}
		m.lines[subject] = l
	}
	return l
}

// travel waits as Delay says and fails as Fail says.
func (m *Memory) travel(ctx context.Context, what, subject string) error {
	if m.Delay != nil {
		timer := time.NewTimer(m.Delay(subject))
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.Fail != nil {
		return m.Fail(what, subject)
	}
	return nil
}

// memoryLine is a line of a Memory.
type memoryLine struct {
	m       *Memory
	subject string
	seq     *uint64 // the counter; shared by the shards
	entries []entry
	lastSeq uint64
}

func (l *memoryLine) publish(ctx context.Context, prev uint64, msg []byte) (uint64, error) {
	if err := l.m.travel(ctx, "publish", l.subject); err != nil {
		return 0, fmt.Errorf("%w: %w", errNotSent, err)
	}
	l.m.mu.Lock()
	if l.lastSeq != prev {
		seq := l.lastSeq
		l.m.mu.Unlock()
		return 0, wrongLast{seq: seq, err: fmt.Errorf("it has sequence %d", seq)}
	}
	*l.seq++
	l.lastSeq = *l.seq
	seq := l.lastSeq
	l.entries = append(l.entries, entry{seq: seq, timeMS: time.Now().UnixMilli(), msg: bytes.Clone(msg)})
	l.m.mu.Unlock()
	if l.m.Fail != nil {
		if err := l.m.Fail("ack", l.subject); err != nil {
			return 0, err
		}
	}
	return seq, nil
}

func (l *memoryLine) next(ctx context.Context, seq uint64) (entry, error) {
	if err := l.m.travel(ctx, "read", l.subject); err != nil {
		return entry{}, err
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	for _, e := range l.entries {
		if e.seq >= seq {
			return e, nil
		}
	}
	return entry{}, errNone
}

func (l *memoryLine) last(ctx context.Context) (uint64, error) {
	if err := l.m.travel(ctx, "read", l.subject); err != nil {
		return 0, err
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	return l.lastSeq, nil
}

func (l *memoryLine) bulk(_ context.Context, seq uint64, fn func(entry) error) error {
	l.m.mu.Lock()
	entries := l.entries[:len(l.entries):len(l.entries)]
	l.m.mu.Unlock()
	for _, e := range entries {
		if e.seq < seq {
			continue
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

func (l *memoryLine) purge(ctx context.Context, seq uint64) error {
	if err := l.m.travel(ctx, "purge", l.subject); err != nil {
		return err
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	i := 0
	for i < len(l.entries) && l.entries[i].seq < seq {
		i++
	}
	l.entries = append([]entry(nil), l.entries[i:]...)
	return nil
}

// memoryOwner is one that serves a shard.
type memoryOwner struct {
	fn    func(context.Context, []byte) []byte
	slots chan struct{}
}

// Serve answers the questions to a shard as Bus.Serve does.
func (m *Memory) Serve(shard int, epoch uint64, fn func(ctx context.Context, data []byte) []byte) (stop func(), err error) {
	if err := checkShard(shard); err != nil {
		return nil, err
	}
	subject := doSubject(shard, epoch)
	o := &memoryOwner{fn: fn, slots: make(chan struct{}, maxServed)}
	m.mu.Lock()
	m.served[subject] = append(m.served[subject], o)
	m.mu.Unlock()
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		var left []*memoryOwner
		for _, other := range m.served[subject] {
			if other != o {
				left = append(left, other)
			}
		}
		m.served[subject] = left
	}, nil
}

// Ask asks the owner of a shard as Bus.Ask does.
func (m *Memory) Ask(ctx context.Context, shard int, epoch uint64, data []byte) ([]byte, error) {
	if err := checkShard(shard); err != nil {
		return nil, err
	}
	subject := doSubject(shard, epoch)
	if err := m.travel(ctx, "ask", subject); err != nil {
		return nil, fmt.Errorf("ask the owner of shard %d: %w", shard, err)
	}
	m.mu.Lock()
	owners := m.served[subject]
	m.mu.Unlock()
	if len(owners) == 0 {
		return nil, fmt.Errorf("ask shard %d: %w", shard, ErrNoOwner)
	}
	o := owners[0]
	select {
	case o.slots <- struct{}{}:
	default:
		return nil, errBusy(shard)
	}
	reply := make(chan []byte, 1)
	go func() {
		defer func() { <-o.slots }()
		life, cancel := context.WithTimeout(context.Background(), servedFor)
		defer cancel()
		reply <- bytes.Clone(o.fn(life, bytes.Clone(data)))
	}()
	select {
	case r := <-reply:
		if r == nil {
			return nil, fmt.Errorf("ask shard %d: %w", shard, ErrNoOwner)
		}
		return r, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("ask the owner of shard %d: %w", shard, ctx.Err())
	}
}

// memorySub is one who reads a subject.
type memorySub struct {
	subject string
	queue   chan []byte
}

// Publish tells whoever listens, as Bus.Publish does.
func (m *Memory) Publish(subject string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.subs {
		if !matches(s.subject, subject) {
			continue
		}
		select {
		case s.queue <- bytes.Clone(data):
		default: // lossy, as told
		}
	}
	return nil
}

// Subscribe listens as Bus.Subscribe does.
func (m *Memory) Subscribe(subject string, fn func(data []byte)) (stop func(), err error) {
	s := &memorySub{subject: subject, queue: make(chan []byte, maxPending)}
	m.mu.Lock()
	m.subs[s] = true
	m.mu.Unlock()
	go func() {
		for data := range s.queue {
			fn(data)
		}
	}()
	var once sync.Once
	return func() {
		once.Do(func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.subs, s)
			close(s.queue)
		})
	}, nil
}

// matches says whether a subject with NATS wildcards names another: * is one word, > all that follow.
func matches(pattern, subject string) bool {
	want, got := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, w := range want {
		switch {
		case w == ">":
			return len(got) > i
		case i >= len(got) || w != "*" && w != got[i]:
			return false
		}
	}
	return len(want) == len(got)
}

// memoryKey is a steering key; until is zero when it does not expire.
type memoryKey struct {
	value []byte
	until time.Time
}

// PutKey sets a key as Bus.PutKey does.
func (m *Memory) PutKey(_ context.Context, key string, value []byte, ttl time.Duration) error {
	if err := checkKey(key, ttl); err != nil {
		return err
	}
	k := memoryKey{value: bytes.Clone(value)}
	if ttl > 0 {
		k.until = time.Now().Add(ttl)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys[key] = k
	return nil
}

// Key reads a key as Bus.Key does.
func (m *Memory) Key(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.keys[key]
	if !ok || !k.until.IsZero() && time.Now().After(k.until) {
		return nil, brain.Errorf(brain.ENotFound, "no key %s", key)
	}
	return bytes.Clone(k.value), nil
}

// DropKey deletes a key as Bus.DropKey does.
func (m *Memory) DropKey(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.keys, key)
	return nil
}

// ChangeLog opens the change log as Bus.ChangeLog does.
func (m *Memory) ChangeLog(ctx context.Context, firstVersion int64) (*ChangeLog, error) {
	m.mu.Lock()
	l := m.lines[changeSubject]
	if l == nil {
		if firstVersion < 1 {
			m.mu.Unlock()
			return nil, errFirstVersion(firstVersion)
		}
		l = &memoryLine{m: m, subject: changeSubject, seq: new(uint64), lastSeq: uint64(firstVersion) - 1}
		*l.seq = l.lastSeq
		m.lines[changeSubject] = l
	}
	m.mu.Unlock()
	return newChangeLog(l, m, m.Log), nil
}

// PutSnapshot keeps a copy of the configuration as Bus.PutSnapshot does.
func (m *Memory) PutSnapshot(_ context.Context, version int64, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read the snapshot: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if version > m.snapAt {
		m.snap, m.snapAt = data, version
	}
	return nil
}

// Snapshot is that copy as of Bus.Snapshot.
func (m *Memory) Snapshot(context.Context) (version int64, rc io.ReadCloser, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.snapAt == 0 {
		return 0, nil, brain.Errorf(brain.ENotFound, "no snapshot of the configuration")
	}
	return m.snapAt, io.NopCloser(bytes.NewReader(m.snap)), nil
}

// Stat says what each shard's log holds, as Bus.Stat does.
func (m *Memory) Stat(ctx context.Context) ([]ShardStat, error) {
	return statAll(ctx, func(shard int) line { return m.line(shardSubject(shard), &m.seq) })
}

// Dump reads a shard's log, as Bus.Dump does.
func (m *Memory) Dump(ctx context.Context, shard int, fn func(Entry) error) error {
	if err := checkShard(shard); err != nil {
		return err
	}
	return dump(ctx, m.line(shardSubject(shard), &m.seq), fn)
}
