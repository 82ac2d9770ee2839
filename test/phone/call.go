package phone

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// closeTimeout bounds the CANCEL or BYE that ends a call whose own context is over already.
const closeTimeout = 5 * time.Second

// StatusError is a final response that is not 2xx.
type StatusError struct {
	Code       int
	Reason     string
	RetryAfter time.Duration       // 0 when there was no Retry-After
	Headers    map[string][]string // by name as received
}

// Error is like "486 Busy Here".
func (e *StatusError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Reason) }

func statusError(res *sip.Response) *StatusError {
	e := &StatusError{Code: res.StatusCode, Reason: res.Reason, Headers: headers(res.Headers())}
	if h := res.GetHeader("Retry-After"); h != nil {
		digits, _, _ := strings.Cut(strings.TrimSpace(h.Value()), " ")
		digits, _, _ = strings.Cut(digits, ";")
		if seconds, err := strconv.ParseUint(digits, 10, 32); err == nil {
			e.RetryAfter = time.Duration(seconds) * time.Second
		}
	}
	return e
}

// ErrCancelled is the result of a call that was answered in the moment it was cancelled, and hung up again.
var ErrCancelled = errors.New("call was cancelled")

// Call is one leg, made or taken by a phone, from its INVITE on.
type Call struct {
	phone  *Phone
	dialog dialog
	media  media

	ringing    chan struct{}
	ringOnce   sync.Once
	cancelling chan struct{}
	cancelOnce sync.Once
	settled    chan struct{} // the INVITE has its result, in err
	err        error
	done       chan struct{}
	endOnce    sync.Once
	referred   chan string
	notifies   chan string

	mu          sync.Mutex
	invite      string
	inviteAuth  []sip.Header
	headers     map[string][]string
	provisional []int
	sentSDP     string
	gotSDP      string
	byeReason   string
	want        direction
	offering    bool
	judge       func(Asked) string // of its requests within the call; nil takes all
	stubborn    int                // what a re-INVITE of the other side is answered; 0 as usual, silent not at all
}

func (p *Phone) newCall() (*Call, error) {
	c := &Call{
		phone: p, ringing: make(chan struct{}), cancelling: make(chan struct{}), settled: make(chan struct{}),
		done: make(chan struct{}), referred: make(chan string, 4), notifies: make(chan string, 16), want: sendrecv,
	}
	var err error
	if p.cfg.WebRTC {
		c.media, err = newWebRTC(p.cfg.LocalIP)
	} else {
		c.media, err = newPlainRTP(&p.cfg, p.laws, p.events())
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// CallOption changes the INVITE of one call.
type CallOption func(*callOptions)

type callOptions struct {
	headers []sip.Header
	from    sip.Uri
	display string
	to      string
}

// WithHeader adds a header line to the INVITE.
func WithHeader(name, value string) CallOption {
	return func(o *callOptions) { o.headers = append(o.headers, sip.NewHeader(name, value)) }
}

// WithFrom replaces the user and display name of From, as a phone that lies about its identity would.
func WithFrom(user, display string) CallOption {
	return func(o *callOptions) { o.from.User, o.display = user, display }
}

// WithTo puts a SIP URI into To instead of what is called: a registrar that calls a Contact leaves the number there.
func WithTo(uri string) CallOption {
	return func(o *callOptions) { o.to = uri }
}

// WithFromDomain replaces the domain of From, as a phone that withholds its number does (RFC 3323 section 4.1.1.3).
func WithFromDomain(domain string) CallOption {
	return func(o *callOptions) { o.from.Host = domain }
}

// Call calls target and waits for the final response. A refusal is a *StatusError. When ctx ends first the call is
// cancelled and the error is that of ctx. target is a user of the own domain ("1002") or a whole URI.
func (p *Phone) Call(ctx context.Context, target string, opts ...CallOption) (*Call, error) {
	c, err := p.Dial(ctx, target, opts...)
	if err != nil {
		return nil, err
	}
	err = c.Wait(ctx)
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		c.Cancel()
		ending, stop := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer stop()
		c.Wait(ending) // so that the CANCEL has left before the caller goes on
		err = ctx.Err()
	}
	c.end()
	return nil, fmt.Errorf("call %s: %w", target, err)
}

// Dial starts a call and returns at once; Wait gives the result. ctx bounds the start only.
func (p *Phone) Dial(ctx context.Context, target string, opts ...CallOption) (*Call, error) {
	o := callOptions{from: sip.Uri{Scheme: "sip", User: p.user(), Host: p.cfg.Domain}, display: p.cfg.DisplayName}
	for _, opt := range opts {
		opt(&o)
	}
	uri, err := p.targetURI(target)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", target, err)
	}
	contact, err := p.contactURI(ctx)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", target, err)
	}
	c, err := p.newCall()
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", target, err)
	}
	offer, err := c.media.offer(sendrecv)
	if err != nil {
		c.media.close()
		return nil, fmt.Errorf("call %s: %w", target, err)
	}
	c.sentSDP = string(offer)
	d := &c.dialog
	d.callID, d.localTag, d.connection, d.target = randomHex(12), sip.GenerateTagN(10), p.cfg.Proxy, uri
	d.local, d.localName, d.remote = o.from, o.display, sip.Uri{Scheme: uri.Scheme, User: uri.User, Host: uri.Host, Port: uri.Port}
	if uri.Raw() != "" {
		d.remote = uri // tel: and the like have no parts
	}
	if o.to != "" {
		if err := sip.ParseUri(o.to, &d.remote); err != nil {
			c.end()
			return nil, fmt.Errorf("call %s: To %q: %w", target, o.to, err)
		}
	}
	if !p.addCall(c) {
		c.end()
		return nil, fmt.Errorf("call %s: phone is closed", target)
	}
	go c.start(offer, &sip.ContactHeader{Address: contact}, o.headers)
	return c, nil
}

