package fsim

import (
	"fmt"
	"strings"
	"time"
)

// dialplan is what freeswitch-cfg/dialplan/sipio.xml does with a call, action by action: a guard, then the agents,
// and behind them the context away. A test holds it to that file.
func (s *Server) dialplan() []Action {
	if s.opt.Dialplan != nil {
		return s.opt.Dialplan
	}
	return append([]Action{
		{"sched_hangup", after(s.opt.Guard) + " NORMAL_TEMPORARY_FAILURE"},
		{"set", "socket_resume=true"},
		{"set", "hangup_after_bridge=false"},
		{"set", "continue_on_fail=true"},
		{"set", "hangup_after_conference=false"},
		{"set", "playback_terminators=none"},
		{"set", "sip_copy_custom_headers=false"},
		{"export", "nolocal:absolute_codec_string=PCMA,PCMU"},
		{"set", "send_silence_when_idle=-1"},
	}, s.handOver(Action{"transfer", "away XML away"})...)
}

// away is what happens to a call that no agent has.
func (s *Server) away(answered bool) []Action {
	if !answered {
		return []Action{{"hangup", "NORMAL_TEMPORARY_FAILURE"}}
	}
	return append([]Action{
		{"set", "sipio_resumed=true"},
		{"sched_hangup", after(s.opt.ResumeGuard) + " NORMAL_TEMPORARY_FAILURE"},
	}, s.handOver(Action{"sleep", fmt.Sprint(s.opt.ResumePause.Milliseconds())}, Action{"transfer", "away XML away"})...)
}

func (s *Server) handOver(behind ...Action) []Action {
	if len(s.opt.Outbound) == 0 {
		return behind
	}
	return append([]Action{{"socket", strings.Join(s.opt.Outbound, "|") + " async full"}}, behind...)
}

// after writes a delay as the scheduler takes it. The real one knows whole seconds; tests may want less.
func after(d time.Duration) string { return fmt.Sprintf("+%g", d.Seconds()) }

// route takes a call that came in, or that was transferred, through a dialplan.
func (c *channel) route(list []Action) {
	c.mu.Lock()
	fresh := c.state == "CS_NEW"
	c.mu.Unlock()
	if fresh {
		c.fire("CHANNEL_STATE")
		c.enter("CS_INIT")
		c.fire("CHANNEL_CREATE")
		c.call("RINGING")
	}
	c.enter("CS_ROUTING")
	c.actions(list)
}

// transfer sends the channel to an extension: of the contexts sipio and away, or inline applications (app:data,app:data).
func (c *channel) transfer(data string) bool {
	fields := words(data, 3)
	if len(fields) == 0 {
		return false
	}
	context := c.profile.context
	if len(fields) > 2 {
		context = fields[2]
	}
	var list []Action
	switch {
	case len(fields) > 1 && strings.EqualFold(fields[1], "inline"):
		for _, item := range splitOutside(fields[0], ',') {
			app, arg, _ := strings.Cut(item, ":")
			list = append(list, Action{strings.Trim(app, "'"), strings.Trim(arg, "'")})
		}
	case context == "away":
		list = c.s.away(c.get("endpoint_disposition") == "ANSWER")
	default:
		list = c.s.dialplan()
	}
	c.mu.Lock()
	c.profile.destination, c.profile.context = fields[0], context
	c.profile.index++
	c.mu.Unlock()
	return c.divert(func() { c.route(list) })
}

// park keeps the channel until it is diverted, ends, or until is closed. Messages are executed meanwhile. Nothing is
// sent to a parked caller unless send_silence_when_idle asks for it. park_timeout, in seconds, ends the channel of one park.
func (c *channel) park(until <-chan struct{}) {
	if limit := seconds(c.get("park_timeout"), 0); limit > 0 {
		c.set("park_timeout", "")
		guard := time.AfterFunc(limit, func() { c.end(normalClearing, false) })
		defer guard.Stop()
	}
	c.fire("CHANNEL_PARK")
	idle := &silence{wanted: &c.idleNoise}
	c.s.studio.under(c.track, idle)
	for {
		how := c.wait(wait{done: until, digit: func(press) bool { return false }})
		if how == left || how == done {
			break
		}
	}
	c.s.studio.pop(c.track, idle)
	c.fire("CHANNEL_UNPARK")
}

// under puts a source below all that a channel hears.
func (t *studio) under(k *track, s source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.stack = append([]source{s}, k.stack...)
}
