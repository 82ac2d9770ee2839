package fsim

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/test/phone/tone"
)

// uuidMedia is `uuid_media [off] UUID`: the media of a bridge goes from phone to phone, or comes back. It says
// success whatever happened, as the real one does.
func (s *Server) uuidMedia(args string) string {
	f := strings.Fields(args)
	off := len(f) > 0 && f[0] == "off"
	if off {
		f = f[1:]
	}
	if len(f) == 0 {
		return "-USAGE: [off] <uuid>\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return "-ERR Operation failed\n"
	}
	c.mu.Lock()
	peer := c.partner
	c.mu.Unlock()
	if peer == nil {
		return anySuccess // and does nothing anybody wants
	}
	switch {
	case off:
		c.release(peer)
	case !c.isFreed() && !peer.isFreed():
		return "-ERR Operation failed\n"
	default:
		c.retake(peer)
	}
	return anySuccess
}

// uuidReneg is `uuid_media_reneg UUID`: the phone is offered the media as it runs. It does not wait for the answer.
func (s *Server) uuidReneg(args string) string {
	c := s.channel(args)
	if c == nil {
		return "-ERR Operation failed\n"
	}
	go func() { _, _ = c.offerAddress(c.localAddr(), "sendrecv") }()
	return anySuccess
}

// release offers each side the address of the other, at the same moment. Who refuses keeps sending to us, and is
// heard by nobody.
func (c *channel) release(peer *channel) {
	bond := header{"Bridge-A-Unique-ID", c.id}
	c.s.fire(withHeaders(c.event("CHANNEL_UNBRIDGE"), bond, header{"Bridge-B-Unique-ID", peer.id}))
	for _, one := range []*channel{c, peer} {
		one.enter("CS_PARK")
		one.fire("CHANNEL_PARK")
		one.fireExecution("CHANNEL_EXECUTE", execution{"signal_bridge", map[bool]string{true: peer.id, false: c.id}[one == c], newUUID()})
	}
	c.s.free(true, c, peer)
	var both sync.WaitGroup
	var refused atomic.Bool // by the first side
	both.Go(func() {
		_, err := c.offerAddress(peer.remoteAddr(), "sendrecv")
		refused.Store(err != nil)
	})
	both.Go(func() { _, _ = peer.offerAddress(c.remoteAddr(), "sendrecv") })
	waited := make(chan struct{})
	go func() {
		both.Wait()
		close(waited)
	}()
	stall := 40 * time.Millisecond
	select {
	case <-waited:
	case <-time.After(stall):
	}
	if refused.Load() {
		c.stall()
	}
	for _, one := range []*channel{c, peer} {
		one.fire("CHANNEL_UNPARK")
		one.enter("CS_HIBERNATE")
	}
	c.s.fire(withHeaders(c.event("CHANNEL_BRIDGE"), bond, header{"Bridge-B-Unique-ID", peer.id}))
}

// stall is how long the command hangs that a phone refused.
func (c *channel) stall() {
	select {
	case <-time.After(c.s.opt.ReleaseStall):
	case <-c.hangup:
	case <-c.s.ctx.Done():
	}
}

// retake brings the media back, one leg after the other.
func (c *channel) retake(peer *channel) {
	bond := []header{{"Bridge-A-Unique-ID", c.id}, {"Bridge-B-Unique-ID", peer.id}}
	c.s.fire(withHeaders(c.event("CHANNEL_UNBRIDGE"), bond...))
	refused := false
	for _, one := range []*channel{c, peer} {
		if _, err := one.offerAddress(one.localAddr(), "sendrecv"); err != nil {
			refused = true
			c.s.studio.mu.Lock()
			one.track.deaf = true
			c.s.studio.mu.Unlock()
		}
	}
	if refused {
		c.stall()
	}
	c.s.free(false, c, peer)
	for _, one := range []*channel{c, peer} {
		one.enter(map[bool]string{true: "CS_SOFT_EXECUTE", false: "CS_EXCHANGE_MEDIA"}[one == c])
	}
	c.fireExecution("CHANNEL_EXECUTE", execution{"uuid_bridge", peer.id, newUUID()})
	c.s.fire(withHeaders(c.event("CHANNEL_BRIDGE"), bond...))
}

func withHeaders(e *event, more ...header) *event {
	e.headers = append(e.headers, more...)
	return e
}

