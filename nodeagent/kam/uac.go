package kam

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Requests of our own leave by tm.t_uac_start, so that their source address is Kamailio's. That RPC does not wait for
// an answer (tm.t_uac_wait does over HTTP alone, tm.t_uac_wait_block keeps a process of Kamailio's), so
// kamailio-cfg/route/uac.cfg puts final answers into a queue, which is read here while somebody waits.
const (
	answerQueue  = "uac"
	answerPoll   = 25 * time.Millisecond // between two looks into the queue
	answerPrefix = "tr-"                 // of the Call-IDs of such requests
	maxWaiting   = 256                   // requests under way at once
	maxFields    = 64                    // header fields kept of an answer
)

// Request is a SIP request outside a dialog. To, From, Call-ID and CSeq are written from the fields; Headers are whole
// lines, each ended by CRLF, besides.
type Request struct {
	Method  string
	URI     string // Request-URI
	NextHop string // SIP URI; "" = by URI
	From    string // SIP URI
	To      string // SIP URI
	CallID  string // as NewCallID makes them
	CSeq    uint32
	Headers string
}

// Response is the final answer to a Request.
type Response struct {
	Code   int
	Reason string
	Source string // address and port it came from
	Fields []HeaderField
}

// HeaderField is one header field of a Response; folded lines are joined, and m is Contact.
type HeaderField struct{ Name, Value string }

var (
	ErrNoAnswer = errors.New("no answer")                // nothing came in time
	ErrUnsent   = errors.New("Kamailio did not take it") // nor refuse it: it says nothing of the other side
)

// NewCallID makes a Call-ID that nobody can guess. Requests of one registration share theirs.
func NewCallID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return answerPrefix + hex.EncodeToString(b[:])
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
	for _, f := range r.Fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// UAC sends requests through Kamailio. Its client should be its own: a request waits for nothing but Kamailio.
type UAC struct {
	client *Client

	mu      sync.Mutex
	waiting map[string]chan Response // by Call-ID and CSeq
	reading bool
}

// NewUAC makes a UAC.
func NewUAC(client *Client) *UAC { return &UAC{client: client, waiting: map[string]chan Response{}} }

// Send sends a request and waits for its final answer. ErrNoAnswer: none came before ctx ended, which the caller must
// bound. ErrUnsent: Kamailio did not take it, or was not asked, as too many are under way. Another error: it could not be sent.
func (u *UAC) Send(ctx context.Context, r Request) (Response, error) {
	headers := fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nCall-ID: %s\r\nCSeq: %d %s\r\n%s", r.From, r.To, r.CallID, r.CSeq, r.Method, r.Headers)
	if err := r.check(headers); err != nil {
		return Response{}, err
	}
	key := r.CallID + " " + strconv.FormatUint(uint64(r.CSeq), 10)
	answer, err := u.expect(key)
	if err != nil {
		return Response{}, fmt.Errorf("%w: %w", ErrUnsent, err)
	}
	defer u.forget(key)
	if err := u.client.Call(ctx, "tm.t_uac_start", []any{r.Method, r.URI, orDot(r.NextHop), ".", headers, ""}, nil); err != nil {
		if _, refused := errors.AsType[*Error](err); !refused {
			err = fmt.Errorf("%w: %w", ErrUnsent, err)
		}
		return Response{}, err
	}
	select {
	case got := <-answer:
		return got, nil
	case <-ctx.Done():
		return Response{}, ErrNoAnswer
	}
}

