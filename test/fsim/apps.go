package fsim

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// application is what a channel can execute. media: it needs RTP, so that an unanswered caller gets 183 first.
type application struct {
	do    func(c *channel, data string)
	media bool
}

// applications are all we know. It is a function's result because some of them execute others.
var applications map[string]application

func init() {
	applications = map[string]application{
		"answer":              {do: func(c *channel, _ string) { c.answer() }},
		"pre_answer":          {do: func(c *channel, _ string) { c.preAnswer() }},
		"ring_ready":          {do: func(c *channel, _ string) { c.ringReady() }},
		"set":                 {do: appSet},
		"unset":               {do: func(c *channel, name string) { c.set(name, "") }},
		"multiset":            {do: appMultiset},
		"push":                {do: appPush},
		"export":              {do: appExport},
		"log":                 {do: func(c *channel, text string) { c.s.log.Info("log", "channel", c.id, "text", text) }},
		"sleep":               {do: appSleep},
		"park":                {do: func(c *channel, _ string) { c.park(nil) }},
		"hangup":              {do: appHangup},
		"respond":             {do: appRespond},
		"redirect":            {do: appRedirect},
		"sched_hangup":        {do: func(c *channel, data string) { c.schedHangup(data) }},
		"transfer":            {do: func(c *channel, data string) { c.transfer(data) }},
		"socket":              {do: appSocket},
		"bridge":              {do: appBridge},
		"playback":            {do: appPlayback, media: true},
		"endless_playback":    {do: appEndless, media: true},
		"record":              {do: appRecord, media: true},
		"record_session":      {do: func(c *channel, data string) { c.recordSession(data, 0) }, media: true},
		"stop_record_session": {do: func(c *channel, path string) { c.stopRecording(path) }},
		"play_and_get_digits": {do: appCollect, media: true},
		"start_dtmf":          {do: func(c *channel, _ string) { c.startDTMF() }, media: true},
		"stop_dtmf":           {do: func(c *channel, _ string) { c.stopDTMF() }},
		"send_dtmf":           {do: appSendDTMF, media: true},
		"conference":          {do: appConference},
		"echo":                {do: appEcho, media: true},
		"eavesdrop":           {do: appEavesdrop, media: true},
	}
}

func appSet(c *channel, data string) {
	name, value, _ := strings.Cut(data, "=")
	c.set(strings.TrimSpace(name), value)
}

// appPush makes a list of a variable.
func appPush(c *channel, data string) {
	name, value, _ := strings.Cut(data, "=")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vars.push(strings.TrimSpace(name), value)
}

// appMultiset takes several a=b, separated by spaces or as ^^X says.
func appMultiset(c *channel, data string) {
	list := strings.Fields(data)
	if strings.HasPrefix(data, "^^") {
		list = splitPairs(data)
	}
	for _, item := range list {
		appSet(c, item)
	}
}

// appExport sets a variable on this leg and on those it will make.
func appExport(c *channel, data string) {
	name, value, _ := strings.Cut(data, "=")
	local := !strings.HasPrefix(name, "nolocal:")
	plain := strings.TrimPrefix(name, "nolocal:")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vars.set(plain, value)
	list := strings.Split(c.vars.get("export_vars"), ",")
	if !local {
		plain = "nolocal:" + plain
	}
	if !slices.Contains(list, plain) {
		c.vars.set("export_vars", strings.Trim(strings.Join(append(list, plain), ","), ","))
	}
}

func appSleep(c *channel, data string) {
	ms, err := strconv.Atoi(strings.TrimSpace(data))
	if err != nil || ms <= 0 {
		return
	}
	c.wait(wait{timeout: time.Duration(min(ms, 3600_000)) * time.Millisecond})
}

func appHangup(c *channel, data string) {
	if data = strings.TrimSpace(data); data == "" {
		data = normalClearing
	}
	c.end(data, false)
}

// appRespond sends a refusal of its own choice to a call that is not answered.
func appRespond(c *channel, data string) {
	code, reason, _ := strings.Cut(strings.TrimSpace(data), " ")
	number, err := strconv.Atoi(code)
	if err != nil || number < 300 || number > 699 || !c.inbound || c.get("endpoint_disposition") == "ANSWER" {
		return
	}
	if reason == "" {
		reason = sip.NewResponse(number, "").Reason
		for _, known := range causes {
			if known.code == number {
				reason = known.text
			}
		}
	}
	c.leg.reject(number, reason)
	c.end(causeOfSIP(number), false)
}

// appRedirect answers 302 with the given contacts.
func appRedirect(c *channel, data string) {
	if !c.inbound || c.get("endpoint_disposition") == "ANSWER" {
		return
	}
	var contacts []sip.Header
	for _, uri := range strings.Split(data, ",") {
		if !strings.HasPrefix(uri, "<") {
			uri = "<" + uri + ">"
		}
		contacts = append(contacts, sip.NewHeader("Contact", uri))
	}
	c.leg.reject(302, "Moved Temporarily", contacts...)
	c.end("REDIRECTION_TO_NEW_DESTINATION", false)
}

// schedHangup reads "[+]SECONDS [CAUSE]"; false when it cannot.
func (c *channel) schedHangup(data string) bool {
	fields := words(data, 3)
	if len(fields) == 0 {
		return false
	}
	if strings.HasPrefix(fields[0], "+-") { // a negative guard is none
		return true
	}
	delay, err := strconv.ParseFloat(strings.TrimPrefix(fields[0], "+"), 64)
	if err != nil || delay < 0 || delay > 1e7 {
		return false
	}
	why := "ALLOTTED_TIMEOUT"
	if len(fields) > 1 {
		why = fields[1]
	}
	c.later(time.Duration(delay*float64(time.Second)), func() { c.end(why, false) })
	return true
}

func appSendDTMF(c *channel, data string) {
	data, _, _ = strings.Cut(data, "@")
	for _, d := range strings.ToUpper(data) {
		if strings.ContainsRune(digits, d) {
			c.dial(byte(d))
		}
	}
}

func appEcho(c *channel, _ string) {
	self := partner{c.track}
	c.s.studio.push(c.track, self)
	defer c.s.studio.pop(c.track, self)
	for how := done; how != left && how != broken; {
		how = c.wait(wait{digit: func(press) bool { return false }})
	}
}
