package brain

import (
	"slices"
	"strings"
	"testing"
)

// Proves which calls count against a limit: each row is one limit and one call.
func TestCallLimit_MatchesByDirectionAndScope(t *testing.T) {
	account := CallLimit{ScopeKind: LimitAccount, Direction: DirectionAny}
	user := CallLimit{ScopeKind: LimitUser, ScopeID: "us_1", Direction: DirectionAny}
	out := CallLimit{ScopeKind: LimitUser, ScopeID: "us_1", Direction: DirectionOut}
	number := CallLimit{ScopeKind: LimitNumber, NumberPattern: "1900*", Direction: DirectionOut}
	for name, c := range map[string]struct {
		limit                       CallLimit
		direction, from, to, number string
		want                        bool
	}{
		"any call of the account":     {account, DirectionInternal, "us_1", "us_2", "1002", true},
		"a call from outside":         {account, DirectionIn, "", "us_2", "4930123", true},
		"the user calls":              {user, DirectionOut, "us_1", "", "4930123", true},
		"the user is called":          {user, DirectionIn, "", "us_1", "4930123", true},
		"another user calls":          {user, DirectionOut, "us_2", "", "4930123", false},
		"no user at all":              {user, DirectionIn, "", "", "4930123", false},
		"a limit of nobody":           {CallLimit{ScopeKind: LimitUser, Direction: DirectionAny}, DirectionIn, "", "", "1", false},
		"the user calls out":          {out, DirectionOut, "us_1", "", "4930123", true},
		"the user calls inside":       {out, DirectionInternal, "us_1", "us_2", "1002", false},
		"a dialer is no person":       {out, DirectionDialer, "us_1", "", "4930123", false},
		"a number of the pattern":     {number, DirectionOut, "us_1", "", "19001234", true},
		"another number":              {number, DirectionOut, "us_1", "", "18001234", false},
		"the number, wrong direction": {number, DirectionIn, "", "us_1", "19001234", false},
		"no DIDs yet":                 {CallLimit{ScopeKind: LimitDID, ScopeID: "us_1", Direction: DirectionAny}, DirectionIn, "", "us_1", "1", false},
	} {
		if got := c.limit.Matches(c.direction, c.from, c.to, c.number); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Proves the language of number patterns: each row is a pattern, numbers it takes and numbers it does not.
func TestCallLimit_NumberPatterns(t *testing.T) {
	for pattern, c := range map[string]struct{ yes, no []string }{
		"":       {nil, []string{"", "1"}},
		"*":      {[]string{"", "1", "+49", "*98"}, nil},
		"110":    {[]string{"110"}, []string{"", "11", "1100", "+110", "111"}},
		"1900*":  {[]string{"1900", "19001", "1900#"}, []string{"190", "+1900", "21900"}},
		"+49*":   {[]string{"+49", "+4930"}, []string{"49", "4930", "+4", "+48"}},
		"49?0":   {[]string{"4900", "4990"}, []string{"490", "49*0", "49x0", "49000"}},
		"1??*":   {[]string{"112", "1123"}, []string{"11", "1", "1*2"}},
		"??":     {[]string{"00", "99"}, []string{"", "1", "123", "+1"}},
		"0049*3": {nil, []string{"00493", "0049123"}}, // refused by Validate, and matches nothing
	} {
		l := CallLimit{ScopeKind: LimitNumber, NumberPattern: pattern, Direction: DirectionAny}
		for _, number := range slices.Concat(c.yes, c.no) {
			if got, want := l.Matches(DirectionOut, "", "", number), slices.Contains(c.yes, number); got != want {
				t.Errorf("%q against %q: %v, want %v", number, pattern, got, want)
			}
		}
	}
}

// Proves that the limits of an account stand in the order of their ids, whatever order they come in.
func TestNewAccountConfig_SortsLimits(t *testing.T) {
	c := NewAccountConfig(1, AccountRows{Limits: []CallLimit{{ID: "lim_2"}, {ID: "lim_3"}, {ID: "lim_1"}}})
	if len(c.Limits) != 3 || c.Limits[0].ID != "lim_1" || c.Limits[2].ID != "lim_3" {
		t.Errorf("got %+v", c.Limits)
	}
}

// Proves that each bad field of a call limit is told with its path, and no other field is. Each row
// breaks one valid limit.
func TestValidate_TellsTheFieldOfACallLimit(t *testing.T) {
	for _, c := range []struct {
		path string
		set  func(l *CallLimit)
	}{
		{"name", func(l *CallLimit) { l.Name = "" }},
		{"scope_kind", func(l *CallLimit) { l.ScopeKind, l.NumberPattern = "", "" }},
		{"scope_kind", func(l *CallLimit) { l.ScopeKind, l.NumberPattern = "team", "" }},
		{"scope_kind", func(l *CallLimit) { l.ScopeKind, l.ScopeID, l.NumberPattern = LimitDID, "did_1", "" }},
		{"scope_id", func(l *CallLimit) { l.ScopeKind, l.NumberPattern = LimitUser, "" }},
		{"scope_id", func(l *CallLimit) { l.ScopeKind, l.ScopeID, l.NumberPattern = LimitAccount, "a\nb", "" }},
		{"scope_id", func(l *CallLimit) { l.ScopeID = "us_1" }},
		{"number_pattern", func(l *CallLimit) { l.NumberPattern = "" }},
		{"number_pattern", func(l *CallLimit) { l.NumberPattern = "+" }},
		{"number_pattern", func(l *CallLimit) { l.NumberPattern = "1*2" }},
		{"number_pattern", func(l *CallLimit) { l.NumberPattern = "1+2" }},
		{"number_pattern", func(l *CallLimit) { l.NumberPattern = strings.Repeat("1", 33) }},
		{"number_pattern", func(l *CallLimit) { l.ScopeKind = LimitAccount }},
		{"direction", func(l *CallLimit) { l.Direction = "outbound" }},
		{"period_sec", func(l *CallLimit) { l.PeriodSec = 0 }},
		{"period_sec", func(l *CallLimit) { l.PeriodSec = 2_678_401 }},
		{"max_count", func(l *CallLimit) { l.MaxCount = 10_001 }},
	} {
		l := valid()[KindCallLimit].(*CallLimit)
		c.set(l)
		if got := paths(Validate(l)); len(got) != 1 || got[0] != c.path {
			t.Errorf("%+v: got %v, want %s", l, Validate(l), c.path)
		}
	}
}
