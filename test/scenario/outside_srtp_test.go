package scenario

import (
	"context"
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// secureOffice is an account with a carrier over TLS that wants its media encrypted and hears one codec; %s is its address.
const secureOffice = `
- {kind: account, name: acme, spec: {timezone: Europe/Berlin, country: DE, default_cid_number: "4930100"}}
- {kind: sip_domain, account: acme, name: kontor.test, spec: {is_primary: true}}
- {kind: sip_user, account: acme, name: "1001", spec: {display_name: Anna}}
- {kind: sip_device, account: acme, name: 1001@kontor.test, spec: {user_id: "1001", password: secret-1001}}
- {kind: did, account: acme, name: "4930100", spec: {dest_kind: user, dest_id: "1001"}}
- {kind: sip_trunk, account: acme, name: vault, spec: {direction: outbound, proxy: %q, transport: tls, srtp: required, codecs: [PCMA], options_ping_sec: 1}}
- {kind: outbound_route, account: acme, name: all, spec: {trunks: [{trunk_id: vault}]}}
`

// encoding is the name of an RTP payload in an SDP.
var encoding = regexp.MustCompile(`a=rtpmap:\d+ ([^/\r\n]+)/`)

// A call over a trunk with srtp and codecs leaves over TLS with keys in the SDP, none of which the phone sees, and offers the trunk's codec
// alone, with digits, though the phone knows two. The carrier takes and sends nothing in the clear, and both hear each other, before and after
// a hold, and the phone's digits arrive.
func TestOutbound_SRTPAndCodecsOfATrunk(t *testing.T) {
	cert := newAuthority(t, "carrier").sign(t, &x509.Certificate{DNSNames: []string{"vault.test"}})
	vault := newCarrier(t, "vault", over("tls"), func(c *phone.Config) { c.Listens, c.Certificate, c.InsecureTLS, c.SDES = true, cert, true, true })
	e := start(t, edge.Options{Config: fmt.Sprintf(secureOffice, vault.address()), LogDecisions: true})
	o := &office{Edge: e, alpha: vault}
	anna := registered(t, e, "1001", realm("kontor.test"))
	ctx := within(t, 40*time.Second)
	vault.now(func(ctx context.Context, in *phone.Incoming) (*phone.Call, error) { return in.Answer(ctx) })
	ours, theirs := o.answered(t, ctx, anna, "0305551234", vault)
	invite := vault.calls()[0].InviteRequest()
	if !strings.Contains(invite, " RTP/SAVP ") || !strings.Contains(invite, "a=crypto:") {
		t.Errorf("the carrier is offered no keys:\n%s", invite)
	}
	var codecs []string
	for _, m := range encoding.FindAllStringSubmatch(invite, -1) {
		codecs = append(codecs, m[1])
	}
	if !slices.Equal(codecs, []string{"PCMA", "telephone-event"}) {
		t.Errorf("the carrier is offered %v:\n%s", codecs, invite)
	}
	if sdp := ours.ReceivedSDP(); strings.Contains(sdp, "a=crypto") || strings.Contains(sdp, "SAVP") {
		t.Errorf("the phone is told keys:\n%s", sdp)
	}
	if sdp := ours.SentSDP(); !strings.Contains(sdp, "PCMU") || !strings.Contains(sdp, "PCMA") {
		t.Errorf("the phone itself offers:\n%s", sdp)
	}
	talk(t, ctx, ours, theirs)
	if err := ours.Hold(ctx); err != nil {
		t.Errorf("hold: %v", err)
	}
	if err := ours.Resume(ctx); err != nil {
		t.Errorf("resume: %v", err)
	}
	talk(t, ctx, ours, theirs)
	if err := ours.SendDigits("42"); err != nil {
		t.Error(err)
	}
	if got, err := theirs.HearDigits(ctx, 2); err != nil || got != "42" {
		t.Errorf("the carrier hears digits %q, %v", got, err)
	}
	hangUp(t, ctx, e, theirs, ours)
}
