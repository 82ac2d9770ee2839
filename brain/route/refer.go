package route

import (
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
)

// Refer says whether a phone may send the other phone of its call elsewhere: to a number of the account, under one of the
// account's domains. The INVITE that follows is an ordinary call of the other phone and goes through Decide. A number that
// nobody in the account has is one outside: only a user who may transfer there blindly, and is in the call, may send somebody on to
// it. A Replaces proves nothing: nobody here can tell whether he has such a call. While no trunk leads outside nobody may. parties
// tells of whom to whom the call is, "" when that is not known; it is asked about numbers outside alone, and nil knows nothing.
func Refer(dir brain.Directory, acct *brain.AccountConfig, req *api.ReferRequest, parties func() (from, to string)) api.ReferReply {
	if acct.Account.Status != brain.StatusActive {
		return decline(acct, "account "+acct.Account.ID+" is "+string(acct.Account.Status))
	}
	to, why := readReferTo(req.ReferTo)
	if why == "" {
		why = unreachable(dir, acct, &to, func() *brain.SIPUser { return sender(acct, req, parties) }, req.FromUser)
	}
	if why != "" {
		return decline(acct, why)
	}
	return api.ReferReply{Action: api.ActionAccept, AccountID: acct.Account.ID}
}

// unreachable says why a user may not send anybody to a target, "" when he may. from is nil when he is not known.
func unreachable(dir brain.Directory, acct *brain.AccountConfig, to *referTo, from func() *brain.SIPUser, name string) string {
	_, why := dialed(dir, acct, to.user, to.host)
	if why == "" || !outside(acct, to) {
		return why
	}
	if u := from(); u == nil || u.Status != brain.StatusActive || !u.AllowPSTNBlindTransfer {
		return why + ", and " + strconv.QuoteToASCII(shorten(name)) + " may not transfer blindly to numbers outside"
	}
	if e164, not := number.Normalize(acct.Account.Country, to.user); not != "" {
		return why + ", and as a number it " + string(not)
	} else if barred := uncallable(&acct.Account, e164); barred != "" {
		return why + ", and " + barred
	} else if !acct.LeadsOutside() {
		return why + ", and no trunk leads outside to +" + e164
	}
	return ""
}

// outside tells whether a target is a number that nobody in the account has.
func outside(acct *brain.AccountConfig, to *referTo) bool {
	digits := strings.TrimPrefix(to.user, "+")
	return digits != "" && strings.Trim(digits, "0123456789") == "" && acct.Domains[strings.ToLower(to.host)] != nil &&
		acct.Extensions[to.user] == nil && acct.UserByName[to.user] == nil
}

// decline is the refusal that a phone understands: the call goes on.
func decline(acct *brain.AccountConfig, why string) api.ReferReply {
	return api.ReferReply{Action: api.ActionReject, AccountID: acct.Account.ID, Refusal: api.Refusal{SIPCode: 603, Reason: Reason(603), Why: why}}
}

// sender is the user whose phone sends a REFER: who called, or who was called, by the tag of the phone. Where the edge does not know that it
// is the one in From, when the call is his. nil: nobody of this call; in a call to a number of several it is that number.
func sender(acct *brain.AccountConfig, req *api.ReferRequest, parties func() (from, to string)) *brain.SIPUser {
	if parties == nil {
		return nil
	}
	from, to := parties()
	switch req.Sender {
	case api.ReferCaller:
		return userAt(acct, from)
	case api.ReferCallee:
		return userAt(acct, to)
	}
	named := userAt(acct, req.FromUser)
	if named != userAt(acct, from) && named != userAt(acct, to) {
		return nil
	}
	return named
}

// userAt is the user with a name, or the one that an extension rings by itself; nil for none.
func userAt(acct *brain.AccountConfig, name string) *brain.SIPUser {
	if e := acct.Extensions[name]; e != nil && e.DestKind == brain.DestUser {
		return acct.Users[e.DestID]
	}
	return acct.UserByName[name]
}

// referTo is whom a REFER is about.
type referTo struct {
	user, host string
	replaces   bool // a call that the sender has with him is to be taken over (RFC 3891)
}

// readReferTo reads the URI of Refer-To. What a phone could be made to do beside calling somebody is refused: another
// method, a way past the account's domain, headers of the INVITE other than those of an attended transfer, and whatever
// phones may read in more than one way.
func readReferTo(uri string) (to referTo, why string) {
	rest, isSIP := cutFold(uri, "sip:")
	if !isSIP {
		if rest, isSIP = cutFold(uri, "sips:"); !isSIP {
			return to, "Refer-To is no SIP URI: " + strconv.QuoteToASCII(shorten(uri))
		}
	}
	if strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`<>"`, r) }) {
		return to, "Refer-To has what no URI has: " + strconv.QuoteToASCII(shorten(uri))
	}
	if strings.ContainsFunc(unescape(rest), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return to, "Refer-To has a control character: " + strconv.QuoteToASCII(shorten(uri))
	}
	rest, headers, _ := strings.Cut(rest, "?")
	user, host, named := strings.Cut(rest, "@")
	if !named || strings.Contains(host, "@") {
		return to, "Refer-To names nobody"
	}
	host, params, more := strings.Cut(host, ";")
	if more {
		why = paramsOfReferTo(params)
	}
	if why == "" && headers != "" {
		to.replaces, why = headersOfReferTo(headers)
	}
	if why != "" {
		return to, why
	}
	user, _, _ = strings.Cut(user, ";")
	user, _, _ = strings.Cut(user, ":") // a password
	host, port, _ := strings.Cut(host, ":")
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
		return to, "Refer-To has no port"
	}
	to.user, to.host = unescape(user), host
	return to, ""
}

// paramsOfReferTo says why the parameters of the URI do not pass, "" when they do: maddr and the like would send the
// INVITE elsewhere than to the domain.
func paramsOfReferTo(params string) (why string) {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		switch strings.ToLower(name) {
		case "transport", "user", "gr", "ob":
		case "method":
			if !strings.EqualFold(value, "INVITE") {
				return "Refer-To wants another method than INVITE"
			}
		default:
			return "Refer-To wants the parameter " + strconv.QuoteToASCII(shorten(name))
		}
	}
	return ""
}

// headersOfReferTo tells whether the headers of the URI take a call over, or why they do not pass.
func headersOfReferTo(headers string) (replaces bool, why string) {
	if strings.Contains(headers, "@") {
		return false, "Refer-To has an @ in its headers that is not escaped"
	}
	seen := map[string]bool{}
	for header := range strings.SplitSeq(headers, "&") {
		name, _, _ := strings.Cut(header, "=")
		key := strings.ToLower(name)
		switch {
		case key != "replaces" && key != "referred-by" && key != "require":
			return false, "Refer-To wants the header " + strconv.QuoteToASCII(shorten(name))
		case seen[key]:
			return false, "Refer-To wants the header " + key + " twice"
		}
		seen[key] = true
	}
	return seen["replaces"], ""
}

// cutFold is strings.CutPrefix whatever the case.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// shorten bounds foreign text in an explanation.
func shorten(s string) string { return s[:min(len(s), 64)] }
