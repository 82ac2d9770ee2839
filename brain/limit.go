package brain

import "strings"

// maxLimits bounds the call limits of one account: each is looked at for every call.
const maxLimits = 100

// LimitScope says whose calls a call limit counts.
type LimitScope string

const (
	LimitAccount LimitScope = "account" // every call of the account
	LimitUser    LimitScope = "user"    // calls that the user makes or receives
	LimitDID     LimitScope = "did"     // calls to a number of the account; not used yet and refused
	LimitNumber  LimitScope = "number"  // calls to numbers of a pattern
)

// Directions of a call, as limits name them.
const (
	DirectionIn       = "in"       // from a trunk to the account
	DirectionOut      = "out"      // from the account to a trunk
	DirectionInternal = "internal" // inside the account
	DirectionDialer   = "dialer"   // made by a dialer, not by a person
	DirectionAny      = "any"      // limits only: all of them
)

// CallLimit bounds how many calls are admitted in any stretch of time, not how many are up at once.
type CallLimit struct {
	ID            string     `json:"id" readOnly:"true"`
	AccountID     string     `json:"account_id" readOnly:"true"`
	Name          string     `json:"name" doc:"unique in the account"`
	ScopeKind     LimitScope `json:"scope_kind" enum:"account,user,did,number" doc:"whose calls are counted; did is refused: name the number by number_pattern"`
	ScopeID       string     `json:"scope_id,omitempty" doc:"the user that scope_kind user is about; for account empty or the account itself, for number empty"`
	NumberPattern string     `json:"number_pattern,omitempty" doc:"for scope_kind number: digits, + in front allowed, ? stands for one digit, * at the end for any rest"`
	Direction     string     `json:"direction,omitempty" default:"any" enum:"in,out,internal,dialer,any"`
	PeriodSec     int        `json:"period_sec" minimum:"1" maximum:"2678400" doc:"length of the window, which slides with the clock"`
	MaxCount      int        `json:"max_count" minimum:"1" maximum:"10000" doc:"calls admitted in any such window"`
	Hard          bool       `json:"hard" default:"true" doc:"true: the call over it is refused; false: it passes and an event is raised"`
}

// Matches says whether a call counts against the limit. The direction is one of in, out, internal and
// dialer; the ids are "" for ends that are no users of the account; number is what was dialed.
func (l *CallLimit) Matches(direction string, fromUserID, toUserID, number string) bool {
	if l.Direction != DirectionAny && l.Direction != direction {
		return false
	}
	switch l.ScopeKind {
	case LimitAccount:
		return true
	case LimitUser:
		return l.ScopeID != "" && (l.ScopeID == fromUserID || l.ScopeID == toUserID)
	case LimitNumber:
		return matchNumber(l.NumberPattern, number)
	}
	return false
}

// matchNumber compares character by character: a + matches a + only, so that 49… and +49… are two patterns.
func matchNumber(pattern, number string) bool {
	if pattern == "" {
		return false
	}
	head, open := strings.CutSuffix(pattern, "*")
	if len(number) < len(head) || !open && len(number) != len(head) {
		return false
	}
	for i := range len(head) {
		if head[i] != number[i] && (head[i] != '?' || !isDigit(number[i])) {
			return false
		}
	}
	return true
}

func (c *checker) callLimit(r *CallLimit) {
	c.name("name", r.Name)
	switch {
	case r.ScopeKind == "":
		c.add("scope_kind", "is required")
	case r.ScopeKind == LimitDID:
		c.add("scope_kind", "did cannot be used yet: use number, with the number itself as number_pattern")
	default:
		oneOf(c, "scope_kind", r.ScopeKind, LimitAccount, LimitUser, LimitNumber)
	}
	switch {
	case r.ScopeKind == LimitUser || r.ScopeKind == LimitAccount && r.ScopeID != "":
		c.id("scope_id", r.ScopeID)
	case r.ScopeKind == LimitNumber && r.ScopeID != "":
		c.add("scope_id", "is not for scope_kind number: number_pattern says which")
	}
	switch {
	case r.ScopeKind == LimitNumber:
		c.numberPattern("number_pattern", r.NumberPattern)
	case r.NumberPattern != "":
		c.add("number_pattern", "is for scope_kind number only")
	}
	oneOf(c, "direction", r.Direction, DirectionIn, DirectionOut, DirectionInternal, DirectionDialer, DirectionAny)
	between(c, "period_sec", r.PeriodSec, 1, maxPeriodSec)
	between(c, "max_count", r.MaxCount, 1, maxWindowCount)
}

func (c *checker) numberPattern(path, s string) {
	body, _ := strings.CutSuffix(strings.TrimPrefix(s, "+"), "*")
	if s == "" || s == "+" || len(s) > maxDigits || strings.Trim(body, "0123456789?") != "" {
		c.add(path, "must be 1 to %d of 0-9 and ? (one digit), + in front and * (any rest) at the end allowed, not %s", maxDigits, quote(s))
	}
}
