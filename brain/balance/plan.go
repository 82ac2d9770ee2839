package balance

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain/lcr"
)

// Bounds of a plan.
const (
	MaxRates     = 1_000_000
	MaxPerPrefix = 100 // rates of one prefix, by time
)

const maxFrom = math.MaxUint32 // epoch seconds

// Errors of NewPlan.
var (
	ErrTooMany = errors.New("more than 1000000 rates")
	ErrTwice   = errors.New("is there twice with the same effective_from")
	ErrMany    = errors.New("has more than 100 rates")
)

// Plan is a price list that does not change; any number may read it.
type Plan struct {
	Currency string

	rates  []Rate    // by prefix, then by time
	newest lcr.Table // the last rate of each prefix
}

// NewPlan makes a plan of rates in any order. An error names the first rate that is wrong.
func NewPlan(currency string, rates []Rate) (*Plan, error) {
	sorted := slices.Clone(rates)
	slices.SortFunc(sorted, Rate.compare)
	if err := checkRates(sorted); err != nil {
		return nil, err
	}
	var newest []lcr.Entry
	for i := range sorted {
		if i+1 == len(sorted) || sorted[i+1].Prefix != sorted[i].Prefix {
			newest = append(newest, lcr.Entry{Prefix: sorted[i].Prefix, Value: uint32(i)})
		}
	}
	table, err := lcr.Build(newest)
	if err != nil {
		return nil, err
	}
	return &Plan{Currency: currency, rates: sorted, newest: *table}, nil
}

// checkRates tells what is wrong with sorted rates.
func checkRates(sorted []Rate) error {
	if len(sorted) > MaxRates {
		return ErrTooMany
	}
	for i, r := range sorted {
		if err := r.Check(); err != nil {
			return fmt.Errorf("rate of %q: %w", r.Prefix, err)
		}
		if i > 0 && r.compare(sorted[i-1]) == 0 {
			return fmt.Errorf("prefix %q %w", r.Prefix, ErrTwice)
		}
		if i >= MaxPerPrefix && sorted[i-MaxPerPrefix].Prefix == r.Prefix {
			return fmt.Errorf("prefix %q %w", r.Prefix, ErrMany)
		}
	}
	return nil
}

// compare orders rates by prefix, a shorter one before those that it begins, then by time.
func (r Rate) compare(o Rate) int {
	return cmp.Or(strings.Compare(r.Prefix, o.Prefix), cmp.Compare(r.EffectiveFrom, o.EffectiveFrom))
}

// Lookup finds the rate of a number, E.164 without +, that is in force at a time, epoch seconds. False when there is none.
func (p *Plan) Lookup(number string, at int64) (Rate, bool) {
	for {
		i, length, ok := p.newest.Lookup(number)
		if !ok {
			return Rate{}, false
		}
		prefix := p.rates[i].Prefix
		for k := int(i); k >= 0 && p.rates[k].Prefix == prefix; k-- {
			if p.rates[k].EffectiveFrom <= at {
				return p.rates[k], true
			}
		}
		number = number[:length-1] // all of its rates lie ahead: a shorter one has to do
	}
}

// Len is how many rates there are.
func (p *Plan) Len() int { return len(p.rates) }

// All gives every rate, by prefix, then by time.
func (p *Plan) All() iter.Seq[Rate] { return slices.Values(p.rates) }
