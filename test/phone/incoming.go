package phone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// ackTimeout is 64*T1: how long a 2xx waits for its ACK (RFC 3261 section 13.3.1.4).
const ackTimeout = 32 * time.Second

// Incoming is a call that rings at this phone.
type Incoming struct {
	phone     *Phone
	req       *sip.Request
	tx        sip.ServerTransaction
	localTag  string
	cancelled chan struct{}
	finished  chan struct{} // the INVITE has its final response, and a 2xx its ACK

	mu      sync.Mutex
	decided bool
	call    *Call
	sdp     []byte
}

// FromDisplay is the display name of From.
func (in *Incoming) FromDisplay() string { return in.req.From().DisplayName }

// FromURI is the URI of From.
func (in *Incoming) FromURI() string { return in.req.From().Address.String() }

// RequestURI is the URI of the request line: this phone's Contact as the proxy knows it.
func (in *Incoming) RequestURI() string { return in.req.Recipient.String() }

// Headers are all headers of the INVITE by name as received.
func (in *Incoming) Headers() map[string][]string { return headers(in.req.Headers()) }

// Header is the value of the first header of that name in any case, "" if there is none.
func (in *Incoming) Header(name string) string {
	if h := in.req.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

// InviteRequest is the INVITE as received.
func (in *Incoming) InviteRequest() string { return in.req.String() }

// Cancelled is closed when the caller gave up before an answer.
func (in *Incoming) Cancelled() <-chan struct{} { return in.cancelled }

// Ring sends 180.
func (in *Incoming) Ring() error {
	return in.respond(in.response(sip.StatusRinging, "Ringing", nil))
}

// Reject sends a final refusal; extra are pairs of header name and value.
func (in *Incoming) Reject(code int, reason string, extra ...string) error {
	if err := in.decide(); err != nil {
		return fmt.Errorf("reject: %w", err)
	}
	defer close(in.finished)
	res := in.response(code, reason, nil)
	for i := 0; i+1 < len(extra); i += 2 {
		res.AppendHeader(sip.NewHeader(extra[i], extra[i+1]))
	}
	in.mu.Lock()
	early := in.call
	in.mu.Unlock()
	if early != nil {
		early.end()
	}
	return in.respond(res)
}

// Progress sends 183 with SDP: early media may flow in both directions before Answer.
func (in *Incoming) Progress(ctx context.Context) (*Call, error) {
	c, err := in.prepare(ctx)
	if err != nil {
		return nil, fmt.Errorf("progress: %w", err)
	}
	return c, in.respond(in.response(sip.StatusSessionInProgress, "Session Progress", in.sdp))
}

// Answer sends 200 and waits for the ACK. It fails if the caller cancelled meanwhile.
func (in *Incoming) Answer(ctx context.Context) (*Call, error) {
	c, err := in.prepare(ctx)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if err := in.decide(); err != nil {
		if errors.Is(err, ErrCancelled) {
			c.end()
		}
		return nil, fmt.Errorf("answer: %w", err)
	}
	defer close(in.finished)
	body, err := in.phone.respondUntilACK(ctx, in.tx, in.response(sip.StatusOK, "OK", in.sdp), in.localTag, in.cancelled)
	if err == nil && len(in.req.Body()) == 0 { // our offer was in the 200, the answer is in the ACK
		err = c.takeAnswer(body)
	}
	if err != nil {
		if !cancelled(in.cancelled) {
			ending, stop := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
			defer stop()
			err = errors.Join(err, c.Bye(ending))
		}
		c.end()
		return nil, fmt.Errorf("answer: %w", err)
	}
	return c, nil
}

// decide claims the final response: there is one only.
func (in *Incoming) decide() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if cancelled(in.cancelled) {
		return ErrCancelled
	}
	if in.decided {
		return errors.New("the call has its final response already")
	}
	in.decided = true
	return nil
}

// prepare makes the call and its SDP once, for 183 and 200 alike.
func (in *Incoming) prepare(ctx context.Context) (*Call, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.call != nil {
		return in.call, nil
	}
	p := in.phone
	if _, err := p.contactURI(ctx); err != nil {
		return nil, err
	}
	c, err := p.newCall()
	if err != nil {
		return nil, err
	}
	if offer := in.req.Body(); len(offer) > 0 {
		c.gotSDP = string(offer)
		in.sdp, err = c.media.answer(offer, sendrecv)
	} else {
		in.sdp, err = c.media.offer(sendrecv)
	}
	if err != nil {
		c.media.close()
		return nil, err
	}
	c.sentSDP, c.invite, c.headers = string(in.sdp), in.req.String(), headers(in.req.Headers())
	close(c.settled)
	in.enter(c)
	if !p.addCall(c) {
		c.end()
		return nil, errors.New("phone is closed")
	}
	in.call = c
	return c, nil
}

// enter fills the dialog from the INVITE.
func (in *Incoming) enter(c *Call) {
	from, to, d := in.req.From(), in.req.To(), &c.dialog
	d.callID, d.localTag, d.connection = string(*in.req.CallID()), in.localTag, in.req.Source()
	d.local, d.localName = *to.Address.Clone(), to.DisplayName
	d.remote, d.remoteName = *from.Address.Clone(), from.DisplayName
	d.learn(in.req, tagOf(from.Params), false)
}

func (in *Incoming) response(code int, reason string, sdp []byte) *sip.Response {
	return in.phone.response(in.req, code, reason, in.localTag, sdp)
}

func (in *Incoming) respond(res *sip.Response) error {
	if cancelled(in.cancelled) {
		return ErrCancelled
	}
	return in.tx.Respond(res)
}

// response makes a response with our tag in To, and with Contact and SDP where there is SDP.
func (p *Phone) response(req *sip.Request, code int, reason, tag string, sdp []byte) *sip.Response {
	res := sip.NewResponseFromRequest(req, code, reason, nil)
	if tag != "" {
		res.To().Params.Add("tag", tag)
	}
	if req.IsInvite() && code > 100 && code < 300 {
		contact, _ := p.contactURI(p.ctx) // the connection it names is the one the request came on
		res.AppendHeader(&sip.ContactHeader{Address: contact})
		res.AppendHeader(sip.NewHeader("Allow", allow))
	}
	res.AppendHeader(sip.NewHeader("User-Agent", userAgent))
	if sdp != nil {
		p.setSDP(res, sdp)
	}
	return res
}

// respondUntilACK sends a 2xx, repeats it as RFC 3261 section 13.3.1.4 says, and returns the body of the ACK.
func (p *Phone) respondUntilACK(ctx context.Context, tx sip.ServerTransaction, res *sip.Response, tag string, gone <-chan struct{}) ([]byte, error) {
	acked := make(chan []byte, 1)
	key := ackKey(string(*res.CallID()), tag, res.CSeq().SeqNo)
	p.mu.Lock()
	p.acks[key] = acked
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.acks, key)
		p.mu.Unlock()
	}()
	ctx, stop := context.WithTimeout(ctx, ackTimeout)
	defer stop()
	for wait := sip.T1; ; wait = min(2*wait, sip.T2) {
		if err := tx.Respond(res); err != nil {
			return nil, fmt.Errorf("send 200: %w", err)
		}
		timer := time.NewTimer(wait)
		select {
		case body := <-acked:
			timer.Stop()
			return body, nil
		case <-timer.C:
		case <-gone:
			return nil, ErrCancelled
		case <-ctx.Done():
			return nil, fmt.Errorf("no ACK came: %w", ctx.Err())
		case <-p.ctx.Done():
			return nil, errors.New("phone is closed")
		}
	}
}
