package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sipio/sipio/brain"
)

const (
	streamsKey    = "sipio_streams" // in the metadata of a JOURNAL stream: how many there are
	changeStream  = "CONFIG"
	changeSubject = "cfg"
	keyStream     = "KV_STEERING" // laid out as a KV bucket, so that NATS's own tools can read it
	keyPrefix     = "$KV.STEERING."
)

func journalStream(i int) string  { return "JOURNAL_" + strconv.Itoa(i) }
func shardSubject(n int) string   { return "j." + strconv.Itoa(n) }
func (b *Bus) streamOf(n int) int { return n % len(b.streams) }

func checkShard(n int) error {
	if n < 0 || n >= brain.Shards {
		return brain.Errorf(brain.EInvalid, "no shard %d: 0 to %d", n, brain.Shards-1)
	}
	return nil
}

// makeStreams makes what is missing. In a cluster it waits, until ctx ends, for the cluster to have a leader.
func (b *Bus) makeStreams(ctx context.Context) error {
	n, err := b.streamCount(ctx)
	if err != nil {
		return err
	}
	for i := range n {
		cfg := b.streamConfig(journalStream(i))
		cfg.Metadata = map[string]string{streamsKey: strconv.Itoa(n)}
		for shard := i; shard < brain.Shards; shard += n {
			cfg.Subjects = append(cfg.Subjects, shardSubject(shard))
		}
		s, err := b.makeStream(ctx, cfg)
		if err != nil {
			return err
		}
		b.streams = append(b.streams, s)
	}
	keys := b.streamConfig(keyStream)
	keys.Subjects, keys.MaxMsgsPerSubject, keys.AllowMsgTTL, keys.AllowRollup = []string{keyPrefix + ">"}, 1, true, true
	_, err = b.makeStream(ctx, keys)
	return err
}

func (b *Bus) streamConfig(name string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: name, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, Replicas: b.cfg.Replicas,
		Duplicates: time.Second, // no message carries an id; the smallest table is enough
	}
}

// streamCount is how many streams the store was made with, or those of the configuration when it is new.
func (b *Bus) streamCount(ctx context.Context) (int, error) {
	var n int
	err := b.untilReady(ctx, func(ctx context.Context) error {
		s, err := b.js.Stream(ctx, journalStream(0))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			n = b.cfg.Streams
			return nil
		}
		if err != nil {
			return err
		}
		n, err = strconv.Atoi(s.CachedInfo().Config.Metadata[streamsKey])
		if err != nil || n < 1 || n > brain.Shards {
			return brain.Errorf(brain.EInternal, "stream %s does not say how many there are: it is not sipio's", journalStream(0))
		}
		return nil
	})
	return n, err
}

func (b *Bus) makeStream(ctx context.Context, cfg jetstream.StreamConfig) (s jetstream.Stream, err error) {
	err = b.untilReady(ctx, func(ctx context.Context) error {
		if s, err = b.js.Stream(ctx, cfg.Name); errors.Is(err, jetstream.ErrStreamNotFound) {
			s, err = b.js.CreateStream(ctx, cfg)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make stream %s: %w", cfg.Name, err)
	}
	if lost := s.CachedInfo().State.Lost; lost != nil && (len(lost.Msgs) > 0 || lost.Bytes > 0) {
		b.log.Error("the store says that it lost messages; the shards are checked one by one", "stream", cfg.Name, "messages", len(lost.Msgs), "bytes", lost.Bytes)
	}
	return s, nil
}

// untilReady repeats do while the store cannot answer yet: a cluster elects its leader, a link comes up.
func (b *Bus) untilReady(ctx context.Context, do func(context.Context) error) error {
	for try := 0; ; try++ {
		once, cancel := context.WithTimeout(ctx, apiTimeout)
		err := do(once)
		cancel()
		if !notReady(err) {
			return err
		}
		if !pause(ctx, try) {
			return fmt.Errorf("the store is not ready: %w", err)
		}
	}
}

func notReady(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.Code == 503
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrDisconnected) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabled)
}

// streamLine is a line of JetStream: one subject of a stream.
type streamLine struct {
	bus     *Bus
	stream  jetstream.Stream
	subject string
	whole   bool // the subject is all of the stream, and sequences are the stream's
}

func (b *Bus) shardLine(n int) *streamLine {
	return &streamLine{bus: b, stream: b.streams[b.streamOf(n)], subject: shardSubject(n)}
}

// The codes of JetStream's errors that tell something here.
const (
	codeWrongLast = 10071 // another message is last: definite
	codeBusyLast  = 10164 // a write is under way, by its own bookkeeping: means nothing, try again
)

func (l *streamLine) publish(ctx context.Context, prev uint64, msg []byte) (uint64, error) {
	expect := jetstream.ExpectedLastSubjSeqHeader
	if l.whole {
		expect = jetstream.ExpectedLastSeqHeader
	}
	m := &nats.Msg{Subject: l.subject, Data: msg, Header: nats.Header{expect: []string{strconv.FormatUint(prev, 10)}}}
	ack, err := l.bus.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	if err == nil {
		return ack.Sequence, nil
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case codeWrongLast:
			return 0, wrongLast{seq: lastSeqIn(api.Description), err: err}
		case codeBusyLast:
			return 0, fmt.Errorf("%w: %w", errNotSent, err)
		}
	}
	if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionClosed) {
		return 0, fmt.Errorf("%w: %w", errNotSent, err)
	}
	return 0, err
}

