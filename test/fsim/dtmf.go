package fsim

import "math"

// digits are the event codes of RFC 4733 by position.
const digits = "0123456789*#ABCD"

var (
	rowHz    = [4]float64{697, 770, 852, 941}
	columnHz = [4]float64{1209, 1336, 1477, 1633}
	keypad   = [4]string{"123A", "456B", "789C", "*0#D"}
)

// inband finds DTMF in audio, frame by frame (Goertzel). A digit counts when two frames in a row hold it, and
// again only after a frame without it.
type inband struct {
	last  byte // digit of the frame before, 0 = none
	count int
}

// hear takes one frame and returns a digit when it begins, else 0.
func (d *inband) hear(b *block) byte {
	found := digitIn(b)
	if found != d.last {
		d.last, d.count = found, 0
	}
	if found == 0 {
		return 0
	}
	if d.count++; d.count == 2 {
		return found
	}
	return 0
}

// digitIn is the digit that a frame holds: one row and one column, of about the same strength, with most of its energy.
func digitIn(b *block) byte {
	total := 0.0
	for _, v := range b {
		total += float64(v) * float64(v)
	}
	if total/frameSamples < 200*200 {
		return 0
	}
	row, rowPower := strongest(b, rowHz)
	column, columnPower := strongest(b, columnHz)
	if rowPower+columnPower < 0.7*total || rowPower > 8*columnPower || columnPower > 8*rowPower {
		return 0
	}
	return keypad[row][column]
}

// strongest is the frequency with the most energy, and that energy in the measure of the sum of squares.
func strongest(b *block, hz [4]float64) (at int, power float64) {
	for i, f := range hz {
		if p := energyAt(b, f); p > power {
			at, power = i, p
		}
	}
	return at, power
}

func energyAt(b *block, hz float64) float64 {
	k := 2 * math.Cos(2*math.Pi*hz/8000)
	var s1, s2 float64
	for _, v := range b {
		s1, s2 = float64(v)+k*s1-s2, s1
	}
	return 2 * (s1*s1 + s2*s2 - k*s1*s2) / frameSamples
}
