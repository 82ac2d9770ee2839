// Package spool keeps events on disk from the moment Kamailio is told that they were taken until
// the brain has them. What Append returned without error survives kill -9 and power loss; it is
// delivered in order and at least once.
package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/sipio/sipio/brain/api"
)

// BatchEvents is how many events one record, and so one post to the brain, holds at most.
const BatchEvents = 200

// maxBoots is how many boots' sequence numbers are remembered. Each start of Kamailio is a new one;
// a boot that has been pushed out can only repeat events, which the brain drops.
const maxBoots = 8

// Options of a Spool; the zero value of each means its default.
type Options struct {
	MaxBytes     int64 // on disk, 256 MiB; past it the oldest segment is dropped and counted
	SegmentBytes int64 // a segment is closed past it, MaxBytes/16
	Log          *slog.Logger
}

// Stats of a Spool.
type Stats struct {
	Events  int   `json:"events"`  // waiting for the brain
	Bytes   int64 `json:"bytes"`   // on disk
	Dropped int64 `json:"dropped"` // events lost since start because the spool was full
}

// Spool is safe for one writer a time and one reader (Forward).
type Spool struct {
	dir  string
	opt  Options
	lock *os.File

	mu       sync.Mutex
	segments []*segment // never empty; the last is written
	tail     *os.File
	dirty    bool      // the tail may end in a half-written record that could not be cut
	pos      position  // of the first record that the brain does not have
	read     int       // events of pos.Segment before pos.Offset
	boots    []bootSeq // newest last
	dropped  int64
	closed   bool
	wake     chan struct{} // holds a token when there may be something to read
}

// position says where reading goes on.
type position struct {
	Segment int64 `json:"segment"`
	Offset  int64 `json:"offset"`
}

// bootSeq is the highest sequence number taken of one boot of one node.
type bootSeq struct {
	Node string `json:"node"`
	Boot string `json:"boot"`
	Seq  int64  `json:"seq"`
}

// state is the content of the state file.
type state struct {
	Position position  `json:"position"`
	Boots    []bootSeq `json:"boots"`
}

// Open opens or makes the spool in dir, which belongs to it alone. A torn record at the end of a
// segment, left by a crash in the middle of an unacknowledged write, is cut and logged.
func Open(dir string, opt Options) (*Spool, error) {
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = 256 << 20
	}
	if opt.SegmentBytes <= 0 {
		opt.SegmentBytes = max(opt.MaxBytes/16, 1)
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make spool directory: %w", err)
	}
	s := &Spool{dir: dir, opt: opt, wake: make(chan struct{}, 1)}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		_ = s.lock.Close()
		return nil, err
	}
	s.signal()
	return s, nil
}

func (s *Spool) takeLock() error {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open spool lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return fmt.Errorf("spool %s is in use by another process: %w", s.dir, err)
	}
	s.lock = f
	return nil
}

func (s *Spool) load() error {
	st := s.readState()
	s.pos, s.boots = st.Position, st.Boots
	names, err := filepath.Glob(filepath.Join(s.dir, "*.seg"))
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	slices.Sort(names) // fixed width: name order is number order
	for _, name := range names {
		if err := s.loadSegment(name); err != nil {
			return err
		}
	}
	if len(s.segments) == 0 {
		return s.roll()
	}
	s.settle()
	last := s.segments[len(s.segments)-1]
	s.tail, err = os.OpenFile(last.path, os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open last segment: %w", err)
	}
	return nil
}

// loadSegment scans one segment, cuts a torn end and counts what is left.
func (s *Spool) loadSegment(name string) error {
	id, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".seg"), 10, 64)
	if err != nil {
		return fmt.Errorf("segment %s: name is no number", name)
	}
	seg := &segment{id: id, path: name}
	end, torn, err := scan(name, func(end int64, payload []byte) {
		var batch api.EventBatch
		if err := json.Unmarshal(payload, &batch); err != nil {
			s.opt.Log.Error("spool record is no event batch", "segment", name, "error", err)
			return
		}
		seg.events += len(batch.Events)
		if id == s.pos.Segment && end <= s.pos.Offset {
			s.read += len(batch.Events)
		}
		if n := len(batch.Events); n > 0 {
			s.note(batch.Node, batch.Boot, batch.Events[n-1].Seq)
		}
	})
	if err != nil {
		return fmt.Errorf("scan %s: %w", name, err)
	}
	if torn != nil {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("stat segment: %w", err)
		}
		s.opt.Log.Warn("spool: torn end of a segment cut", "segment", name, "why", torn, "kept_bytes", end, "cut_bytes", info.Size()-end)
		if err := os.Truncate(name, end); err != nil {
			return fmt.Errorf("cut torn segment: %w", err)
		}
	}
	seg.size = end
	s.segments = append(s.segments, seg)
	return nil
}

// settle brings the read position inside what is there.
func (s *Spool) settle() {
	first, last := s.segments[0], s.segments[len(s.segments)-1]
	if s.pos.Segment < first.id {
		s.pos, s.read = position{Segment: first.id}, 0
	}
	if s.pos.Segment > last.id { // the state file is of another spool: deliver all again
		s.opt.Log.Warn("spool: read position is past the last segment, delivering all of it again", "position", s.pos.Segment, "last", last.id)
		s.pos, s.read = position{Segment: first.id}, 0
	}
	for _, seg := range s.segments {
		if seg.id == s.pos.Segment && s.pos.Offset > seg.size {
			s.pos.Offset, s.read = seg.size, seg.events
		}
	}
}

