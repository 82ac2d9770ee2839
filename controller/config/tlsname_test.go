package config

import (
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that a trunk in use that is known by its certificate is found by the name in it, in any spelling; that it is not once it
// is known in another way, carries no calls to us or is switched off; and that the addresses of such a trunk are none of the edge's.
func TestTrunkByTLSName_FindsTheTrunkOfAName(t *testing.T) {
	s := acmeStore(t)
	beta := account(t, s, "beta.test").Account.ID
	trunk := &brain.SIPTrunk{AccountID: beta, Name: "sbc", InboundAuth: brain.InboundTLS, TLSName: "SBC.carrier.test", InboundACL: []string{"203.0.113.9"}, Proxy: "carrier.test"}
	mustChange(t, s, brain.OpCreate, trunk)
	found := func(name string) bool {
		owner, got := s.Directory().TrunkByTLSName(name)
		return owner != nil && owner.Account.ID == beta && got != nil && got.ID == trunk.ID
	}
	for name, want := range map[string]bool{"sbc.carrier.test": true, "sbc.CARRIER.test": true, "": false, "carrier.test": false, "a.sbc.carrier.test": false, "sbc.carrier.test\x00": false} {
		if found(name) != want {
			t.Errorf("%q: found %v", name, !want)
		}
	}
	if _, got := s.Directory().TrunkBySource("203.0.113.9"); got != nil {
		t.Error("it is found by its address")
	}
	off, out, byIP := *trunk, *trunk, *trunk
	off.Status, out.Direction, byIP.InboundAuth, byIP.TLSName = brain.StatusDisabled, brain.TrunkOutbound, brain.InboundIP, ""
	for _, next := range []*brain.SIPTrunk{&off, &out, &byIP} {
		mustChange(t, s, brain.OpUpdate, next)
		if found("sbc.carrier.test") {
			t.Errorf("found as %+v", next)
		}
		mustChange(t, s, brain.OpUpdate, trunk)
		if !found("sbc.carrier.test") {
			t.Error("not found again")
		}
	}
}

// Proves that no name in a certificate is of two trunks, whoever owns them and whatever their status, that the fault is told of
// the one that changes, and that trunks without a name are not in each other's way.
func TestChange_RefusesANameOfTwoTrunks(t *testing.T) {
	s := acmeStore(t)
	acme, beta := account(t, s, "acme.test").Account.ID, account(t, s, "beta.test").Account.ID
	first := &brain.SIPTrunk{AccountID: beta, Name: "first", Status: brain.StatusDisabled, InboundAuth: brain.InboundTLS, TLSName: "sbc.carrier.test"}
	mustChange(t, s, brain.OpCreate, first)
	for _, owner := range []string{acme, beta} {
		_, err := change(s, brain.OpCreate, &brain.SIPTrunk{AccountID: owner, Name: "second", InboundAuth: brain.InboundTLS, TLSName: "sbc.Carrier.test"})
		wantCode(t, err, brain.EConflict, `sip_trunk "second": tls_name: "sbc.carrier.test" is the name of another trunk`)
	}
	second := &brain.SIPTrunk{AccountID: acme, Name: "second", InboundAuth: brain.InboundTLS, TLSName: "other.carrier.test"}
	mustChange(t, s, brain.OpCreate, second)
	second.TLSName = "sbc.carrier.test"
	_, err := change(s, brain.OpUpdate, second)
	wantCode(t, err, brain.EConflict, `sip_trunk "second": tls_name`)
	mustChange(t, s, brain.OpDelete, first)
	mustChange(t, s, brain.OpUpdate, second)
	mustApply(t, s, []byte(`[{kind: sip_trunk, account: beta, name: third, spec: {inbound_auth: tls, tls_name: Third.carrier.test}}]`), brain.ApplyOptions{})
	if _, got := s.Directory().TrunkByTLSName("third.carrier.test"); got == nil || got.Name != "third" {
		t.Errorf("applied: %+v", got)
	}
}