func (p *Phone) targetURI(target string) (sip.Uri, error) {
	if !strings.Contains(target, ":") {
		if !strings.Contains(target, "@") {
			target += "@" + p.cfg.Domain
		}
		target = "sip:" + target
	}
	var uri sip.Uri
	err := sip.ParseUri(target, &uri)
	return uri, err
}

// addCall makes the call known for requests inside its dialog; false when the phone is closed.
func (p *Phone) addCall(c *Call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.calls[dialogKey(c.dialog.callID, c.dialog.localTag)] = c
	return true
}

func (p *Phone) forget(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.calls, dialogKey(c.dialog.callID, c.dialog.localTag))
}

// start runs the INVITE to its result.
func (c *Call) start(offer []byte, contact sip.Header, extra []sip.Header) {
	p := c.phone
	build := func() *sip.Request {
		req := c.dialog.request(p, sip.INVITE, 0, append([]sip.Header{contact, sip.NewHeader("Allow", allow)}, extra...)...)
		req.SetDestination(p.cfg.Proxy)
		p.setSDP(req, offer)
		return req
	}
	req, res, err := p.request(p.ctx, exchange{build: build, provisional: c.progress, cancel: c.cancelling, retransmit: c.ack})
	c.mu.Lock()
	c.invite = req.String()
	c.mu.Unlock()
	if err == nil && !res.IsSuccess() {
		err = statusError(res)
	}
	if err == nil {
		err = c.established(req, res)
	}
	c.settle(err)
}

// established acknowledges the 2xx and takes its SDP. A call that cannot live is hung up again.
func (c *Call) established(req *sip.Request, res *sip.Response) error {
	c.mu.Lock()
	c.headers = headers(res.Headers())
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		c.inviteAuth = append(c.inviteAuth, req.GetHeaders(name)...)
	}
	c.mu.Unlock()
	c.dialog.learn(res, tagOf(res.To().Params), true)
	c.ack(res)
	err := c.takeAnswer(res.Body())
	if err == nil && cancelled(c.cancelling) {
		err = ErrCancelled
	}
	if err != nil {
		ctx, stop := context.WithTimeout(c.phone.ctx, closeTimeout)
		defer stop()
		return errors.Join(err, c.Bye(ctx))
	}
	return nil
}

func (c *Call) takeAnswer(body []byte) error {
	c.mu.Lock()
	c.gotSDP = string(body)
	c.mu.Unlock()
	return c.media.accept(body)
}

// progress notes a provisional response; early media is heard from here on.
func (c *Call) progress(res *sip.Response) {
	c.mu.Lock()
	c.provisional = append(c.provisional, res.StatusCode)
	c.mu.Unlock()
	if len(res.Body()) > 0 {
		if err := c.takeAnswer(res.Body()); err != nil {
			c.phone.log.Warn("early media", "code", res.StatusCode, "error", err)
		}
	}
	if res.StatusCode > 100 {
		c.ringOnce.Do(func() { close(c.ringing) })
	}
}

// ack acknowledges a 2xx, the first as well as each repetition.
func (c *Call) ack(res *sip.Response) {
	c.mu.Lock()
	auth := c.inviteAuth
	c.mu.Unlock()
	req := c.dialog.request(c.phone, sip.ACK, res.CSeq().SeqNo, auth...)
	req.PrependHeader(c.phone.via())
	if err := c.phone.client.WriteRequest(req, asIs); err != nil {
		c.phone.log.Warn("ACK was not sent", "error", err)
	}
}

func (c *Call) settle(err error) {
	c.err = err
	close(c.settled)
	if err != nil {
		c.end()
	}
}

// Wait waits for the final response: nil for 2xx, *StatusError for others. It may be called again.
func (c *Call) Wait(ctx context.Context) error {
	select {
	case <-c.settled:
		return c.err
	default:
	}
	select {
	case <-c.settled:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ringing is closed by the first provisional response above 100.
func (c *Call) Ringing() <-chan struct{} { return c.ringing }

// Cancel gives up a call that is not answered yet; Wait then returns 487 or whatever came instead.
func (c *Call) Cancel() { c.cancelOnce.Do(func() { close(c.cancelling) }) }

// Done is closed when the call is over, whoever ended it, or failed.
func (c *Call) Done() <-chan struct{} { return c.done }

// EndReason is the Reason header (RFC 3326) of the BYE that ended the call, "" when there was none.
func (c *Call) EndReason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byeReason
}

// end frees everything; sending BYE is up to others.
func (c *Call) end() {
	c.endOnce.Do(func() {
		c.phone.forget(c)
		close(c.done)
		c.media.close()
	})
}

// Bye ends an answered call. The call is Done even if the other side does not answer or refuses.
func (c *Call) Bye(ctx context.Context) error {
	defer c.end()
	_, err := c.inside(ctx, sip.BYE)
	return err
}

// inside sends a request inside the dialog; anything but a 2xx is a *StatusError.
func (c *Call) inside(ctx context.Context, method sip.RequestMethod, extra ...sip.Header) (*Response, error) {
	_, res, err := c.phone.request(ctx, exchange{build: func() *sip.Request {
		return c.dialog.request(c.phone, method, 0, extra...)
	}})
	if err != nil {
		return nil, err
	}
	if !res.IsSuccess() {
		return newResponse(res), statusError(res)
	}
	return newResponse(res), nil
}

func (p *Phone) setSDP(m sip.Message, body []byte) {
	if p.cfg.WriteSDP != nil {
		body = p.cfg.WriteSDP(body)
	}
	m.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	m.SetBody(body)
}
