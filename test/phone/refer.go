package phone

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Follow does what the next REFER in the call wants, as phones do: it calls the target, says by whom it was sent and which
// call it takes over, and tells the other side how that went (NOTIFY, RFC 3515). The call it was sent from is the other
// side's to end.
func (c *Call) Follow(ctx context.Context) (*Call, error) {
	var target string
	select {
	case target = <-c.referred:
	case <-c.done:
		return nil, errors.New("the call ended without a REFER")
	case <-ctx.Done():
		return nil, fmt.Errorf("no REFER came: %w", ctx.Err())
	}
	target = strings.TrimSuffix(strings.TrimPrefix(target, "<"), ">")
	target, escaped, _ := strings.Cut(target, "?")
	opts := []CallOption{WithHeader("Referred-By", "<"+c.dialog.remote.String()+">")}
	if escaped, ok := strings.CutPrefix(escaped, "Replaces="); ok {
		replaces, err := url.PathUnescape(escaped)
		if err != nil {
			return nil, fmt.Errorf("refer to %s: %w", target, err)
		}
		opts = append(opts, WithHeader("Replaces", replaces))
	}
	if err := c.notify(ctx, "active", "100 Trying"); err != nil {
		return nil, err
	}
	next, err := c.phone.Call(ctx, target, opts...)
	said := "200 OK"
	if refused := (*StatusError)(nil); errors.As(err, &refused) {
		said = refused.Error()
	} else if err != nil {
		said = "503 Service Unavailable"
	}
	return next, errors.Join(err, c.notify(ctx, "terminated;reason=noresource", said))
}

// notify tells the other side how the call goes that it wanted. A call that has ended meanwhile is no error: some phones hang
// up as soon as their REFER is accepted.
func (c *Call) notify(ctx context.Context, state, status string) error {
	_, res, err := c.phone.request(ctx, exchange{build: func() *sip.Request {
		req := c.dialog.request(c.phone, sip.NOTIFY, 0, sip.NewHeader("Event", "refer"), sip.NewHeader("Subscription-State", state),
			sip.NewHeader("Content-Type", "message/sipfrag;version=2.0"))
		req.SetBody([]byte("SIP/2.0 " + status + "\r\n"))
		return req
	}})
	if err == nil && !res.IsSuccess() && res.StatusCode != 481 {
		err = statusError(res)
	}
	return err
}
