package endpoint

import (
	"cmp"
	"context"
	"log/slog"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
	"github.com/sipio/sipio/brain/route"
	"github.com/sipio/sipio/brain/stir"
)

// Stir signs and verifies who calls (RFC 8224). Numbers have their country code and no plus.
type Stir interface {
	// Sign returns the value of an Identity header, "" when there is no key for the account. token names the call.
	Sign(acct *brain.AccountConfig, from, to string, attest stir.Attestation, token string) (string, error)
	// Verify judges the Identity header of a call within a time that a call can wait. later: the call has been asked about before.
	Verify(ctx context.Context, identity, from, to, callID string, later bool) stir.Result
}

// Values of SIPTrunk.Stir; "off" and "" are the same.
const (
	stirVerify  = "verify"
	stirRequire = "require"
)

// sign gives a call that goes out over a trunk with sign_calls its Identity header. A call that cannot be signed goes out
// without one, and the log says why: what the called party makes of it is his to say.
func (s *Server) sign(ctx context.Context, caller *route.Caller, d *api.Directive) {
	if d.Call == nil || len(d.Routes) == 0 || d.Routes[0].Trunk == nil {
		return
	}
	t, attest := d.Routes[0].Trunk, attestation(caller, d.Call)
	d.Call.Attestation = ""
	trunk := caller.Account.Trunks[t.ID]
	if s.Stir == nil || trunk == nil || !trunk.SignCalls {
		return
	}
	from := shownTo(t, trunk.NumberFormat, caller.Account.Account.Country)
	if from == "" {
		return
	}
	identity, err := s.Stir.Sign(caller.Account, from, d.Call.To, attest, d.Call.Token)
	if err != nil {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "a call is not signed", slog.String("account", d.AccountID), slog.String("trunk", t.ID),
			slog.String("token", d.Call.Token), slog.String("err", err.Error()))
	}
	if identity != "" {
		t.Headers += "Identity: " + identity + "\r\n"
		d.Call.Attestation = string(attest)
	}
}

// attestation is how far the platform vouches for the caller's number. Behind a leg of the media server may be anybody, for
// its From is whatever the call before had: the account is known, no more.
func attestation(caller *route.Caller, call *api.CallInfo) stir.Attestation {
	attest := cmp.Or(stir.Attestation(call.Attestation), stir.Gateway)
	if attest == stir.Full && caller.Media {
		return stir.Partial
	}
	return attest
}

// shownTo is the number that a trunk is told of the caller, as E.164 without plus: the asserted one when there is one, for From
// may say anonymous or the trunk's own name (RFC 8224 section 4.1). "" = it is told none, and is not to find one in the token.
func shownTo(t *api.RouteTrunk, format brain.NumberFormat, country string) string {
	uri := ""
	for line := range strings.SplitSeq(t.Headers, "\r\n") {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "P-Asserted-Identity") {
			_, uri, _ = strings.Cut(value, "<")
			break
		}
	}
	if uri == "" && t.From != nil {
		uri = t.From.URI
	}
	_, user, _ := strings.Cut(uri, ":") // scheme
	user, _, _ = strings.Cut(user, "@")
	e164, plus := strings.CutPrefix(user, "+")
	if !plus && format != brain.FormatE164 {
		e164 = number.Received(country, user)
	}
	if !number.ValidE164(e164) {
		return ""
	}
	return e164
}

// verify looks at the Identity of a call from a trunk that wants it, and tells it in caller. A refusal is that of a trunk
// which requires it. A later question of a call refuses it no more: the token has become old meanwhile.
func (s *Server) verify(ctx context.Context, caller *route.Caller, req *api.RouteRequest) (refusal *api.Refusal) {
	t := caller.Trunk
	if t == nil || t.Stir != stirVerify && t.Stir != stirRequire {
		return nil
	}
	result := s.judge(ctx, caller, req)
	if req.At != "" && result.Reason == stir.Stale {
		result.Verstat = stir.None
	}
	caller.Verstat, caller.Attest = string(result.Verstat), string(result.Attest)
	if result.Verstat != stir.Passed {
		caller.StirWhy = string(result.Reason)
		if result.Text != "" {
			caller.StirWhy += ": " + result.Text
		}
	}
	if result.Verstat == stir.Passed || t.Stir != stirRequire || req.At != "" || number.Emergency(caller.Account.Account.Country, req.RURIUser) {
		return nil
	}
	return &api.Refusal{SIPCode: result.Code, Reason: result.Phrase, Why: "the caller is not verified: " + caller.StirWhy}
}

func (s *Server) judge(ctx context.Context, caller *route.Caller, req *api.RouteRequest) stir.Result {
	if s.Stir == nil {
		return (&stir.Refusal{Reason: stir.X5URefused, Text: "verification is not set up"}).Result()
	}
	// From may be anonymous, and the network says who it is all the same (RFC 3325).
	from := e164(caller.Account, cmp.Or(req.Asserted, req.FromUser))
	if _, err := stir.Number(from); err != nil {
		from = "sip:" + req.FromUser + "@" + req.FromDomain
	}
	// Another trunk with the same Call-ID is another call.
	return s.Stir.Verify(ctx, req.Identity, from, route.Called(caller.Account, req.RURIUser), caller.Trunk.ID+"/"+req.CallID, req.At != "")
}

// e164 is a number as E.164 without plus, in the account's country; what is none stands as it is.
func e164(acct *brain.AccountConfig, s string) string {
	return cmp.Or(number.Received(acct.Account.Country, s), route.E164(s), s)
}
