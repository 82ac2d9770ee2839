package endpoint

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/route"
	"github.com/sipio/sipio/brain/stir"
)

// notary is a Stir that writes down what it is asked.
type notary struct {
	signed, verified []string
	fail             error
	none             bool // there is no key
	result           stir.Result
}

func (n *notary) Sign(acct *brain.AccountConfig, from, to string, attest stir.Attestation, token string) (string, error) {
	n.signed = append(n.signed, strings.Join([]string{acct.Account.ID, from, to, string(attest), token}, " "))
	if n.fail != nil || n.none {
		return "", n.fail
	}
	return "passport", nil
}

func (n *notary) Verify(_ context.Context, identity, from, to, callID string, later bool) stir.Result {
	asked := strings.Join([]string{identity, from, to, callID}, " ")
	if later {
		asked += " later"
	}
	n.verified = append(n.verified, asked)
	return n.result
}

// exchange is an account with numbers 4930100 and 4930101, a carrier and a PBX.
func exchange() *brain.AccountConfig {
	return brain.NewAccountConfig(7, brain.AccountRows{
		Account: brain.Account{ID: "acc_1", Status: brain.StatusActive, Country: "DE"},
		Users:   []brain.SIPUser{{ID: "us_1", Username: "1001", Status: brain.StatusActive}},
		DIDs: []brain.DID{{ID: "did_1", E164: "493012345100", Status: brain.StatusActive, DestKind: brain.DestUser, DestID: "us_1"},
			{ID: "did_2", E164: "493012345101", Status: brain.StatusDisabled}},
		Trunks: []brain.SIPTrunk{{ID: "tr_carrier", AccountID: "acc_1", Status: brain.StatusActive, Role: brain.RoleCarrier, SignCalls: true, Stir: stirVerify},
			{ID: "tr_pbx", AccountID: "acc_1", Status: brain.StatusActive, Role: brain.RolePBX}},
	})
}

func TestSign_TellsHowFarTheNumberIsVouchedFor(t *testing.T) {
	// Proves what is signed for a call that goes out: the number that the trunk is told, as E.164 however it wants numbers, with the
	// attestation of the decision; no number of the account is vouched for behind a leg of the media server.
	acct := exchange()
	phone, media := route.Caller{Account: acct, User: acct.Users["us_1"], Device: &brain.SIPDevice{}}, route.Caller{Account: acct, Media: true}
	for _, c := range []struct {
		name          string
		caller        route.Caller
		format        brain.NumberFormat
		attest        string // of the decision
		from, headers string // URI of From, and header lines that stand there already
		to, want      string // "" = not signed
	}{
		{"A", phone, "", "A", "sip:+493012345100@c.test", "", "4989555111", "493012345100 4989555111 A"},
		{"B", phone, "", "B", "sip:+493012345100@c.test", "", "4989555111", "493012345100 4989555111 B"},
		{"C", phone, "", "C", "sip:+12125550100@c.test", "", "4989555111", "12125550100 4989555111 C"},
		{"nothing said", phone, "", "", "sip:+12125550100@c.test", "", "4989555111", "12125550100 4989555111 C"},
		{"leg of the media server", media, "", "A", "sip:+493012345100@c.test", "", "4989555111", "493012345100 4989555111 B"},
		{"sent on behind the media server", media, "", "C", "sip:+12125550100@c.test", "", "4989555111", "12125550100 4989555111 C"},
		{"national form", phone, brain.FormatNational, "A", "sip:03012345100@c.test", "", "4989555111", "493012345100 4989555111 A"},
		{"national form, from abroad", phone, brain.FormatNational, "C", "sip:0012125550100@c.test", "", "4989555111", "12125550100 4989555111 C"},
		{"without plus", phone, brain.FormatE164, "A", "sip:493012345100@c.test", "", "4989555111", "493012345100 4989555111 A"},
		{"withheld, asserted", phone, "", "A", "sip:anonymous@anonymous.invalid", "Privacy: id\r\nP-Asserted-Identity: <sip:+493012345100@c.test>\r\n", "4989555111", "493012345100 4989555111 A"},
		{"name of the trunk, asserted", phone, "", "A", "sip:trunk7@c.test", "P-Asserted-Identity: <sip:+493012345100@c.test>\r\n", "4989555111", "493012345100 4989555111 A"},
		{"withheld", phone, "", "A", "sip:anonymous@anonymous.invalid", "Privacy: id\r\n", "4989555111", ""},
		{"name of the trunk", phone, "", "B", "sip:trunk7@c.test", "", "4989555111", ""},
		{"extension of a PBX", phone, "", "C", "sip:214@c.test", "", "4989555111", ""},
		{"emergency", phone, "", "A", "sip:+493012345100@c.test", "", "112", "493012345100 112 A"},
	} {
		n := &notary{}
		s := New(newConfiguration(), nil)
		s.Stir = n
		acct.Trunks["tr_carrier"].NumberFormat = c.format
		d := outbound("tr_carrier", c.from, c.headers, c.to)
		d.Call.Attestation = c.attest
		s.sign(t.Context(), &c.caller, &d)
		headers, attest := d.Routes[0].Trunk.Headers, d.Call.Attestation
		if c.want == "" {
			if len(n.signed) != 0 || headers != c.headers || attest != "" {
				t.Errorf("%s: signed %q", c.name, n.signed)
			}
			continue
		}
		if want := "acc_1 " + c.want + " tok"; len(n.signed) != 1 || n.signed[0] != want {
			t.Errorf("%s: signed %q, want %q", c.name, n.signed, want)
		}
		if headers != c.headers+"Identity: passport\r\n" || attest != c.want[len(c.want)-1:] {
			t.Errorf("%s: headers %q, attestation %q", c.name, headers, attest)
		}
	}
}

