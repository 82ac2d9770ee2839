package route

import (
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
)

// headers are the header lines of an attempt over a trunk. Whatever stands in a URI here is escaped, and nothing else of a
// caller's is written.
func (id *shownID) headers(p *plan, o *outward, t *brain.SIPTrunk) string {
	var b strings.Builder
	number := id.written(p, t)
	if id.withheld {
		b.WriteString("Privacy: id\r\n")
	}
	if number != "" && (t.SendsPAI || t.FromUser != "" && !id.withheld) {
		b.WriteString("P-Asserted-Identity: <sip:" + escapeUser(number) + "@" + p.domain(t) + ">\r\n")
	}
	if o.sentOn() {
		p.diverted(&b, o, t)
	}
	if t.Subaccount != "" {
		b.WriteString("P-Charge-Info: <sip:" + escapeUser(t.Subaccount) + "@" + p.domain(t) + ">\r\n")
	}
	return b.String()
}

// diverted writes who has sent the call on: the number of the account that was called, or the user (RFC 5806, and RFC 7044 for
// networks that have given that up).
func (p *plan) diverted(b *strings.Builder, o *outward, t *brain.SIPTrunk) {
	by := p.diverter(o)
	if by == "" {
		return
	}
	if owned(p.acct, by) {
		by = formatted(p.acct.Account.Country, by, t.NumberFormat)
	}
	uri := "sip:" + escapeUser(by) + "@" + p.domain(t)
	reason, cause := p.diversion()
	b.WriteString("Diversion: <" + uri + ">;reason=" + reason)
	// Its earlier diversions are not passed on, but their number is: so a call that goes round in circles comes to an end.
	if n := p.diversions(); n > 0 {
		b.WriteString(";counter=" + strconv.Itoa(min(n+1, 99)))
	}
	b.WriteString("\r\n")
	b.WriteString("History-Info: <" + uri + ">;index=1, <sip:" + escapeUser(formatted(p.acct.Account.Country, o.number, t.NumberFormat)) +
		"@" + p.domain(t) + ";cause=" + cause + ">;index=1.1\r\n")
}

// diversions is how often a trunk's call has been sent on before: its Diversion entries, and what their counters say (RFC 5806 section
// 4), or its History-Info entries but the one of who was called first, whichever are more: networks write both about the same. A leg of
// the media server says it of the call it belongs to.
func (p *plan) diversions() int {
	switch {
	case p.caller.Media:
		return p.req.Diverted
	case p.caller.Trunk == nil:
		return 0
	}
	n := strings.Count(p.req.Diversion, "<")
	history := p.req.Diverted - n // the question counts both together
	for _, param := range strings.FieldsFunc(p.req.Diversion, func(r rune) bool { return r == ';' || r == ',' }) {
		name, value, _ := strings.Cut(param, "=")
		if c, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && c > 1 && c < 100 && strings.EqualFold(strings.TrimSpace(name), "counter") {
			n += c - 1
		}
	}
	return max(n, history-1, 0)
}

// diverter is whose calls are sent on: a number of the account as E.164, that was called, or is the user's, or the account's; else
// the name of a user or an extension.
func (p *plan) diverter(o *outward) string {
	if did := p.did(); did != nil && o.by == nil {
		return did.E164
	}
	dialed := p.req.RURIUser
	if o.by != nil {
		dialed = o.by.Username
	} else if p.caller.Media {
		kind, id, _ := strings.Cut(p.req.Dial, "/")
		if u := p.acct.Users[id]; kind == string(brain.DestUser) && u != nil {
			dialed = u.Username
		}
	}
	target := p.acct.Dialed(dialed)
	for range brain.MaxHops {
		e := p.acct.ExtensionByID[target.ID]
		if target.Kind != brain.DestExtension || e == nil {
			break
		}
		target = e.Dest()
	}
	u := p.acct.Users[target.ID]
	switch {
	case target.Kind == brain.DestUser && u != nil && owned(p.acct, u.OutCIDNumber):
		return u.OutCIDNumber
	case owned(p.acct, p.acct.Account.DefaultCIDNumber): // carriers know no extensions
		return p.acct.Account.DefaultCIDNumber
	case !target.IsSet():
		return ""
	}
	return dialed
}

// diversion is why the call is sent on, for Diversion and as the cause of RFC 4458. It is known in the question that reaches
// the forward; later ones are about its trunks.
func (p *plan) diversion() (reason, cause string) {
	if p.req.At != "" && p.req.Trunk == "" {
		switch p.req.FailedCode {
		case 486, 600, 603:
			return "user-busy", "486"
		case 408, 480, 487:
			return "no-answer", "408"
		case 430:
			return "unavailable", "503"
		}
	}
	return "unconditional", "302"
}
