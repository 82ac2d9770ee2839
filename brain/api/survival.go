package api

import (
	"crypto/sha256"
	"strconv"
	"strings"
)

// Bounds of what a node keeps to answer without a brain.
const (
	MaxSurvivalAccounts = 1000      // accounts a node keeps
	MaxSurvivalRealms   = 2000      // realms a node asks for
	MaxSurvivalAsk      = 768 << 10 // bytes of a SurvivalRequest
	MaxSurvivalAccount  = 8 << 20   // bytes of one account; a larger one is left out
	MaxSurvivalPage     = 4 << 20   // bytes after which a SurvivalReply takes no further account
	MaxSurvivalReply    = 16 << 20  // bytes of a SurvivalReply: a page, one account more, and what is around them
	MaxSurvivalBundle   = 32 << 20  // bytes of all accounts that a node keeps
)

// SurvivalRequest asks for what a node needs to answer /auth and /route of its own phones while no brain
// can be asked.
type SurvivalRequest struct {
	Node   string   `json:"node"`
	Realms []string `json:"realms"`         // realms whose devices were accepted at this node
	Have   []string `json:"have,omitempty"` // tags of the accounts that the node has already
}

// SurvivalReply holds the accounts that own the realms. An account that is in neither list is not to be
// answered for (any more).
type SurvivalReply struct {
	Accounts []SurvivalAccount `json:"accounts,omitempty"` // new or changed
	Kept     []string          `json:"kept,omitempty"`     // tags of the request that still hold
	More     bool              `json:"more,omitempty"`     // the reply is full: ask again, with what came in have
}

// SurvivalAccount is what a node must know of one active account. It holds HA1 digests, which are as good
// as passwords: it is kept encrypted and never logged.
type SurvivalAccount struct {
	Tag            string           `json:"tag"` // changes whenever anything else here may have changed
	AccountID      string           `json:"account_id"`
	ConfigVersion  int64            `json:"config_version"`
	Domains        []string         `json:"domains"` // lower case
	Callers        []SurvivalCaller `json:"callers,omitempty"`
	Numbers        []SurvivalNumber `json:"numbers,omitempty"`
	Help           []SurvivalHelp   `json:"help,omitempty"`
	Media          *Media           `json:"media"`
	MaxDurationSec int              `json:"max_duration_sec"`
	MaxContacts    int              `json:"max_contacts"`
}

// SurvivalCaller is one active device of an active user.
type SurvivalCaller struct {
	AuthUsername string   `json:"auth_username"`
	Realm        string   `json:"realm"`
	HA1MD5       string   `json:"ha1_md5,omitempty"`
	HA1SHA256    string   `json:"ha1_sha256,omitempty"`
	UserID       string   `json:"user_id"`
	DeviceID     string   `json:"device_id"`
	Username     string   `json:"username"`
	AOR          string   `json:"aor"`
	Name         string   `json:"name"` // display name of From, unquoted
	From         NameAddr `json:"from"` // the identity that is put into From

	Shown []SurvivalShown `json:"shown,omitempty"` // in calls for help, for a user with a number of his own
}

// SOS tells whether a request's URI asks for help of any kind (RFC 5031 section 4.2).
func SOS(uri string) bool {
	const sos = "urn:service:sos"
	return len(uri) >= len(sos) && strings.EqualFold(uri[:len(sos)], sos) && (len(uri) == len(sos) || uri[len(sos)] == '.')
}

// SurvivalHelp is an emergency number, and the attempts over trunks, in their order, as they show a user without a number of his own. A
// trunk that wants a digest fails: its password is the brain's.
type SurvivalHelp struct {
	Number string  `json:"number"`        // as it is dialed
	At     string  `json:"at"`            // CallInfo.At of the call
	SOS    bool    `json:"sos,omitempty"` // urn:service:sos calls it too
	Routes []Route `json:"routes"`
}

// SurvivalShown is who is shown in an attempt over a trunk.
type SurvivalShown struct {
	TrunkID string    `json:"trunk_id"`
	From    *NameAddr `json:"from"`
	Headers string    `json:"headers,omitempty"`
}