// check refuses what would become another request than was meant. headers is all of them, as they are handed over.
func (r *Request) check(headers string) error {
	for name, uri := range map[string]string{"request URI": r.URI, "From": r.From, "To": r.To} {
		if !uriWord.MatchString(uri) {
			return fmt.Errorf("%s %.80q: no SIP URI", name, uri)
		}
	}
	switch {
	case r.NextHop != "" && !uriWord.MatchString(r.NextHop):
		return fmt.Errorf("next hop %.80q: no SIP URI", r.NextHop)
	case !strings.HasPrefix(r.CallID, answerPrefix) || strings.ContainsAny(r.CallID, " \r\n"):
		return fmt.Errorf("call id %.80q: none of NewCallID", r.CallID)
	case r.Headers != "" && !strings.HasSuffix(r.Headers, "\r\n") || strings.Contains(r.Headers, "\r\n\r\n"):
		return errors.New("headers: whole lines are needed")
	case strings.Contains(headers, "!!"):
		return errors.New("headers: Kamailio would write its address for !!")
	}
	return nil
}

// expect makes room for an answer, and has somebody look for it.
func (u *UAC) expect(key string) (chan Response, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.waiting) >= maxWaiting || u.waiting[key] != nil {
		return nil, fmt.Errorf("%d requests are under way, or this one twice", len(u.waiting))
	}
	answer := make(chan Response, 1)
	u.waiting[key] = answer
	if !u.reading {
		u.reading = true
		go u.read()
	}
	return answer, nil
}

func (u *UAC) forget(key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.waiting, key)
}

// read fetches answers as long as somebody waits for one. Those that nobody waits for are dropped.
func (u *UAC) read() {
	for {
		for u.fetch() {
		}
		u.mu.Lock()
		u.reading = len(u.waiting) > 0
		done := !u.reading
		u.mu.Unlock()
		if done {
			return
		}
		<-time.After(answerPoll)
	}
}

// fetch takes one answer from the queue, and reports whether there may be more.
func (u *UAC) fetch() bool {
	var item struct {
		Key string `json:"key"`
		Val string `json:"val"`
	}
	err := u.client.Call(context.Background(), "mqueue.fetch", []any{answerQueue}, &item)
	if err != nil {
		return false // empty, or Kamailio is away: whoever waits gives up by himself
	}
	cseq, answer, err := readAnswer(item.Val)
	if err != nil {
		return true
	}
	u.mu.Lock()
	waiting := u.waiting[item.Key+" "+cseq]
	u.mu.Unlock()
	if waiting != nil {
		select {
		case waiting <- answer:
		default: // it came twice
		}
	}
	return true
}

// errAnswer: what Kamailio handed on is no SIP response.
var errAnswer = errors.New("no SIP response")

// readAnswer reads an item of the queue: "CSEQ ADDRESS PORT PROTOCOL", a line end, and the response.
func readAnswer(item string) (cseq string, r Response, err error) {
	head, message, _ := strings.Cut(item, "\n")
	words := strings.Fields(head)
	if len(words) != 4 {
		return "", r, errAnswer
	}
	r.Source = net.JoinHostPort(strings.Trim(words[1], "[]"), words[2])
	message, _, _ = strings.Cut(message, "\r\n\r\n")
	lines := strings.Split(message, "\r\n")
	version, status, _ := strings.Cut(lines[0], " ")
	code, reason, _ := strings.Cut(status, " ")
	if r.Code, err = strconv.Atoi(code); err != nil || version != "SIP/2.0" || r.Code < 100 || r.Code > 699 {
		return "", r, errAnswer
	}
	r.Reason = reason
	for _, line := range lines[1:] {
		if line == "" {
			continue
		}
		if n := len(r.Fields); n > 0 && (line[0] == ' ' || line[0] == '\t') { // folded (RFC 3261 section 7.3.1)
			r.Fields[n-1].Value += " " + strings.TrimSpace(line)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || len(r.Fields) == maxFields {
			continue
		}
		r.Fields = append(r.Fields, HeaderField{longName(strings.TrimSpace(name)), strings.TrimSpace(value)})
	}
	return words[0], r, nil
}

// longName is a header's name where its compact form was used (RFC 3261 section 7.3.3).
func longName(name string) string {
	if strings.EqualFold(name, "m") {
		return "Contact"
	}
	return name
}
