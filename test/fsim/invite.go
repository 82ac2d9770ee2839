package fsim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/sipio/sipio/test/phone/tone"
)

// enter fills the caller profile and the variables of a call that came in, by its INVITE.
func (l *leg) enter() {
	c, req := l.c, l.invite
	host, port, _ := net.SplitHostPort(req.Source())
	from, to, uri := req.From(), req.To(), req.Recipient
	c.mu.Lock()
	defer c.mu.Unlock()
	name := from.DisplayName
	if name == "" {
		name = from.Address.User
	}
	c.profile.name, c.profile.number, c.profile.username = name, from.Address.User, from.Address.User
	c.profile.ani, c.profile.destination, c.profile.networkAddr = from.Address.User, uri.User, host
	c.profile.channelName = "sofia/" + l.s.opt.Profile + "/" + userAt(from.Address)
	set := c.vars.set
	set("channel_name", c.profile.channelName)
	set("sip_call_id", l.dialog.callID)
	uriVariables(set, "sip_from", from.Address)
	set("sip_from_display", from.DisplayName)
	set("sip_from_tag", tagOf(from.Params))
	set("sip_full_from", from.Value())
	uriVariables(set, "sip_to", to.Address)
	set("sip_to_display", to.DisplayName)
	set("sip_full_to", to.Value())
	uriVariables(set, "sip_req", uri)
	for _, h := range req.GetHeaders("Contact") {
		if contact, ok := h.(*sip.ContactHeader); ok {
			uriVariables(set, "sip_contact", contact.Address)
		}
	}
	if via := req.Via(); via != nil {
		set("sip_full_via", via.Value())
		set("sip_via_host", via.Host)
		set("sip_via_port", strconv.Itoa(via.Port))
		set("sip_via_protocol", "udp")
	}
	for _, way := range []string{"network", "received"} {
		set("sip_"+way+"_ip", host)
		set("sip_"+way+"_port", port)
	}
	set("sofia_profile_name", l.s.opt.Profile)
	set("recovery_profile_name", l.s.opt.Profile)
	set("max_forwards", "70")
	l.customHeaders(set)
	set("call_uuid", c.id)
	set("endpoint_disposition", "DELAYED NEGOTIATION")
	set("switch_r_sdp", string(req.Body()))
}

func userAt(uri sip.Uri) string {
	at := uri.User + "@" + uri.Host
	if uri.Port != 0 {
		at += ":" + strconv.Itoa(uri.Port)
	}
	return at
}

func uriVariables(set func(name, value string), prefix string, uri sip.Uri) {
	set(prefix+"_user", uri.User)
	if uri.Port != 0 {
		set(prefix+"_port", strconv.Itoa(uri.Port))
	}
	set(prefix+"_uri", userAt(uri))
	set(prefix+"_host", uri.Host)
}

// customHeaders makes variables of X- and P- headers and of the few others that FreeSWITCH takes over: the case of
// the name is kept, the second of a name gets -1.
func (l *leg) customHeaders(set func(name, value string)) {
	seen := map[string]int{}
	for _, h := range l.invite.Headers() {
		name := h.Name()
		lower := strings.ToLower(name)
		switch {
		case lower == "user-agent":
			set("sip_user_agent", h.Value())
		case lower == "subject":
			set("sip_subject", h.Value())
		case lower == "p-asserted-identity":
			user := identityUser(h.Value())
			set("sip_P-Asserted-Identity", user)
			set("sip_cid_type", "pid")
			l.c.profile.number, l.c.profile.ani = user, user
		case strings.HasPrefix(lower, "x-"), strings.HasPrefix(lower, "p-"), lower == "diversion", lower == "user-to-user":
			suffix := ""
			if n := seen[lower]; n > 0 {
				suffix = "-" + strconv.Itoa(n)
			}
			seen[lower]++
			set("sip_h_"+name+suffix, h.Value())
		}
	}
}

func identityUser(value string) string {
	var uri sip.Uri
	if _, after, ok := strings.Cut(value, "<"); ok {
		value, _, _ = strings.Cut(after, ">")
	}
	if sip.ParseUri(value, &uri) != nil {
		return value
	}
	return uri.User
}

