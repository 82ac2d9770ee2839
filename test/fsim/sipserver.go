package fsim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"

	"github.com/sipio/sipio/test/phone/tone"
)

// allow lists what we answer.
const allow = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE"

// userAgent is what freeswitch-cfg sets.
const userAgent = "sipio"

func init() {
	sip.UDPMTUSize = 65535 // INVITEs through two proxies are longer than sipgo would send
	sip.SetDefaultLogger(slog.New(slog.DiscardHandler))
}

func asIs(*sipgo.Client, *sip.Request) error { return nil }

// openSIP binds the SIP socket and begins to read.
func (s *Server) openSIP() error {
	quiet := slog.New(slog.DiscardHandler)
	ua, err := sipgo.NewUA(sipgo.WithUserAgent(userAgent),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(quiet),
			sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {})),
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)))
	if err != nil {
		return fmt.Errorf("user agent: %w", err)
	}
	s.ua = ua
	if s.client, err = sipgo.NewClient(ua, sipgo.WithClientLogger(quiet)); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	server, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quiet))
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	server.OnInvite(s.onInvite)
	server.OnAck(s.onAck)
	server.OnBye(s.onBye)
	server.OnInfo(s.onInfo)
	server.OnOptions(s.onOptions)
	server.OnUpdate(s.onOptions)
	server.OnCancel(func(req *sip.Request, tx sip.ServerTransaction) { // sipgo itself answers one that matches
		s.reply(req, tx, 481, "Call/Transaction Does Not Exist")
	})
	conn, err := net.ListenPacket("udp", s.opt.SIP)
	if err != nil {
		return fmt.Errorf("listen for SIP: %w", err)
	}
	s.sipConn = conn
	at := conn.LocalAddr().(*net.UDPAddr)
	s.SIP, s.sipAddr = at.String(), sip.Addr{IP: at.IP, Port: at.Port}
	reading := &readyConn{PacketConn: conn, ready: make(chan struct{})}
	go server.ServeUDP(reading)
	<-reading.ready
	return nil
}

// readyConn tells when sipgo begins to read, which is after it made the socket known as one to send from.
type readyConn struct {
	net.PacketConn
	once  sync.Once
	ready chan struct{}
}

func (c *readyConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.once.Do(func() { close(c.ready) })
	return c.PacketConn.ReadFrom(b)
}

func (s *Server) reply(req *sip.Request, tx sip.ServerTransaction, code int, reason string, extra ...sip.Header) {
	res := sip.NewResponseFromRequest(req, code, reason, nil)
	for _, h := range append(extra, sip.NewHeader("User-Agent", userAgent), sip.NewHeader("Allow", allow)) {
		res.AppendHeader(h)
	}
	if err := tx.Respond(res); err != nil {
		s.log.Info("response was not sent", "method", req.Method, "code", code, "error", err)
	}
}

// permitted refuses what has not the headers we look into, and who may not send.
func (s *Server) permitted(req *sip.Request, tx sip.ServerTransaction) bool {
	if req.From() == nil || req.To() == nil || req.CallID() == nil || req.CSeq() == nil {
		s.reply(req, tx, 400, "Bad Request")
		return false
	}
	host, _, _ := net.SplitHostPort(req.Source())
	if len(s.opt.Peers) > 0 && !slices.Contains(s.opt.Peers, host) {
		s.reply(req, tx, 403, "Forbidden")
		return false
	}
	return true
}

// find is the leg a request belongs to; without one it answers 481.
func (s *Server) find(req *sip.Request, tx sip.ServerTransaction) *leg {
	if !s.permitted(req, tx) {
		return nil
	}
	s.mu.Lock()
	l := s.legs[string(*req.CallID())+"|"+tagOf(req.To().Params)]
	s.mu.Unlock()
	if l == nil {
		s.reply(req, tx, 481, "Call/Transaction Does Not Exist")
	}
	return l
}

