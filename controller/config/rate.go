package config

import (
	"fmt"

	"github.com/sipio/sipio/brain"
)

// maybePlatform tells whether resources of a kind may belong to the platform as well as to an account.
func maybePlatform(k brain.Kind) bool {
	return k == brain.KindAPIKey || k == brain.KindRatePlan || k == brain.KindConsoleUser
}

// RatePlan returns a plan of an account, or of the platform (""), by its name; nil when there is none. Nobody may change it.
func (s *Store) RatePlan(ownerID, name string) *brain.RatePlan {
	t := s.state.Load().tenants[ownerID]
	if t == nil {
		return nil
	}
	return planNamed(t.rows[brain.KindRatePlan], name)
}

func planNamed(rows []brain.Resource, name string) *brain.RatePlan {
	for _, r := range rows {
		if p := r.(*brain.RatePlan); p.Name == name {
			return p
		}
	}
	return nil
}

// checkPlans wants the names of an owner's plans to be different, and the plan that an account pays by to be there, in the currency
// of its wallet: one of its reseller, or of the platform. So must those be that say what its trunks cost: its own.
func checkPlans(d *draft) []brain.RowError {
	faults := checkUnique(d, brain.KindRatePlan, "name", func(r brain.Resource) string { return r.OwnerID() + "\x00" + brain.NameOf(r) })
	d.each(brain.KindAccount, func(r brain.Resource) {
		a := r.(*brain.Account)
		if a.RatePlan == "" {
			return
		}
		path, text := "rate_plan", ""
		switch p := planNamed(d.rows(brain.KindRatePlan, a.ChargedBy()), a.RatePlan); {
		case p == nil && a.ParentID != nil:
			text = fmt.Sprintf("the reseller has no rate plan %q", a.RatePlan)
		case p == nil:
			text = fmt.Sprintf("the platform has no rate plan %q", a.RatePlan)
		case p.Currency != a.Currency:
			path, text = "currency", fmt.Sprintf("rate plan %q is in %s", a.RatePlan, p.Currency)
		}
		if text != "" {
			faults = append(faults, brain.RowError{Resource: r, FieldError: brain.FieldError{Path: path, Text: text}})
		}
	})
	return append(faults, checkCosts(d)...)
}

// checkCosts wants the price lists of trunks to be of their account, and in its currency: they are compared with each other.
func checkCosts(d *draft) []brain.RowError {
	currencies := make(map[string]string)
	d.each(brain.KindAccount, func(r brain.Resource) { currencies[r.ResourceID()] = r.(*brain.Account).Currency })
	var faults []brain.RowError
	d.each(brain.KindSIPTrunk, func(r brain.Resource) {
		t := r.(*brain.SIPTrunk)
		if t.CostPlan == "" {
			return
		}
		text := ""
		switch p := planNamed(d.rows(brain.KindRatePlan, t.AccountID), t.CostPlan); {
		case p == nil:
			text = fmt.Sprintf("the account has no rate plan %q", t.CostPlan)
		case p.Currency != currencies[t.AccountID]:
			text = fmt.Sprintf("rate plan %q is in %s, the currency of the account is %q", t.CostPlan, p.Currency, currencies[t.AccountID])
		}
		if text != "" {
			faults = append(faults, brain.RowError{Resource: r, FieldError: brain.FieldError{Path: "cost_plan", Text: text}})
		}
	})
	return faults
}
