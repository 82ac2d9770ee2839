package phone

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// dialog is the state of RFC 3261 section 12 for one side of a call.
type dialog struct {
	callID        string
	localTag      string
	localName     string
	local, remote sip.Uri
	remoteName    string
	connection    string // host:port whose connection a stream transport keeps using

	mu        sync.Mutex
	remoteTag string
	target    sip.Uri  // the other side's Contact
	routes    []string // Route values, first hop first
	hop       string   // host:port of the first route, "" if there is none
	cseq      uint32
}

func dialogKey(callID, localTag string) string { return callID + "|" + localTag }

func ackKey(callID, localTag string, cseq uint32) string {
	return dialogKey(callID, localTag) + "|" + strconv.FormatUint(uint64(cseq), 10)
}

// learn takes the other side's tag, Contact and route set from a message that creates the dialog. The caller's
// side sees Record-Route in reverse.
func (d *dialog) learn(m sip.Message, tag string, caller bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remoteTag = tag
	d.retarget(m)
	var uris []sip.Uri
	d.routes = nil
	for _, h := range m.GetHeaders("Record-Route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			d.routes, uris = append(d.routes, rr.Value()), append(uris, rr.Address)
		}
	}
	if caller {
		slices.Reverse(d.routes)
		slices.Reverse(uris)
	}
	d.hop = ""
	if len(uris) > 0 {
		d.hop = hostPort(uris[0])
	}
}

// retarget takes a new Contact (target refresh). d.mu must be held.
func (d *dialog) retarget(m sip.Message) {
	for _, h := range m.GetHeaders("Contact") {
		if c, ok := h.(*sip.ContactHeader); ok {
			d.target = *c.Address.Clone()
		}
	}
}

// refresh takes the Contact of a re-INVITE or of its answer.
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
	return fmt.Sprintf("%s:%d", uri.Host, port)
}

// destination is where requests inside the dialog go. A datagram goes to the first route or the remote target; a
// stream stays on the connection the dialog began on, which is the only way back through a NAT or to a browser.
func (d *dialog) destination(stream bool) string {
	switch {
	case stream:
		return d.connection
	case d.hop != "":
		return d.hop
	}
	return hostPort(d.target)
}

// request makes a request inside the dialog. cseq 0 takes the next number; an ACK brings its INVITE's.
func (d *dialog) request(p *Phone, method sip.RequestMethod, cseq uint32, extra ...sip.Header) *sip.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	if cseq == 0 {
		d.cseq++
		cseq = d.cseq
	}
	req := p.newRequest(method, d.target, d.destination(p.stream()))
	for _, r := range d.routes {
		req.AppendHeader(sip.NewHeader("Route", r))
	}
	from := &sip.FromHeader{DisplayName: d.localName, Address: d.local}
	from.Params.Add("tag", d.localTag)
	to := &sip.ToHeader{DisplayName: d.remoteName, Address: d.remote}
	if d.remoteTag != "" {
		to.Params.Add("tag", d.remoteTag)
	}
	callID := sip.CallIDHeader(d.callID)
	addHeaders(req, append([]sip.Header{from, to, &callID, &sip.CSeqHeader{SeqNo: cseq, MethodName: method}}, extra...)...)
	return req
}

// replaces is the dialog as the other end of an attended transfer names it (RFC 3891), escaped for a Refer-To URI.
func (d *dialog) replaces() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	value := fmt.Sprintf("%s;to-tag=%s;from-tag=%s", d.callID, d.remoteTag, d.localTag)
	return strings.NewReplacer("%", "%25", "@", "%40", ";", "%3B", "=", "%3D", " ", "%20").Replace(value)
}

func tagOf(params sip.HeaderParams) string {
	tag, _ := params.Get("tag")
	return tag
}
