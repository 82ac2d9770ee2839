package fsim

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// dialog is RFC 3261 section 12 for one side of a call, over UDP.
type dialog struct {
	callID             string
	localTag           string
	local, remote      sip.Uri
	localName, farName string

	mu        sync.Mutex
	remoteTag string
	target    sip.Uri
	routes    []string
	hop       string // host:port of the first route, "" without
	cseq      uint32
}

func (d *dialog) key() string { return d.callID + "|" + d.localTag }

func (d *dialog) ackKey(cseq uint32) string {
	return d.key() + "|" + strconv.FormatUint(uint64(cseq), 10)
}

// learn takes tag, Contact and route set from the message that makes the dialog.
func (d *dialog) learn(m sip.Message, tag string, caller bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remoteTag = tag
	d.retarget(m)
	var uris []sip.Uri
	d.routes, d.hop = nil, ""
	for _, h := range m.GetHeaders("Record-Route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			d.routes, uris = append(d.routes, rr.Value()), append(uris, rr.Address)
		}
	}
	if caller {
		slices.Reverse(d.routes)
		slices.Reverse(uris)
	}
	if len(uris) > 0 {
		d.hop = hostPort(uris[0])
	}
}

func (d *dialog) retarget(m sip.Message) {
	for _, h := range m.GetHeaders("Contact") {
		if c, ok := h.(*sip.ContactHeader); ok {
			d.target = *c.Address.Clone()
		}
	}
}

func (d *dialog) refresh(m sip.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retarget(m)
}

func hostPort(uri sip.Uri) string {
	port := uri.Port
	if port == 0 {
		port = 5060
	}
	return net.JoinHostPort(uri.Host, strconv.Itoa(port))
}

// request makes a request of the dialog; cseq 0 takes the next number, an ACK brings its INVITE's.
func (d *dialog) request(s *Server, method sip.RequestMethod, cseq uint32) *sip.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	if cseq == 0 {
		d.cseq++
		cseq = d.cseq
	}
	req := sip.NewRequest(method, d.target)
	req.SetTransport("UDP")
	if req.SetDestination(hostPort(d.target)); d.hop != "" {
		req.SetDestination(d.hop)
	}
	s.sipAddr.Copy(&req.Laddr)
	for _, r := range d.routes {
		req.AppendHeader(sip.NewHeader("Route", r))
	}
	from := &sip.FromHeader{DisplayName: d.localName, Address: d.local}
	from.Params.Add("tag", d.localTag)
	to := &sip.ToHeader{DisplayName: d.farName, Address: d.remote}
	if d.remoteTag != "" {
		to.Params.Add("tag", d.remoteTag)
	}
	callID := sip.CallIDHeader(d.callID)
	maxForwards := sip.MaxForwardsHeader(70)
	for _, h := range []sip.Header{&maxForwards, from, to, &callID, &sip.CSeqHeader{SeqNo: cseq, MethodName: method}} {
		req.AppendHeader(h)
	}
	req.AppendHeader(sip.NewHeader("User-Agent", userAgent))
	req.SetBody(nil)
	return req
}

func tagOf(params sip.HeaderParams) string {
	tag, _ := params.Get("tag")
	return tag
}

// via is a fresh top Via.
func (s *Server) via() *sip.ViaHeader {
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "UDP", Host: s.sipAddr.IP.String(), Port: s.sipAddr.Port}
	via.Params.Add("rport", "")
	via.Params.Add("branch", sip.GenerateBranch())
	return via
}

// contact is where requests of a dialog reach us.
func (s *Server) contact() *sip.ContactHeader {
	return &sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: "sipio", Host: s.sipAddr.IP.String(), Port: s.sipAddr.Port}}
}

func setSDP(m sip.Message, body string) {
	m.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	m.SetBody([]byte(body))
}

// reasonHeader is Reason of a BYE or a refusal: Q.850 where the cause has a code of it, else FreeSWITCH's own.
func reasonHeader(why string) sip.Header {
	c := causeNamed(why)
	protocol := "Q.850"
	if c.q850 >= 128 {
		protocol = "SIP"
		if why == "SYSTEM_SHUTDOWN" {
			return sip.NewHeader("Reason", `SIP;cause=701;text="SYSTEM_SHUTDOWN"`)
		}
	}
	return sip.NewHeader("Reason", fmt.Sprintf("%s;cause=%d;text=%q", protocol, c.q850, c.name))
}
