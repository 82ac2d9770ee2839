package fsim

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// studio moves the audio of all channels: one goroutine, one beat each 20 ms. Its lock guards all that is audio.
type studio struct {
	mu      sync.Mutex
	tracks  map[*track]struct{}
	rooms   map[*conference]struct{}
	seats   map[*conference][]*member // who is in a room, as of the newest change
	packets []outgoing                // of the current beat
}

type outgoing struct {
	p    *port
	to   netip.AddrPort
	data []byte
}

// track is the audio of one channel.
type track struct {
	port  *port    // nil before the first SDP
	stack []source // the last one is heard; those below wait where they are
	bugs  []bug    // who listens to both directions
	freed bool     // the media runs around us (uuid_media off): nothing is heard, sent or recorded
	deaf  bool     // the phone refused to send to us again: it is not heard

	in, out   block
	came, any bool // in and out hold something in this beat
}

// source is what a channel hears: a player, its partner in a bridge, a conference. False: no packet in this beat.
type source interface {
	frame(b *block) bool
}

// bug listens to a track; false takes it away.
type bug interface {
	hear(t *track) bool
}

// overdubber is a bug that adds to what a channel says.
type overdubber interface {
	overdub(k *track)
}

// redubber is a bug that puts something else in place of what a channel hears; false takes it away.
type redubber interface {
	redub(k *track) bool
}

// silence is what a channel hears while nothing plays and packets are to flow all the same.
type silence struct{ wanted *atomic.Bool }

func (s *silence) frame(b *block) bool {
	clear(b[:])
	return s.wanted.Load()
}

func newStudio() *studio {
	return &studio{tracks: map[*track]struct{}{}, rooms: map[*conference]struct{}{}, seats: map[*conference][]*member{}}
}

// madeUp is how many beats are made up for after a stall of the machine, two seconds: a beep is heard once, and whole.
const madeUp = 100

// run is the beat, until ctx ends.
func (t *studio) run(ctx context.Context) {
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	start, done := time.Now(), int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		due := int64(time.Since(start) / frame)
		done = max(done, due-madeUp)
		for ; done < due; done++ {
			t.play(uint32(done))
		}
	}
}

// play is one beat: everybody's input, then the conferences, then everybody's output.
func (t *studio) play(n uint32) {
	t.mu.Lock()
	t.packets = t.packets[:0]
	for k := range t.tracks {
		k.came = k.port != nil && k.port.pull(&k.in) && !k.freed && !k.deaf
	}
	for k := range t.tracks {
		for _, b := range k.bugs {
			if o, ok := b.(overdubber); ok {
				o.overdub(k)
			}
		}
	}
	for room := range t.rooms {
		room.mix()
	}
	for k := range t.tracks {
		if data := k.beat(n); data != nil {
			t.packets = append(t.packets, outgoing{k.port, k.port.peer, data})
		}
	}
	t.mu.Unlock()
	for _, o := range t.packets {
		o.p.conn.WriteToUDPAddrPort(o.data, o.to) // nobody there is no fault of ours: RTP is lost now and then
	}
}

// beat makes this channel's packet and lets the bugs hear.
func (k *track) beat(n uint32) []byte {
	if k.port == nil || k.freed {
		return nil
	}
	k.any = false
	if len(k.stack) > 0 {
		k.any = k.stack[len(k.stack)-1].frame(&k.out)
	}
	if !k.any {
		clear(k.out[:])
	}
	k.keep(func(b bug) bool { r, ok := b.(redubber); return !ok || r.redub(k) })
	k.keep(func(b bug) bool { return b.hear(k) })
	return k.port.packet(n, &k.out, k.any)
}

// keep takes away the bugs that are not to stay.
func (k *track) keep(stays func(bug) bool) {
	kept := k.bugs[:0]
	for _, b := range k.bugs {
		if stays(b) {
			kept = append(kept, b)
		}
	}
	clear(k.bugs[len(kept):])
	k.bugs = kept
}

// push puts a source on top of what a channel hears.
func (t *studio) push(k *track, s source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.stack = append(k.stack, s)
}

// pop takes it away again, wherever it stands.
func (t *studio) pop(k *track, s source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(k.stack) - 1; i >= 0; i-- {
		if k.stack[i] == s {
			k.stack = append(k.stack[:i], k.stack[i+1:]...)
			return
		}
	}
}

func (t *studio) plant(k *track, b bug) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.bugs = append(k.bugs, b)
}

// pull takes a bug away; false: it is not there any more.
func (t *studio) pull(k *track, b bug) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, one := range k.bugs {
		if one == b {
			k.bugs = append(k.bugs[:i:i], k.bugs[i+1:]...)
			return true
		}
	}
	return false
}

// player plays a sound and says when it has ended. Below another source it waits.
type player struct {
	sound sound
	done  chan struct{}
	ended bool
	count int // frames played
}

func newPlayer(s sound) *player { return &player{sound: s, done: make(chan struct{})} }

func (p *player) frame(b *block) bool {
	if p.ended {
		return false
	}
	if !p.sound.next(b) {
		p.ended = true
		close(p.done)
		return false
	}
	p.count++
	return true
}

// partner is the other side of a bridge: what came in there goes out here.
type partner struct{ of *track }

func (p partner) frame(b *block) bool {
	*b = p.of.in
	return p.of.came
}