func (s *Server) onInvite(req *sip.Request, tx sip.ServerTransaction) {
	if !s.permitted(req, tx) {
		return
	}
	if tagOf(req.To().Params) != "" {
		if l := s.find(req, tx); l != nil {
			l.onReinvite(req, tx)
		}
		return
	}
	if s.paused.Load() {
		s.reply(req, tx, 503, "Maximum Calls In Progress", sip.NewHeader("Retry-After", "300"))
		return
	}
	l := &leg{s: s, invite: req, tx: tx, finished: make(chan struct{})}
	l.dialog = dialog{callID: string(*req.CallID()), localTag: sip.GenerateTagN(13), local: *req.To().Address.Clone(),
		remote: *req.From().Address.Clone(), localName: req.To().DisplayName, farName: req.From().DisplayName}
	l.dialog.learn(req, tagOf(req.From().Params), false)
	c := s.newChannel(newUUID(), true)
	c.leg, l.c = l, c
	l.enter()
	if !tx.OnCancel(func(*sip.Request) { c.end("ORIGINATOR_CANCEL", true) }) {
		return // cancelled already, and answered 487
	}
	s.add(c, l)
	s.reply(req, tx, 100, "Trying")
	go c.run(func() { c.route(s.dialplan()) })
	select { // sipgo ends the transaction when this returns
	case <-l.finished:
	case <-s.ctx.Done():
	}
}

// onReinvite answers a new offer, or makes one.
func (l *leg) onReinvite(req *sip.Request, tx sip.ServerTransaction) {
	l.mu.Lock()
	busy := l.reinvite
	l.mu.Unlock()
	if busy {
		l.s.reply(req, tx, 491, "Request Pending")
		return
	}
	l.dialog.refresh(req)
	sdp, err := l.reoffered(string(req.Body()))
	if err != nil {
		l.s.reply(req, tx, 488, "Not Acceptable Here")
		return
	}
	res := sip.NewResponseFromRequest(req, 200, "OK", nil)
	res.AppendHeader(l.s.contact())
	res.AppendHeader(sip.NewHeader("User-Agent", userAgent))
	setSDP(res, sdp)
	acked := l.s.expectACK(l.dialog.ackKey(req.CSeq().SeqNo))
	if err := tx.Respond(res); err != nil {
		l.s.log.Info("response was not sent", "channel", l.c.id, "error", err)
	}
	body, err := l.s.untilACK(tx, res, acked, l.c.hangup)
	if err == nil && len(req.Body()) == 0 && body != "" {
		l.c.agree(body, []tone.Law{tone.PCMU, tone.PCMA})
	}
}

