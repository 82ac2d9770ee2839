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
	quiet    bool // the previous frame was not sent: the next one carries the marker
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
	if len(m.digits) > 0 {
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

func (m *mouth) press(digits string) error {
	digits = strings.ToUpper(digits)
	for _, d := range digits {
		if !strings.ContainsRune(dtmf, d) {
			return fmt.Errorf("%q is not a DTMF digit", d)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.event == 0 {
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
func (c *Call) SendDigits(digits string) error { return c.media.speaks().press(digits) }
