// Package wav reads, converts and writes sound files. What it writes is what the telephone network carries: 8 kHz,
// one channel, 16 bits. What it reads is RIFF WAVE with plain samples, at the rates that people have.
package wav

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Rate is the sampling rate of all that is written, in Hz: that of G.711.
const Rate = 8000

// MaxSeconds bounds how long a sound is.
const MaxSeconds = 1800

// ErrFormat is wrapped by each error that says that the bytes are not a sound this package reads. Its text is for
// whoever sent them.
var ErrFormat = errors.New("not a usable WAV file")

// rates are the sampling rates that are read, in Hz.
var rates = []int{8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000}

// Codes of sample formats (RFC 2361 and mmreg.h).
const (
	formatPCM        = 1
	formatFloat      = 3
	formatALaw       = 6
	formatMuLaw      = 7
	formatExtensible = 0xFFFE
)

// maxChunk bounds the chunks other than the samples, in bytes.
const maxChunk = 16 << 20

// Reader gives the samples of a WAV file as they come, mixed to one channel. Full scale is 1.
type Reader struct {
	Rate     int // Hz
	Channels int // of the file

	r     io.Reader
	code  int   // formatPCM or formatFloat
	width int   // bytes of a sample of one channel
	left  int64 // bytes of samples still to come; -1: until the end of the file
	frame []byte
}

// NewReader reads the headers up to the samples.
func NewReader(r io.Reader) (*Reader, error) {
	head := make([]byte, 12)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, cutShort(err)
	}
	if string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return nil, fmt.Errorf("%w: %s", ErrFormat, kindOf(head))
	}
	w := &Reader{r: r}
	for {
		if _, err := io.ReadFull(r, head[:8]); err != nil {
			return nil, cutShort(err)
		}
		size := int64(binary.LittleEndian.Uint32(head[4:8]))
		switch string(head[:4]) {
		case "fmt ":
			if err := w.format(size); err != nil {
				return nil, err
			}
			continue
		case "data":
			return w, w.begin(size)
		}
		if err := skip(r, size); err != nil {
			return nil, err
		}
	}
}

// kindOf says what a file that is no WAV file is, by its first bytes.
func kindOf(head []byte) string {
	const send = ": send WAV (PCM)"
	switch {
	case bytes.HasPrefix(head, []byte("ID3")), head[0] == 0xFF && head[1]&0xE0 == 0xE0:
		return "this is MP3" + send
	case bytes.HasPrefix(head, []byte("OggS")):
		return "this is Ogg" + send
	case bytes.HasPrefix(head, []byte("fLaC")):
		return "this is FLAC" + send
	case bytes.HasPrefix(head, []byte("RF64")), bytes.HasPrefix(head, []byte("RIFX")):
		return "this kind of RIFF is not read" + send
	case string(head[4:8]) == "ftyp":
		return "this is MP4" + send
	}
	return "it does not begin as RIFF WAVE"
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut short", ErrFormat)
	}
	return err
}

// skip passes over a chunk, and the byte that makes its length even.
func skip(r io.Reader, size int64) error {
	if size > maxChunk {
		return fmt.Errorf("%w: a chunk of %d bytes before the samples", ErrFormat, size)
	}
	if _, err := io.CopyN(io.Discard, r, size+size&1); err != nil {
		return cutShort(err)
	}
	return nil
}

// format reads the fmt chunk.
func (w *Reader) format(size int64) error {
	if size < 16 || size > 1024 {
		return fmt.Errorf("%w: its format chunk has %d bytes", ErrFormat, size)
	}
	b := make([]byte, size+size&1)
	if _, err := io.ReadFull(w.r, b); err != nil {
		return cutShort(err)
	}
	w.code = int(binary.LittleEndian.Uint16(b))
	w.Channels = int(binary.LittleEndian.Uint16(b[2:]))
	w.Rate = int(binary.LittleEndian.Uint32(b[4:]))
	bits := int(binary.LittleEndian.Uint16(b[14:]))
	if w.code == formatExtensible && size >= 26 {
		w.code = int(binary.LittleEndian.Uint16(b[24:])) // the first two bytes of the sub-format's GUID
	}
	w.width = bits / 8
	switch {
	case w.code == formatALaw || w.code == formatMuLaw:
		return fmt.Errorf("%w: its samples are G.711: send PCM", ErrFormat)
	case w.code != formatPCM && w.code != formatFloat:
		return fmt.Errorf("%w: its samples have the format %d: send PCM", ErrFormat, w.code)
	case w.code == formatFloat && bits != 32, w.code == formatPCM && !slices.Contains([]int{8, 16, 24, 32}, bits):
		return fmt.Errorf("%w: its samples have %d bits: send 16", ErrFormat, bits)
	case w.Channels < 1 || w.Channels > 2:
		return fmt.Errorf("%w: it has %d channels: send one or two", ErrFormat, w.Channels)
	case !slices.Contains(rates, w.Rate):
		return fmt.Errorf("%w: its rate is %d Hz: send one of %v", ErrFormat, w.Rate, rates)
	}
	return nil
}