// infoDigit reads the digit of an INFO; the duration is in samples, 160 ms where none is said.
func infoDigit(kind, body string) (digit byte, duration int) {
	duration = 160 * 8
	value := ""
	switch kind {
	case "application/dtmf-relay":
		for line := range strings.SplitSeq(body, "\n") {
			name, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "signal":
				value = strings.TrimSpace(v)
			case "duration":
				if ms, err := strconv.Atoi(strings.TrimSpace(v)); err == nil && ms > 0 && ms < 10_000 {
					duration = ms * 8
				}
			}
		}
	case "application/dtmf":
		value = strings.TrimSpace(body)
	}
	switch value {
	case "10":
		value = "*"
	case "11":
		value = "#"
	}
	value = strings.ToUpper(value)
	if len(value) != 1 || !strings.Contains(digits, value) {
		return 0, 0
	}
	return value[0], duration
}

// target is where a leg of ours goes.
type target struct {
	uri  sip.Uri
	hop  string // host:port to send to
	name string // as the channel is called
}

// newLeg makes the channel of a call of ours. parent is whose bridge it is for, nil for originate.
func (s *Server) newLeg(id string, to target, vars [][2]string, parent *channel) *channel {
	c := s.newChannel(id, false)
	l := &leg{s: s, c: c, target: to, cancelling: make(chan struct{})}
	c.leg = l
	c.profile.channelName, c.profile.destination, c.profile.context = to.name, to.uri.User, "default"
	c.profile.number, c.profile.ani = "0000000000", "0000000000"
	if parent != nil {
		parent.mu.Lock()
		dialed := parent.profile.destination
		c.profile.name, c.profile.number, c.profile.ani = parent.profile.name, parent.profile.number, parent.profile.number
		if truth(parent.vars.get("sip_copy_custom_headers")) || parent.vars.get("sip_copy_custom_headers") == "" {
			for _, name := range parent.vars.order {
				if strings.HasPrefix(name, "sip_h_X-") || strings.HasPrefix(name, "sip_h_P-") {
					c.vars.set(name, parent.vars.get(name))
				}
			}
		}
		for _, name := range strings.Split(parent.vars.get("export_vars"), ",") {
			if name = strings.TrimPrefix(name, "nolocal:"); name != "" {
				c.vars.set(name, parent.vars.get(name))
			}
		}
		c.vars.set("call_uuid", parent.callUUID())
		parent.mu.Unlock()
		c.vars.set("originator", parent.id)
		c.partner, c.partnerTo = parent, dialed
	}
	c.vars.set("channel_name", to.name)
	c.vars.set("originate_endpoint", "sofia")
	c.vars.set("sofia_profile_name", s.opt.Profile)
	for _, v := range vars {
		switch v[0] {
		case "origination_caller_id_number", "effective_caller_id_number":
			c.profile.number = v[1]
		case "origination_caller_id_name", "effective_caller_id_name":
			c.profile.name = v[1]
		}
		c.vars.set(v[0], v[1])
	}
	from := sip.Uri{Scheme: "sip", User: c.profile.number, Host: s.sipAddr.IP.String()}
	callID := cmp.Or(c.vars.get("sip_invite_call_id"), newUUID())
	l.dialog = dialog{callID: callID, localTag: sip.GenerateTagN(13), local: from, localName: c.profile.name,
		remote: sip.Uri{Scheme: "sip", User: to.uri.User, Host: to.uri.Host, Port: to.uri.Port}, target: to.uri, cseq: uint32(time.Now().Unix() % 1e8)}
	c.vars.set("sip_call_id", l.dialog.callID)
	s.add(c, l)
	return c
}

