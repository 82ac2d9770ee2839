package own

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sipio/sipio/brain"
)

const (
	streamName    = "OWN"
	recordPrefix  = "own."   // subjects of the stream
	hintPrefix    = "owned." // where the server repeats each record once it is stored
	answerLimit   = time.Second
	readLimit     = 500 * time.Millisecond
	maxPause      = 400 * time.Millisecond
	maxRecordSize = 4096
)

// A record says who owns a shard. Its sequence is the epoch; 0: there is no record.
type record struct {
	Name     string `json:"name"`
	Inc      string `json:"incarnation"`
	Released bool   `json:"released,omitempty"`

	seq uint64
}

// of says whether the record makes an incarnation the owner.
func (r record) of(name, inc string) bool {
	return r.seq > 0 && !r.Released && r.Name == name && r.Inc == inc
}

func parseRecord(data []byte) (record, error) {
	var r record
	if len(data) > maxRecordSize {
		return record{}, fmt.Errorf("%d bytes, at most %d", len(data), maxRecordSize)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, err
	}
	if r.Name == "" || r.Inc == "" || len(r.Name) > maxName || len(r.Inc) > maxName {
		return record{}, errors.New("name and incarnation are needed, each of at most 64 bytes")
	}
	return r, nil
}

// openStream makes the stream when it is missing, and tries until ctx ends: a cluster that has just started has no
// leader for some seconds.
func (m *Member) openStream(ctx context.Context) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := m.tryStream(ctx)
		if err == nil || brain.CodeOf(err) == brain.EInvalid {
			return err
		}
		if !wait(ctx, pause) {
			return fmt.Errorf("open stream %s: %w", streamName, err)
		}
	}
}

func (m *Member) tryStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	hints := &jetstream.RePublish{Source: recordPrefix + "*", Destination: hintPrefix + "{{wildcard(1)}}"}
	s, err := m.cfg.JS.CreateStream(ctx, jetstream.StreamConfig{
		Name: streamName, Subjects: []string{recordPrefix + "*"}, Replicas: m.cfg.Replicas, MaxMsgsPerSubject: 1,
		Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld, MaxMsgSize: maxRecordSize,
		RePublish: hints,
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		s, err = m.cfg.JS.Stream(ctx, streamName)
	}
	if err == nil && s.CachedInfo().Config.RePublish == nil { // made by a migration
		cfg := s.CachedInfo().Config
		cfg.RePublish = hints
		s, err = m.cfg.JS.UpdateStream(ctx, cfg)
	}
	if err != nil {
		return err
	}
	if s.CachedInfo().Config.AllowDirect {
		// A direct get may be answered by a replica that is behind: an old owner would look like the present one.
		return brain.Errorf(brain.EInvalid, "stream %s allows direct gets; switch that off: nats stream edit %s --no-allow-direct", streamName, streamName)
	}
	m.stream = s
	return nil
}

// read asks the stream's leader for a shard's record. No record is not an error.
func (m *Member) read(ctx context.Context, shard int) (record, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	msg, err := m.stream.GetLastMsgForSubject(ctx, recordPrefix+strconv.Itoa(shard))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return record{}, nil
	}
	if err != nil {
		return record{}, err
	}
	return m.stored(shard, msg.Sequence, msg.Data), nil
}

// stored is a record as the stream holds it. One that cannot be read names no owner: its shard is free.
func (m *Member) stored(shard int, seq uint64, data []byte) record {
	r, err := parseRecord(data)
	if err != nil {
		m.complain("the owner's record of a shard cannot be read; the shard counts as free", fmt.Errorf("shard %d, epoch %d: %w", shard, seq, err))
		r.Released = true
	}
	r.seq = seq
	return r
}

