package phone

import (
	"context"
	"errors"
	"fmt"

	"github.com/emiago/sipgo/sip"
)

// Refer asks the other side to call target (blind transfer) and returns the code of the response. For an attended
// transfer target is a URI with "?Replaces=" and the Replaces of the other call.
func (c *Call) Refer(ctx context.Context, target string) (code int, err error) {
	uri, err := c.phone.targetURI(target)
	if err != nil {
		return 0, fmt.Errorf("refer to %s: %w", target, err)
	}
	contact, err := c.phone.contactURI(ctx)
	if err != nil {
		return 0, fmt.Errorf("refer to %s: %w", target, err)
	}
	res, err := c.inside(ctx, sip.REFER, &sip.ContactHeader{Address: contact},
		sip.NewHeader("Refer-To", "<"+uri.String()+">"), sip.NewHeader("Referred-By", "<"+c.phone.AOR()+">"))
	if refused := (*StatusError)(nil); errors.As(err, &refused) {
		return refused.Code, nil
	}
	if err != nil {
		return 0, fmt.Errorf("refer to %s: %w", target, err)
	}
	return res.Code, nil
}

// SendInfo sends one DTMF digit as SIP INFO (application/dtmf-relay) and waits for its answer.
func (c *Call) SendInfo(ctx context.Context, digit byte) error {
	_, res, err := c.phone.request(ctx, exchange{build: func() *sip.Request {
		req := c.dialog.request(c.phone, sip.INFO, 0)
		req.AppendHeader(sip.NewHeader("Content-Type", "application/dtmf-relay"))
		req.SetBody(fmt.Appendf(nil, "Signal=%c\r\nDuration=160\r\n", digit))
		return req
	}})
	if err == nil && !res.IsSuccess() {
		err = statusError(res)
	}
	return err
}

// Replaces names this call for an attended transfer, escaped for use in a Refer-To URI.
func (c *Call) Replaces() string { return c.dialog.replaces() }

// Referred delivers the Refer-To of each REFER received (answered 202; acting on it is up to the test).
func (c *Call) Referred() <-chan string { return c.referred }

// Notifies delivers the body of each NOTIFY received, the progress of a transfer (message/sipfrag).
func (c *Call) Notifies() <-chan string { return c.notifies }

// Hold re-INVITEs with sendonly and stops sending; Resume undoes it.
func (c *Call) Hold(ctx context.Context) error { return c.renegotiate(ctx, sendonly) }

// Resume re-INVITEs with sendrecv.
func (c *Call) Resume(ctx context.Context) error { return c.renegotiate(ctx, sendrecv) }

func (c *Call) renegotiate(ctx context.Context, want direction) error {
	c.mu.Lock()
	if c.offering {
		c.mu.Unlock()
		return errors.New("re-INVITE: one is under way already")
	}
	c.offering = true
	c.mu.Unlock()
	err := c.reoffer(ctx, want)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offering = false
	if err != nil {
		return fmt.Errorf("re-INVITE %s: %w", want, err)
	}
	c.want = want
	return nil
}

func (c *Call) reoffer(ctx context.Context, want direction) error {
	contact, err := c.phone.contactURI(ctx)
	if err != nil {
		return err
	}
	offer, err := c.media.offer(want)
	if err != nil {
		return err
	}
	build := func() *sip.Request {
		req := c.dialog.request(c.phone, sip.INVITE, 0, &sip.ContactHeader{Address: contact}, sip.NewHeader("Allow", allow))
		c.phone.setSDP(req, offer)
		return req
	}
	_, res, err := c.phone.request(ctx, exchange{build: build, retransmit: c.ack})
	if err != nil {
		return err
	}
	if !res.IsSuccess() {
		return statusError(res)
	}
	c.dialog.refresh(res)
	c.ack(res)
	c.mu.Lock()
	c.sentSDP = string(offer)
	c.mu.Unlock()
	return c.takeAnswer(res.Body())
}

// silent is no SIP code: a re-INVITE gets no answer.
const silent = -1

// RefuseOffers has the phone answer each re-INVITE of the other side with a code from 300 on, as one does that cannot
// have its media moved; its media stays as it is. TakeOffers undoes it.
func (c *Call) RefuseOffers(code int) { c.offers(code) }

// IgnoreOffers has the phone answer no re-INVITE of the other side at all.
func (c *Call) IgnoreOffers() { c.offers(silent) }

// TakeOffers has the phone answer re-INVITEs again.
func (c *Call) TakeOffers() { c.offers(0) }

func (c *Call) offers(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stubborn = code
}

// CallID is the Call-ID header.
func (c *Call) CallID() string { return c.dialog.callID }

// InviteRequest is the INVITE as sent (the last attempt, once it has its result) or as received.
func (c *Call) InviteRequest() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.invite
}

// RemoteHeaders are the headers the other side began the call with: of its INVITE, or of its 2xx.
func (c *Call) RemoteHeaders() map[string][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.headers
}

// Provisional are the codes of the provisional responses to our INVITE, in order.
func (c *Call) Provisional() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]int(nil), c.provisional...)
}

// SentSDP is the newest SDP this phone sent in the call.
func (c *Call) SentSDP() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sentSDP
}

// ReceivedSDP is the newest SDP this phone got in the call.
func (c *Call) ReceivedSDP() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gotSDP
}
