package api

// Paths of money. Amounts are whole micro-units of the account's currency.
const (
	PathBalance          = "/balance"           // GET: BalanceState
	PathBalanceTopUp     = "/balance/topup"     // POST BalanceChange, of more than 0
	PathBalanceAdjust    = "/balance/adjust"    // POST BalanceChange, of either sign
	PathBalanceLimit     = "/balance/limit"     // POST BalanceChange: the credit limit, 0 or more
	PathBalanceStatement = "/balance/statement" // GET: movements, oldest first, ?after=NEXT&limit=N or ?from_ms=
	PathRates            = "/rates"             // GET ?plan=&number=: RateShown
	PathRateImport       = "/rates/import"      // POST ?plan=&dry_run=, a CSV file: RateImport
)

// BalanceState is what an account has. Available is Balance + Limit - Held.
type BalanceState struct {
	AccountID       string `json:"account_id"`
	Currency        string `json:"currency,omitempty"`
	RatePlan        string `json:"rate_plan,omitempty"` // "" = its calls are free of charge
	BalanceMicros   int64  `json:"balance_micros"`
	HeldMicros      int64  `json:"held_micros"` // for calls that are up or being set up
	LimitMicros     int64  `json:"limit_micros"`
	AvailableMicros int64  `json:"available_micros"`
	Calls           int    `json:"calls"` // with a hold, those of its customers included
	Movements       int64  `json:"movements"`
}

// BalanceChange changes a balance by hand. The same change again is done once, and answered alike for 92 days; after that it is refused.
type BalanceChange struct {
	ID      string `json:"id"`
	AskedMS int64  `json:"asked_ms"` // epoch milliseconds when it was asked for first: a part of the change, the same each time
	Micros  int64  `json:"micros"`
	Note    string `json:"note,omitempty"` // for people; kept with the movement, behind the key that asked
}

// BalanceChanged says how the account stands after a change.
type BalanceChanged struct {
	Repeated        bool  `json:"repeated,omitempty"` // it had been done before
	BalanceMicros   int64 `json:"balance_micros"`
	AvailableMicros int64 `json:"available_micros"`
}

// RateImport says what a file of rates makes of a plan: with DryRun would make.
type RateImport struct {
	Plan      string   `json:"plan"`
	DryRun    bool     `json:"dry_run,omitempty"`
	Rates     int      `json:"rates"` // afterwards
	Added     int      `json:"added"`
	Changed   int      `json:"changed"`
	Ended     int      `json:"ended"`
	Unchanged int      `json:"unchanged"`
	Changes   []string `json:"changes"` // the first 1,000, for people: + added, - ended, ~ changed
}

// RateShown is the rate of a number now.
type RateShown struct {
	Plan            string `json:"plan"`
	Currency        string `json:"currency"`
	Number          string `json:"number"`
	Prefix          string `json:"prefix"`
	ConnectMicros   int64  `json:"connect_micros"`
	PerMinuteMicros int64  `json:"per_minute_micros"`
	FirstSec        int    `json:"interval_first_sec"`
	NextSec         int    `json:"interval_next_sec"`
	EffectiveFrom   int64  `json:"effective_from"`    // epoch seconds
	Problem         string `json:"problem,omitempty"` // why the plan's rates cannot be read: this is of those before them, by which calls pay until they can
}
