package esl

import "iter"

// Event is one event, the data of an outbound call's channel (the reply to connect), or a gap marker
// (Lost). Headers keep their order and values are decoded. An Event does not change, so any number
// of goroutines may read it.
type Event struct {
	headers []Header // an array stands as so many headers of one name
	body    string
	lost    int
}

// NewEvent makes an event as if FreeSWITCH had sent it.
func NewEvent(body string, headers ...Header) *Event {
	return &Event{headers: append([]Header(nil), headers...), body: body}
}

// Get returns the first value of a header, "" when there is none. Names are exact, as in FreeSWITCH.
func (e *Event) Get(name string) string { return first(e.headers, name) }

// Values returns all values of a header in order: those of an array, and those of headers that come
// twice. None gives nil.
func (e *Event) Values(name string) []string {
	var out []string
	for i := range e.headers {
		if e.headers[i].Name == name {
			out = append(out, e.headers[i].Value)
		}
	}
	return out
}

// All yields every header in order, a name once for each of its values.
func (e *Event) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range e.headers {
			if !yield(e.headers[i].Name, e.headers[i].Value) {
				return
			}
		}
	}
}

// Name returns Event-Name: CHANNEL_ANSWER, DTMF, CUSTOM. A gap marker has none.
func (e *Event) Name() string { return e.Get("Event-Name") }

// Subclass returns what a CUSTOM event is about: conference::maintenance. "" for all others.
func (e *Event) Subclass() string { return e.Get("Event-Subclass") }

// UUID returns the channel the event is about, "" when it is about none.
func (e *Event) UUID() string { return e.Get("Unique-ID") }

// Variable returns a channel variable that the event carries, "" when it does not.
func (e *Event) Variable(name string) string {
	const prefix = "variable_"
	for i := range e.headers {
		n := e.headers[i].Name
		if len(n) == len(prefix)+len(name) && n[len(prefix):] == name && n[:len(prefix)] == prefix {
			return e.headers[i].Value
		}
	}
	return ""
}

// Body returns a copy of the event's body, such as the result in a BACKGROUND_JOB; empty when it has none.
func (e *Event) Body() []byte { return []byte(e.body) }

// Lost is 0 for an event. Above 0 this is no event but a gap marker: at this place so many events
// were dropped, because nobody took them in time or they could not be read. What they told has to
// be asked for again, with a snapshot.
func (e *Event) Lost() int { return e.lost }

// headerBytes is what a Header costs beside the bytes of its text.
const headerBytes = 32

// size is roughly the memory the event holds, in bytes.
func (e *Event) size() int {
	n := len(e.body) + len(e.headers)*headerBytes
	for i := range e.headers {
		n += len(e.headers[i].Name) + len(e.headers[i].Value)
	}
	return n
}