// free takes channels out of our media, or back.
func (s *Server) free(freed bool, list ...*channel) {
	s.studio.mu.Lock()
	defer s.studio.mu.Unlock()
	for _, c := range list {
		c.track.freed = freed
	}
}

func (c *channel) remoteAddr() netip.AddrPort {
	c.s.studio.mu.Lock()
	defer c.s.studio.mu.Unlock()
	return c.track.port.peer
}

func (c *channel) isFreed() bool {
	c.s.studio.mu.Lock()
	defer c.s.studio.mu.Unlock()
	return c.track.freed
}

// takeMedia has a channel hear us again that was released: for good when its talk is over, else until the function
// returned is called.
func (c *channel) takeMedia() (giveBack func()) {
	if !c.isFreed() {
		return func() {}
	}
	c.mu.Lock()
	peer := c.partner
	c.mu.Unlock()
	if peer == nil {
		c.offerAddress(c.localAddr(), "sendrecv")
		c.s.free(false, c)
		return func() {}
	}
	c.retake(peer)
	return func() { c.release(peer) }
}

// offerAddress re-INVITEs a phone with our SDP but another's address. Its answer changes where we would send to.
func (c *channel) offerAddress(at netip.AddrPort, dir string) (description, error) {
	l := c.leg
	law, event := c.law(), c.eventPayload()
	l.mu.Lock()
	if l.sessions == 0 {
		l.sessions = uint64(time.Now().Unix())
		l.version = l.sessions
	}
	l.version++
	sdp := l.s.ourSDP(l.sessions, l.version, at, []tone.Law{law}, event, dir)
	l.mu.Unlock()
	ctx, stop := context.WithTimeout(l.s.ctx, ackTimeout)
	defer stop()
	answer, code, err := l.offer(ctx, sdp)
	if err != nil {
		l.s.log.Info("offer refused", "channel", c.id, "error", err)
		switch {
		case code == 0 && c.up():
			c.end("MANDATORY_IE_MISSING", false) // no answer at all: the real one hangs up
		case code != 0 && code != 488 && code != 491:
			c.end(causeOfSIP(code), false)
		}
		return description{}, err
	}
	d, err := c.agree(answer, []tone.Law{law})
	if err != nil {
		l.s.log.Info("answer to our offer", "channel", c.id, "error", err)
	}
	return d, err
}

// reoffered answers a re-INVITE: hold and its end, a new address. While the media is released the offer belongs to
// the other phone, and is passed on.
func (l *leg) reoffered(body string) (string, error) {
	c := l.c
	law, event := c.law(), c.eventPayload()
	if body == "" {
		return l.write([]tone.Law{law}, event, "sendrecv"), nil
	}
	d, err := c.agree(body, []tone.Law{tone.PCMU, tone.PCMA})
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	was, peer := c.held, c.partner
	c.held = !d.theyReceive()
	changed := was != c.held
	c.mu.Unlock()
	if c.isFreed() && peer != nil {
		return l.passOn(peer, d) // no CHANNEL_HOLD, no music
	}
	if changed {
		c.onHold(!was, peer)
	}
	return l.write([]tone.Law{c.law()}, d.event, d.mirrored()), nil
}

// passOn offers one phone's hold, or its end, to the other one and answers as that answers.
func (l *leg) passOn(peer *channel, d description) (string, error) {
	theirs, err := peer.offerAddress(d.addr, d.dir)
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version++
	return l.s.ourSDP(l.sessions, l.version, theirs.addr, []tone.Law{l.c.law()}, d.event, theirs.dir), nil
}

// onHold tells hold or its end; the partner hears music while it lasts.
func (c *channel) onHold(on bool, peer *channel) {
	c.s.fire(c.event(map[bool]string{true: "CHANNEL_HOLD", false: "CHANNEL_UNHOLD"}[on]))
	c.call(map[bool]string{true: "HELD", false: "ACTIVE"}[on])
	if peer == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !on {
		if c.music != nil {
			c.s.studio.pop(peer.track, c.music)
		}
		c.music = nil
		return
	}
	opened, err := c.s.openSound("local_stream://moh")
	if err != nil {
		return
	}
	c.music = newPlayer(opened)
	c.s.studio.push(peer.track, c.music)
}