// lastSeqIn is the sequence in "wrong last sequence: 12", 0 when there is none.
func lastSeqIn(text string) uint64 {
	seq, _ := strconv.ParseUint(text[strings.LastIndexByte(text, ' ')+1:], 10, 64)
	return seq
}

func (l *streamLine) next(ctx context.Context, seq uint64) (entry, error) {
	return l.get(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return l.stream.GetMsg(ctx, max(seq, 1), jetstream.WithGetMsgSubject(l.subject))
	})
}

func (l *streamLine) last(ctx context.Context) (uint64, error) {
	if l.whole { // also when it is empty, and begins higher than 1
		info, err := l.stream.Info(ctx)
		if err != nil {
			return 0, fmt.Errorf("ask stream for its state: %w", err)
		}
		return info.State.LastSeq, nil
	}
	e, err := l.get(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return l.stream.GetLastMsgForSubject(ctx, l.subject)
	})
	if errors.Is(err, errNone) {
		return 0, nil
	}
	return e.seq, err
}

// getTimeout bounds one question to a stream's leader: one that has just died leaves it unanswered, and the next leader
// must be asked anew.
const getTimeout = time.Second

// get asks the stream's leader, again while there is none, until ctx ends.
func (l *streamLine) get(ctx context.Context, ask func(context.Context) (*jetstream.RawStreamMsg, error)) (entry, error) {
	for try := 0; ; try++ {
		once, cancel := context.WithTimeout(ctx, getTimeout)
		m, err := ask(once)
		cancel()
		switch {
		case err == nil:
			return entry{seq: m.Sequence, timeMS: m.Time.UnixMilli(), msg: m.Data}, nil
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return entry{}, errNone
		case !notReady(err):
			return entry{}, fmt.Errorf("read %s: %w", l.subject, err)
		case !pause(ctx, try):
			return entry{}, brain.Errorf(brain.EUnavailable, "the journal cannot be read now: %v", err)
		}
	}
}

// bulkTimeout bounds the silence of a bulk read; what it did not bring is then read one by one.
const bulkTimeout = time.Second

func (l *streamLine) bulk(ctx context.Context, seq uint64, fn func(entry) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	making, made := context.WithTimeout(ctx, bulkTimeout)
	c, err := l.stream.CreateConsumer(making, jetstream.ConsumerConfig{
		FilterSubject: l.subject, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(seq, 1),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: 10 * time.Second, Replicas: 1,
	})
	made()
	if err != nil {
		return fmt.Errorf("prepare to read %s: %w", l.subject, err)
	}
	defer l.dropConsumer(c)
	for {
		batch, err := c.FetchNoWait(2000)
		if err != nil {
			return fmt.Errorf("read %s: %w", l.subject, err)
		}
		n := 0
		for m := range batch.Messages() {
			n++
			meta, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("read %s: %w", l.subject, err)
			}
			if err := fn(entry{seq: meta.Sequence.Stream, timeMS: meta.Timestamp.UnixMilli(), msg: m.Data()}); err != nil {
				return err
			}
		}
		if err := batch.Error(); err != nil || n == 0 {
			return err
		}
	}
}

func (l *streamLine) dropConsumer(c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), bulkTimeout)
	defer cancel()
	_ = l.stream.DeleteConsumer(ctx, c.CachedInfo().Name) // else it goes by itself after ten seconds
}

func (l *streamLine) purge(ctx context.Context, seq uint64) error {
	if err := l.stream.Purge(ctx, jetstream.WithPurgeSubject(l.subject), jetstream.WithPurgeSequence(seq)); err != nil {
		return fmt.Errorf("purge %s before %d: %w", l.subject, seq, err)
	}
	return nil
}

// Shard reads what the shard's journal holds, checks that it is all there, puts a takeover with the epoch behind it,
// so that no owner before can write again, and then gives everything to the loader. The epoch must be at least that
// of the last owner, else ErrFenced. ErrDamaged: acknowledged messages are missing.
func (b *Bus) Shard(ctx context.Context, shard int, epoch uint64, load Loader) (*Log, error) {
	if err := checkShard(shard); err != nil {
		return nil, err
	}
	o := opening{
		shard: shard, epoch: epoch, line: b.shardLine(shard), onMark: func(uint64) {},
		accept: b.cfg.AcceptLoss, dir: strings.TrimSuffix(b.cfg.Dir, "/"), log: b.log,
	}
	if b.marks != nil {
		o.mark = b.marks.get(shard)
		o.onMark = func(seq uint64) {
			if err := b.marks.set(shard, seq); err != nil {
				b.log.Warn("loss at the end of this shard's journal would go unseen", "shard", shard, "err", err)
			}
		}
	}
	return openLog(ctx, o, load)
}
