package balance

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Import is what a file makes of a plan. Nothing has happened yet: whoever agrees uses Plan from then on.
type Import struct {
	Plan    *Plan
	Changes []Change // by prefix, then by time; what stays as it is is only counted

	Added, Changed, Ended, Unchanged int
}

// ChangeKind is what happens to a rate.
type ChangeKind string

// The kinds. A rate is known by its prefix and effective_from.
const (
	Added   ChangeKind = "added"
	Changed ChangeKind = "changed" // the same prefix and time, other terms
	Ended   ChangeKind = "ended"   // not in the plan any more; calls that are up keep it
)

// Change is one rate before and after; Old is zero when it was added, New when it ended.
type Change struct {
	Kind     ChangeKind
	Old, New Rate
}

// String writes a change for people.
func (c Change) String() string {
	switch c.Kind {
	case Added:
		return "+ " + c.New.String()
	case Ended:
		return "- " + c.Old.String()
	}
	return "~ " + c.Old.String() + " → " + c.New.Terms.String()
}

// String writes a rate for people.
func (r Rate) String() string {
	return fmt.Sprintf("%s from %s: %s", r.Prefix, time.Unix(r.EffectiveFrom, 0).UTC().Format("2006-01-02 15:04"), r.Terms)
}

// String writes terms for people, prices in units.
func (t Terms) String() string {
	return fmt.Sprintf("%s a minute, %s to connect, %d/%d s", FormatMicros(t.PerMinuteMicros), FormatMicros(t.ConnectMicros), t.FirstSec, t.NextSec)
}

// ErrNoRates of PlanImport.
var ErrNoRates = errors.New("the file has no rates; nothing was changed")

// PlanImport compares rates, a whole price list, with the plan that is there; nil is an empty one. What the list does not name
// ends, with one exception: while the rates of a prefix that it names all lie in the future, the one in force at
// nowSec, epoch seconds, stays. The same list once more changes nothing. ErrNoRates: the list is empty, as a file that was cut off is.
func PlanImport(before *Plan, currency string, rates []Rate, nowSec int64) (*Import, error) {
	if len(rates) == 0 {
		return nil, ErrNoRates
	}
	list := slices.Clone(rates)
	slices.SortFunc(list, Rate.compare)
	if err := checkRates(list); err != nil {
		return nil, err
	}
	var old []Rate
	if before != nil {
		old = slices.Collect(before.All())
	}
	in := &Import{}
	var after []Rate
	for len(old) > 0 || len(list) > 0 {
		prefix := first(old, list)
		was, is := cut(&old, prefix), cut(&list, prefix)
		stays := inForce(was, is, nowSec)
		for i, r := range was {
			switch {
			case i == stays:
				after = append(after, r)
				in.Unchanged++
			case !slices.ContainsFunc(is, r.sameTime):
				in.note(Change{Kind: Ended, Old: r})
			}
		}
		for _, r := range is {
			switch at := slices.IndexFunc(was, r.sameTime); {
			case at < 0:
				in.note(Change{Kind: Added, New: r})
			case was[at].Terms != r.Terms:
				in.note(Change{Changed, was[at], r})
			default:
				in.Unchanged++
			}
		}
		after = append(after, is...)
	}
	var err error
	if in.Plan, err = NewPlan(currency, after); err != nil {
		return nil, err
	}
	return in, nil
}

// inForce is the index of the rate of a prefix that stays because the new ones all lie in the future; -1 when none does.
func inForce(was, is []Rate, nowSec int64) int {
	if len(is) == 0 || is[0].EffectiveFrom <= nowSec {
		return -1
	}
	stays := -1
	for i := range was {
		if was[i].EffectiveFrom <= nowSec {
			stays = i
		}
	}
	return stays
}

func (r Rate) sameTime(o Rate) bool { return r.EffectiveFrom == o.EffectiveFrom }

// first is the prefix that comes first in two sorted lists, of which one is not empty.
func first(a, b []Rate) string {
	if len(b) == 0 || len(a) > 0 && a[0].Prefix < b[0].Prefix {
		return a[0].Prefix
	}
	return b[0].Prefix
}

// cut takes the rates of a prefix off the front of a sorted list.
func cut(list *[]Rate, prefix string) []Rate {
	n := 0
	for n < len(*list) && (*list)[n].Prefix == prefix {
		n++
	}
	taken := (*list)[:n]
	*list = (*list)[n:]
	return taken
}

func (in *Import) note(c Change) {
	in.Changes = append(in.Changes, c)
	switch c.Kind {
	case Added:
		in.Added++
	case Changed:
		in.Changed++
	case Ended:
		in.Ended++
	}
}
