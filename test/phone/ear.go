package phone

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/pion/rtp"

	"github.com/sipio/sipio/test/phone/tone"
)

// maxGap is the longest hole in the RTP timestamps that is bridged with silence; past it the stream starts afresh.
const maxGap = tone.Rate / 10

// ear is the receiving half of a call's audio: it counts, decodes, and hands samples to whoever listens.
type ear struct {
	mu        sync.Mutex
	received  uint64
	source    string // where the newest packet really came from
	event     uint8  // payload type of telephone-event, 0 if not negotiated
	lastEvent uint32 // RTP timestamp of the last digit, so that its repeats count once
	digits    string
	listeners map[*listener]struct{}
}

// listener is one HearTone, HearSilence or HearDigits in progress. It hears only what arrives after its start.
type listener struct {
	detector tone.Detector
	want     float64 // the tone that HearTone waits for, 0 = none
	heard    bool    // it came, at level: looked for in every packet, for after a stall many come at once
	level    float64
	ssrc     uint32
	next     uint32 // RTP timestamp that would follow without a gap
	packets  int
	loudAt   time.Time
	loud     time.Duration // of all frames above silence
	kept     []int16       // everything heard, when keep says so
	keep     bool
	notify   chan struct{}
}

func (e *ear) listen() *listener {
	l := &listener{notify: make(chan struct{}, 1), loudAt: time.Now()}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.listeners == nil {
		e.listeners = map[*listener]struct{}{}
	}
	e.listeners[l] = struct{}{}
	return l
}

func (e *ear) leave(l *listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.listeners, l)
}

// packet takes one received RTP packet.
func (e *ear) packet(p *rtp.Packet, source string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.received++
	e.source = source
	var samples []int16
	switch {
	case e.event != 0 && p.PayloadType == e.event:
		e.digit(p)
	case p.PayloadType == uint8(tone.PCMU) || p.PayloadType == uint8(tone.PCMA):
		if len(e.listeners) > 0 {
			samples = tone.Law(p.PayloadType).Decode(p.Payload)
		}
	}
	for l := range e.listeners {
		l.hear(p, samples)
	}
}

// digit notes a finished or first-seen telephone-event (RFC 4733); its repeats share one timestamp.
func (e *ear) digit(p *rtp.Packet) {
	if len(p.Payload) < 4 || int(p.Payload[0]) >= len(dtmf) || (e.digits != "" && p.Timestamp == e.lastEvent) {
		return
	}
	e.lastEvent = p.Timestamp
	e.digits += dtmf[p.Payload[0] : p.Payload[0]+1]
}

func (l *listener) hear(p *rtp.Packet, samples []int16) {
	l.packets++
	if len(samples) > 0 {
		gap := p.Timestamp - l.next
		switch {
		case l.packets == 1 || p.SSRC != l.ssrc || gap > maxGap && gap < 1<<31:
			l.detector.Reset()
		case gap > 0 && gap <= maxGap:
			l.detector.Push(make([]int16, gap))
		case gap >= 1<<31: // late or repeated: its place is already filled
			samples = nil
		}
	}
	if len(samples) > 0 {
		l.ssrc, l.next = p.SSRC, p.Timestamp+uint32(len(samples))
		l.detector.Push(samples)
		if l.want > 0 && !l.heard {
			l.level, l.heard = l.detector.Heard(l.want)
		}
		if l.keep {
			l.kept = append(l.kept, samples...)
		}
		if tone.Loudness(samples) > tone.Silence {
			l.loudAt = time.Now()
			l.loud += time.Duration(len(samples)) * time.Second / tone.Rate
		}
	}
	select {
	case l.notify <- struct{}{}:
	default:
	}
}

