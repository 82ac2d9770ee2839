package route

import (
	"slices"
	"strconv"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// inCall are the methods of requests inside a call that a trunk may challenge. ACK and CANCEL cannot be (RFC 3261 section 22.1), and a
// REGISTER belongs to who holds the lease.
var inCall = []string{"INVITE", "UPDATE", "BYE", "INFO", "PRACK", "OPTIONS", "NOTIFY", "MESSAGE", "REFER", "SUBSCRIBE"}

// ChallengedInCall is the trunk whose challenge to a request inside a call is answered: once, and once more when it says that the nonce
// was too old. nil, and why not, for every other question. That the account is suspended, or the trunk disabled since, is no reason: the
// call is up, and has to be ended too. acct may be nil.
func ChallengedInCall(acct *brain.AccountConfig, req *api.ChallengeRequest) (t *brain.SIPTrunk, why string) {
	if acct == nil {
		return nil, "there is no such account"
	}
	t = acct.Trunks[req.Trunk]
	switch {
	case t == nil:
		return nil, "the account has no trunk " + strconv.QuoteToASCII(shorten(req.Trunk))
	case t.AuthUsername == "" || t.AuthSecretRef == "":
		return nil, "trunk " + t.Name + " has no password"
	case !slices.Contains(inCall, req.Method):
		return nil, "a challenge to " + strconv.QuoteToASCII(shorten(req.Method)) + " is not answered inside a call"
	case req.Challenge == "":
		return nil, "there is no challenge"
	case req.Answered == 0, req.Answered == 1 && stale(req.Challenge):
		return t, ""
	}
	return nil, "trunk " + t.Name + " does not take the answer"
}
