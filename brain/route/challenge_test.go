package route

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Proves which challenges inside a call are answered: those of the account's own trunk that has a password, to requests that may be
// challenged there, once, and once more when the nonce was too old. A trunk that was disabled meanwhile gets its BYE.
func TestChallengedInCall_OnceForTheTrunksOwnCalls(t *testing.T) {
	o := newCompany()
	o.way("trk_alpha").Status, o.Account.Status = brain.StatusDisabled, brain.StatusSuspended
	acct, _ := o.config()
	const digest = `Digest realm="r", nonce="n"`
	for _, c := range []struct {
		name string
		req  api.ChallengeRequest
		why  string // "" = it is answered
	}{
		{"BYE", api.ChallengeRequest{Origin: api.Origin{Method: "BYE"}, Trunk: "trk_alpha", Challenge: digest}, ""},
		{"re-INVITE", api.ChallengeRequest{Origin: api.Origin{Method: "INVITE"}, Trunk: "trk_alpha", Challenge: digest}, ""},
		{"twice", api.ChallengeRequest{Origin: api.Origin{Method: "INVITE"}, Trunk: "trk_alpha", Challenge: digest, Answered: 1}, "does not take"},
		{"stale", api.ChallengeRequest{Origin: api.Origin{Method: "INVITE"}, Trunk: "trk_alpha", Challenge: digest + `, stale=TRUE`, Answered: 1}, ""},
		{"stale for ever", api.ChallengeRequest{Origin: api.Origin{Method: "INVITE"}, Trunk: "trk_alpha", Challenge: digest + `, stale=TRUE`, Answered: 2}, "does not take"},
		{"REGISTER", api.ChallengeRequest{Origin: api.Origin{Method: "REGISTER"}, Trunk: "trk_alpha", Challenge: digest}, "not answered inside"},
		{"no password", api.ChallengeRequest{Origin: api.Origin{Method: "BYE"}, Trunk: "trk_beta", Challenge: digest}, "no password"},
		{"no trunk", api.ChallengeRequest{Origin: api.Origin{Method: "BYE"}, Trunk: "trk_moon", Challenge: digest}, "no trunk"},
		{"no challenge", api.ChallengeRequest{Origin: api.Origin{Method: "BYE"}, Trunk: "trk_alpha"}, "no challenge"},
	} {
		got, why := ChallengedInCall(acct, &c.req)
		if (got != nil) != (c.why == "") || !strings.Contains(why, c.why) || got != nil && got.ID != c.req.Trunk {
			t.Errorf("%s: %v, %q, want %q", c.name, got, why, c.why)
		}
	}
	if got, why := ChallengedInCall(nil, &api.ChallengeRequest{}); got != nil || why == "" {
		t.Errorf("no account: %v, %q", got, why)
	}
}
