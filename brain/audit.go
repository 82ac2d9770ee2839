package brain

import (
	"strings"
	"unicode/utf8"
)

// AuditEntry is one line of the audit log: who did what to what, from where. It never holds a secret: no password,
// token, key, PIN or value of one.
type AuditEntry struct {
	TimeMS    int64  `json:"time_ms" doc:"epoch milliseconds of the brain that wrote it"`
	Actor     string `json:"actor" doc:"who did it: the id of a key or of a console user, operator:NAME, node:NAME, or what acts by itself, such as change log"`
	Peer      string `json:"peer,omitempty" doc:"address that the request came from, without its port; absent: no request"`
	Action    string `json:"action" doc:"what was done, a noun and a verb: config.change, login.ok, login.fail, ban.add, ban.lift, ban.begin and ban.end of what the guard bans by itself, allow.add, allow.remove, balance.topup"`
	Object    string `json:"object,omitempty" doc:"what it was done to: an address, an id, a kind with a name"`
	AccountID string `json:"account_id,omitempty" doc:"the account whose matter it is; absent: the platform's"`
	Detail    string `json:"detail,omitempty" doc:"what else a reader needs, in words"`
}

// AuditRow is an entry as it is kept. Ids rise with the time of their making.
type AuditRow struct {
	ID string `json:"id"`
	AuditEntry
	ActorName string `json:"actor_name,omitempty" doc:"what the key or console user is called now; absent: it is gone, is none of the reader's account, or says it in actor"` // not kept
}

// AuditQuery says which entries are wanted; what is zero does not matter.
type AuditQuery struct {
	AccountID string // whose matter they are; "" = everybody's, the platform's among them
	Actor     string
	Action    string // whole, or what stands before a dot in it: ban for ban.add and ban.lift
	Object    string // a part of it
	SinceMS   int64  // not older, epoch milliseconds
}

// Actions of the audit log.
const (
	AuditConfigChange = "config.change" // a change set of the configuration; Detail names its rows
	AuditLogin        = "login.ok"      // a console user logged in
	AuditLoginFailed  = "login.fail"    // at most one entry a minute an address
	AuditBanAdd       = "ban.add"       // an operator banned an address
	AuditBanLift      = "ban.lift"      // an operator lifted a ban
	AuditAllowAdd     = "allow.add"     // a network came on the list of those never banned
	AuditAllowRemove  = "allow.remove"  // a network left it
	AuditBalance      = "balance."      // and topup, adjust or limit: an operator changed a balance
)

// Bounds of the texts of an entry in bytes. Bounded cuts what is longer.
const (
	maxAuditName   = 128 // Actor, Action, Peer, AccountID
	maxAuditObject = 256
	maxAuditDetail = 2048
)

// Bounded is the entry within the bounds of the log: texts cut to their bounds on a rune's edge, and without control
// characters or bad UTF-8, so that one entry is one line wherever it is shown.
func (e AuditEntry) Bounded() AuditEntry {
	for _, f := range []*string{&e.Actor, &e.Peer, &e.Action, &e.AccountID} {
		*f = auditText(*f, maxAuditName)
	}
	e.Object, e.Detail = auditText(e.Object, maxAuditObject), auditText(e.Detail, maxAuditDetail)
	return e
}

func auditText(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
