package fsim

import (
	"strconv"
	"strings"
	"time"
)

// plan is a dial string: groups that are tried one after the other, the legs of a group at the same time.
type plan struct {
	vars   [][2]string
	groups [][]branch
}

type branch struct {
	vars   [][2]string
	target string
}

// parsePlan reads {vars}[vars]target,target|target.
func parsePlan(text string) plan {
	var p plan
	p.vars, text = brackets(text, '{', '}')
	for _, group := range splitOutside(text, '|') {
		var legs []branch
		for _, leg := range splitOutside(group, ',') {
			var b branch
			b.vars, b.target = brackets(leg, '[', ']')
			if b.target = strings.TrimSpace(b.target); b.target != "" {
				legs = append(legs, b)
			}
		}
		if len(legs) > 0 {
			p.groups = append(p.groups, legs)
		}
	}
	return p
}

// value is the last one given to a name, "" without.
func value(vars [][2]string, name string) string {
	found := ""
	for _, v := range vars {
		if v[0] == name {
			found = v[1]
		}
	}
	return found
}

// seconds reads a number of seconds; otherwise where there is none.
func seconds(text string, otherwise time.Duration) time.Duration {
	if n, err := strconv.ParseFloat(text, 64); err == nil && n > 0 && n < 1e6 {
		return time.Duration(n * float64(time.Second))
	}
	return otherwise
}

// attempt makes the legs of one group. Its result comes once: who won, or why nobody did.
type attempt struct {
	legs   []*channel
	result chan outcome
	rang   func(early bool) // called when a leg rings, or has early media
}

type outcome struct {
	winner *channel
	cause  string
	sip    string // sip:486 of the leg that decided
}

// call starts a group for a parent, nil for originate.
func (s *Server) call(group []branch, shared [][2]string, parent *channel, rang func(early bool)) *attempt {
	a := &attempt{result: make(chan outcome, 1), rang: rang}
	cause := ""
	for _, b := range group {
		vars := append(append([][2]string{}, shared...), b.vars...)
		to, err := s.parseTarget(b.target)
		if err != nil {
			cause = err.(failure).cause()
			continue
		}
		id := value(vars, "origination_uuid")
		if id == "" {
			id = newUUID()
		}
		if s.channel(id) != nil {
			cause = "DESTINATION_OUT_OF_ORDER"
			continue
		}
		c := s.newLeg(id, to, vars, parent)
		c.earlyWins = !truth(c.get("ignore_early_media")) && len(group) == 1
		a.legs = append(a.legs, c)
	}
	if len(a.legs) == 0 {
		a.result <- outcome{cause: cause}
		return a
	}
	reports := make(chan *channel, len(a.legs))
	for _, c := range a.legs {
		go c.run(func() { c.dialOut(parent, rang) })
		if limit := seconds(c.get("leg_timeout"), 0); limit > 0 {
			c.later(limit, func() { c.giveUp("ALLOTTED_TIMEOUT") })
		}
		go func() {
			select {
			case <-c.settled:
				c.confirmed()
			case <-c.hangup:
			}
			reports <- c
		}()
	}
	go a.judge(reports)
	return a
}

func (f failure) cause() string { return string(f) }

// judge waits for the first leg that is answered, or for the last that is not.
func (a *attempt) judge(reports <-chan *channel) {
	last := outcome{}
	for range a.legs {
		c := <-reports
		if c.up() {
			a.cancel(c, "LOSE_RACE")
			a.result <- outcome{winner: c}
			return
		}
		c.mu.Lock()
		this := outcome{cause: c.cause, sip: c.vars.get("proto_specific_hangup_cause")}
		c.mu.Unlock()
		if last.cause == "" || this.cause == "USER_BUSY" {
			last = this
		}
	}
	a.result <- last
}

// cancel ends all legs but one.
func (a *attempt) cancel(but *channel, why string) {
	for _, c := range a.legs {
		if c != but {
			c.end(why, false)
		}
	}
}

// giveUp ends a leg that is not answered yet.
func (c *channel) giveUp(why string) {
	select {
	case <-c.settled:
	default:
		c.end(why, false)
	}
}

// dialOut is the session of a leg of ours until somebody gives it something to do.
func (c *channel) dialOut(parent *channel, rang func(early bool)) {
	c.enter("CS_INIT")
	c.fire("CHANNEL_CREATE")
	c.fire("CHANNEL_ORIGINATE")
	c.enter("CS_ROUTING")
	c.enter("CS_CONSUME_MEDIA")
	go c.leg.call(parent, rang)
	go func() {
		<-c.hangup
		c.leg.cancelOnce.Do(func() { close(c.leg.cancelling) })
	}()
	c.wait(wait{deaf: true})
}

// originate dials for `api originate`: nobody waits on a channel for it.
func (s *Server) originate(text string) (*channel, string) {
	p := parsePlan(text)
	if len(p.groups) == 0 {
		return nil, "DESTINATION_OUT_OF_ORDER"
	}
	deadline := time.NewTimer(seconds(value(p.vars, "originate_timeout"), time.Minute))
	defer deadline.Stop()
	cause := ""
	for _, group := range p.groups {
		a := s.call(group, p.vars, nil, func(bool) {})
		select {
		case r := <-a.result:
			if r.winner != nil {
				return r.winner, ""
			}
			cause = r.cause
		case <-deadline.C:
			a.cancel(nil, "NO_ANSWER")
			<-a.result
			return nil, "NO_ANSWER"
		case <-s.ctx.Done():
			return nil, "SYSTEM_SHUTDOWN"
		}
	}
	return nil, cause
}
