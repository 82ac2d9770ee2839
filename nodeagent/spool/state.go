package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sipio/sipio/brain/api"
)

// The state file may be older than the segments (it is replaced after each delivery, without a
// sync): events are then delivered again, which the brain expects.

func (s *Spool) statePath() string { return filepath.Join(s.dir, "state.json") }

func (s *Spool) readState() state {
	var st state
	raw, err := os.ReadFile(s.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return st
	}
	if err == nil {
		err = json.Unmarshal(raw, &st)
	}
	if err != nil || st.Position.Segment < 0 || st.Position.Offset < 0 {
		s.opt.Log.Warn("spool: state file is unreadable, delivering all of the spool again", "error", err)
		return state{}
	}
	return st
}

func (s *Spool) writeState() error {
	raw, err := json.Marshal(state{s.pos, s.boots})
	if err != nil {
		return fmt.Errorf("encode spool state: %w", err)
	}
	next := s.statePath() + ".new"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return fmt.Errorf("write spool state: %w", err)
	}
	if err := os.Rename(next, s.statePath()); err != nil {
		return fmt.Errorf("replace spool state: %w", err)
	}
	return nil
}

// record is one undelivered batch and where it stands.
type record struct {
	payload []byte
	at      position
	next    int64 // offset behind it
	lastSeq int64
	events  int
}

// next returns the first undelivered record, nil when there is none.
func (s *Spool) next() (*record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		i := s.segmentAt(s.pos.Segment)
		if s.pos.Offset < s.segments[i].size {
			return s.readAt(s.segments[i])
		}
		if i == len(s.segments)-1 {
			return nil, nil
		}
		s.pos, s.read = position{Segment: s.segments[i+1].id}, 0
		for len(s.segments) > 1 && s.segments[0].id < s.pos.Segment {
			s.removeOldest()
		}
	}
	return nil, errors.New("spool is closed")
}

func (s *Spool) segmentAt(id int64) int {
	for i, seg := range s.segments {
		if seg.id >= id {
			return i
		}
	}
	return len(s.segments) - 1
}

// readAt reads the record at the position. One that has rotted since it was written ends its
// segment: nothing behind it can be found again.
func (s *Spool) readAt(seg *segment) (*record, error) {
	f, err := os.Open(seg.path)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	defer func() { _ = f.Close() }()
	payload, next, err := readRecord(f, s.pos.Offset)
	var batch api.EventBatch
	if err == nil {
		err = json.Unmarshal(payload, &batch)
	}
	if errors.Is(err, errTorn) || errors.Is(err, io.EOF) || (err != nil && payload != nil) {
		lost := seg.events - s.read
		s.opt.Log.Error("spool: damaged record, the rest of its segment is lost", "segment", seg.path, "offset", s.pos.Offset, "events", lost, "error", err)
		s.dropped += int64(lost)
		s.pos.Offset, s.read = seg.size, seg.events
		s.signal()
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read segment: %w", err)
	}
	r := &record{payload: payload, at: s.pos, next: next, events: len(batch.Events)}
	if r.events > 0 {
		r.lastSeq = batch.Events[r.events-1].Seq
	}
	return r, nil
}

// done moves the position behind a record and writes the state.
func (s *Spool) done(r *record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.pos != r.at { // dropped meanwhile because the spool was full
		return nil
	}
	s.pos.Offset = r.next
	s.read += r.events
	return s.writeState()
}