func outbound(trunk, from, headers, to string) api.Directive {
	return api.Directive{Action: api.ActionProxy, AccountID: "acc_1", Call: &api.CallInfo{Direction: "out", To: to, Token: "tok"},
		Routes: []api.Route{{Step: 1, URI: "sip:x", Trunk: &api.RouteTrunk{ID: trunk, From: &api.NameAddr{URI: from}, Headers: headers}}}}
}

func TestSign_WithoutASignatureTheCallGoesOut(t *testing.T) {
	// Proves that what cannot be signed goes out as it is, and that a key which is no good is told.
	acct := exchange()
	caller := route.Caller{Account: acct, User: acct.Users["us_1"], Device: &brain.SIPDevice{}}
	b := newBench(t)
	for _, c := range []struct {
		name  string
		trunk string
		stir  Stir
		log   string
	}{
		{"trunk without sign_calls", "tr_pbx", &notary{}, ""},
		{"no key", "tr_carrier", &notary{none: true}, ""},
		{"bad key", "tr_carrier", &notary{fail: errors.New("not a key")}, "not a key"},
		{"not set up", "tr_carrier", nil, ""},
	} {
		b.log.Reset()
		b.Stir = c.stir
		d := outbound(c.trunk, "sip:+493012345100@c.test", "X: y\r\n", "4989555111")
		d.Call.Attestation = "A" // of the decision: nothing has been signed
		b.sign(t.Context(), &caller, &d)
		if got := d.Routes[0].Trunk.Headers; got != "X: y\r\n" || d.Call.Attestation != "" || !strings.Contains(b.log.String(), c.log) {
			t.Errorf("%s: %q, %q, log %s", c.name, got, d.Call.Attestation, b.log)
		}
	}
	for _, d := range []api.Directive{{Action: api.ActionReject}, {Call: &api.CallInfo{Attestation: "A"}, Routes: []api.Route{{URI: "sip:1002@example.com"}}}} {
		if b.sign(t.Context(), &caller, &d); d.Call != nil && d.Call.Attestation != "A" {
			t.Error("a call that does not leave lost what was verified of it")
		}
	}
}

