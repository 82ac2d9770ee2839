package phone

import (
	"context"
	"fmt"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// maxAttempts is how often one request is sent in all: plain, with credentials, and once more for a stale nonce.
const maxAttempts = 3

// exchange is one request and what happens until its final response.
type exchange struct {
	build       func() *sip.Request     // a fresh request with the next CSeq, without Via
	provisional func(res *sip.Response) // may be nil
	cancel      <-chan struct{}         // INVITE: closed when CANCEL is to be sent; may be nil
	retransmit  func(res *sip.Response) // INVITE: called for each repeated 2xx; may be nil
}

// asIs stops sipgo from adding headers to a complete request.
func asIs(*sipgo.Client, *sip.Request) error { return nil }

// request sends a request, answers a challenge, and returns the final response with the request that got it.
func (p *Phone) request(ctx context.Context, x exchange) (*sip.Request, *sip.Response, error) {
	authName, authValue := "", ""
	for attempt := 1; ; attempt++ {
		req := x.build()
		req.PrependHeader(p.via())
		if authName != "" {
			req.AppendHeader(sip.NewHeader(authName, authValue))
		}
		res, err := p.transact(ctx, req, x)
		if err != nil {
			return req, nil, fmt.Errorf("%s %s: %w", req.Method, req.Recipient.String(), err)
		}
		if res.StatusCode != sip.StatusUnauthorized && res.StatusCode != sip.StatusProxyAuthRequired || attempt == maxAttempts {
			return req, res, nil
		}
		name, value, ok := p.credentials(req, res, attempt)
		if !ok || cancelled(x.cancel) {
			return req, res, nil
		}
		authName, authValue = name, value
	}
}

// credentials answers the first challenge this phone can compute. A second challenge is only answered when it
// says that the nonce was stale: otherwise the password is wrong.
func (p *Phone) credentials(req *sip.Request, res *sip.Response, attempt int) (name, value string, ok bool) {
	from, name := "WWW-Authenticate", "Authorization"
	if res.StatusCode == sip.StatusProxyAuthRequired {
		from, name = "Proxy-Authenticate", "Proxy-Authorization"
	}
	for _, h := range res.GetHeaders(from) {
		challenge, err := ParseChallenge(h.Value())
		if err != nil || !challenge.known() || attempt > 1 && !challenge.Stale {
			continue
		}
		cred := challenge.Answer(p.cfg.AuthUser, p.cfg.Password, string(req.Method), req.Recipient.String())
		return name, cred.Header(), true
	}
	return "", "", false
}

func cancelled(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// transact runs one client transaction to its final response. sipgo retransmits and acknowledges non-2xx.
func (p *Phone) transact(ctx context.Context, req *sip.Request, x exchange) (*sip.Response, error) {
	connect, stop := context.WithTimeout(ctx, connectTimeout)
	tx, err := p.client.TransactionRequest(connect, req, asIs)
	stop()
	if err != nil {
		return nil, err
	}
	if !req.IsInvite() {
		defer tx.Terminate()
	} else if x.retransmit != nil {
		tx.OnRetransmission(x.retransmit)
	}
	cancel, proceeding := x.cancel, false
	for {
		select {
		case res := <-tx.Responses():
			if !res.IsProvisional() {
				return res, nil
			}
			proceeding = true
			if x.provisional != nil {
				x.provisional(res)
			}
		case <-whenever(proceeding, cancel): // RFC 3261 9.1: not before a provisional response
			cancel = nil
			go p.sendCancel(req)
		case <-tx.Done():
			return nil, fmt.Errorf("no final response: %w", tx.Err())
		case <-ctx.Done():
			tx.Terminate()
			return nil, fmt.Errorf("no final response: %w", ctx.Err())
		}
	}
}

// whenever is c while on is true, else a channel that never delivers.
func whenever(on bool, c <-chan struct{}) <-chan struct{} {
	if on {
		return c
	}
	return nil
}

// sendCancel cancels a pending INVITE: same branch, same CSeq number (RFC 3261 section 9.1).
func (p *Phone) sendCancel(invite *sip.Request) {
	req := p.newRequest(sip.CANCEL, invite.Recipient, invite.Destination())
	req.AppendHeader(invite.Via().Clone())
	sip.CopyHeaders("Route", invite, req)
	cseq := &sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.CANCEL}
	addHeaders(req, sip.HeaderClone(invite.From()), sip.HeaderClone(invite.To()), sip.HeaderClone(invite.CallID()), cseq)
	if _, err := p.transact(p.ctx, req, exchange{}); err != nil {
		p.log.Warn("CANCEL was not answered", "error", err)
	}
}
