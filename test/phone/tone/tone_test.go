package tone

import (
	"math"
	"math/rand/v2"
	"testing"
)

func heard(samples []int16, hz float64) bool {
	var d Detector
	d.Push(samples)
	_, ok := d.Heard(hz)
	return ok
}

// Proves both laws are the G.711 tables: known code words, and every code decodes to a value that encodes back to it.
func TestG711_EveryCodeWordSurvivesARoundTrip(t *testing.T) {
	for _, law := range []Law{PCMU, PCMA} {
		for code := range 256 {
			b := byte(code)
			if law == PCMU && b == 0x7f {
				continue // negative zero of µ-law encodes as positive zero
			}
			if got := law.Encode(law.Decode([]byte{b}))[0]; got != b {
				t.Errorf("%s: code %#02x came back as %#02x", law, b, got)
			}
		}
	}
	for _, v := range []struct {
		law    Law
		sample int16
		code   byte
	}{{PCMU, 0, 0xff}, {PCMU, 32767, 0x80}, {PCMU, -32768, 0x00}, {PCMA, 0, 0xd5}, {PCMA, 32767, 0xaa}, {PCMA, -32768, 0x2a}} {
		if got := v.law.Encode([]int16{v.sample})[0]; got != v.code {
			t.Errorf("%s(%d) = %#02x, want %#02x", v.law, v.sample, got, v.code)
		}
	}
}

// Proves a generated tone is recognised after both companding laws, at the level it was made with.
func TestDetector_HearsToneThroughBothLaws(t *testing.T) {
	for _, law := range []Law{PCMU, PCMA} {
		for _, hz := range []float64{350, 440, 600, 1004, 3000} {
			var d Detector
			d.Push(law.Decode(law.Encode(NewGenerator(hz).Next(Window))))
			level, ok := d.Heard(hz)
			if !ok || math.Abs(level+10) > 0.5 {
				t.Errorf("%s %v Hz: heard %v at %.1f dBFS, want true at -10", law, hz, ok, level)
			}
		}
	}
}

// Proves what must not pass for the tone: silence, noise, a neighbour, half a window, a mixture, too little audio.
func TestDetector_RefusesWhatIsNotTheTone(t *testing.T) {
	noise := make([]int16, Window)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = int16(random.IntN(20000) - 10000)
	}
	late := append(make([]int16, Window/2), NewGenerator(440).Next(Window/2)...)
	mixed := NewGenerator(440).Next(Window)
	for i, x := range NewGenerator(600).Next(Window) {
		mixed[i] += x
	}
	for name, samples := range map[string][]int16{
		"silence": make([]int16, Window), "noise": noise, "450 Hz": NewGenerator(450).Next(Window),
		"starts in the middle": late, "with 600 Hz": mixed, "180 ms only": NewGenerator(440).Next(Window - 160),
	} {
		if heard(samples, 440) {
			t.Errorf("%s was taken for 440 Hz", name)
		}
	}
}

// Proves one lost packet (20 ms of zeros) does not hide a tone, and that the loudest frequency is named.
func TestDetector_ToleratesOneLostPacketAndNamesTheLoudest(t *testing.T) {
	samples := NewGenerator(440).Next(Window)
	clear(samples[500:660])
	if !heard(samples, 440) {
		t.Error("one lost packet hid the tone")
	}
	var d Detector
	d.Push(samples)
	if hz, _ := d.Loudest(); hz != 440 {
		t.Errorf("loudest is %v Hz, want 440", hz)
	}
}

// Proves the window forgets: a tone followed by 200 ms of silence is no longer heard.
func TestDetector_ForgetsWhatIsOlderThanTheWindow(t *testing.T) {
	var d Detector
	d.Push(NewGenerator(440).Next(Window))
	d.Push(make([]int16, Window))
	if _, ok := d.Heard(440); ok {
		t.Error("a tone that ended 200 ms ago is still heard")
	}
}