func TestVerify_SaysWhatBecameOfTheCaller(t *testing.T) {
	// Proves what is verified of a call from a trunk, what is told of it, and which calls are refused: only those of a trunk that
	// requires it, with the code of the reason; never the later questions of a call, nor an emergency call of a PBX.
	result := func(r stir.Reason) stir.Result { return (&stir.Refusal{Reason: r, Text: "text"}).Result() }
	passed := stir.Result{Verstat: stir.Passed, Attest: stir.Full}
	question := api.RouteRequest{Origin: api.Origin{CallID: "c1"}, FromUser: "08912345", FromDomain: "carrier.test", RURIUser: "03012345100", Identity: "i"}
	for _, c := range []struct {
		name            string
		policy          string
		result          stir.Result
		change          func(*api.RouteRequest)
		verstat, attest string
		code            int
		asked           string
	}{
		{"off", "off", passed, nil, "", "", 0, ""},
		{"passed", stirVerify, passed, nil, "TN-Validation-Passed", "A", 0, "i 498912345 493012345100 tr_carrier/c1"},
		{"asserted", stirVerify, passed, func(r *api.RouteRequest) { r.FromUser, r.Asserted = "anonymous", "+4930777888" }, "TN-Validation-Passed", "A", 0, "i 4930777888 493012345100 tr_carrier/c1"},
		{"no number", stirVerify, result(stir.OrigMismatch), func(r *api.RouteRequest) { r.FromUser = "anonymous" }, "TN-Validation-Failed", "", 0, "i sip:anonymous@carrier.test 493012345100 tr_carrier/c1"},
		{"failed", stirVerify, result(stir.SignatureWrong), nil, "TN-Validation-Failed", "", 0, ""},
		{"required, passed", stirRequire, passed, nil, "TN-Validation-Passed", "A", 0, ""},
		{"required, none", stirRequire, result(stir.NoIdentity), nil, "No-TN-Validation", "", 428, ""},
		{"required, stale", stirRequire, result(stir.Stale), nil, "TN-Validation-Failed", "", 403, ""},
		{"required, not fetched", stirRequire, result(stir.X5UFailed), nil, "No-TN-Validation", "", 436, ""},
		{"required, untrusted", stirRequire, result(stir.CertUntrusted), nil, "TN-Validation-Failed", "", 437, ""},
		{"required, replayed", stirRequire, result(stir.Replayed), nil, "TN-Validation-Failed", "", 438, ""},
		{"required, later question", stirRequire, result(stir.Stale), func(r *api.RouteRequest) { r.At = "forward/f" }, "No-TN-Validation", "", 0, "i 498912345 493012345100 tr_carrier/c1 later"},
		{"required, emergency", stirRequire, result(stir.NoIdentity), func(r *api.RouteRequest) { r.RURIUser = "112" }, "No-TN-Validation", "", 0, ""},
	} {
		n := &notary{result: c.result}
		s := New(newConfiguration(), nil)
		s.Stir = n
		acct := exchange()
		acct.Trunks["tr_carrier"].Stir = c.policy
		caller, req := route.Caller{Account: acct, Trunk: acct.Trunks["tr_carrier"]}, question
		if c.change != nil {
			c.change(&req)
		}
		refusal := s.verify(t.Context(), &caller, &req)
		if caller.Verstat != c.verstat || caller.Attest != c.attest || (caller.StirWhy == "") != (c.attest != "" || c.verstat == "") {
			t.Errorf("%s: %q, %q, %q", c.name, caller.Verstat, caller.Attest, caller.StirWhy)
		}
		if c.asked != "" && (len(n.verified) != 1 || n.verified[0] != c.asked) || c.policy == "off" && len(n.verified) != 0 {
			t.Errorf("%s: asked %q, want %q", c.name, n.verified, c.asked)
		}
		switch {
		case (refusal == nil) != (c.code == 0):
			t.Errorf("%s: %+v, want %d", c.name, refusal, c.code)
		case refusal != nil && (refusal.SIPCode != c.code || refusal.Reason != c.result.Phrase || !strings.Contains(refusal.Why, string(c.result.Reason))):
			t.Errorf("%s: %+v, want %d", c.name, refusal, c.code)
		}
	}
	s := New(newConfiguration(), nil) // nobody verifies
	acct := exchange()
	acct.Trunks["tr_carrier"].Stir = stirRequire
	caller := route.Caller{Account: acct, Trunk: acct.Trunks["tr_carrier"]}
	if refusal := s.verify(t.Context(), &caller, &question); refusal == nil || refusal.SIPCode != 436 || caller.Verstat != "No-TN-Validation" {
		t.Errorf("%+v", refusal)
	}
}
