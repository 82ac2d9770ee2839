package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sipio/sipio/brain"
)

// Loader takes what a shard's journal holds, in order: first the snapshot's parts, if there is one, then each record
// behind it. An error ends the opening of the shard.
type Loader struct {
	Snapshot func(part []byte, last bool) error
	Record   func(seq uint64, data []byte) error
}

// history is what was read of a log: everything from the last complete snapshot on, or from the beginning.
type history struct {
	entries []message
	last    uint64  // sequence of the last message read
	epoch   uint64  // the highest of them all
	faults  []fault // since the snapshot
	old     []fault // before it: harmless
	open    int     // index of the first part of a snapshot that is not complete; -1 = none
	whole   bool    // entries begin with a complete snapshot
	restart uint64  // sequence of that snapshot's last part
	loss    bool    // faults were found and accepted in this opening
}

// message is an entry with its envelope read.
type message struct {
	envelope
	seq  uint64
	data []byte
}

// fault is one damage: what was found, in words with numbers.
type fault string

// add takes the next entry of the log. ok is false when it does not continue the log, and then nothing changed
// unless force is set.
func (h *history) add(got entry, force bool) (ok bool) {
	e, data, err := unseal(got.msg)
	text := ""
	switch {
	case err != nil:
		text = fmt.Sprintf("sequence %d %v", got.seq, err)
	case e.prev == h.last, h.last == 0 && e.kind == kindSnapshot && e.first:
	case h.last == 0:
		text = fmt.Sprintf("the log begins with sequence %d, what stood before it (up to sequence %d) is missing", got.seq, e.prev)
	default:
		text = fmt.Sprintf("between the sequences %d and %d the log is missing a part that ended with sequence %d", h.last, got.seq, e.prev)
	}
	if text != "" {
		if !force {
			return false
		}
		h.faults = append(h.faults, fault(text))
		h.open = -1 // a snapshot with a hole is none
	}
	h.last = got.seq
	if err == nil {
		h.take(message{envelope: e, seq: got.seq, data: data})
	}
	return text == ""
}

// take keeps a message, and forgets what a snapshot that is now complete has made superfluous.
func (h *history) take(m message) {
	h.epoch = max(h.epoch, m.epoch)
	h.entries = append(h.entries, m)
	if m.kind == kindTakeover && m.first { // what is missing before it was accepted
		h.old, h.faults = append(h.old, h.faults...), nil
	}
	if m.kind != kindSnapshot {
		return
	}
	switch {
	case m.first:
		h.open = len(h.entries) - 1
	case h.open >= 0 && h.entries[h.open].generation != m.generation:
		h.open = -1
	}
	if m.last && h.open >= 0 {
		h.old = append(h.old, h.faults...)
		h.entries = append([]message(nil), h.entries[h.open:]...)
		h.faults, h.open, h.whole, h.restart = nil, -1, true, m.seq
	}
}

// deliver gives the loader the snapshot, then the records behind its first part.
func (h *history) deliver(load Loader) error {
	for _, m := range h.entries {
		if h.whole && m.kind == kindSnapshot && m.generation == h.entries[0].generation {
			if err := load.Snapshot(m.data, m.last); err != nil {
				return fmt.Errorf("restore the snapshot at sequence %d: %w", m.seq, err)
			}
		}
	}
	for _, m := range h.entries {
		if m.kind == kindRecord {
			if err := load.Record(m.seq, m.data); err != nil {
				return fmt.Errorf("replay sequence %d: %w", m.seq, err)
			}
		}
	}
	return nil
}

// So much is read one by one before the quick way is worth its preparation: messages, or bytes.
const (
	shortRead  = 64
	shortBytes = 1 << 20
)

// readOn reads behind h.last up to the end of the log: one by one from the leader, the long ones in bulk. What bulk
// misses is read one by one; only what the leader itself does not have counts as damage.
func readOn(ctx context.Context, l line, h *history) error {
	last, err := l.last(ctx)
	if err != nil {
		return err
	}
	n, size, quick := 0, 0, false
	for ; ; n++ {
		if !quick && (n >= shortRead || size >= shortBytes) {
			quick = true
			_ = l.bulk(ctx, h.last+1, func(got entry) error {
				if got.seq > h.last && !h.add(got, false) {
					return errNone
				}
				return nil
			})
		}
		got, err := l.next(ctx, h.last+1)
		switch {
		case errors.Is(err, errNone) && h.last < last:
			h.faults = append(h.faults, fault(fmt.Sprintf("behind sequence %d nothing can be read, though the log ends with sequence %d", h.last, last)))
			h.last, h.open = last, -1
			return nil
		case errors.Is(err, errNone):
			return nil
		case err != nil:
			return err
		}
		size += len(got.msg)
		if !h.add(got, true) { // past the hole the quick way is open again
			n, size, quick = 0, 0, false
		}
	}
}

