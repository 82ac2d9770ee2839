package freeswitch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone/tone"
)

// writeTone writes a WAV file of 8 kHz, mono, 16 bit with a tone.
func writeTone(path string, hz float64, d time.Duration) error {
	samples := tone.NewGenerator(hz).Next(int(d.Seconds() * tone.Rate))
	var b bytes.Buffer
	b.WriteString("RIFF")
	fields := []any{uint32(36 + 2*len(samples)), []byte("WAVEfmt "), uint32(16), uint16(1), uint16(1), uint32(tone.Rate), uint32(2 * tone.Rate), uint16(2), uint16(16), []byte("data"), uint32(2 * len(samples)), samples}
	for _, v := range fields {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// toneFile is the path of a new WAV file with a tone.
func toneFile(t *testing.T, hz float64, d time.Duration) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), fmt.Sprintf("tone-%.0f.wav", hz))
	if err := writeTone(path, hz, d); err != nil {
		t.Fatal(err)
	}
	return path
}

// recording is a WAV file read back: samples by channel.
type recording struct {
	rate     int
	channels [][]int16
}

// readRecording reads a WAV file of 16 bit.
func readRecording(t *testing.T, path string) recording {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseRecording(b)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return r
}

// canRead says whether a recording is there and whole enough to be read.
func canRead(path string) bool {
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	r, err := parseRecording(b)
	return err == nil && len(r.channels[0]) > 0
}

func parseRecording(b []byte) (recording, error) {
	var r recording
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return r, errors.New("not a WAV file")
	}
	for at := 12; at+8 <= len(b); {
		id, size := string(b[at:at+4]), int(binary.LittleEndian.Uint32(b[at+4:]))
		body := b[at+8 : min(len(b), at+8+size)]
		switch id {
		case "fmt ":
			if len(body) < 16 || binary.LittleEndian.Uint16(body[14:]) != 16 {
				return r, errors.New("not 16 bit")
			}
			r.channels = make([][]int16, binary.LittleEndian.Uint16(body[2:]))
			r.rate = int(binary.LittleEndian.Uint32(body[4:]))
		case "data":
			for i := 0; i+1 < len(body) && len(r.channels) > 0; i += 2 {
				ch := i / 2 % len(r.channels)
				r.channels[ch] = append(r.channels[ch], int16(binary.LittleEndian.Uint16(body[i:])))
			}
		}
		at += 8 + size + size%2
	}
	if len(r.channels) == 0 || r.rate == 0 {
		return r, errors.New("no audio")
	}
	return r, nil
}

func (r recording) length() time.Duration {
	return time.Duration(len(r.channels[0])) * time.Second / time.Duration(r.rate)
}

// has says for how long a tone is heard in a channel, in steps of 100 ms.
func (r recording) has(channel int, hz float64) time.Duration {
	const step = tone.Window / 2
	var d tone.Detector
	var total time.Duration
	samples := r.channels[channel]
	for at := 0; at+step <= len(samples); at += step {
		d.Push(samples[at : at+step])
		if _, ok := d.Heard(hz); ok {
			total += 100 * time.Millisecond
		}
	}
	return total
}

// quiet says how much of a channel is silent, in steps of 100 ms.
func (r recording) quiet(channel int) time.Duration {
	const step = tone.Rate / 10
	var total time.Duration
	samples := r.channels[channel]
	for at := 0; at+step <= len(samples); at += step {
		if level := tone.Loudness(samples[at : at+step]); level < tone.Silence || math.IsInf(level, -1) {
			total += 100 * time.Millisecond
		}
	}
	return total
}
