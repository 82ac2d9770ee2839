package route

import (
	"cmp"
	"slices"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
)

// Bounds of what a node keeps for calls for help.
const (
	maxHelpTrunks = 4    // that it tries
	maxHelpShown  = 1000 // devices that show a number of their own; the others show that of the trunk or the account
)

// survivalHelp lists the attempts for each emergency number, as Decide and what follows would make them; trunks with a password come
// last, because nobody answers their challenge.
func survivalHelp(acct *brain.AccountConfig, numbers []string) (list []api.SurvivalHelp) {
	for _, digits := range numbers {
		p, o := forHelp(acct, nil, digits)
		lines, _, _ := p.lines(o)
		slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(wantsDigest(a.trunk), wantsDigest(b.trunk)) })
		help := api.SurvivalHelp{Number: digits, At: o.at(), SOS: digits == number.Help(acct.Account.Country)}
		for _, l := range lines {
			if r, why := p.over(o, l); why == "" && len(help.Routes) < maxHelpTrunks {
				r.Step = 1
				help.Routes = append(help.Routes, r)
			}
		}
		if n := len(help.Routes); n > 0 {
			help.Routes[n-1].Trunk.ProgressMS = 0 // nobody else could help
			list = append(list, help)
		}
	}
	return list
}

// wantsDigest is 1 for a trunk that has a password.
func wantsDigest(t *brain.SIPTrunk) int {
	if t.AuthSecretRef != "" {
		return 1
	}
	return 0
}

// forHelp is the plan of a call for help of a user, nil for one without a number of his own.
func forHelp(acct *brain.AccountConfig, u *brain.SIPUser, digits string) (*plan, *outward) {
	if u == nil {
		u = &brain.SIPUser{}
	}
	return &plan{acct: acct, caller: Caller{Account: acct, User: u, Device: nobody}, req: &api.RouteRequest{RURIUser: digits}}, &outward{kind: destEmergency, number: digits}
}

// survivalShown adds to the callers whose user has a number of his own how they are shown, with the trunks of calls for help.
func survivalShown(acct *brain.AccountConfig, help []api.SurvivalHelp, callers []api.SurvivalCaller) {
	var trunks []*brain.SIPTrunk
	for _, h := range help {
		for _, r := range h.Routes {
			if t := acct.Trunks[r.Trunk.ID]; !slices.Contains(trunks, t) {
				trunks = append(trunks, t)
			}
		}
	}
	shown := 0
	for i := range callers {
		c := &callers[i]
		u := acct.Users[c.UserID]
		if u == nil || !owned(acct, u.OutCIDNumber) || shown == maxHelpShown {
			continue
		}
		shown++
		p, o := forHelp(acct, u, "")
		for _, t := range trunks {
			id := p.identify(o, t)
			c.Shown = append(c.Shown, api.SurvivalShown{TrunkID: t.ID, From: id.from(p, t), Headers: id.headers(p, o, t)})
		}
	}
}