// Append stores the events of a boot and syncs them to disk. Events whose sequence number was taken
// before (Kamailio posts a batch again when it saw no answer) are dropped. It returns the highest
// number it holds of that boot and the events that were new. After an error nothing of the batch
// counts as taken.
func (s *Spool) Append(node, boot string, events []api.Event) (lastSeq int64, fresh []api.Event, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, nil, errors.New("spool is closed")
	}
	lastSeq = s.lastSeq(node, boot)
	for _, ev := range events {
		if ev.Seq > lastSeq {
			fresh = append(fresh, ev)
			lastSeq = ev.Seq
		}
	}
	if len(fresh) == 0 {
		return lastSeq, nil, nil
	}
	buf, err := encode(node, boot, fresh)
	if err != nil {
		return 0, nil, err
	}
	if err := s.write(buf, len(fresh)); err != nil {
		return 0, nil, err
	}
	s.note(node, boot, lastSeq)
	s.signal()
	return lastSeq, fresh, nil
}

// write puts whole records at the end of the tail and syncs. A failed write is cut off again.
func (s *Spool) write(buf []byte, events int) error {
	seg := s.segments[len(s.segments)-1]
	if s.dirty || (seg.size > 0 && seg.size+int64(len(buf)) > s.opt.SegmentBytes) {
		if err := s.roll(); err != nil {
			return err
		}
		seg = s.segments[len(s.segments)-1]
	}
	s.makeRoom(int64(len(buf)))
	_, err := s.tail.WriteAt(buf, seg.size)
	if err == nil {
		err = s.tail.Sync()
	}
	if err != nil {
		if cut := s.tail.Truncate(seg.size); cut != nil {
			s.dirty = true // go on in a new segment
		}
		return fmt.Errorf("write spool: %w", err)
	}
	seg.size += int64(len(buf))
	seg.events += events
	return nil
}

// roll closes the tail and begins a new segment, whose directory entry is synced too.
func (s *Spool) roll() error {
	id := s.pos.Segment + 1
	if n := len(s.segments); n > 0 {
		id = s.segments[n-1].id + 1
	}
	seg := &segment{id: id, path: filepath.Join(s.dir, fmt.Sprintf("%016d.seg", id))}
	f, err := os.OpenFile(seg.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make segment: %w", err)
	}
	if err := syncDir(s.dir); err != nil {
		return errors.Join(err, f.Close(), os.Remove(seg.path))
	}
	if s.tail != nil {
		_ = s.tail.Close()
	}
	if len(s.segments) == 0 {
		s.pos, s.read = position{Segment: id}, 0
	}
	s.tail, s.dirty = f, false
	s.segments = append(s.segments, seg)
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open spool directory: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync spool directory: %w", err)
	}
	return nil
}

// makeRoom drops the oldest segments until more bytes fit. The tail always stays.
func (s *Spool) makeRoom(more int64) {
	for len(s.segments) > 1 && s.bytes()+more > s.opt.MaxBytes {
		oldest := s.segments[0]
		lost := oldest.events
		if s.pos.Segment == oldest.id {
			lost -= s.read
		}
		if s.pos.Segment > oldest.id {
			lost = 0
		}
		s.removeOldest()
		if lost > 0 {
			s.dropped += int64(lost)
			s.opt.Log.Error("spool is full: oldest events dropped", "events", lost, "limit_bytes", s.opt.MaxBytes)
		}
	}
}

// removeOldest deletes the first segment and moves the read position out of it.
func (s *Spool) removeOldest() {
	oldest := s.segments[0]
	s.segments = s.segments[1:]
	if s.pos.Segment <= oldest.id {
		s.pos, s.read = position{Segment: s.segments[0].id}, 0
	}
	if err := os.Remove(oldest.path); err != nil {
		s.opt.Log.Warn("spool: cannot remove a segment", "segment", oldest.path, "error", err)
	}
}

func (s *Spool) bytes() int64 {
	var n int64
	for _, seg := range s.segments {
		n += seg.size
	}
	return n
}

func (s *Spool) lastSeq(node, boot string) int64 {
	for _, b := range s.boots {
		if b.Node == node && b.Boot == boot {
			return b.Seq
		}
	}
	return 0
}

// note remembers the highest sequence number of a boot and makes it the newest.
func (s *Spool) note(node, boot string, seq int64) {
	seq = max(seq, s.lastSeq(node, boot))
	s.boots = slices.DeleteFunc(s.boots, func(b bootSeq) bool { return b.Node == node && b.Boot == boot })
	if len(s.boots) >= maxBoots {
		s.boots = s.boots[1:]
	}
	s.boots = append(s.boots, bootSeq{node, boot, seq})
}

func (s *Spool) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Stats returns how much is waiting.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Bytes: s.bytes(), Dropped: s.dropped, Events: -s.read}
	for _, seg := range s.segments {
		if seg.id >= s.pos.Segment {
			st.Events += seg.events
		}
	}
	return st
}

// Close writes the state and lets go of the directory.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.writeState(), s.tail.Close(), s.lock.Close())
}