// call sends the INVITE and tells what comes; at the end the channel is answered or has ended.
func (l *leg) call(parent *channel, originated func(early bool)) {
	c := l.c
	if err := c.openPort(); err != nil {
		l.s.log.Warn("no RTP port for a leg", "channel", c.id, "error", err)
		c.end("NORMAL_TEMPORARY_FAILURE", true)
		return
	}
	laws := c.laws(parent)
	event := uint8(ourEvent)
	if kind := c.get("dtmf_type"); kind == "info" || kind == "none" {
		event = 0
	}
	offer := l.write(laws, event, "sendrecv")
	req := l.dialog.request(l.s, sip.INVITE, 0)
	req.SetDestination(l.target.hop)
	req.AppendHeader(l.s.contact())
	req.AppendHeader(sip.NewHeader("Allow", allow))
	c.addHeaders(req, "sip_h_")
	setSDP(req, offer)
	l.invite = req
	ctx, stop := context.WithCancel(l.s.ctx)
	defer stop()
	go unreachable(ctx, l.target.hop, stop)
	res, err := l.s.transact(ctx, req, exchange{cancel: l.cancelling, repeated: l.ack, provisional: func(res *sip.Response) {
		l.onProvisional(res, laws, originated)
	}})
	if err != nil {
		c.set("sip_term_status", "503")
		c.set("proto_specific_hangup_cause", "sip:503")
		c.end("NORMAL_TEMPORARY_FAILURE", true)
		return
	}
	c.set("sip_term_status", strconv.Itoa(res.StatusCode))
	c.set("proto_specific_hangup_cause", "sip:"+strconv.Itoa(res.StatusCode))
	if !res.IsSuccess() {
		c.end(causeOfSIP(res.StatusCode), true)
		l.s.dropLeg(l)
		return
	}
	l.established(res, laws)
}

// unreachable calls nobody when the host says that no one has the port. The INVITE's own socket does not hear that,
// so a connected one sends a keep-alive (RFC 5626 section 3.5.1), which every SIP server ignores.
func unreachable(ctx context.Context, hop string, nobody func()) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", hop)
	if err != nil {
		return // the INVITE will tell
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write([]byte("\r\n\r\n")); err != nil {
		return
	}
	conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := conn.Read(make([]byte, 16)); errors.Is(err, syscall.ECONNREFUSED) {
		nobody()
	}
}

func (l *leg) onProvisional(res *sip.Response, laws []tone.Law, originated func(early bool)) {
	if res.StatusCode <= 100 || !l.c.up() {
		return
	}
	if body := string(res.Body()); body != "" {
		if _, err := l.c.agree(body, laws); err == nil {
			l.c.markEarly()
			originated(true)
			return
		}
	}
	l.c.ringReady()
	originated(false)
}

// established takes a 2xx. A call that was cancelled meanwhile, or cannot live, is hung up again.
func (l *leg) established(res *sip.Response, laws []tone.Law) {
	c := l.c
	l.dialog.learn(res, tagOf(res.To().Params), true)
	l.ack(res)
	if !c.up() {
		l.answeredTooLate()
		return
	}
	c.set("sip_to_tag", tagOf(res.To().Params))
	body := string(res.Body())
	_, err := c.agree(body, laws)
	switch live := c.markAnswered(); {
	case !live:
		l.answeredTooLate()
	case err != nil && !c.hasMedia():
		c.end("INCOMPATIBLE_DESTINATION", false)
	}
}

// parseTarget reads sofia/PROFILE/sip:user@host;params and sofia/PROFILE/user@host. fs_path names the first hop.
// The error is the cause that originate fails with.
func (s *Server) parseTarget(text string) (target, error) {
	kind, rest, _ := strings.Cut(text, "/")
	switch kind {
	case "error":
		return target{}, failure(causeNamed(strings.ToUpper(rest)).name)
	case "user":
		return target{}, failure("SUBSCRIBER_ABSENT")
	case "sofia":
	default:
		return target{}, failure("CHAN_NOT_IMPLEMENTED")
	}
	profile, address, _ := strings.Cut(rest, "/")
	if profile != s.opt.Profile && profile != "internal" && profile != "external" {
		return target{}, failure("INVALID_PROFILE")
	}
	if !strings.HasPrefix(address, "sip:") {
		address = "sip:" + address
	}
	var uri sip.Uri
	if err := sip.ParseUri(address, &uri); err != nil || uri.Host == "" {
		return target{}, failure("DESTINATION_OUT_OF_ORDER")
	}
	t := target{uri: uri, hop: hostPort(uri), name: "sofia/" + s.opt.Profile + "/" + userAt(uri)}
	if path, ok := uri.UriParams.Get("fs_path"); ok {
		uri.UriParams.Remove("fs_path")
		t.uri = uri
		var first sip.Uri
		if err := sip.ParseUri(urlDecode(path), &first); err != nil {
			return target{}, failure("DESTINATION_OUT_OF_ORDER")
		}
		t.hop = hostPort(first)
	}
	return t, nil
}

// failure is why a leg could not be made: the name of a cause.
type failure string

func (f failure) Error() string { return fmt.Sprintf("originate: %s", string(f)) }