// begin comes to the samples. Writers into a pipe cannot know how many follow and leave a great number, or none.
func (w *Reader) begin(size int64) error {
	if w.Rate == 0 {
		return fmt.Errorf("%w: it has no format chunk before its samples", ErrFormat)
	}
	w.left = size
	if size == 0 || size >= 0x7FFFF000 {
		w.left = -1
	}
	return nil
}

// Read fills samples and says how many there were. io.EOF comes after the last.
func (w *Reader) Read(samples []float32) (int, error) {
	size := w.width * w.Channels
	want := int64(len(samples)) * int64(size)
	if w.left >= 0 {
		want = min(want, w.left-w.left%int64(size))
	}
	if want == 0 {
		return 0, io.EOF
	}
	if int64(cap(w.frame)) < want {
		w.frame = make([]byte, want)
	}
	n, err := io.ReadFull(w.r, w.frame[:want])
	switch {
	case err == nil:
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return 0, err
	case w.left >= 0:
		return 0, cutShort(err)
	case n < size:
		return 0, io.EOF
	}
	if w.left >= 0 {
		w.left -= int64(n)
	}
	count := n / size
	for i := range count {
		sum := float32(0)
		for c := range w.Channels {
			sum += w.sample(w.frame[i*size+c*w.width:])
		}
		samples[i] = sum / float32(w.Channels)
	}
	return count, nil
}

func (w *Reader) sample(b []byte) float32 {
	switch {
	case w.code == formatFloat:
		f := math.Float32frombits(binary.LittleEndian.Uint32(b))
		if f != f { // not a number
			return 0
		}
		return max(-1, min(1, f))
	case w.width == 1:
		return (float32(b[0]) - 128) / 128
	case w.width == 2:
		return float32(int16(binary.LittleEndian.Uint16(b))) / (1 << 15)
	case w.width == 3:
		return float32(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)) / (1 << 31)
	}
	return float32(int32(binary.LittleEndian.Uint32(b))) / (1 << 31)
}

// Decode reads a whole file and returns it at 8 kHz, one channel, full scale 1.
func Decode(r io.Reader) ([]float32, error) {
	in, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	convert := NewResampler(in.Rate)
	var out []float32
	block := make([]float32, 8192)
	for {
		n, err := in.Read(block)
		out = convert.Append(out, block[:n])
		if len(out) > MaxSeconds*Rate {
			return nil, fmt.Errorf("%w: it is longer than %d s", ErrFormat, MaxSeconds)
		}
		if errors.Is(err, io.EOF) {
			out = convert.Flush(out)
			if len(out) == 0 {
				return nil, fmt.Errorf("%w: it has no samples", ErrFormat)
			}
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// headerBytes is the length of what Encode writes before the samples.
const headerBytes = 44

// Encode makes a file of samples at 8 kHz. What is louder than full scale is cut off.
func Encode(samples []float32) []byte {
	size := 2 * len(samples)
	b := make([]byte, headerBytes, headerBytes+size)
	copy(b, "RIFF")
	binary.LittleEndian.PutUint32(b[4:], uint32(headerBytes-8+size))
	copy(b[8:], "WAVEfmt ")
	binary.LittleEndian.PutUint32(b[16:], 16)
	binary.LittleEndian.PutUint16(b[20:], formatPCM)
	binary.LittleEndian.PutUint16(b[22:], 1)
	binary.LittleEndian.PutUint32(b[24:], Rate)
	binary.LittleEndian.PutUint32(b[28:], 2*Rate)
	binary.LittleEndian.PutUint16(b[32:], 2)
	binary.LittleEndian.PutUint16(b[34:], 16)
	copy(b[36:], "data")
	binary.LittleEndian.PutUint32(b[40:], uint32(size))
	for _, s := range samples {
		v := math.Round(float64(s) * (1 << 15))
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(max(-1<<15, min(1<<15-1, v)))))
	}
	return b
}

// DurationMS is how long so many samples at 8 kHz last, in milliseconds.
func DurationMS(samples int) int { return samples * 1000 / Rate }
