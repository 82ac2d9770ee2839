package endpoint

import (
	"errors"
	"net/url"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/auth"
)

// withTrunks gives the bench's account a trunk that registers, one that sends a digest only, and one that is disabled; the
// password of each is secretNAME.
func withTrunks(t *testing.T) *bench {
	b := newBench(t)
	acct := b.Config.(*configuration).account
	for name, kind := range map[string]brain.InboundAuth{"pbx": brain.InboundRegister, "peer": brain.InboundDigest, "gone": brain.InboundRegister} {
		tr := &brain.SIPTrunk{ID: "tr_" + name, AccountID: "acc_1", Status: brain.StatusActive, Direction: brain.TrunkBoth, InboundAuth: kind, AuthUsername: name, AuthSecretRef: name}
		if name == "gone" {
			tr.Status = brain.StatusDisabled
		}
		acct.Trunks[tr.ID], acct.TrunkByLogin[name] = tr, tr
	}
	b.Password = func(_ *brain.AccountConfig, ref string) (string, error) {
		if acct.TrunkByLogin[ref] == nil {
			return "", errors.New("no such secret")
		}
		return "secret" + ref, nil
	}
	return b
}

// A trunk that registers is accepted with its own address-of-record and one contact, and has neither user nor device.
func TestAuth_AcceptsATrunkThatRegisters(t *testing.T) {
	b := withTrunks(t)
	got := reading[api.AuthReply](t, b.form(api.PathAuth, registerQuestion("pbx", "secretpbx")))
	if want := (api.AuthReply{Action: "accept", AccountID: "acc_1", AOR: "sip:pbx@example.com", MaxContacts: 1, ConfigVersion: 7}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := reading[api.AuthReply](t, b.form(api.PathAuth, registerQuestion("1001", "secret1001"))); got.DeviceID != "dev_1001" {
		t.Errorf("a device beside trunks: %+v", got)
	}
}

// A trunk that does not register, a disabled one, a wrong password and a foreign address-of-record are refused as somebody
// unknown, and only the operator is told why.
func TestAuth_RefusesATrunkLikeAnybodyUnknown(t *testing.T) {
	foreign := registerQuestion("pbx", "secretpbx")
	foreign.Set("to_user", "1001")
	notHere := "the trunk does not register, or may not register this address-of-record"
	for name, row := range map[string]struct {
		question url.Values
		why      string
	}{
		"digest only":    {registerQuestion("peer", "secretpeer"), notHere},
		"foreign":        {foreign, notHere},
		"disabled":       {registerQuestion("gone", "secretgone"), auth.WhyTrunkInactive},
		"wrong password": {registerQuestion("pbx", "wrong"), auth.WhyWrongPassword},
		"unknown":        {registerQuestion("nobody", "secretpbx"), auth.WhyUnknownDevice},
		"a device":       {registerQuestion("1001", "wrong"), auth.WhyWrongPassword},
	} {
		b := withTrunks(t)
		got := reading[api.AuthReply](t, b.form(api.PathAuth, row.question))
		if want := (api.AuthReply{Action: "reject", ConfigVersion: 7, Refusal: api.Refusal{SIPCode: 403, Reason: "Forbidden", Why: row.why, Guard: "authfail"}}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		onlyCounted(t, b, "auth_refused")
	}
}
