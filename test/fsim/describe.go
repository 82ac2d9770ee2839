package fsim

import (
	"strconv"
	"time"
)

// basic are the events that carry no variables, and no more of the caller than the profile.
var basic = map[string]bool{"CHANNEL_STATE": true, "CHANNEL_CALLSTATE": true, "DTMF": true, "CODEC": true, "CUSTOM": true}

// stateNumber is Channel-State-Number.
var stateNumber = map[string]int{
	"CS_NEW": 0, "CS_INIT": 1, "CS_ROUTING": 2, "CS_SOFT_EXECUTE": 3, "CS_EXECUTE": 4, "CS_EXCHANGE_MEDIA": 5, "CS_PARK": 6,
	"CS_CONSUME_MEDIA": 7, "CS_HIBERNATE": 8, "CS_RESET": 9, "CS_HANGUP": 10, "CS_REPORTING": 11, "CS_DESTROY": 12,
}

// event makes an event of this channel.
func (c *channel) event(name string) *event {
	return c.describe(c.s.newEvent(name))
}

func (c *channel) fire(name string) { c.s.fire(c.event(name)) }

// describe adds to an event what is known of the channel.
func (c *channel) describe(e *event) *event {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.uuid = c.id
	if c.cause != "" {
		e.add("Hangup-Cause", c.cause)
	}
	c.basics(e)
	if c.cause != "" {
		e.add("Hangup-Cause", c.cause)
	}
	c.profile.describe(e, "Caller", c)
	if c.partner != nil {
		e.add("Other-Type", map[bool]string{true: "originatee", false: "originator"}[c.inbound])
		e.add("Other-Leg-Direction", c.partner.direction())
		e.add("Other-Leg-Unique-ID", c.partner.id)
		e.add("Other-Leg-Destination-Number", c.partnerTo)
		e.add("Other-Leg-Channel-Name", c.partner.profile.channelName)
	}
	if !basic[e.name] {
		c.variables(e)
	}
	return e
}

func (c *channel) basics(e *event) {
	e.add("Channel-State", c.state).add("Channel-Call-State", c.callState).
		add("Channel-State-Number", strconv.Itoa(stateNumber[c.state])).add("Channel-Name", c.profile.channelName).
		add("Unique-ID", c.id).add("Call-Direction", c.direction()).add("Presence-Call-Direction", c.direction()).
		add("Channel-HIT-Dialplan", strconv.FormatBool(c.inbound)).add("Channel-Call-UUID", c.callUUID()).add("Answer-State", c.answerState())
	if codec := c.vars.get("read_codec"); codec != "" {
		for _, way := range []string{"Read", "Write"} {
			e.add("Channel-"+way+"-Codec-Name", codec).add("Channel-"+way+"-Codec-Rate", "8000").add("Channel-"+way+"-Codec-Bit-Rate", "64000")
		}
	}
}

// callUUID is the channel that the call began with.
func (c *channel) callUUID() string {
	if id := c.vars.get("call_uuid"); id != "" {
		return id
	}
	return c.id
}

func (c *channel) answerState() string {
	switch {
	case c.cause != "":
		return "hangup"
	case !c.answered.IsZero():
		return "answered"
	case !c.early.IsZero():
		return "early"
	}
	return "ringing"
}

func micros(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixMicro(), 10)
}

// describe adds the profile under a prefix: Caller for every event, Channel besides for the reply to connect.
func (p *profile) describe(e *event, prefix string, c *channel) {
	field := func(name, value string) {
		if value != "" {
			e.add(prefix+"-"+name, value)
		}
	}
	field("Direction", c.direction())
	field("Logical-Direction", c.direction())
	field("Username", p.username)
	field("Dialplan", p.dialplan)
	field("Caller-ID-Name", p.name)
	field("Caller-ID-Number", p.number)
	field("Orig-Caller-ID-Name", p.name)
	field("Orig-Caller-ID-Number", p.number)
	field("Callee-ID-Name", p.calleeName)
	field("Callee-ID-Number", p.calleeNumber)
	field("Network-Addr", p.networkAddr)
	field("ANI", p.ani)
	field("Destination-Number", p.destination)
	field("Unique-ID", c.id)
	field("Source", p.source)
	field("Context", p.context)
	field("Channel-Name", p.channelName)
	field("Profile-Index", strconv.Itoa(p.index))
	field("Profile-Created-Time", micros(p.created))
	field("Channel-Created-Time", micros(c.created))
	field("Channel-Answered-Time", micros(c.answered))
	field("Channel-Progress-Time", "0")
	field("Channel-Progress-Media-Time", micros(c.early))
	field("Channel-Hangup-Time", micros(c.hungUp))
	field("Channel-Transfer-Time", "0")
	field("Channel-Resurrect-Time", "0")
	field("Channel-Bridged-Time", micros(c.bridged))
	field("Channel-Last-Hold", "0")
	field("Channel-Hold-Accum", "0")
	field("Screen-Bit", "true")
	field("Privacy-Hide-Name", "false")
	field("Privacy-Hide-Number", "false")
}

func (c *channel) variables(e *event) {
	for _, name := range c.vars.order {
		e.add("variable_"+name, c.vars.get(name))
	}
}

// connectReply is the answer to `connect`: flat, with the profile twice.
func (c *channel) connectReply() *event {
	e := c.s.newEvent("CHANNEL_DATA")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.profile.describe(e, "Channel", c)
	c.basics(e)
	c.profile.describe(e, "Caller", c)
	c.variables(e)
	e.add("Content-Type", "command/reply").add("Reply-Text", "+OK\n").add("Socket-Mode", "async").add("Control", "full")
	return e
}