// SurvivalNumber is a number that callers of the account can dial and what happens then.
type SurvivalNumber struct {
	Number string `json:"number"`
	SurvivalPlan
	Own []SurvivalOwn `json:"own,omitempty"` // for callers to whom SurvivalPlan.Without does not do justice
}

// SurvivalPlan is where a call goes: Routes without the caller's headers, or, when there are none, the
// code to refuse the call with.
type SurvivalPlan struct {
	Routes  []Route `json:"routes,omitempty"`
	SIPCode int     `json:"sip_code,omitempty"`
}

// SurvivalOwn is the plan of a number for one calling device.
type SurvivalOwn struct {
	AOR string `json:"aor"`
	SurvivalPlan
}

// For returns the plan of the number for a caller: one is never rung by one's own call.
func (n *SurvivalNumber) For(aor string) SurvivalPlan {
	for i := range n.Own {
		if n.Own[i].AOR == aor {
			return n.Own[i].SurvivalPlan
		}
	}
	return n.Without(aor)
}

// Without takes a device out of a plan. A step that rings nobody any more counts as not answered: it is
// passed over, steps that nothing leads to are left out, and the rest is numbered anew. The receiver stays
// as it is.
func (p SurvivalPlan) Without(aor string) SurvivalPlan {
	kept := make([]Route, 0, len(p.Routes))
	noanswer, rings := map[int]int{}, map[int]bool{}
	for _, r := range p.Routes {
		noanswer[r.Step] = r.Noanswer
		if r.URI != aor {
			rings[r.Step] = true
			kept = append(kept, r)
		}
	}
	if len(kept) == len(p.Routes) {
		return p
	}
	to := func(step int) int {
		for step != 0 && !rings[step] {
			step = noanswer[step] // always higher, or 0
		}
		return step
	}
	first := to(1)
	if first == 0 {
		return SurvivalPlan{SIPCode: 480}
	}
	return reached(kept, first, to)
}

// reached keeps the routes that a call can come to from its first step on, and numbers their steps from 1.
// Exits lead forward only, so one walk in the order of the steps finds them all.
func reached(routes []Route, first int, to func(step int) int) SurvivalPlan {
	led, number := map[int]bool{first: true}, map[int]int{0: 0}
	list := routes[:0]
	for _, r := range routes {
		if !led[r.Step] {
			continue
		}
		r.Busy, r.Noanswer = to(r.Busy), to(r.Noanswer)
		led[r.Busy], led[r.Noanswer] = true, true
		if number[r.Step] == 0 {
			number[r.Step] = len(number)
		}
		list = append(list, r)
	}
	if list[0].URI == "" {
		return SurvivalPlan{SIPCode: list[0].SIPCode}
	}
	for i := range list {
		r := &list[i]
		r.Step, r.Busy, r.Noanswer = number[r.Step], number[r.Busy], number[r.Noanswer]
	}
	return SurvivalPlan{Routes: list}
}

// Token names the call of a question: 20 characters of a-z and 2-7, 100 bits of a SHA-256 over what makes
// the question unique. So the same question delivered twice, to whomever, names the same call, and two INVITEs never do, though
// a phone gives them one Call-ID, CSeq and branch.
func (r *RouteRequest) Token() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	var buf [256]byte
	data := buf[:0]
	names := []string{r.CallID, r.CSeq, r.Branch, r.Node}
	if r.Transaction != "" { // an edge of before says none: its calls keep their names
		names = append(names, r.Transaction, strconv.FormatInt(r.TimeMS, 10))
	}
	for _, s := range names {
		data = strconv.AppendInt(data, int64(len(s)), 10) // so that no two questions run together alike
		data = append(append(data, ':'), s...)
	}
	sum := sha256.Sum256(data)
	var out [20]byte
	for i := range out {
		out[i] = alphabet[sum[i]&31]
	}
	return string(out[:])
}
