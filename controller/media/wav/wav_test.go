package wav

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
)

// tone is a sine of amplitude 0.5 at a rate.
func tone(hz float64, rate, samples int) []float32 {
	out := make([]float32, samples)
	for i := range out {
		out[i] = float32(0.5 * math.Sin(2*math.Pi*hz*float64(i)/float64(rate)))
	}
	return out
}

// level is the amplitude of one frequency in dB relative to full scale, by correlation under a Hann window.
func level(samples []float32, hz float64) float64 {
	var re, im, weight float64
	for i, s := range samples {
		w := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(len(samples)))
		re += w * float64(s) * math.Cos(2*math.Pi*hz*float64(i)/Rate)
		im += w * float64(s) * math.Sin(2*math.Pi*hz*float64(i)/Rate)
		weight += w
	}
	return 20 * math.Log10(2*math.Hypot(re, im)/weight)
}

// file makes a WAV file with any header.
func file(code, channels, rate, bits int, samples []byte) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00")
	for _, v := range []int{code, channels} {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	size := channels * bits / 8
	b = binary.LittleEndian.AppendUint32(b, uint32(rate))
	b = binary.LittleEndian.AppendUint32(b, uint32(rate*size))
	b = binary.LittleEndian.AppendUint16(b, uint16(size))
	b = binary.LittleEndian.AppendUint16(b, uint16(bits))
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(samples)))
	return append(b, samples...)
}

func TestResampler_KeepsTheTelephoneBandAndRejectsAliases(t *testing.T) {
	// Proves, by tones through the converter, that each rate keeps 300 to 3400 Hz within 0.1 dB, and that what lies
	// above half the new rate does not fold back: less than -70 dB is left anywhere in the band.
	for _, rate := range rates[1:] {
		convert := func(hz float64) []float32 {
			r := NewResampler(rate)
			out := r.Flush(r.Append(nil, tone(hz, rate, 2*rate/5)))
			if len(out) != 2*Rate/5 {
				t.Fatalf("%d Hz: 0.4 s have %d samples", rate, len(out))
			}
			return out[400:2800]
		}
		for _, hz := range []float64{300, 1004, 3000, 3400} {
			if got := level(convert(hz), hz) - 20*math.Log10(0.5); math.Abs(got) > 0.1 {
				t.Errorf("%d Hz: a tone of %g Hz is changed by %.2f dB", rate, hz, got)
			}
		}
		worst := math.Inf(-1)
		for hz := 4050.0; hz < min(float64(rate)/2, 20000); hz += 977 {
			worst = max(worst, decibel(power(convert(hz)))-decibel(0.125))
		}
		t.Logf("%d Hz: aliases at %.1f dB", rate, worst)
		if worst > -70 {
			t.Errorf("%d Hz: an alias of %.1f dB", rate, worst)
		}
	}
}

func TestResampler_BlocksDoNotMatter(t *testing.T) {
	// Proves that a stream cut into blocks of odd lengths gives the very samples of the whole.
	in := tone(1004, 44100, 20000)
	r := NewResampler(44100)
	whole := r.Flush(r.Append(nil, in))
	for _, block := range []int{1, 7, 441, 8191} {
		r := NewResampler(44100)
		var out []float32
		for i := 0; i < len(in); i += block {
			out = r.Append(out, in[i:min(i+block, len(in))])
		}
		out = r.Flush(out)
		if len(out) != len(whole) {
			t.Fatalf("blocks of %d: %d samples, want %d", block, len(out), len(whole))
		}
		for i := range out {
			if out[i] != whole[i] {
				t.Fatalf("blocks of %d: sample %d differs", block, i)
			}
		}
	}
}

