package fsim

import (
	"fmt"
	"os"
	"path/filepath"
)

// recorder writes a call to a file: the caller alone (application record), or both sides (record_session), each in
// its own channel where RECORD_STEREO asks for it.
type recorder struct {
	path    string
	w       *wavWriter
	stereo  bool
	swap    bool // RECORD_STEREO_SWAP: the caller on the right
	read    bool // what the caller says is recorded
	write   bool // what the caller hears is recorded
	masked  bool // silence instead
	paused  bool // nothing
	limit   int  // frames, 0 = none
	minimum int  // frames; a shorter recording of a session is thrown away (RECORD_MIN_SEC)

	threshold int // mean amplitude below which a frame is silence, 0 = no detection
	patience  int // silent frames in a row that end it
	silent    int
	hushed    bool
	ended     chan struct{} // closed by limit or silence
	over      bool
}

func newRecorder(path string, stereo bool) (*recorder, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("folder of the recording: %w", err)
	}
	channels := 1
	if stereo {
		channels = 2
	}
	w, err := createWAV(path, channels)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return &recorder{path: path, w: w, stereo: stereo, read: true, write: true, ended: make(chan struct{})}, nil
}

// hear writes one beat. It runs under the studio's lock.
func (r *recorder) hear(k *track) bool {
	if r.over || r.paused {
		return !r.over
	}
	var said, heard block
	if r.read && k.came && !r.masked {
		said = k.in
	}
	if r.write && k.any && !r.masked {
		heard = k.out
	}
	switch {
	case r.stereo && r.swap:
		r.w.write(&heard, &said)
	case r.stereo:
		r.w.write(&said, &heard)
	default:
		for i := range said {
			said[i] = int16(max(-32768, min(32767, int(said[i])+int(heard[i]))))
		}
		r.w.write(&said)
	}
	if r.threshold > 0 && r.quiet(&k.in) || r.limit > 0 && r.w.samples >= r.limit*frameSamples {
		r.over = true
		close(r.ended)
	}
	return !r.over
}

// quiet counts silent frames as switch_ivr_record_file does: by the mean of the amplitudes.
func (r *recorder) quiet(b *block) bool {
	sum := 0
	for _, v := range b {
		sum += max(int(v), -int(v))
	}
	if sum/frameSamples >= r.threshold {
		r.silent = 0
		return false
	}
	r.silent++
	r.hushed = r.silent >= r.patience
	return r.hushed
}

// finish closes the file. A recording of a session that is too short is removed, as on the real one.
func (r *recorder) finish() (samples int, discarded bool, err error) {
	err = r.w.close()
	if err == nil && r.w.samples < r.minimum*frameSamples {
		return r.w.samples, true, os.Remove(r.path)
	}
	return r.w.samples, false, err
}

// earDTMF listens for digits in the audio of the caller (start_dtmf).
type earDTMF struct {
	detector inband
	pressed  chan byte // in their order; who is asked for them must not hold up the studio
}

// hear passes over beats in which nothing came: behind a stall the same digit goes on.
func (e *earDTMF) hear(k *track) bool {
	if !k.came {
		return true
	}
	if digit := e.detector.hear(&k.in); digit != 0 {
		select {
		case e.pressed <- digit:
		default: // more than anybody can press
		}
	}
	return true
}