// write makes r the record of a shard, when the last one there is still the one of sequence after. The sequence of the
// new one comes back. An error other than refused leaves open whether the record was written.
func (m *Member) write(ctx context.Context, shard int, after uint64, r record) (uint64, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	ack, err := m.cfg.JS.PublishMsg(ctx, &nats.Msg{Subject: recordPrefix + strconv.Itoa(shard), Data: data},
		jetstream.WithExpectStream(streamName), jetstream.WithExpectLastSequencePerSubject(after), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// refused says whether a write failed because somebody wrote before. Only 10071 says so: its cousin 10164 also comes
// up while the server has not yet cleared the write before.
func refused(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
	}
	return false
}

// raced says whether a write met another one: refused for certain, or perhaps. That is no fault.
func raced(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (refused(err) || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// readAll learns every record, a few at once, and tries each until ctx ends.
func (m *Member) readAll(ctx context.Context) error {
	places := make(chan struct{}, parallel)
	errs := make([]error, brain.Shards)
	var all sync.WaitGroup
	for i := range brain.Shards {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			for pause := 20 * time.Millisecond; ; pause = min(2*pause, maxPause) {
				r, err := m.read(ctx, i)
				if err == nil {
					m.learn(i, r, false)
					return
				}
				if !wait(ctx, pause) {
					errs[i] = fmt.Errorf("read the owner of shard %d: %w", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err // the other shards fail for the same reason
		}
	}
	return nil
}

// sweepLoop reads records again, slowly: hints can be lost. A member that has regained its majority reads all at once.
func (m *Member) sweepLoop() {
	const each, pace = 4, time.Second
	timer := time.NewTicker(pace)
	defer timer.Stop()
	for next := 0; ; {
		select {
		case <-m.ctx.Done():
			return
		case <-m.resweep:
			ctx, cancel := context.WithTimeout(m.ctx, 10*time.Second)
			if err := m.readAll(ctx); err != nil && m.ctx.Err() == nil {
				m.complain("records of the owners cannot be read", err)
			}
			cancel()
		case <-timer.C:
			for range each {
				if r, err := m.read(m.ctx, next); err == nil {
					m.learn(next, r, false)
				}
				next = (next + 1) % brain.Shards
			}
		}
	}
}

// hearHint takes a record that the server has just stored.
func (m *Member) hearHint(msg *nats.Msg) {
	shard, err := strconv.Atoi(strings.TrimPrefix(msg.Subject, hintPrefix))
	if err != nil || shard < 0 || shard >= brain.Shards {
		return
	}
	seq, err := strconv.ParseUint(msg.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil || seq == 0 {
		return
	}
	m.learn(shard, m.stored(shard, seq, msg.Data), false)
}

// learn takes over what is known of a shard's record. An older record than the known one is a stale answer, except after
// the known one was refused: then the answer is right whatever it says.
func (m *Member) learn(shard int, r record, sure bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.shards[shard]
	if r.seq < s.record.seq && !sure {
		return
	}
	changed := r != s.record
	s.record = r
	if changed {
		s.heard = m.now()
	}
	if s.step == owned && (r.seq != s.epoch || !r.of(m.cfg.Name, m.inc)) {
		m.cfg.Log.Warn("a shard was taken by another brain", "shard", shard, "epoch", s.epoch, "by", r.Name, "their_epoch", r.seq)
		m.begin(shard, releasing, m.drop)
	}
	if changed {
		nudge(m.wake)
	}
}

// Doubt tells that nobody answered as the owner that this member knows of a shard: the record is read again, at most
// every tick.
func (m *Member) Doubt(shard int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.shards[shard]
	if m.closed || s.asked > 0 && m.now()-s.asked < tick {
		return
	}
	s.asked = m.now()
	m.loops.Go(func() {
		if r, err := m.read(m.ctx, shard); err == nil {
			m.learn(shard, r, false)
		}
	})
}

// complain logs a fault of the stream, at most every ten seconds: all shards fail alike.
func (m *Member) complain(text string, err error) {
	now, last := int64(m.now()), m.lastFail.Load()
	if (last == 0 || now-last > int64(10*time.Second)) && m.lastFail.CompareAndSwap(last, now) {
		m.cfg.Log.Warn(text, "error", err)
	}
}

// wait pauses; false means that ctx ended.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