func TestDecode_ReadsEachKindOfSample(t *testing.T) {
	// Proves that every width and both channel counts give the same sound: the value 0.5 in each notation.
	half := map[string][]byte{
		"8 bits":  file(formatPCM, 1, Rate, 8, []byte{192, 192}),
		"16 bits": file(formatPCM, 1, Rate, 16, []byte{0, 0x40, 0, 0x40}),
		"24 bits": file(formatPCM, 1, Rate, 24, []byte{0, 0, 0x40, 0, 0, 0x40}),
		"32 bits": file(formatPCM, 1, Rate, 32, []byte{0, 0, 0, 0x40, 0, 0, 0, 0x40}),
		"float":   file(formatFloat, 1, Rate, 32, []byte{0, 0, 0, 0x3F, 0, 0, 0, 0x3F}),
		"stereo":  file(formatPCM, 2, Rate, 16, []byte{0, 0x60, 0, 0x20, 0, 0x60, 0, 0x20}),
	}
	for name, b := range half {
		got, err := Decode(bytes.NewReader(b))
		if err != nil || len(got) != 2 || got[0] != 0.5 || got[1] != 0.5 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestDecode_SaysWhatIsWrong(t *testing.T) {
	// Proves that each kind of unusable file is refused with a sentence for its sender.
	ok := Encode(tone(440, Rate, 100))
	for want, b := range map[string][]byte{
		"this is MP3":          []byte("ID3\x04aaaaaaaaaaaaa"),
		"this is Ogg":          []byte("OggSaaaaaaaaaaaaa"),
		"does not begin":       []byte("hello, this is text"),
		"cut short":            ok[:len(ok)-1],
		"samples are G.711":    file(formatMuLaw, 1, Rate, 8, []byte{1}),
		"12 bits":              file(formatPCM, 1, Rate, 12, []byte{1, 2}),
		"6 channels":           file(formatPCM, 6, Rate, 16, make([]byte, 12)),
		"rate is 7999":         file(formatPCM, 1, 7999, 16, make([]byte, 2)),
		"has no samples":       file(formatPCM, 1, Rate, 16, nil),
		"no format chunk":      []byte("RIFF\x00\x00\x00\x00WAVEdata\x02\x00\x00\x00\x00\x00"),
		"chunk of 2130706432":  []byte("RIFF\x00\x00\x00\x00WAVELIST\x00\x00\x00\x7f"),
		"longer than 1800 s":   file(formatPCM, 1, Rate, 8, make([]byte, MaxSeconds*Rate+1)),
		"format chunk has 4 b": []byte("RIFF\x00\x00\x00\x00WAVEfmt \x04\x00\x00\x00aaaa"),
	} {
		if _, err := Decode(bytes.NewReader(b)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestEncode_IsReadBackUnchanged(t *testing.T) {
	// Proves that writing and reading is without loss at 16 bits, and that too loud is cut off and not wrapped round.
	in := tone(1004, Rate, Rate)
	out, err := Decode(bytes.NewReader(Encode(in)))
	if err != nil || len(out) != len(in) || DurationMS(len(out)) != 1000 {
		t.Fatalf("%d samples, %v", len(out), err)
	}
	for i := range in {
		if d := in[i] - out[i]; d > 1.0/(1<<16) || d < -1.0/(1<<16) {
			t.Fatalf("sample %d: %g, was %g", i, out[i], in[i])
		}
	}
	loud, _ := Decode(bytes.NewReader(Encode([]float32{2, -2})))
	if loud[0] < 0.99 || loud[1] > -0.99 {
		t.Errorf("clipped to %v", loud)
	}
}

func TestSpeech_IsTrimmedAndAsLoudAsAllPrompts(t *testing.T) {
	// Proves that quiet and loud sounds between silence come out at the same level without the silence, and silence as nothing.
	for _, gain := range []float32{0.05, 0.2, 1.9} {
		in := make([]float32, Rate)
		for _, s := range tone(700, Rate, Rate) {
			in = append(in, s*gain)
		}
		in = append(in, make([]float32, Rate)...)
		out := Speech(in)
		if n := len(out); n < Rate || n > Rate+leadIn+trailOut+frame {
			t.Errorf("gain %g: %d samples are left", gain, n)
		}
		if got := Level(out); math.Abs(got-speechDB) > 0.5 {
			t.Errorf("gain %g: level %.1f dBFS", gain, got)
		}
	}
	if out := Speech(make([]float32, Rate)); out != nil {
		t.Errorf("silence gave %d samples", len(out))
	}
}

func FuzzDecode(f *testing.F) {
	// Proves that no bytes crash the reader, and that what it takes can be written and read again.
	f.Add(Encode(tone(440, Rate, 50)))
	f.Add(file(formatPCM, 2, 44100, 24, make([]byte, 600)))
	f.Add(file(formatFloat, 1, 48000, 32, bytes.Repeat([]byte{0xFF, 0xFF, 0xFF, 0x7F}, 20)))
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVELIST\x03\x00\x00\x00abcd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		samples, err := Decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := Decode(bytes.NewReader(Encode(samples)))
		if err != nil || len(again) != len(samples) {
			t.Fatalf("%d samples came back as %d: %v", len(samples), len(again), err)
		}
	})
}
