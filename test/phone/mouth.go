package phone

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/sipio/sipio/test/phone/tone"
)

const (
	frame        = 20 * time.Millisecond
	frameSamples = tone.Rate / 50
	// maxCatchUp bounds the packets sent in a burst after this process was not scheduled for a while.
	maxCatchUp = 10
	// digitFrames is how many packets one DTMF digit lasts (100 ms), the last three of them marked as its end.
	digitFrames = 5
	// digitPause is the number of frames of quiet after a digit.
	digitPause = 3
)

// dtmf is the event code of RFC 4733 for each digit, by position.
const dtmf = "0123456789*#ABCD"

// mouth is the sending half of a call's audio. It makes one packet each 20 ms while it has something to say and
// may say it.
type mouth struct {
	transmit func(*rtp.Packet) error
	sent     atomic.Uint64

	mu       sync.Mutex
	source   *tone.Generator // nil: no packets
	allowed  bool            // by negotiation: remote known, direction lets us send, not on hold
	law      tone.Law
	event    uint8
	digits   []byte
	digitAt  int // frames of the current digit already sent
	digitTS  uint32
	inband   bool            // the digits are dual tones (ITU-T Q.23), not events
	beep     *tone.Generator // of the current digit then
	quiet    bool            // the previous frame was not sent: the next one carries the marker
	sequence uint16
	ssrc     uint32
}

func newMouth(transmit func(*rtp.Packet) error) *mouth {
	return &mouth{transmit: transmit, quiet: true, sequence: uint16(rand.Uint32()), ssrc: rand.Uint32()}
}

// speak runs until ctx ends. Timestamps follow the clock, also through pauses.
func (m *mouth) speak(ctx context.Context) {
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	start, base, next := time.Now(), rand.Uint32(), int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		due := int64(time.Since(start) / frame)
		next = max(next, due-maxCatchUp)
		for ; next < due; next++ {
			if p := m.packet(base + uint32(next)*frameSamples); p != nil && m.transmit(p) == nil {
				m.sent.Add(1)
			}
		}
	}
}

// packet makes the packet for the frame at ts, nil when there is nothing to send.
func (m *mouth) packet(ts uint32) *rtp.Packet {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.allowed || (m.source == nil && len(m.digits) == 0) {
		m.quiet = true
		return nil
	}
	p := &rtp.Packet{Header: rtp.Header{Version: 2, Timestamp: ts, SSRC: m.ssrc, Marker: m.quiet, PayloadType: uint8(m.law)}}
	if len(m.digits) > 0 && m.inband {
		m.beepFrame(p)
	} else if len(m.digits) > 0 {
		if !m.digit(p) {
			m.quiet = true
			return nil
		}
	} else {
		p.Payload = m.law.Encode(m.source.Next(frameSamples))
	}
	m.sequence++
	p.SequenceNumber = m.sequence
	m.quiet = false
	return p
}

// digit fills p with the next piece of the first waiting digit; false is a frame of pause after it.
func (m *mouth) digit(p *rtp.Packet) bool {
	at := m.digitAt
	m.digitAt++
	if m.digitAt == digitFrames+digitPause {
		defer func() { m.digits, m.digitAt = m.digits[1:], 0 }()
	}
	if at >= digitFrames {
		return false
	}
	if at == 0 {
		m.digitTS = p.Timestamp
	}
	end := byte(0)
	if at >= digitFrames-3 {
		end = 0x80
	}
	length := (min(at, digitFrames-3) + 1) * frameSamples
	p.Timestamp, p.Marker, p.PayloadType = m.digitTS, at == 0, m.event
	p.Payload = []byte{byte(strings.IndexByte(dtmf, m.digits[0])), end | 10, byte(length >> 8), byte(length)}
	return true
}

// Rows and columns of the keypad in Hz (ITU-T Q.23), and the keys in that order.
var (
	rows    = [...]float64{697, 770, 852, 941}
	columns = [...]float64{1209, 1336, 1477, 1633}
)

const keypad = "123A456B789C*0#D"

// beepFrame fills p with 20 ms of the first waiting digit's tones, or of the silence after it.
func (m *mouth) beepFrame(p *rtp.Packet) {
	if m.digitAt == 0 {
		key := strings.IndexByte(keypad, m.digits[0])
		m.beep = tone.NewGenerator(rows[key/4], columns[key%4])
	}
	if m.digitAt == digitFrames {
		m.beep = tone.NewGenerator(0)
	}
	p.Payload = m.law.Encode(m.beep.Next(frameSamples))
	if m.digitAt++; m.digitAt == digitFrames+digitPause {
		m.digits, m.digitAt = m.digits[1:], 0
	}
}

func (m *mouth) say(g *tone.Generator) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source = g
}

// negotiate sets what offer and answer agreed on.
func (m *mouth) negotiate(law tone.Law, event uint8, allowed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.law, m.event, m.allowed = law, event, allowed
}

// press queues digits, as events or as tones.
func (m *mouth) press(digits string, inband bool) error {
	digits = strings.ToUpper(digits)
	for _, d := range digits {
		if !strings.ContainsRune(dtmf, d) {
			return fmt.Errorf("%q is not a DTMF digit", d)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.digits) > 0 && m.inband != inband {
		return fmt.Errorf("digits of the other kind are waiting")
	}
	m.inband = inband
	if m.event == 0 && !inband {
		return fmt.Errorf("telephone-event was not negotiated")
	}
	if len(m.digits)+len(digits) > 64 {
		return fmt.Errorf("more than 64 digits waiting")
	}
	m.digits = append(m.digits, digits...)
	return nil
}

// SendTone sends a tone of hz in 20 ms packets until another call changes it, also through a re-INVITE; on hold
// it pauses. It may be called before the call is answered and starts as soon as the other side's SDP is known.
// 0 sends packets of silence.
func (c *Call) SendTone(hz float64) { c.media.speaks().say(tone.NewGenerator(hz)) }

// SendDigits queues DTMF digits (0-9 * # A-D) as RFC 4733 events, 100 ms each. It does not wait.
func (c *Call) SendDigits(digits string) error { return c.media.speaks().press(digits, false) }

// SendTones queues DTMF digits as dual tones within the audio, 100 ms each and 60 ms of silence. It does not wait.
func (c *Call) SendTones(digits string) error { return c.media.speaks().press(digits, true) }
