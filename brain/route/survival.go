package route

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// nobody is the caller of a plan that holds for every caller whose phone it does not ring.
var nobody = &brain.SIPDevice{}

// Survival is what a node must know of an account to decide as Check and Decide would while no brain can be
// asked; Tag and MaxContacts are left to whoever sends it. Devices, users and numbers that are disabled are
// not in it. It is false for an account that is not active: nobody is to be answered for it. help are the emergency numbers of its
// country, as number.Emergencies has them.
func Survival(acct *brain.AccountConfig, help []string) (api.SurvivalAccount, bool) {
	if acct.Account.Status != brain.StatusActive {
		return api.SurvivalAccount{}, false
	}
	kept := api.SurvivalAccount{
		AccountID: acct.Account.ID, ConfigVersion: acct.Version, Domains: slices.Sorted(maps.Keys(acct.Domains)),
		Callers: survivalCallers(acct), Numbers: survivalNumbers(acct), Media: media(), MaxDurationSec: MaxDurationSec,
	}
	kept.Help = survivalHelp(acct, help)
	survivalShown(acct, kept.Help, kept.Callers)
	if acct.Account.AdmissionPolicy == brain.AdmissionClosed {
		kept.Numbers = nil // registrations and calls for help go on, other calls wait for the brain
	}
	return kept, true
}

// survivalCallers lists the devices that may register and call, by name and realm.
func survivalCallers(acct *brain.AccountConfig) []api.SurvivalCaller {
	var list []api.SurvivalCaller
	for _, key := range slices.Sorted(maps.Keys(acct.DeviceByAuth)) {
		dev := acct.DeviceByAuth[key]
		user := acct.Users[dev.UserID]
		if user == nil || user.Status != brain.StatusActive || dev.Status != brain.StatusActive {
			continue
		}
		from := forcedFrom(Caller{Account: acct, User: user, Device: dev}, &api.RouteRequest{}).From
		list = append(list, api.SurvivalCaller{
			AuthUsername: dev.AuthUsername, Realm: strings.ToLower(dev.Realm), HA1MD5: dev.HA1MD5, HA1SHA256: dev.HA1SHA256,
			UserID: user.ID, DeviceID: dev.ID, Username: user.Username, AOR: dev.AOR(),
			Name: cmp.Or(sanitize(user.DisplayName), sanitize(user.Username)), From: *from,
		})
	}
	return list
}

// survivalNumbers lists what can be dialed, in order.
func survivalNumbers(acct *brain.AccountConfig) []api.SurvivalNumber {
	dialable := slices.AppendSeq(slices.Collect(maps.Keys(acct.Extensions)), maps.Keys(acct.UserByName))
	slices.Sort(dialable)
	devices := make(map[string]*brain.SIPDevice, len(acct.Devices))
	for _, d := range acct.Devices {
		devices[d.AOR()] = d
	}
	var list []api.SurvivalNumber
	for _, number := range slices.Compact(dialable) {
		target, why := dialed(nil, acct, number, acct.PrimaryDomain)
		if why == "" {
			list = append(list, survivalNumber(acct, devices, number, target))
		}
	}
	return list
}

// survivalNumber plans a number for nobody in particular, and beside it for each of the devices it rings
// when taking that device out of the plan is not the whole difference. A plan that was cut at its bounds has
// no such exceptions: a caller of a crowd loses one phone of 64, and sending a plan for each of them is not
// worth that.
func survivalNumber(acct *brain.AccountConfig, devices map[string]*brain.SIPDevice, number string, target brain.RouteTarget) api.SurvivalNumber {
	n := api.SurvivalNumber{Number: number, SurvivalPlan: planFor(acct, nobody, number, target)}
	if last := len(n.Routes) - 1; last < 0 || len(n.Routes) == MaxRoutes || n.Routes[last].Step == MaxSteps {
		return n
	}
	seen := map[string]bool{"": true}
	for _, r := range n.Routes {
		if seen[r.URI] {
			continue
		}
		seen[r.URI] = true
		own := planFor(acct, devices[r.URI], number, target)
		if short := n.Without(r.URI); short.SIPCode != own.SIPCode || !slices.Equal(short.Routes, own.Routes) {
			n.Own = append(n.Own, api.SurvivalOwn{AOR: r.URI, SurvivalPlan: own})
		}
	}
	return n
}

// planFor is the plan of a call as Decide makes it, without the caller's headers.
func planFor(acct *brain.AccountConfig, caller *brain.SIPDevice, number string, target brain.RouteTarget) api.SurvivalPlan {
	p := plan{acct: acct, caller: Caller{Account: acct, Device: caller}, offline: true}
	if code := p.build(number, target); code != 0 {
		return api.SurvivalPlan{SIPCode: code}
	}
	return api.SurvivalPlan{Routes: p.routes}
}
