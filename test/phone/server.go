package phone

import (
	"context"

	"github.com/emiago/sipgo/sip"
)

// allow lists what this phone answers.
const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, NOTIFY, REFER"

func (p *Phone) routes() {
	p.server.OnInvite(p.onInvite)
	p.server.OnAck(p.onAck)
	p.server.OnBye(p.onBye)
	p.server.OnOptions(p.onOptions)
	p.server.OnRefer(p.onRefer)
	p.server.OnNotify(p.onNotify)
	p.server.OnInfo(p.onInfo)
	p.server.OnCancel(func(req *sip.Request, tx sip.ServerTransaction) { // sipgo itself answers one that matches
		p.reply(req, tx, 481, "Call/Transaction Does Not Exist")
	})
}

// Deafen makes the phone ignore calls and OPTIONS, as one that has lost its network, or ends that.
func (p *Phone) Deafen(deaf bool) { p.deaf.Store(deaf) }

func (p *Phone) reply(req *sip.Request, tx sip.ServerTransaction, code int, reason string, extra ...sip.Header) {
	res := p.response(req, code, reason, "", nil)
	for _, h := range extra {
		res.AppendHeader(h)
	}
	if err := tx.Respond(res); err != nil {
		p.log.Warn("response was not sent", "method", req.Method, "code", code, "error", err)
	}
}

// whole tells whether a request has the headers this package looks into without asking.
func whole(req *sip.Request) bool {
	return req.From() != nil && req.To() != nil && req.CallID() != nil && req.CSeq() != nil
}

// find is the call a request belongs to; it answers 400 or 481 itself when there is none.
func (p *Phone) find(req *sip.Request, tx sip.ServerTransaction) *Call {
	if !whole(req) {
		p.reply(req, tx, 400, "Bad Request")
		return nil
	}
	p.mu.Lock()
	c := p.calls[dialogKey(string(*req.CallID()), tagOf(req.To().Params))]
	p.mu.Unlock()
	if c == nil {
		p.reply(req, tx, 481, "Call/Transaction Does Not Exist")
	}
	return c
}

func (p *Phone) onInvite(req *sip.Request, tx sip.ServerTransaction) {
	if p.deaf.Load() {
		return
	}
	if !whole(req) {
		p.reply(req, tx, 400, "Bad Request")
		return
	}
	if tagOf(req.To().Params) != "" {
		if c := p.find(req, tx); c != nil {
			c.onReinvite(req, tx)
		}
		return
	}
	in := &Incoming{
		phone: p, req: req, tx: tx, localTag: sip.GenerateTagN(10),
		cancelled: make(chan struct{}), finished: make(chan struct{}),
	}
	if !tx.OnCancel(func(*sip.Request) { close(in.cancelled) }) {
		return // cancelled already, and answered 487
	}
	select {
	case p.incoming <- in:
	default:
		p.reply(req, tx, 486, "Busy Here")
		return
	}
	// sipgo ends the transaction when this returns.
	select {
	case <-in.finished:
	case <-in.cancelled:
		in.mu.Lock()
		if in.call != nil && !in.decided {
			in.call.end()
		}
		in.mu.Unlock()
	case <-tx.Done():
	case <-p.ctx.Done():
	}
}

// onReinvite answers a new offer in the call, or makes one where there is none.
func (c *Call) onReinvite(req *sip.Request, tx sip.ServerTransaction) {
	p, tag := c.phone, c.dialog.localTag
	if c.refused(req, tx) {
		return
	}
	c.mu.Lock()
	busy, want, stubborn := c.offering, c.want, c.stubborn
	c.mu.Unlock()
	switch {
	case stubborn == silent:
		return
	case stubborn != 0:
		p.reply(req, tx, stubborn, "Not Acceptable Here")
		return
	}
	if busy {
		p.reply(req, tx, 491, "Request Pending")
		return
	}
	var sdp []byte
	var err error
	if offer := req.Body(); len(offer) > 0 {
		c.mu.Lock()
		c.gotSDP = string(offer)
		c.mu.Unlock()
		sdp, err = c.media.answer(offer, want)
	} else {
		sdp, err = c.media.offer(want)
	}
	if err != nil {
		p.log.Warn("re-INVITE refused", "error", err)
		p.reply(req, tx, 488, "Not Acceptable Here")
		return
	}
	c.mu.Lock()
	c.sentSDP = string(sdp)
	c.mu.Unlock()
	c.dialog.refresh(req)
	ctx, stop := context.WithTimeout(p.ctx, ackTimeout)
	defer stop()
	body, err := p.respondUntilACK(ctx, tx, p.response(req, sip.StatusOK, "OK", tag, sdp), tag, c.done)
	if err == nil && len(req.Body()) == 0 {
		err = c.takeAnswer(body)
	}
	if err != nil {
		p.log.Warn("re-INVITE was answered in vain", "error", err)
	}
}

func (p *Phone) onAck(req *sip.Request, _ sip.ServerTransaction) {
	if !whole(req) {
		return
	}
	key := ackKey(string(*req.CallID()), tagOf(req.To().Params), req.CSeq().SeqNo)
	p.mu.Lock()
	defer p.mu.Unlock()
	if acked, ok := p.acks[key]; ok {
		select {
		case acked <- req.Body():
		default: // a repeated ACK
		}
	}
}

func (p *Phone) onBye(req *sip.Request, tx sip.ServerTransaction) {
	if c := p.find(req, tx); c != nil && !c.refused(req, tx) {
		if h := req.GetHeader("Reason"); h != nil {
			c.mu.Lock()
			c.byeReason = h.Value()
			c.mu.Unlock()
		}
		p.forget(c) // first: whoever has the 200 finds the dialog gone
		p.reply(req, tx, 200, "OK")
		c.end() // last: whoever waits for the end may close the phone
	}
}

func (p *Phone) onOptions(req *sip.Request, tx sip.ServerTransaction) {
	if p.deaf.Load() {
		return
	}
	if req.To() != nil && tagOf(req.To().Params) != "" && p.find(req, tx) == nil {
		return
	}
	p.reply(req, tx, 200, "OK", sip.NewHeader("Allow", allow), sip.NewHeader("Accept", "application/sdp"))
}

func (p *Phone) onRefer(req *sip.Request, tx sip.ServerTransaction) {
	c := p.find(req, tx)
	if c == nil {
		return
	}
	target := req.GetHeader("Refer-To")
	if target == nil {
		p.reply(req, tx, 400, "Bad Request")
		return
	}
	p.reply(req, tx, 202, "Accepted")
	put(c.referred, target.Value())
}

func (p *Phone) onNotify(req *sip.Request, tx sip.ServerTransaction) {
	if req.To() != nil && tagOf(req.To().Params) == "" { // unsolicited, such as message waiting
		p.reply(req, tx, 200, "OK")
		if e := req.GetHeader("Event"); e != nil && e.Value() == "message-summary" {
			put(p.waiting, string(req.Body()))
		}
		return
	}
	if c := p.find(req, tx); c != nil {
		p.reply(req, tx, 200, "OK")
		put(c.notifies, string(req.Body()))
	}
}

func (p *Phone) onInfo(req *sip.Request, tx sip.ServerTransaction) {
	if c := p.find(req, tx); c != nil {
		p.reply(req, tx, 200, "OK")
	}
}

// put delivers without waiting; what nobody reads is lost.
func put(to chan<- string, value string) {
	select {
	case to <- value:
	default:
	}
}
