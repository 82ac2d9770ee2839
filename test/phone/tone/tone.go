package tone

import "math"

// Level is the amplitude of generated tones, full scale being 1: -10 dBFS, loud and far from clipping.
const Level = 0.316

// Generator makes an endless sine, or several at once, without a phase jump between blocks.
type Generator struct {
	hz    []float64
	phase []float64
}

// NewGenerator makes a generator of hz, of equal parts when there are several; 0 gives digital silence.
func NewGenerator(hz ...float64) *Generator {
	return &Generator{hz: hz, phase: make([]float64, len(hz))}
}

// Next returns the following n samples.
func (g *Generator) Next(n int) []int16 {
	out := make([]int16, n)
	for k, hz := range g.hz {
		step := 2 * math.Pi * hz / Rate
		for i := range out {
			out[i] += int16(Level / float64(len(g.hz)) * math.MaxInt16 * math.Sin(g.phase[k]))
			g.phase[k] = math.Mod(g.phase[k]+step, 2*math.Pi)
		}
	}
	return out
}

// LevelAt is the level in dBFS of the frequency hz in samples, whatever else is in them. With fewer than Window
// samples neighbouring frequencies run together.
func LevelAt(samples []int16, hz float64) float64 { return decibel(goertzel(samples, hz)) }

const (
	// Window is how many samples in a row must hold the tone: 200 ms.
	Window = Rate / 5
	// part is a quarter of the window; each one alone must hold the tone, so that a longer gap is noticed.
	part = Window / 4
	// purity is the share of the window's energy the tone must have. A tone starting or ending inside the
	// window, a second tone or a neighbouring frequency stays below it.
	purity = 0.7
	// partPurity is the share in each quarter; lower because one lost packet is 40 % of a quarter.
	partPurity = 0.3
	// Silence is the level in dBFS below which audio counts as silence.
	Silence = -50.0
)

// Detector keeps the last 200 ms of audio and tells which tone is in it.
type Detector struct {
	samples []int16
}

// Push appends samples; only the newest Window are kept.
func (d *Detector) Push(samples []int16) {
	d.samples = append(d.samples, samples...)
	if extra := len(d.samples) - Window; extra > 0 {
		d.samples = append(d.samples[:0], d.samples[extra:]...)
	}
}

// Reset forgets everything heard: after a gap or a new stream continuity starts afresh.
func (d *Detector) Reset() { d.samples = d.samples[:0] }

// Heard tells whether the whole last 200 ms hold the tone hz, and the tone's level in dBFS.
func (d *Detector) Heard(hz float64) (level float64, ok bool) {
	if len(d.samples) < Window {
		return math.Inf(-1), false
	}
	level = decibel(goertzel(d.samples, hz))
	if level < Silence || share(d.samples, hz) < purity {
		return level, false
	}
	for at := 0; at < Window; at += part {
		if share(d.samples[at:at+part], hz) < partPurity {
			return level, false
		}
	}
	return level, true
}

// Loudest is the strongest frequency, in steps of 10 Hz, in what was kept, for telling what was heard
// instead of the tone expected. A level of -Inf means nothing at all.
func (d *Detector) Loudest() (hz, level float64) {
	level = math.Inf(-1)
	if len(d.samples) == 0 {
		return 0, level
	}
	for f := 100.0; f < Rate/2; f += 10 {
		if l := decibel(goertzel(d.samples, f)); l > level {
			hz, level = f, l
		}
	}
	return hz, level
}

// Loudness is the root mean square of samples in dBFS, -Inf for digital silence.
func Loudness(samples []int16) float64 {
	return decibel(math.Sqrt(2 * meanSquare(samples)))
}

// share is the part (0 to 1) of the energy of samples that lies at hz.
func share(samples []int16, hz float64) float64 {
	total := meanSquare(samples)
	if total == 0 {
		return 0
	}
	amplitude := goertzel(samples, hz)
	return amplitude * amplitude / 2 / total
}

// goertzel is the amplitude, full scale being 1, of the frequency hz in samples.
func goertzel(samples []int16, hz float64) float64 {
	w := 2 * math.Pi * hz / Rate
	coefficient := 2 * math.Cos(w)
	var s1, s2 float64
	for _, x := range samples {
		s1, s2 = float64(x)+coefficient*s1-s2, s1
	}
	power := s1*s1 + s2*s2 - coefficient*s1*s2
	return 2 * math.Sqrt(max(power, 0)) / float64(len(samples)) / math.MaxInt16
}

func meanSquare(samples []int16) float64 {
	if len(samples) == 0 {
		return 0
	}
	var sum float64
	for _, x := range samples {
		v := float64(x) / math.MaxInt16
		sum += v * v
	}
	return sum / float64(len(samples))
}

func decibel(amplitude float64) float64 { return 20 * math.Log10(amplitude) }
