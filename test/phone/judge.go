package phone

import "github.com/emiago/sipgo/sip"

// Asked is a request of the other side within a call, as who judges its credentials sees it.
type Asked struct {
	Method, URI string
	CSeq        uint32
	Credentials string // Proxy-Authorization, "" when it has none
}

// Judge has the phone refuse each re-INVITE and BYE of the other side with 407 for which judge returns a challenge, the value of
// Proxy-Authenticate, as carriers do; "" takes it.
func (c *Call) Judge(judge func(Asked) (challenge string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judge = judge
}

// refused tells whether a request has been answered with a challenge.
func (c *Call) refused(req *sip.Request, tx sip.ServerTransaction) bool {
	c.mu.Lock()
	judge := c.judge
	c.mu.Unlock()
	if judge == nil {
		return false
	}
	asked := Asked{Method: string(req.Method), URI: req.Recipient.String(), CSeq: req.CSeq().SeqNo}
	if h := req.GetHeader("Proxy-Authorization"); h != nil {
		asked.Credentials = h.Value()
	}
	challenge := judge(asked)
	if challenge == "" {
		return false
	}
	c.phone.reply(req, tx, 407, "Proxy Authentication Required", sip.NewHeader("Proxy-Authenticate", challenge))
	return true
}
