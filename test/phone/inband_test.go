package phone

import (
	"testing"

	"github.com/sipio/sipio/test/phone/tone"
)

// Proves digits sent as tones are those of ITU-T Q.23, and that a phone without telephone-event neither offers
// events nor sends any.
func TestInbandDigits_AreDualTones(t *testing.T) {
	m := newMouth(nil)
	m.negotiate(tone.PCMU, 0, true)
	if err := m.press("5", false); err == nil {
		t.Error("an event was queued though none was negotiated")
	}
	if err := m.press("5", true); err != nil {
		t.Fatal(err)
	}
	var heard []int16
	for i := range digitFrames {
		p := m.packet(uint32(i * frameSamples))
		heard = append(heard, tone.PCMU.Decode(p.Payload)...)
	}
	low, high, other := tone.LevelAt(heard, 770), tone.LevelAt(heard, 1336), tone.LevelAt(heard, 1209)
	if low < -20 || high < -20 || other > -30 {
		t.Errorf("770 Hz at %.1f, 1336 Hz at %.1f, 1209 Hz at %.1f dBFS", low, high, other)
	}
}
