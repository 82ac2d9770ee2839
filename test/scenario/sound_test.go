package scenario

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone/tone"
)

// sound is a recording: the samples of each channel.
type sound [][]int16

func (s sound) channels() int { return len(s) }

func (s sound) length() time.Duration {
	return time.Duration(len(s[0])) * time.Second / tone.Rate
}

// readWAV reads a WAV file of 16 bits at tone.Rate, with as many channels as it has.
func readWAV(file []byte) (sound, error) {
	at := bytes.Index(file, []byte("data"))
	if len(file) < 44 || at < 0 || binary.LittleEndian.Uint32(file[24:]) != tone.Rate || binary.LittleEndian.Uint16(file[34:]) != 16 {
		return nil, fmt.Errorf("no WAV file of 16 bits and %d Hz: % x", tone.Rate, file[:min(48, len(file))])
	}
	s := make(sound, binary.LittleEndian.Uint16(file[22:]))
	if len(s) == 0 {
		return nil, fmt.Errorf("a WAV file without channels: % x", file[:48])
	}
	for body := file[at+8:]; len(body) >= 2*len(s); body = body[2*len(s):] {
		for i := range s {
			s[i] = append(s[i], int16(binary.LittleEndian.Uint16(body[2*i:])))
		}
	}
	return s, nil
}

// span is a stretch of a channel, in frames of 20 ms.
type span struct{ from, to int }

func (s span) length() time.Duration { return time.Duration(s.to-s.from) * frame }

const frame = 20 * time.Millisecond

// pause is the longest silence of a channel between two loud stretches, and sounding how long it is loud in all.
func pause(samples []int16) (longest span, sounding time.Duration) {
	const n = tone.Rate / 50
	since := -1 // the last loud frame
	for i := 0; (i+1)*n <= len(samples); i++ {
		if tone.Loudness(samples[i*n:(i+1)*n]) <= tone.Silence {
			continue
		}
		if gap := (span{since + 1, i}); since >= 0 && gap.length() > longest.length() {
			longest = gap
		}
		since, sounding = i, sounding+frame
	}
	return longest, sounding
}

// only checks that the loud part of a channel is one side's tone and holds none of the other's.
func only(t *testing.T, name string, samples []int16, hz, other float64) {
	t.Helper()
	best, worst := 0, -200.0
	for at := 0; at+tone.Rate/2 <= len(samples); at += tone.Rate / 2 {
		if tone.LevelAt(samples[at:at+tone.Rate/2], hz) > there {
			best++
		}
		worst = max(worst, tone.LevelAt(samples[at:at+tone.Rate/2], other))
	}
	if best < 4 || worst > notThere {
		t.Errorf("%s: %d half seconds of its own tone, the other's at up to %.0f dBFS", name, best, worst)
	}
}
