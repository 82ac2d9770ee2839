package endpoint

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/auth"
)

// Proves what is answered to a trunk's challenge inside a call: the digest that the carrier computes with the trunk's own password, for the
// method and the URI that were asked about. Another realm's challenge, another account's trunk, and a second refusal are not answered,
// and the log says why, without the password.
func TestChallenge_IsAnsweredForTheTrunksOwnRealm(t *testing.T) {
	ask := func(change ...string) url.Values {
		v := url.Values{"call_id": {"c"}, "cseq": {"4"}, "branch": {"b"}, "method": {"BYE"}, "source_ip": {"192.0.2.1"}, "source_port": {"5060"}, "transport": {"udp"}, "node": {"edge1"},
			"from_user": {"1001"}, "account_id": {"acc_1"}, "trunk": {"trk_a"}, "uri": {"sip:gw@192.0.2.9:5060"}, "answered": {"0"},
			"challenge": {"Proxy-Authenticate: Digest realm=\"alpha\", nonce=\"abc\"\n"}}
		for i := 0; i < len(change); i += 2 {
			v.Set(change[i], change[i+1])
		}
		return v
	}
	for _, row := range []struct {
		form url.Values
		code int
		why  string // "" = it is answered
	}{
		{ask(), 200, ""}, {ask("method", "INVITE"), 200, ""},
		{ask("answered", "1"), 200, "does not take"}, {ask("method", "REGISTER"), 200, "not answered inside a call"}, {ask("trunk", "trk_b"), 200, "no password"},
		{ask("account_id", "acc_9"), 200, "no such account"}, {ask("challenge", "Proxy-Authenticate: Digest realm=\"other\", nonce=\"abc\""), 200, "other"},
		{ask("uri", "sip:\r\nx"), 400, ""}, {ask("moon", "1"), 400, ""},
	} {
		b := newWayOut(t, nil)
		var log strings.Builder
		b.Log = slog.New(slog.NewTextHandler(&log, nil))
		w := b.form(api.PathChallenge, row.form)
		if w.Code != row.code {
			t.Errorf("%v: %d %s", row.form, w.Code, w.Body)
			continue
		}
		if strings.Contains(w.Body.String()+log.String(), "opensesame") {
			t.Errorf("the password is told: %s %s", w.Body, &log)
		}
		if row.code != 200 {
			continue
		}
		r := reading[api.ChallengeReply](t, w)
		want, err := auth.Answer([]string{`Proxy-Authenticate: Digest realm="alpha", nonce="abc"`}, row.form.Get("method"), "sip:gw@192.0.2.9:5060", "shop", "opensesame", "alpha", "c")
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case row.why == "" && (r.Action != api.ActionAccept || r.Answer != want):
			t.Errorf("%v: %+v, want %s", row.form, r, want)
		case row.why != "" && (r.Action != api.ActionReject || r.Answer != "" || !strings.Contains(r.Why, row.why) || !strings.Contains(log.String(), row.why)):
			t.Errorf("%v: %+v, want %s; %s", row.form, r, row.why, &log)
		}
	}
}
