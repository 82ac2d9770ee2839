package fsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// header is one line of an event. The value is not encoded yet; one that begins with ARRAY:: is a list.
type header struct{ name, value string }

// event is what happened, its headers in the order they are sent. A name may come twice, as on the real one.
type event struct {
	name     string
	subclass string // of CUSTOM
	uuid     string // channel it belongs to
	owner    string // channel whose application asked for the job it ends
	headers  []header
	body     string
}

func (e *event) add(name, value string) *event {
	e.headers = append(e.headers, header{name, value})
	return e
}

func (e *event) get(name string) (string, bool) {
	for _, h := range e.headers {
		if strings.EqualFold(h.name, name) {
			return h.value, true
		}
	}
	return "", false
}

// arrayMark begins a value that is a list.
const arrayMark = "ARRAY::"

// elements splits a list.
func elements(value string) ([]string, bool) {
	list, ok := strings.CutPrefix(value, arrayMark)
	return strings.Split(list, "|:"), ok
}

// unsafeBytes are what FreeSWITCH encodes in the values of events (SWITCH_URL_UNSAFE); comma and slash are not.
const unsafeBytes = "\r\n \"#%&+:;<=>?@[\\]^`{|}"

// urlEncode writes a value as the real one does, which leaves alone what looks encoded already (%41): a reader cannot
// tell such a value from the decoded one.
func urlEncode(value string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(value) {
		c := value[i]
		escape := c == '%' && i+2 < len(value) && strings.IndexByte(hex, value[i+1]) >= 0 && strings.IndexByte(hex, value[i+2]) >= 0
		if !escape && (c < ' ' || c > 126 || strings.IndexByte(unsafeBytes, c) >= 0) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func urlDecode(value string) string {
	if plain, err := url.PathUnescape(value); err == nil {
		return plain
	}
	return value
}

// plain is the event as lines, the values encoded, with its own length where it has a body.
func (e *event) plain() []byte {
	var b bytes.Buffer
	for _, h := range e.headers {
		b.WriteString(h.name + ": " + urlEncode(h.value) + "\n")
	}
	if e.body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\n\n%s", len(e.body), e.body)
	} else {
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// json is the event as one object. Lists become arrays, and what comes twice is there twice, which no map of a
// decoder expects and the real one sends.
func (e *event) json() []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, h := range e.headers {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(quoted(h.name))
		b.WriteByte(':')
		if list, ok := elements(h.value); ok {
			b.WriteByte('[')
			for j, item := range list {
				if j > 0 {
					b.WriteByte(',')
				}
				b.Write(quoted(item))
			}
			b.WriteByte(']')
			continue
		}
		b.Write(quoted(h.value))
	}
	if e.body != "" {
		b.WriteString(`,"Content-Length":`)
		b.Write(quoted(strconv.Itoa(len(e.body))))
		b.WriteString(`,"_body":`)
		b.Write(quoted(e.body))
	}
	b.WriteByte('}')
	return b.Bytes()
}

func quoted(text string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		return []byte(`""`)
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// origin is where in FreeSWITCH's source an event comes from: clients that were written by looking read it.
var origin = map[string]string{
	"CHANNEL_STATE":            "switch_channel.c switch_channel_perform_set_running_state",
	"CHANNEL_CALLSTATE":        "switch_channel.c switch_channel_perform_set_callstate",
	"CHANNEL_CREATE":           "switch_core_state_machine.c switch_core_session_run",
	"CHANNEL_ORIGINATE":        "switch_core_state_machine.c switch_core_session_run",
	"CHANNEL_PROGRESS":         "switch_channel.c switch_channel_perform_mark_ring_ready_value",
	"CHANNEL_PROGRESS_MEDIA":   "switch_channel.c switch_channel_perform_mark_pre_answered",
	"CHANNEL_ANSWER":           "switch_channel.c switch_channel_perform_mark_answered",
	"CHANNEL_EXECUTE":          "switch_core_session.c switch_core_session_exec",
	"CHANNEL_EXECUTE_COMPLETE": "switch_core_session.c switch_core_session_exec",
	"CHANNEL_PARK":             "switch_ivr.c switch_ivr_park",
	"CHANNEL_UNPARK":           "switch_ivr.c switch_ivr_park",
	"CHANNEL_BRIDGE":           "switch_ivr_bridge.c switch_ivr_multi_threaded_bridge",
	"CHANNEL_UNBRIDGE":         "switch_ivr_bridge.c switch_ivr_multi_threaded_bridge",
	"CHANNEL_HANGUP":           "switch_channel.c switch_channel_perform_hangup",
	"CHANNEL_HANGUP_COMPLETE":  "switch_core_state_machine.c switch_core_session_reporting_state",
	"CHANNEL_DESTROY":          "switch_core_session.c switch_core_session_perform_destroy",
	"CHANNEL_DATA":             "mod_event_socket.c parse_command",
	"PLAYBACK_START":           "switch_ivr_play_say.c switch_ivr_play_file",
	"PLAYBACK_STOP":            "switch_ivr_play_say.c switch_ivr_play_file",
	"RECORD_START":             "switch_ivr_async.c record_callback",
	"RECORD_STOP":              "switch_ivr_async.c send_record_stop_event",
	"DTMF":                     "switch_channel.c switch_channel_dequeue_dtmf",
	"BACKGROUND_JOB":           "mod_event_socket.c api_exec",
	"SHUTDOWN":                 "switch_core.c switch_core_destroy",
}

// newEvent makes an event with what all of them begin with. The sequence number is given when it is fired.
func (s *Server) newEvent(name string) *event {
	now := time.Now()
	e := &event{name: name}
	e.add("Event-Name", name).add("Core-UUID", s.coreUUID).add("FreeSWITCH-Hostname", s.opt.Hostname).
		add("FreeSWITCH-Switchname", s.opt.Hostname).add("FreeSWITCH-IPv4", s.opt.RTPIP).
		add("Event-Date-Local", now.Format("2006-01-02 15:04:05")).
		add("Event-Date-GMT", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")).
		add("Event-Date-Timestamp", strconv.FormatInt(now.UnixMicro(), 10))
	file, function, _ := strings.Cut(origin[name], " ")
	e.add("Event-Calling-File", file).add("Event-Calling-Function", function).add("Event-Calling-Line-Number", "1")
	return e
}

// custom makes a CUSTOM event.
func (s *Server) custom(subclass string) *event {
	e := s.newEvent("CUSTOM")
	e.subclass = subclass
	return e.add("Event-Subclass", subclass)
}

// fire hands an event to everybody who asked for it. Events of all channels have one order, that of their sequence.
func (s *Server) fire(e *event) {
	s.fireMu.Lock()
	defer s.fireMu.Unlock()
	s.sequence++
	e.add("Event-Sequence", strconv.FormatInt(s.sequence, 10))
	for l := range s.listeners {
		l.take(e)
	}
}
