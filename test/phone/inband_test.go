package phone

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/pion/rtp"

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

// hearing is the media of a call that only hears.
type hearing struct {
	media
	ear *ear
}

func (h hearing) hears() *ear { return h.ear }

// Proves a tone is heard whose packets come at once with what follows it, as they do after a stall: nobody looks between them.
func TestHearTone_InABurst(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	c, told := &Call{media: hearing{ear: &ear{}}, done: make(chan struct{})}, make(chan error, 1)
	go func() {
		_, err := c.HearTone(ctx, 800)
		told <- err
	}()
	for runtime.Gosched(); !c.media.hears().waited(800) && ctx.Err() == nil; {
		runtime.Gosched()
	}
	beep, nothing := tone.NewGenerator(800), tone.NewGenerator(0)
	for i := range 45 {
		samples := beep
		if i >= 15 {
			samples = nothing
		}
		p := &rtp.Packet{Header: rtp.Header{Timestamp: uint32(i * frameSamples), SSRC: 1}, Payload: tone.PCMU.Encode(samples.Next(frameSamples))}
		c.media.hears().packet(p, "")
	}
	if err := <-told; err != nil {
		t.Error(err)
	}
}

// waited tells whether somebody listens for a tone.
func (e *ear) waited(hz float64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.listeners {
		return l.want == hz
	}
	return false
}