func (s *Server) onAck(req *sip.Request, _ sip.ServerTransaction) {
	if req.To() == nil || req.CallID() == nil || req.CSeq() == nil {
		return
	}
	d := dialog{callID: string(*req.CallID()), localTag: tagOf(req.To().Params)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if acked := s.acks[d.ackKey(req.CSeq().SeqNo)]; acked != nil {
		select {
		case acked <- string(req.Body()):
		default: // a repeated ACK
		}
	}
}

// expectACK is where the ACK of a 2xx will come.
func (s *Server) expectACK(key string) *expected {
	e := &expected{key: key, body: make(chan string, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks[key] = e.body
	return e
}

type expected struct {
	key  string
	body chan string
}

// untilACK repeats a 2xx as RFC 3261 section 13.3.1.4 says, until its ACK comes, whose body it returns.
func (s *Server) untilACK(tx sip.ServerTransaction, res *sip.Response, acked *expected, gone <-chan struct{}) (string, error) {
	defer func() {
		s.mu.Lock()
		delete(s.acks, acked.key)
		s.mu.Unlock()
	}()
	deadline := time.NewTimer(ackTimeout)
	defer deadline.Stop()
	for pause := sip.T1; ; pause = min(2*pause, sip.T2) {
		timer := time.NewTimer(pause)
		select {
		case body := <-acked.body:
			timer.Stop()
			return body, nil
		case <-timer.C:
			if err := tx.Respond(res); err != nil {
				return "", fmt.Errorf("send 200: %w", err)
			}
		case <-deadline.C:
			return "", errors.New("no ACK came")
		case <-gone:
			return "", errors.New("the call has ended")
		case <-s.ctx.Done():
			return "", s.ctx.Err()
		}
	}
}

func (s *Server) onBye(req *sip.Request, tx sip.ServerTransaction) {
	l := s.find(req, tx)
	if l == nil {
		return
	}
	s.dropLeg(l)
	s.reply(req, tx, 200, "OK")
	why := normalClearing
	if h := req.GetHeader("Reason"); h != nil {
		if _, after, ok := strings.Cut(h.Value(), "cause="); ok && strings.HasPrefix(h.Value(), "Q.850") {
			number, _, _ := strings.Cut(after, ";")
			why = causeNamed(number).name
		}
	}
	l.c.end(why, true)
}

func (s *Server) onOptions(req *sip.Request, tx sip.ServerTransaction) {
	if s.permitted(req, tx) && (tagOf(req.To().Params) == "" || s.find(req, tx) != nil) {
		s.reply(req, tx, 200, "OK", sip.NewHeader("Accept", "application/sdp"))
	}
}

// onInfo takes a digit of application/dtmf-relay (Signal=5, Duration=160 ms) or application/dtmf (5).
func (s *Server) onInfo(req *sip.Request, tx sip.ServerTransaction) {
	l := s.find(req, tx)
	if l == nil {
		return
	}
	kind := ""
	if h := req.GetHeader("Content-Type"); h != nil {
		kind = strings.ToLower(strings.TrimSpace(strings.Split(h.Value(), ";")[0]))
	}
	digit, duration := infoDigit(kind, string(req.Body()))
	if digit != 0 {
		l.c.press(press{digit, duration, "ENDPOINT"}) // before the answer, behind which the next one may come
	}
	s.reply(req, tx, 200, "OK")
}

// exchange is what may happen before a final response.
type exchange struct {
	provisional func(*sip.Response)
	repeated    func(*sip.Response) // a 2xx that comes again
	cancel      <-chan struct{}
}

// transact runs one client transaction to its final response.
func (s *Server) transact(ctx context.Context, req *sip.Request, x exchange) (*sip.Response, error) {
	req.PrependHeader(s.via())
	tx, err := s.client.TransactionRequest(ctx, req, asIs)
	if err != nil {
		return nil, err
	}
	if !req.IsInvite() {
		defer tx.Terminate()
	} else if x.repeated != nil {
		tx.OnRetransmission(x.repeated)
	}
	cancel, proceeding := x.cancel, false
	for {
		now := cancel
		if !proceeding {
			now = nil // RFC 3261 9.1: no CANCEL before a provisional response
		}
		select {
		case res := <-tx.Responses():
			if !res.IsProvisional() {
				return res, nil
			}
			proceeding = true
			if x.provisional != nil {
				x.provisional(res)
			}
		case <-now:
			cancel = nil
			go s.sendCancel(req)
		case <-tx.Done():
			return nil, fmt.Errorf("no final response: %w", tx.Err())
		case <-ctx.Done():
			tx.Terminate()
			return nil, fmt.Errorf("no final response: %w", ctx.Err())
		}
	}
}

func (s *Server) sendCancel(invite *sip.Request) {
	req := sip.NewRequest(sip.CANCEL, invite.Recipient)
	req.SetTransport("UDP")
	req.SetDestination(invite.Destination())
	s.sipAddr.Copy(&req.Laddr)
	sip.CopyHeaders("Route", invite, req)
	maxForwards := sip.MaxForwardsHeader(70)
	for _, h := range []sip.Header{&maxForwards, sip.HeaderClone(invite.From()), sip.HeaderClone(invite.To()), sip.HeaderClone(invite.CallID()),
		&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.CANCEL}} {
		req.AppendHeader(h)
	}
	req.PrependHeader(invite.Via().Clone())
	req.SetBody(nil)
	tx, err := s.client.TransactionRequest(s.ctx, req, asIs)
	if err != nil {
		s.log.Info("CANCEL was not sent", "error", err)
		return
	}
	defer tx.Terminate()
	select {
	case <-tx.Responses():
	case <-tx.Done():
	case <-s.ctx.Done():
	}
}