// HearTone waits until the tone hz was heard for 200 ms without a break, counting only audio that arrives after
// the call of HearTone, and returns its level in dBFS (a phone's own tones are at -10). When ctx ends, the call
// is over or the level never comes, the error says what was heard instead.
func (c *Call) HearTone(ctx context.Context, hz float64) (level float64, err error) {
	e := c.media.hears()
	l := e.listen()
	e.mu.Lock()
	l.want = hz
	e.mu.Unlock()
	defer e.leave(l)
	for {
		select {
		case <-l.notify:
		case <-c.done:
			return math.Inf(-1), e.missed(l, hz, "the call ended")
		case <-ctx.Done():
			return math.Inf(-1), e.missed(l, hz, ctx.Err().Error())
		}
		e.mu.Lock()
		heard, level := l.heard, l.level
		e.mu.Unlock()
		if heard {
			return level, nil
		}
	}
}

func (e *ear) missed(l *listener, hz float64, why string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	loudest, level := l.detector.Loudest()
	return fmt.Errorf("did not hear %g Hz: %s; %d packets came meanwhile (%d in all, last from %q), loudest %.0f Hz at %.1f dBFS",
		hz, why, l.packets, e.received, e.source, loudest, level)
}

// HearSilence waits until nothing above -50 dBFS was heard for d without a break: no packets at all, or silent ones.
func (c *Call) HearSilence(ctx context.Context, d time.Duration) error {
	e := c.media.hears()
	l := e.listen()
	defer e.leave(l)
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			e.mu.Lock()
			left := d - time.Since(l.loudAt)
			e.mu.Unlock()
			if left <= 0 {
				return nil
			}
			timer.Reset(left)
		case <-ctx.Done():
			e.mu.Lock()
			loudest, level := l.detector.Loudest()
			e.mu.Unlock()
			return fmt.Errorf("no silence of %v: %w; loudest %.0f Hz at %.1f dBFS", d, ctx.Err(), loudest, level)
		}
	}
}

// HearSound waits until d of anything above -50 dBFS was heard: speech, music, a tone.
func (c *Call) HearSound(ctx context.Context, d time.Duration) error {
	e := c.media.hears()
	l := e.listen()
	defer e.leave(l)
	for {
		e.mu.Lock()
		loud := l.loud
		e.mu.Unlock()
		if loud >= d {
			return nil
		}
		select {
		case <-l.notify:
		case <-c.done:
			return fmt.Errorf("heard %v of sound, want %v: the call ended", loud, d)
		case <-ctx.Done():
			return fmt.Errorf("heard %v of sound, want %v: %w; %d packets came", loud, d, ctx.Err(), l.packets)
		}
	}
}

// Listen returns what is heard from now on, d of it, as samples at tone.Rate. At most a minute.
func (c *Call) Listen(ctx context.Context, d time.Duration) ([]int16, error) {
	e := c.media.hears()
	l := e.listen()
	e.mu.Lock()
	l.keep = true
	e.mu.Unlock()
	defer e.leave(l)
	want := int(min(d, time.Minute) * tone.Rate / time.Second)
	for {
		e.mu.Lock()
		kept := l.kept
		e.mu.Unlock()
		if len(kept) >= want {
			return kept[:want], nil
		}
		select {
		case <-l.notify:
		case <-c.done:
			return kept, fmt.Errorf("listened to %d samples of %d: the call ended", len(kept), want)
		case <-ctx.Done():
			return kept, fmt.Errorf("listened to %d samples of %d: %w", len(kept), want, ctx.Err())
		}
	}
}

// HearDigits waits until at least n telephone-event digits (RFC 4733) came since the call began and returns all of them.
func (c *Call) HearDigits(ctx context.Context, n int) (string, error) {
	e := c.media.hears()
	l := e.listen()
	defer e.leave(l)
	for {
		e.mu.Lock()
		digits := e.digits
		e.mu.Unlock()
		if len(digits) >= n {
			return digits, nil
		}
		select {
		case <-l.notify:
		case <-c.done:
			return digits, fmt.Errorf("heard digits %q, want %d: the call ended", digits, n)
		case <-ctx.Done():
			return digits, fmt.Errorf("heard digits %q, want %d: %w", digits, n, ctx.Err())
		}
	}
}
