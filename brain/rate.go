package brain

import "strings"

// RatePlan is a price list: what the customers of an account, or of the platform, pay for calls to outside, or what these cost over a trunk. Its rates are
// an object of the media store, which the row names: brought in by sipio rate import, never written by hand.
type RatePlan struct {
	ID        string `json:"id" readOnly:"true"`
	AccountID string `json:"account_id,omitempty" readOnly:"true" doc:"the account that charges by it or whose trunks cost by it; absent = the platform"`
	Name      string `json:"name" doc:"unique among those of its owner"`
	Currency  string `json:"currency" doc:"ISO 4217 code such as EUR: that of the customers' wallets; it does not change while a customer has the plan"`
	ObjectKey string `json:"object_key,omitempty" readOnly:"true" doc:"of the rates in the media store; absent: it has none"`
	SHA256    string `json:"sha256,omitempty" readOnly:"true" doc:"of that object"`
	Rates     int    `json:"rates,omitempty" readOnly:"true" doc:"how many there are"`
}

// KindRatePlan is the kind of a RatePlan.
const KindRatePlan Kind = "rate_plan"

// DefaultHoldSec is Account.HoldSec when it is not set.
const DefaultHoldSec = 600

func (r *RatePlan) ResourceKind() Kind { return KindRatePlan }
func (r *RatePlan) ResourceID() string { return r.ID }
func (r *RatePlan) OwnerID() string    { return r.AccountID }

// ChargedBy is whose plan an account pays by: that of its reseller, "" = the platform's.
func (a *Account) ChargedBy() string {
	if a.ParentID != nil {
		return *a.ParentID
	}
	return ""
}

// Bounds of Account.HoldSec.
const (
	minHoldSec = 10
	maxHoldSec = 14_400
)

// money checks what an account says of its wallet.
func (c *checker) money(a *Account) {
	c.currency("currency", a.Currency, a.RatePlan != "")
	if a.RatePlan != "" {
		c.name("rate_plan", a.RatePlan)
	}
	between(c, "hold_sec", a.HoldSec, minHoldSec, maxHoldSec)
}

func (c *checker) ratePlan(r *RatePlan) {
	c.name("name", r.Name)
	c.currency("currency", r.Currency, true)
}

// currency wants an ISO 4217 code.
func (c *checker) currency(path, s string, required bool) {
	if s == "" && !required {
		return
	}
	if len(s) != 3 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		c.add(path, "must be an ISO 4217 code of three letters such as EUR, not %s", quote(s))
	}
}
