package fsim

import (
	"strings"
)

// myEvents are what `myevents` subscribes to (mod_event_socket.c): playback, recording, hold and jobs are not among them.
var myEvents = []string{
	"CALL_SECURE", "CHANNEL_ANSWER", "CHANNEL_APPLICATION", "CHANNEL_BRIDGE", "CHANNEL_DATA", "CHANNEL_EXECUTE", "CHANNEL_EXECUTE_COMPLETE",
	"CHANNEL_HANGUP", "CHANNEL_HANGUP_COMPLETE", "CHANNEL_ORIGINATE", "CHANNEL_OUTGOING", "CHANNEL_PARK", "CHANNEL_PROGRESS",
	"CHANNEL_PROGRESS_MEDIA", "CHANNEL_STATE", "CHANNEL_UNBRIDGE", "CHANNEL_UNPARK", "COMMAND", "DETECTED_SPEECH", "DETECTED_TONE", "DTMF",
	"NOTALK", "TALK",
}

// known are the event names that a subscription may have; others are ignored.
var known = map[string]bool{
	"CUSTOM": true, "CHANNEL_CREATE": true, "CHANNEL_DESTROY": true, "CHANNEL_CALLSTATE": true, "CHANNEL_HOLD": true, "CHANNEL_UNHOLD": true,
	"BACKGROUND_JOB": true, "HEARTBEAT": true, "SHUTDOWN": true, "STARTUP": true, "PLAYBACK_START": true, "PLAYBACK_STOP": true,
	"RECORD_START": true, "RECORD_STOP": true, "CODEC": true, "CALL_UPDATE": true, "CHANNEL_UUID": true, "MEDIA_BUG_START": true,
	"MEDIA_BUG_STOP": true, "MESSAGE_WAITING": true, "API": true, "LOG": true, "PRESENCE_IN": true, "RELOADXML": true, "RE_SCHEDULE": true,
	"ADD_SCHEDULE": true, "DEL_SCHEDULE": true, "EXE_SCHEDULE": true, "CALL_DETAIL": true, "MODULE_LOAD": true, "MODULE_UNLOAD": true, "TRAP": true,
}

func init() {
	for _, name := range myEvents {
		known[name] = true
	}
}

// wants says whether an event is for this connection. l.mu is held.
func (l *control) wants(e *event) bool {
	if l.format == "" {
		return false
	}
	subscribed := l.all || l.names[e.name]
	if e.name == "CUSTOM" {
		subscribed = l.all || l.names["CUSTOM "+e.subclass]
	}
	if !subscribed {
		return false
	}
	// The end of a channel is not told to its own application.
	if l.c != nil && e.uuid == l.c.id && (e.name == "CHANNEL_DESTROY" || e.name == "CHANNEL_STATE" && hasState(e, "CS_DESTROY")) {
		return false
	}
	if l.mine != "" && e.uuid != l.mine && e.owner != l.mine && !mentions(e, l.mine) {
		return false
	}
	if len(l.filters) == 0 {
		return true
	}
	for _, f := range l.filters {
		if v, ok := e.get(f[0]); ok && v == f[1] {
			return true
		}
	}
	return false
}

func hasState(e *event, state string) bool {
	v, _ := e.get("Channel-State")
	return v == state
}

// mentions says that an event without a channel of its own names one.
func mentions(e *event, uuid string) bool {
	if e.uuid != "" {
		return false
	}
	for _, name := range []string{"Unique-ID", "Job-Owner-UUID"} {
		if v, ok := e.get(name); ok && v == uuid {
			return true
		}
	}
	return false
}

// subscribe is `event FORMAT NAMES`; the reply says what became of it.
func (l *control) subscribe(args string) string {
	fields := strings.Fields(args)
	format := "plain"
	if len(fields) > 0 && (fields[0] == "plain" || fields[0] == "json" || fields[0] == "xml") {
		format, fields = fields[0], fields[1:]
	} else if l.format != "" {
		format = l.format
	}
	if format == "xml" {
		return "-ERR xml is not spoken here"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	found, custom := false, false
	for _, name := range fields {
		switch upper := strings.ToUpper(name); {
		case custom && !known[upper]:
			l.names["CUSTOM "+name] = true
		case upper == "ALL":
			l.all, found = true, true
		case known[upper]:
			custom = upper == "CUSTOM"
			l.names[upper], found = true, true
		}
	}
	if !found {
		return "-ERR no keywords supplied"
	}
	l.format = format
	return "+OK event listener enabled " + format
}

// unsubscribe is `nixevent NAMES`.
func (l *control) unsubscribe(args string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	custom, found := false, false
	for _, name := range strings.Fields(args) {
		upper := strings.ToUpper(name)
		switch {
		case upper == "ALL":
			l.all, found = false, true
			clear(l.names)
		case known[upper]:
			custom = upper == "CUSTOM"
			delete(l.names, upper)
			found = true
		case custom:
			delete(l.names, "CUSTOM "+name)
		}
	}
	if !found {
		return "-ERR no keywords supplied"
	}
	return "+OK events nixed"
}

func (l *control) noEvents() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.format == "" {
		return "-ERR not listening for events"
	}
	l.format, l.all, l.queue = "", false, nil
	clear(l.names)
	return "+OK no longer listening for events"
}

// mineOnly is `myevents [UUID] [FORMAT]`. An unknown UUID is answered +OK as well.
func (l *control) mineOnly(args string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	format, id := "plain", ""
	for _, word := range strings.Fields(args) {
		if word == "plain" || word == "json" {
			format = word
		} else {
			id = word
		}
	}
	if l.c != nil {
		id = l.c.id
	}
	if id == "" {
		return "-ERR invalid uuid"
	}
	for _, name := range myEvents {
		l.names[name] = true
	}
	l.mine, l.format = id, format
	return "+OK Events Enabled"
}

// filter is `filter NAME VALUE` and `filter delete NAME [VALUE]`. Several are alternatives.
func (l *control) filter(args string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	name, value, _ := strings.Cut(strings.TrimSpace(args), " ")
	if name == "delete" {
		name, value, _ = strings.Cut(strings.TrimSpace(value), " ")
		kept := l.filters[:0]
		for _, f := range l.filters {
			if name != "all" && (f[0] != name || value != "" && f[1] != value) {
				kept = append(kept, f)
			}
		}
		l.filters = kept
		return "+OK filter deleted. [" + name + "][" + value + "]"
	}
	if name == "add" {
		name, value, _ = strings.Cut(strings.TrimSpace(value), " ")
	}
	if name == "" || value == "" {
		return "-ERR invalid syntax"
	}
	l.filters = append(l.filters, [2]string{name, value})
	return "+OK filter added. [" + name + "]=[" + value + "]"
}
