package kamailio

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/route"
)

// secure is an SDP with SDES keys, as a trunk with SRTP writes it.
func secure(port int) string {
	return strings.Replace(sdp(port), "RTP/AVP", "RTP/SAVP", 1) + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw\r\n"
}

// speaks fails unless the SDP of a message is the relay's, with that profile.
func speaks(t *testing.T, m *message, profile string) {
	t.Helper()
	relayed(t, shared, m)
	body := string(m.Body)
	if !strings.Contains(body, " "+profile+" 0") || strings.Contains(body, "a=crypto") != (profile == "RTP/SAVP") {
		t.Errorf("%s should speak %s:\n%s", m.StartLine, profile, body)
	}
}

// flagsOf are the flags that the brain has for an offer to a trunk.
func flagsOf(t *testing.T, trunk brain.SIPTrunk) string {
	t.Helper()
	trunk.ID, trunk.Name, trunk.Status, trunk.Direction, trunk.Proxy = "tr_1", "trunk", brain.StatusActive, brain.TrunkOutbound, "carrier.example"
	acct := brain.NewAccountConfig(1, brain.AccountRows{Account: brain.Account{ID: "acc_1", Status: brain.StatusActive, Country: "DE"}, Trunks: []brain.SIPTrunk{trunk}, Domains: []brain.SIPDomain{{Domain: "acme.test", IsPrimary: true}},
		Routes: []brain.OutboundRoute{{ID: "route_1", Name: "all", Status: brain.StatusActive, Strategy: "priority", Trunks: []brain.OutboundChoice{{TrunkID: "tr_1"}}}}})
	caller := route.Caller{Account: acct, User: &brain.SIPUser{Username: "1001"}, Device: &brain.SIPDevice{}}
	d := route.Decide(nil, caller, api.RouteRequest{Origin: api.Origin{Method: "INVITE", CallID: "flags"}, FromUser: "1001", FromDomain: "acme.test", RURIUser: "+49305551234", RURIDomain: "acme.test"})
	if len(d.Routes) != 1 || d.Routes[0].Trunk == nil {
		t.Fatalf("no way over the trunk: %s", d.Why)
	}
	return d.Routes[0].Trunk.ToTrunk
}

// A trunk with flags of its own gets them in the first offer and in re-INVITEs, and its answers and offers are written for
// the caller's phone; a trunk that is tried next without them gets none of that.
func TestOutMedia_TheTrunksFlagsHoldForItsSide(t *testing.T) {
	t.Parallel()
	a, first, trunk, plain := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "tf"), newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "tb")
	srtp := func(p *set, id string) api.Route {
		r := over(p, id)
		r.Trunk.ToTrunk = flagsOf(t, brain.SIPTrunk{SRTP: brain.SRTPRequired, Codecs: []string{"PCMU"}})
		return r
	}
	shared.door.plan(a.user, outward(srtp(first, "tf")), outward(srtp(trunk, "ta")))
	call := a.newCall("+4930123")
	call.body = sdp(40000)
	call.dial()
	first.reject(first.request("INVITE"), 503)
	invite := trunk.request("INVITE")
	speaks(t, invite, "RTP/SAVP")
	callee := trunk.answer(invite, secure(40002))
	ok := a.expect("200", func(m *message) bool { return m.Code == 200 && m.Header("CSeq") == "2 INVITE" })
	speaks(t, ok, "RTP/AVP")
	a.mu.Lock()
	a.inbox = append(a.inbox, ok)
	a.mu.Unlock()
	caller := call.up()
	trunk.request("ACK")
	for _, c := range []struct {
		from, to                *leg
		offer, seen, reply, got string
	}{
		{caller, callee, sdp(40004), "RTP/SAVP", secure(40006), "RTP/AVP"},
		{callee, caller, secure(40008), "RTP/AVP", sdp(40010), "RTP/SAVP"},
	} {
		cseq := c.from.ask("INVITE", "Content-Type: application/sdp\r\n\r\n"+c.offer)
		m := c.to.request("INVITE")
		speaks(t, m, c.seen)
		c.to.send(c.to.response(m.RawMessage, 200, "OK", "Content-Type: application/sdp\r\n", c.reply))
		speaks(t, c.from.final(call.callID, cseq), c.got)
		c.from.send(c.from.write("ACK", c.from.cseq, ""))
		c.to.request("ACK")
	}
	hangUp(t, callee, caller)
	noMedia(t, shared, call.callID)

	shared.door.plan(a.user, outward(srtp(first, "tf")), outward(over(plain, "tb")), reject(404, "Not Found", 0))
	call = a.newCall("+4930123")
	call.body = sdp(40000)
	call.dial()
	first.reject(first.request("INVITE"), 503)
	invite = plain.request("INVITE")
	speaks(t, invite, "RTP/AVP")
	plain.reject(invite, 404)
	call.refused(404)
}

// Encryption at the trunk's choice (RFC 8643): keys under the plain profile, and a trunk that takes them or leaves them.
func TestOutMedia_OptionalSRTP(t *testing.T) {
	t.Parallel()
	for _, takes := range []bool{true, false} {
		a, trunk := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta")
		r := over(trunk, "ta")
		r.Trunk.ToTrunk = flagsOf(t, brain.SIPTrunk{SRTP: brain.SRTPOptional})
		shared.door.plan(a.user, outward(r))
		call := a.newCall("+4930123")
		call.body = sdp(40000)
		call.dial()
		invite := trunk.request("INVITE")
		relayed(t, shared, invite)
		if body := string(invite.Body); !strings.Contains(body, "RTP/AVP 0") || !strings.Contains(body, "a=crypto") {
			t.Errorf("the trunk is offered\n%s", body)
		}
		body := sdp(40002)
		if takes {
			body = strings.Replace(secure(40002), "RTP/SAVP", "RTP/AVP", 1)
		}
		callee := trunk.answer(invite, body)
		ok := a.expect("200", func(m *message) bool { return m.Code == 200 && m.Header("CSeq") == "2 INVITE" })
		speaks(t, ok, "RTP/AVP")
		a.mu.Lock()
		a.inbox = append(a.inbox, ok)
		a.mu.Unlock()
		hangUp(t, callee, call.up())
	}
}
