package wav

import "math"

// The low-pass filter in front of the new rate: from passHz on it falls, from half the new rate on nothing is left
// that could fold back. stopDB is how far down "nothing" is, by the design of the window.
const (
	passHz = 3400 // upper end of the telephone band (ITU-T G.712)
	stopDB = 80
)

// Resampler converts a stream of samples to 8 kHz with a windowed sinc, one filter for each phase that the
// two rates have to each other (J. O. Smith, Digital Audio Resampling).
type Resampler struct {
	phases  [][]float32 // filter of each phase
	step    int         // input samples by which the phase moves on, in units of 1/len(phases)
	history []float32   // input that outputs still need
	next    int         // position of the next output's first input sample in history, in units of 1/len(phases)
	half    int         // half the length of the filter, in input samples
	in, out int         // samples so far
	from    int
}

// NewResampler converts from a rate of at least 8000 Hz.
func NewResampler(from int) *Resampler {
	r := &Resampler{from: from}
	if from == Rate {
		return r
	}
	g := gcd(from, Rate)
	r.step = from / g
	r.phases = filters(from, Rate/g)
	r.half = len(r.phases[0]) / 2
	r.history = make([]float32, r.half-1) // the first output has silence before it
	return r
}

// filters makes the polyphase filters. Taps of phase p weigh input at distances k - half + 1 - p/count.
func filters(from, count int) [][]float32 {
	cutoff := (passHz + Rate/2.0) / 2 / float64(from) // of the input's rate
	width := (Rate/2.0 - passHz) / float64(from)
	taps := (stopDB - 7.95) / (14.36 * width)
	half := int(math.Ceil(taps/2)) + 1
	beta := 0.1102 * (stopDB - 8.7) // J. F. Kaiser, for more than 50 dB
	phases := make([][]float32, count)
	for p := range phases {
		weights := make([]float64, 2*half)
		sum := 0.0
		for k := range weights {
			d := float64(k-half+1) - float64(p)/float64(count)
			weights[k] = sinc(2*cutoff*d) * kaiser(d/float64(half), beta)
			sum += weights[k]
		}
		phases[p] = make([]float32, len(weights))
		for k, w := range weights {
			phases[p][k] = float32(w / sum)
		}
	}
	return phases
}

// Append adds to out what the samples of in make.
func (r *Resampler) Append(out, in []float32) []float32 {
	if r.phases == nil {
		return append(out, in...)
	}
	r.in += len(in)
	r.history = append(r.history, in...)
	for {
		at, phase := r.next/len(r.phases), r.next%len(r.phases)
		filter := r.phases[phase]
		if at+len(filter) > len(r.history) {
			break
		}
		sum := float32(0)
		for k, s := range r.history[at : at+len(filter)] {
			sum += s * filter[k]
		}
		out = append(out, sum)
		r.out++
		r.next += r.step
	}
	done := min(r.next/len(r.phases), len(r.history))
	r.history = append(r.history[:0], r.history[done:]...)
	r.next -= done * len(r.phases)
	return out
}

// Flush adds the end of the sound to out: as many samples in all as the input lasted.
func (r *Resampler) Flush(out []float32) []float32 {
	if r.phases == nil {
		return out
	}
	length := r.in * Rate / r.from
	had, before := len(out), r.out
	out = r.Append(out, make([]float32, 2*r.half+r.step))
	return out[:min(len(out), had+max(0, length-before))]
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the window at x in [-1, 1], 0 outside.
func kaiser(x, beta float64) float64 {
	if x < -1 || x > 1 {
		return 0
	}
	return bessel(beta*math.Sqrt(1-x*x)) / bessel(beta)
}

// bessel is the modified Bessel function of order zero, by its series.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= (x / 2 / k) * (x / 2 / k)
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
