package fsim

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// dialStatus is DIALSTATUS by the cause that an originate failed with; others are the cause itself.
var dialStatus = map[string]string{
	"ORIGINATOR_CANCEL": "CANCEL", "USER_BUSY": "BUSY", "NO_ANSWER": "NOANSWER", "DESTINATION_OUT_OF_ORDER": "INVALIDARGS",
	"INVALID_PROFILE": "INVALIDARGS", "CALL_REJECTED": "DONTCALL",
}

// appBridge calls others and connects the caller with the first who answers.
func appBridge(c *channel, data string) {
	for _, name := range []string{"originate_disposition", "DIALSTATUS", "originate_failed_cause", "bridge_hangup_cause", "last_bridge_hangup_cause",
		"last_bridge_proto_specific_hangup_cause", "bridge_uuid", "bridge_channel"} {
		c.set(name, "")
	}
	peer, result := c.ringOut(data)
	if peer == nil {
		c.dialFailed(result)
		return
	}
	c.mu.Lock()
	c.vars.set("originate_disposition", "SUCCESS")
	c.vars.set("DIALSTATUS", "SUCCESS")
	c.vars.push("originate_causes", peer.id+";NONE")
	c.vars.push("originated_legs", peer.id+";"+peer.profile.calleeName+";"+peer.profile.destination)
	c.mu.Unlock()
	select {
	case <-peer.talking:
		if !c.answer() {
			peer.end("ORIGINATOR_CANCEL", false)
			return
		}
	default:
		if !c.preAnswer() {
			peer.end("ORIGINATOR_CANCEL", false)
			return
		}
		go c.answerWith(peer)
	}
	c.talk(peer)
	if c.ready() && truth(c.get("hangup_after_bridge")) {
		c.end(peer.endCause(), false)
	}
}

// answerWith answers the caller when his partner does, who was early until then.
func (c *channel) answerWith(peer *channel) {
	select {
	case <-peer.talking:
		c.answer()
	case <-peer.hangup:
	case <-c.hangup:
	}
}

func (c *channel) endCause() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == "" {
		return normalClearing
	}
	return c.cause
}

// ringOut dials until somebody answers; the caller hears ringing meanwhile.
func (c *channel) ringOut(data string) (*channel, outcome) {
	p := parsePlan(data)
	last := outcome{cause: "DESTINATION_OUT_OF_ORDER"}
	limit := seconds(value(p.vars, "originate_timeout"), seconds(c.get("call_timeout"), time.Minute))
	deadline := time.Now().Add(limit)
	tune := &ringback{c: c}
	defer tune.stop()
	if truth(c.get("instant_ringback")) || truth(value(p.vars, "instant_ringback")) {
		tune.start()
	}
	for _, group := range p.groups {
		a := c.s.call(group, p.vars, c, func(early bool) {
			if !early {
				tune.start()
			}
		})
		answered := make(chan struct{})
		var result outcome
		go func() {
			result = <-a.result
			close(answered)
		}()
		switch c.wait(wait{done: answered, timeout: max(time.Until(deadline), time.Millisecond), deaf: true}) {
		case done:
			if result.winner != nil {
				return result.winner, result
			}
			last = result
			continue
		case timedOut:
			a.cancel(nil, "NO_ANSWER")
			<-answered
			return nil, outcome{cause: "NO_ANSWER"}
		case left, broken, stopped:
			a.cancel(nil, "ORIGINATOR_CANCEL")
			<-answered
			return nil, outcome{cause: "ORIGINATOR_CANCEL"}
		}
	}
	return nil, last
}

// dialFailed sets what tells of it. Without continue_on_fail the caller gets the cause.
func (c *channel) dialFailed(r outcome) {
	status := dialStatus[r.cause]
	if status == "" {
		status = r.cause
	}
	c.mu.Lock()
	c.vars.set("originate_disposition", r.cause)
	c.vars.set("DIALSTATUS", status)
	c.vars.set("originate_failed_cause", r.cause)
	c.vars.set("last_bridge_hangup_cause", r.cause)
	c.vars.set("last_bridge_proto_specific_hangup_cause", r.sip)
	more := c.vars.get("continue_on_fail")
	c.mu.Unlock()
	if truth(more) || slices.Contains(strings.Split(more, ","), r.cause) {
		return
	}
	c.end(r.cause, false)
}

// ringback is what the caller hears while others ring: of ringback before he is answered (without it a 180), of
// transfer_ringback behind. Both are a sound, or tones in teletone's notation as they are.
type ringback struct {
	c    *channel
	once sync.Once
	mu   sync.Mutex
	play *player
	over bool
}

func (r *ringback) start() { r.once.Do(r.begin) }

