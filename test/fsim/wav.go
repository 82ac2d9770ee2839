package fsim

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sipio/sipio/test/phone/tone"
)

// maxSound bounds a sound file in bytes: an hour at 16 kHz.
const maxSound = 128 << 20

// readWAV reads 16-bit linear WAV of any rate, mono or stereo, as samples at 8 kHz.
func readWAV(path string) ([]int16, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() || info.Size() > maxSound {
		return nil, fmt.Errorf("%s is no sound file, or longer than %d bytes", path, maxSound)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	samples, err := decodeWAV(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return samples, nil
}

func decodeWAV(raw []byte) ([]int16, error) {
	if len(raw) < 12 || string(raw[:4]) != "RIFF" || string(raw[8:12]) != "WAVE" {
		return nil, errors.New("not a WAV file")
	}
	var rate, channels int
	for at := 12; at+8 <= len(raw); {
		kind, size := string(raw[at:at+4]), int(binary.LittleEndian.Uint32(raw[at+4:]))
		body := raw[at+8:]
		if size > len(body) {
			size = len(body) // a file that is still written, or was cut
		}
		switch kind {
		case "fmt ":
			if size < 16 {
				return nil, errors.New("format of the WAV file is cut")
			}
			format, bits := binary.LittleEndian.Uint16(body), binary.LittleEndian.Uint16(body[14:])
			channels, rate = int(binary.LittleEndian.Uint16(body[2:])), int(binary.LittleEndian.Uint32(body[4:]))
			if format != 1 && format != 0xfffe || bits != 16 || channels < 1 || channels > 2 || rate < 4000 || rate > 192000 {
				return nil, fmt.Errorf("WAV format %d, %d bit, %d channels, %d Hz: want 16-bit linear, mono or stereo", format, bits, channels, rate)
			}
		case "data":
			if rate == 0 {
				return nil, errors.New("WAV file has no format before its data")
			}
			return resample(mono(body[:size], channels), rate), nil
		}
		at += 8 + size + size%2
	}
	return nil, errors.New("WAV file has no data")
}

func mono(body []byte, channels int) []int16 {
	out := make([]int16, len(body)/2/channels)
	for i := range out {
		sum := 0
		for ch := range channels {
			sum += int(int16(binary.LittleEndian.Uint16(body[2*(i*channels+ch):])))
		}
		out[i] = int16(sum / channels)
	}
	return out
}

// resample brings samples of rate to 8 kHz: each is the mean of what lies in its place, or between two neighbours.
func resample(in []int16, rate int) []int16 {
	if rate == tone.Rate || len(in) == 0 {
		return in
	}
	step := float64(rate) / tone.Rate
	out := make([]int16, int(float64(len(in))/step))
	for i := range out {
		from, to := float64(i)*step, float64(i+1)*step
		if step < 1 {
			a := int(from)
			b, part := min(a+1, len(in)-1), from-float64(a)
			out[i] = int16(float64(in[a])*(1-part) + float64(in[b])*part)
			continue
		}
		sum, n := 0, 0
		for j := int(from); j < min(max(int(to), int(from)+1), len(in)); j++ {
			sum += int(in[j])
			n++
		}
		out[i] = int16(sum / max(n, 1))
	}
	return out
}

// wavWriter writes 16-bit linear WAV at 8 kHz. Its header says the true length only after close, as on the real one.
type wavWriter struct {
	file     *os.File
	buf      *bufio.Writer
	channels int
	samples  int // of each channel
	failed   error
}

func createWAV(path string, channels int) (*wavWriter, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	w := &wavWriter{file: file, buf: bufio.NewWriter(file), channels: channels}
	_, w.failed = w.buf.Write(w.head())
	return w, nil
}

func (w *wavWriter) head() []byte {
	size := uint32(w.samples * w.channels * 2)
	h := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, 36+size)...)
	h = append(h, "WAVEfmt "...)
	h = binary.LittleEndian.AppendUint32(h, 16)
	h = binary.LittleEndian.AppendUint16(h, 1)
	h = binary.LittleEndian.AppendUint16(h, uint16(w.channels))
	h = binary.LittleEndian.AppendUint32(h, tone.Rate)
	h = binary.LittleEndian.AppendUint32(h, uint32(tone.Rate*2*w.channels))
	h = binary.LittleEndian.AppendUint16(h, uint16(2*w.channels))
	h = binary.LittleEndian.AppendUint16(h, 16)
	h = append(h, "data"...)
	return binary.LittleEndian.AppendUint32(h, size)
}

// write adds one frame to each channel.
func (w *wavWriter) write(tracks ...*block) {
	if w.failed != nil {
		return
	}
	var raw []byte
	for i := range frameSamples {
		for _, t := range tracks {
			raw = binary.LittleEndian.AppendUint16(raw, uint16(t[i]))
		}
	}
	w.samples += frameSamples
	_, w.failed = w.buf.Write(raw)
}

func (w *wavWriter) close() error {
	err := errors.Join(w.failed, w.buf.Flush())
	if _, seekErr := w.file.Seek(0, io.SeekStart); seekErr == nil && err == nil {
		_, err = w.file.Write(w.head())
	}
	return errors.Join(err, w.file.Close())
}
