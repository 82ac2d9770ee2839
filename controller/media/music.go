package media

import (
	"context"
	"math"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/media/wav"
)

// The platform's music on hold: our own, so nobody has to be asked or paid for it. A slow sequence of four chords,
// each note of them struck after the other, that ends where it begins.
const (
	musicSec  = 64
	chordSec  = 4.0
	noteSec   = 0.5
	musicGain = 0.10 // -20 dBFS at its loudest: speech over it is understood
)

// chords are notes in semitones from A at 220 Hz: A minor, F major, C major, G major, each an octave and a half wide.
var chords = [][]float64{{0, 3, 7, 12}, {-4, 0, 5, 8}, {-9, 3, 7, 10}, {-2, 2, 5, 10}}

// patterns are the orders in which the notes of a chord are struck; the first of each bar is the lowest.
var patterns = [][]int{{0, 1, 2, 3, 2, 1, 2, 1}, {0, 2, 1, 3, 1, 2, 3, 2}, {0, 1, 3, 2, 3, 1, 2, 3}, {0, 2, 3, 1, 2, 1, 3, 2}}

// music makes the samples. The end of each note sounds into what follows, that of the last ones into the beginning.
func music() []float32 {
	total := musicSec * wav.Rate
	out := make([]float64, total)
	for bar := range int(musicSec / chordSec) {
		chord := chords[bar%len(chords)]
		pattern := patterns[bar/len(chords)%len(patterns)]
		for i, n := range pattern {
			hz := 220 * math.Pow(2, chord[n]/12)
			if i > 0 {
				hz *= 2
			}
			strike(out, hz, int((float64(bar)*chordSec+float64(i)*noteSec)*wav.Rate))
		}
	}
	highest := 0.0
	for _, s := range out {
		highest = max(highest, math.Abs(s))
	}
	samples := make([]float32, total)
	for i, s := range out {
		samples[i] = float32(s / highest * musicGain * math.Sqrt2)
	}
	return samples
}

// strike adds one note: three harmonics that die away within two seconds, with a soft start.
func strike(out []float64, hz float64, at int) {
	for i := range 2 * wav.Rate {
		t := float64(i) / wav.Rate
		shape := math.Min(1, t/0.02) * math.Exp(-2.2*t) * math.Min(1, (2-t)/0.2)
		phase := 2 * math.Pi * hz * t
		out[(at+i)%len(out)] += shape * (math.Sin(phase) + 0.3*math.Sin(2*phase)*math.Exp(-2*t) + 0.1*math.Sin(3*phase)*math.Exp(-4*t))
	}
}

// Music returns the platform's music, and makes it when there is none: an operator may put another there.
func (l *Library) Music(ctx context.Context) (api.MediaRef, error) {
	return l.made(ctx, DefaultMusic, func(context.Context) ([]byte, error) { return wav.Encode(music()), nil })
}