func (r *ringback) begin() {
	c := r.c
	name := c.get("ringback")
	c.mu.Lock()
	answered := !c.answered.IsZero()
	c.mu.Unlock()
	if answered {
		name = c.get("transfer_ringback")
	}
	if name == "" {
		if !answered {
			c.ringReady()
		}
		return
	}
	if strings.HasPrefix(name, "%(") { // tones need no scheme here
		name = "tone_stream://" + name
	}
	opened, err := c.s.openSound(name)
	if err != nil {
		c.s.log.Warn("ringback", "channel", c.id, "error", err)
		return
	}
	if one, ok := opened.(*clip); ok {
		one.loops = -1
	}
	if !c.preAnswer() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.play = newPlayer(opened)
	c.s.studio.push(c.track, r.play)
}

func (r *ringback) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	if r.play != nil {
		r.c.s.studio.pop(r.c.track, r.play)
	}
}

// talk connects two channels until one of them goes. It runs in the session of the first.
func (c *channel) talk(peer *channel) {
	over, gone := make(chan struct{}), make(chan struct{})
	c.join(peer)
	if !peer.divert(func() { peer.exchange(c, over, gone) }) {
		close(gone)
	}
	e := c.event("CHANNEL_BRIDGE")
	c.s.fire(e.add("Bridge-A-Unique-ID", c.id).add("Bridge-B-Unique-ID", peer.id))
	fromPeer, fromUs := partner{peer.track}, partner{c.track}
	c.s.studio.push(c.track, fromPeer)
	c.s.studio.push(peer.track, fromUs)
	ended := make(chan struct{})
	go func() {
		select {
		case <-peer.hangup:
		case <-gone:
		}
		close(ended)
	}()
	for how := broken; how == broken; {
		how = c.wait(wait{done: ended, digit: func(p press) bool {
			peer.dial(p.digit)
			return false
		}})
	}
	close(over)
	c.s.studio.pop(c.track, fromPeer)
	c.s.studio.pop(peer.track, fromUs)
	why := peer.endCause()
	if !c.up() {
		why = c.endCause()
	}
	peer.mu.Lock()
	proto := peer.vars.get("proto_specific_hangup_cause")
	peer.mu.Unlock()
	c.mu.Lock()
	c.vars.set("bridge_hangup_cause", why)
	c.vars.set("last_bridge_hangup_cause", why)
	c.vars.set("last_bridge_proto_specific_hangup_cause", proto)
	c.vars.set("last_bridge_role", "originator")
	c.mu.Unlock()
	c.s.fire(c.event("CHANNEL_UNBRIDGE").add("Bridge-A-Unique-ID", c.id).add("Bridge-B-Unique-ID", peer.id))
	c.mu.Lock()
	c.partner = nil
	c.mu.Unlock()
}

// join sets what each of two connected channels knows of the other.
func (c *channel) join(peer *channel) {
	now := time.Now()
	for _, pair := range [][2]*channel{{c, peer}, {peer, c}} {
		a, b := pair[0], pair[1]
		b.mu.Lock()
		dialed := b.profile.destination
		b.mu.Unlock()
		a.mu.Lock()
		a.partner, a.partnerTo, a.bridged = b, dialed, now
		for _, name := range []string{"bridge_to", "last_bridge_to", "signal_bond"} {
			a.vars.set(name, b.id)
		}
		a.mu.Unlock()
	}
	c.set("bridge_uuid", peer.id)
	c.set("bridge_channel", peer.profile.channelName)
}

// exchange is the session of the second leg while it is connected.
func (c *channel) exchange(with *channel, over <-chan struct{}, gone chan<- struct{}) {
	defer close(gone)
	if with.isPaired() {
		c.enter("CS_SOFT_EXECUTE")
		c.fireExecution("CHANNEL_EXECUTE", execution{"uuid_bridge", with.id, newUUID()})
	}
	c.enter("CS_EXCHANGE_MEDIA")
	for how := broken; how == broken; {
		how = c.wait(wait{done: over, digit: func(p press) bool {
			with.dial(p.digit)
			return false
		}})
	}
	c.mu.Lock()
	c.partner = nil
	c.mu.Unlock()
	if !c.ready() {
		return
	}
	if truth(c.get("park_after_bridge")) {
		c.enter("CS_PARK")
		c.park(nil)
		return
	}
	why := normalClearing
	if !with.up() {
		why = with.endCause()
	}
	c.end(why, false)
}

func (c *channel) isPaired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paired
}

// dial sends a digit to the other side (RFC 4733).
func (c *channel) dial(digit byte) {
	c.s.studio.mu.Lock()
	defer c.s.studio.mu.Unlock()
	if p := c.track.port; p != nil && len(p.pressed) < 64 {
		p.pressed = append(p.pressed, digit)
	}
}