// opening is what opening a shard needs to know beside the line.
type opening struct {
	shard  int
	epoch  uint64
	line   line
	mark   uint64 // last acknowledged sequence that is remembered beside the store; 0 = unknown
	onMark func(seq uint64)
	accept bool // damage
	dir    string
	log    *slog.Logger
}

// maxTakeovers bounds the races with another owner that goes on writing.
const maxTakeovers = 20

// openLog reads and checks the shard, fences whoever wrote before, and delivers.
func openLog(ctx context.Context, o opening, load Loader) (*Log, error) {
	l := &Log{shard: o.shard, epoch: o.epoch, line: o.line, log: o.log, onMark: o.onMark, nonce: newNonce()}
	h, err := l.takeOver(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := h.deliver(load); err != nil {
		return nil, fmt.Errorf("load shard %d: %w", o.shard, err)
	}
	if h.whole {
		l.purge(h.entries[0].seq) // an owner may have died between its snapshot and the deletion
	}
	return l, nil
}

// takeOver reads the log and puts a takeover behind it, again when somebody wrote in between.
func (l *Log) takeOver(ctx context.Context, o opening) (*history, error) {
	for try := 0; ; try++ {
		h, err := o.read(ctx)
		if err != nil {
			return nil, fmt.Errorf("read shard %d: %w", o.shard, err)
		}
		if h.epoch > o.epoch {
			return nil, fmt.Errorf("open shard %d with epoch %d: %w: its journal has epoch %d", o.shard, o.epoch, ErrFenced, h.epoch)
		}
		if err = l.begin(ctx, h); err == nil {
			return h, nil
		}
		if !errors.Is(err, ErrFenced) || errors.Is(err, ErrUnknown) || try == maxTakeovers {
			return nil, fmt.Errorf("take over shard %d: %w", o.shard, err)
		}
	}
}

// begin puts the takeover behind what was read. Where loss was accepted the store may think of another message as the
// last, one that it cannot read; then behind that.
func (l *Log) begin(ctx context.Context, h *history) error {
	takeover := envelope{kind: kindTakeover, first: h.loss}
	l.prev, l.fault = h.last, nil
	_, err := l.put(ctx, takeover, nil)
	if wrong, ok := errors.AsType[wrongLast](err); ok && h.loss && errors.Is(err, ErrDamaged) && wrong.seq != h.last {
		l.prev, l.fault = wrong.seq, nil
		_, err = l.put(ctx, takeover, nil)
	}
	return err
}

// read reads the whole log. Damage is believed when a second reading finds the same: a purge by the owner before may
// have run through the first.
func (o opening) read(ctx context.Context) (*history, error) {
	before := ""
	for try := 0; ; try++ {
		h := &history{open: -1}
		if err := readOn(ctx, o.line, h); err != nil {
			return nil, err
		}
		if h.last < o.mark {
			h.faults = append(h.faults, fault(fmt.Sprintf("the log ends with sequence %d, sequence %d was acknowledged", h.last, o.mark)))
		}
		now := describe(h.faults)
		if now != "" && now != before && try < 3 {
			before = now
			continue
		}
		return h, o.judge(h, now)
	}
}

func describe(faults []fault) string {
	texts := make([]string, 0, len(faults))
	for i, f := range faults {
		if i == 20 {
			texts = append(texts, fmt.Sprintf("and %d more", len(faults)-i))
			break
		}
		texts = append(texts, string(f))
	}
	return strings.Join(texts, "; ")
}

// judge turns damage into ErrDamaged, or into a warning where loss was accepted.
func (o opening) judge(h *history, text string) error {
	if len(h.old) > 0 {
		o.log.Warn("journal has old damage, before its last snapshot or accepted before", "shard", o.shard, "damage", describe(h.old))
	}
	if text == "" {
		return nil
	}
	if o.accept {
		h.loss = true
		o.log.Error("JOURNAL DAMAGED, going on without what is lost, as was asked for", "shard", o.shard, "damage", text, "messages_left", len(h.entries))
		return nil
	}
	where := "the cluster's store"
	if o.dir != "" {
		where = o.dir
	}
	return fmt.Errorf("%w: shard %d of %d in %s: %s. Restore the folder from a backup, or start once with loss accepted to go on without what is missing; "+
		"calls that are up are then learned again from the nodes", ErrDamaged, o.shard, brain.Shards, where, text)
}
