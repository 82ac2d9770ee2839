package wav

import "math"

// Levels of speech, in dBFS of root mean square.
const (
	speechDB = -20.0 // what prompts are brought to
	gateDB   = -45.0 // quieter frames are pauses and do not count
	trimDB   = -50.0 // what is cut off at both ends
	maxGain  = 20.0  // dB
	peak     = 0.89  // highest sample after that, -1 dBFS
)

// Frames, in samples.
const (
	frame    = Rate / 50     // 20 ms
	leadIn   = Rate / 20     // kept before the first sound
	trailOut = 3 * Rate / 20 // kept after the last
)

// Level is the loudness of the frames that are not pauses, in dBFS; -Inf when all are.
func Level(samples []float32) float64 {
	sum, count := 0.0, 0
	for i := 0; i < len(samples); i += frame {
		block := samples[i:min(i+frame, len(samples))]
		if p := power(block); decibel(p) > gateDB {
			sum += p * float64(len(block))
			count += len(block)
		}
	}
	if count == 0 {
		return math.Inf(-1)
	}
	return decibel(sum / float64(count))
}

// Speech makes a prompt of what a speech engine said: silence at both ends cut off, at the loudness that all
// prompts have. Samples that are silent all through come back empty.
func Speech(samples []float32) []float32 {
	samples = trim(samples)
	level := Level(samples)
	if math.IsInf(level, -1) {
		return nil
	}
	highest := float32(0)
	for _, s := range samples {
		highest = max(highest, s, -s)
	}
	gain := float32(math.Pow(10, min(maxGain, speechDB-level)/20))
	gain = min(gain, peak/highest)
	out := make([]float32, len(samples))
	for i, s := range samples {
		out[i] = s * gain
	}
	return out
}

// trim cuts off silence at both ends.
func trim(samples []float32) []float32 {
	first, last := -1, 0
	for i := 0; i < len(samples); i += frame {
		end := min(i+frame, len(samples))
		if decibel(power(samples[i:end])) > trimDB {
			if first < 0 {
				first = i
			}
			last = end
		}
	}
	if first < 0 {
		return nil
	}
	return samples[max(0, first-leadIn):min(len(samples), last+trailOut)]
}

func power(samples []float32) float64 {
	sum := 0.0
	for _, s := range samples {
		sum += float64(s) * float64(s)
	}
	return sum / float64(max(1, len(samples)))
}

func decibel(power float64) float64 { return 10 * math.Log10(power) }
