package endpoint

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// askedOfLeg is the question about a REFER in a call with the media server, as Kamailio writes it.
func askedOfLeg(change ...string) url.Values {
	v := url.Values{"call_id": {"c"}, "cseq": {"2"}, "branch": {"b"}, "method": {"REFER"}, "source_ip": {"192.0.2.1"}, "source_port": {"5060"}, "transport": {"udp"}, "node": {"edge1"},
		"from_user": {"boss"}, "from_domain": {"example.com"}, "account_id": {"acc_1"}, "token": {"leg"}, "refer_to": {"sip:1002@example.com"},
		"side": {api.ReferCallee}, "call": {"t"}, "dial": {"agent/us_1001"}, "aor": {"sip:1001@example.com"}}
	for i := 0; i < len(change); i += 2 {
		v.Set(change[i], change[i+1])
	}
	return v
}

// Whom the media server has called transfers the caller by his phone: it is done by the call's token, and the phone hears what
// became of it. Everything that is declined asks for nothing, and the log has the reason.
func TestRefer_OfALegIsCarriedOut(t *testing.T) {
	for _, row := range []struct {
		form   url.Values
		fail   error
		asks   bool
		code   int
		action string
		sip    int
		why    string
	}{
		{askedOfLeg(), nil, true, 200, api.ActionDone, 0, ""},
		{askedOfLeg("dial", "extension/e1"), nil, true, 200, api.ActionDone, 0, ""},
		{askedOfLeg(), brain.Errorf(brain.EConflict, api.NobodyTalks), true, 200, api.ActionReject, 603, api.NobodyTalks},
		{askedOfLeg(), brain.Errorf(brain.EForbidden, "not across"), true, 200, api.ActionReject, 603, "not across"},
		{askedOfLeg(), brain.Errorf(brain.ENotFound, "it is over"), true, 200, api.ActionReject, 603, "it is over"},
		{askedOfLeg(), brain.Errorf(brain.EUnavailable, "the node is silent"), true, 200, api.ActionReject, 503, "the node is silent"},
		{askedOfLeg(), brain.Errorf(brain.EInternal, "a fault"), true, 200, api.ActionReject, 503, "a fault"},
		{askedOfLeg("refer_to", "sip:4711@example.com"), nil, false, 200, api.ActionReject, 603, "may not transfer blindly"},
		{askedOfLeg("refer_to", "sip:1002@example.com?Replaces=a"), nil, false, 200, api.ActionReject, 603, "mode attended"},
		{askedOfLeg("side", api.ReferCaller), nil, false, 200, api.ActionReject, 603, "other side"},
		{askedOfLeg("call", "../t"), nil, false, 200, api.ActionReject, 603, "no token of a call"},
		{askedOfLeg("account_id", "acc_9"), nil, false, 200, api.ActionReject, 403, "there is no account"},
		{askedOfLeg("call", strings.Repeat("t", maxID+1)), nil, false, 400, "", 0, ""},
	} {
		b, h := newTransferBench(t)
		h.fail, b.LogDecisions = row.fail, true
		w := b.form(api.PathRefer, row.form)
		if w.Code != row.code || (len(h.asked) == 1) != row.asks {
			t.Errorf("%v: %d %s, asked %+v", row.form, w.Code, w.Body, h.asked)
			continue
		}
		if want := (api.TransferRequest{Token: "t", LegID: "c", FromUserID: "us_1001", Target: api.TransferTarget{Kind: api.TransferNumber, ID: "1002"}, Mode: api.TransferBlind}); row.asks && h.asked[0] != want {
			t.Errorf("asked for %+v", h.asked[0])
		}
		if row.code != 200 {
			continue
		}
		if r := reading[api.ReferReply](t, w); r.Action != row.action || r.SIPCode != row.sip || !strings.Contains(r.Why, row.why) {
			t.Errorf("%v, %v: %+v", row.form, row.fail, r)
		}
		if row.sip != 403 && (!strings.Contains(b.log.String(), "what=refer") || !strings.Contains(b.log.String(), row.why)) {
			t.Errorf("the log has no %q: %s", row.why, b.log)
		}
	}
}

// stuck never ends a transfer by itself.
type stuck struct{ handovers }

func (stuck) Blind(ctx context.Context, _ string, _ *api.TransferRequest) (api.TransferReply, error) {
	<-ctx.Done()
	return api.TransferReply{}, ctx.Err()
}

// A transfer that takes long is answered 503 before the node takes this brain for frozen.
func TestRefer_OfALegIsAnsweredInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.RegisterTransfers(b.mux, &stuck{})
		began := time.Now()
		r := reading[api.ReferReply](t, b.form(api.PathRefer, askedOfLeg()))
		if took := time.Since(began); r.Action != api.ActionReject || r.SIPCode != 503 || r.RetryAfterSec == 0 || took >= 250*time.Millisecond {
			t.Errorf("after %v: %+v", took, r)
		}
	})
}
