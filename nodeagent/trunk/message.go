package trunk

import (
	"context"
	"errors"
	"strings"
)

// Request is a SIP request outside a dialog; Headers are whole lines besides To, From, Call-ID and CSeq.
type Request struct {
	Method  string
	URI     string // Request-URI
	NextHop string // SIP URI
	From    string // SIP URI
	To      string // SIP URI
	CallID  string // as Sender.NewCallID makes them
	CSeq    uint32
	Headers string
}

// Response is the final answer to a Request.
type Response struct {
	Code   int
	Reason string
	Fields []HeaderField
}

// HeaderField is one header field of a Response.
type HeaderField struct{ Name, Value string }

var (
	ErrNoAnswer = errors.New("no answer") // nothing came in time
	ErrUnsent   = errors.New("not sent")  // Kamailio was not there to send it: nothing is known of the trunk
)

// Sender sends requests through Kamailio.
type Sender interface {
	// Send waits for the final answer. ErrNoAnswer: none came before ctx ended; ErrUnsent: Kamailio was not there; another error: it could
	// not be sent.
	Send(ctx context.Context, r Request) (Response, error)
	// NewCallID makes a Call-ID. Requests of one registration share theirs.
	NewCallID() string
}

// All returns the values of every header field of a name, in order.
func (r *Response) All(name string) []string {
	var values []string
	for _, f := range r.Fields {
		if strings.EqualFold(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return values
}

// Get returns the first value of a header field, "" when there is none.
func (r *Response) Get(name string) string {
	if values := r.All(name); len(values) > 0 {
		return values[0]
	}
	return ""
}
