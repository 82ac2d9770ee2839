package fsim

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// terminators are the digits that stop what plays: * unless playback_terminators says otherwise.
func (c *channel) terminators() string {
	switch v := c.get("playback_terminators"); strings.ToLower(v) {
	case "":
		return "*"
	case "none":
		return ""
	case "any":
		return digits
	default:
		return v
	}
}

// playFile plays a sound with its two events. stop says which digits end it.
func (c *channel) playFile(name string, stop func(press) bool) (ending, error) {
	opened, err := c.s.openSound(name)
	if err != nil {
		c.s.log.Info("nothing to play", "channel", c.id, "file", name, "error", err)
		return done, err
	}
	p := newPlayer(opened)
	c.firePlayback("PLAYBACK_START", name, "")
	c.s.studio.push(c.track, p)
	how := c.wait(wait{done: p.done, digit: stop})
	c.s.studio.pop(c.track, p)
	c.s.studio.mu.Lock()
	ms := p.count * 20
	c.s.studio.mu.Unlock()
	c.mu.Lock()
	c.vars.set("playback_seconds", strconv.Itoa(ms/1000))
	c.vars.set("playback_ms", strconv.Itoa(ms))
	c.vars.set("playback_samples", strconv.Itoa(ms*8))
	c.mu.Unlock()
	status := "done"
	if how == broken || how == stopped {
		status = "break"
	}
	c.firePlayback("PLAYBACK_STOP", name, status)
	return how, nil
}

func (c *channel) firePlayback(event, name, status string) {
	kind := "file"
	if scheme, _, ok := strings.Cut(name, "://"); ok {
		kind = scheme
	}
	e := c.event(event).add("Playback-File-Path", name).add("Playback-File-Type", kind)
	if status != "" {
		e.add("Playback-Status", status)
	}
	c.s.fire(e)
}

func appPlayback(c *channel, data string) {
	c.set("playback_terminator_used", "")
	how, err := c.playFile(data, c.stopAt(c.terminators()))
	response := "FILE PLAYED"
	switch {
	case errors.Is(err, errNoSound):
		response = "FILE NOT FOUND"
	case err != nil, how == left && !c.endedByMessage():
		response = "PLAYBACK ERROR"
	}
	c.set("current_application_response", response)
}

func (c *channel) endedByMessage() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byMessage
}

func (c *channel) stopAt(terminators string) func(press) bool {
	return func(p press) bool {
		if strings.IndexByte(terminators, p.digit) < 0 {
			return false
		}
		c.set("playback_terminator_used", string(p.digit))
		return true
	}
}

func appEndless(c *channel, data string) {
	for c.ready() {
		if how, err := c.playFile(data, func(press) bool { return false }); err != nil || how == broken {
			return
		}
	}
}

// appCollect is play_and_get_digits: min max tries timeout terminators file invalid variable [regex [digit_timeout]].
func appCollect(c *channel, data string) {
	f := words(data, 11)
	if len(f) < 8 {
		c.s.log.Warn("play_and_get_digits", "channel", c.id, "error", fmt.Sprintf("%d arguments, want at least 8", len(f)))
		return
	}
	least, most, tries := number(f[0]), number(f[1]), number(f[2])
	first := time.Duration(number(f[3])) * time.Millisecond
	between := first
	if len(f) > 9 {
		between = time.Duration(number(f[9])) * time.Millisecond
	}
	pattern := regexp.MustCompile("")
	if len(f) > 8 {
		if own, err := regexp.Compile("^(?:" + f[8] + ")$"); err == nil {
			pattern = own
		}
	}
	c.set(f[7], "")
	c.set(f[7]+"_invalid", "")
	for try := 0; try < max(tries, 1) && c.ready(); try++ {
		got, terminator := c.collect(f[5], least, most, first, between, f[4])
		c.set("read_terminator_used", terminator)
		if len(got) >= least && pattern.MatchString(got) {
			c.set(f[7], got)
			c.set("read_result", "success")
			return
		}
		c.set(f[7]+"_invalid", got)
		c.set("read_result", "failure")
		if c.ready() && f[6] != "" {
			c.playFile(f[6], func(press) bool { return false })
		}
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// collect plays a prompt, which the first digit stops, and takes digits until there are enough.
func (c *channel) collect(prompt string, least, most int, first, between time.Duration, terminators string) (got, terminator string) {
	take := func(p press) bool {
		if strings.IndexByte(terminators, p.digit) >= 0 {
			terminator = string(p.digit)
			return true
		}
		got += string(p.digit)
		return true
	}
	if how, _ := c.playFile(prompt, take); how == left {
		return got, terminator
	}
	for limit := first; terminator == "" && len(got) < max(most, 1); limit = between {
		if how := c.wait(wait{timeout: max(limit, time.Millisecond), digit: take}); how != stopped {
			break
		}
	}
	return got, terminator
}
