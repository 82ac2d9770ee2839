// Package schedule says whether a place is open at a moment, by its time schedule.
//
// A schedule speaks of the clock on the wall of its zone, and so does this package: a moment is turned into a local
// date and time, and these are compared. On the day a clock is put forward, an interval that begins at a time that
// does not exist begins when the clock has jumped over it, and one that lies wholly inside the gap does not take
// place. On the day it is put back, a time that comes twice counts both times: 01:30 to 02:00 is open twice. How long
// an interval lasts is therefore up to the clock: a night shift of 22:00 to 06:00 has seven or nine hours then.
package schedule

import (
	"time"

	"github.com/sipio/sipio/brain"
)

// Status is what a schedule says of a moment.
type Status string

const (
	Open    Status = "open"
	Closed  Status = "closed"
	Holiday Status = "holiday" // closed by a rule for the date
)

const day = 24 * 60 // minutes

// State says what the schedule says of a moment, given in epoch milliseconds. zone is the schedule's, or the
// account's where it names none. A schedule that is missing (nil) or cannot be read (a zone that is nil, a rule with
// an unknown kind, day, date or time) is open: rather a call too many than none at all.
//
// For a date, rules of kind date and date_range that cover it stand in place of the weekly ones; a rule that is
// closed beats all rules of hours, for the whole date, including the hours after midnight of an interval that began
// the day before. Otherwise such an interval belongs to the date it began on, and goes on whatever the rules of the
// next date are. A schedule without any rule of hours is open on all dates that no rule closes.
func State(s *brain.TimeSchedule, zone *time.Location, nowMS int64) Status {
	if s == nil || zone == nil {
		return Open
	}
	rules, ok := parse(s.Rules)
	if !ok {
		return Open
	}
	now := time.UnixMilli(nowMS).In(zone)
	minute := 60*now.Hour() + now.Minute()
	today := dateOf(now.Year(), now.Month(), now.Day())
	rulesToday := on(rules, today)
	if closed, holiday := closing(rulesToday); holiday {
		return Holiday
	} else if closed {
		return Closed
	}
	if !anyHours(rules) {
		return Open
	}
	for _, r := range rulesToday {
		if r.start <= minute && minute < r.end {
			return Open
		}
	}
	yesterday := on(rules, today.AddDate(0, 0, -1))
	if closed, _ := closing(yesterday); closed {
		return Closed
	}
	for _, r := range yesterday {
		if minute < r.end-day {
			return Open
		}
	}
	return Closed
}

// rule is a ScheduleRule that has been read. Times are minutes from midnight of the date; end may lie in the next.
type rule struct {
	weekly      bool
	weekday     time.Weekday
	first, last time.Time // of date and date_range, as dateOf
	start, end  int
	closed      bool
}

// dateOf is a date without a zone.
func dateOf(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

func parse(src []brain.ScheduleRule) (rules []rule, ok bool) {
	for _, line := range src {
		r, ok := parseRule(line)
		if !ok {
			return nil, false
		}
		rules = append(rules, r)
	}
	return rules, true
}

func parseRule(line brain.ScheduleRule) (r rule, ok bool) {
	r = rule{closed: line.IsClosed, end: day}
	switch line.Kind {
	case "weekly":
		r.weekly, r.weekday = true, time.Weekday(line.DOW)
		if line.DOW < 0 || line.DOW > 6 {
			return r, false
		}
	case "date", "date_range":
		last := line.StartDate
		if line.Kind == "date_range" {
			last = line.EndDate
		}
		var errFirst, errLast error
		r.first, errFirst = time.Parse(time.DateOnly, line.StartDate)
		r.last, errLast = time.Parse(time.DateOnly, last)
		if errFirst != nil || errLast != nil || r.last.Before(r.first) {
			return r, false
		}
	default:
		return r, false
	}
	if line.StartTime != "" {
		if r.start, ok = parseTime(line.StartTime); !ok || r.start == day {
			return r, false
		}
	}
	if line.EndTime != "" {
		if r.end, ok = parseTime(line.EndTime); !ok {
			return r, false
		}
	}
	if r.end <= r.start {
		r.end += day
	}
	return r, true
}

// parseTime reads HH:MM, up to 24:00, into minutes.
func parseTime(s string) (minutes int, ok bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	for _, i := range []int{0, 1, 3, 4} {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	hour, minute := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	minutes = 60*hour + minute
	return minutes, minute < 60 && minutes <= day
}

// on returns the rules that hold for a date: those for the date itself, or else the weekly ones.
func on(rules []rule, date time.Time) []rule {
	var special, weekly []rule
	for _, r := range rules {
		switch {
		case r.weekly && r.weekday == date.Weekday():
			weekly = append(weekly, r)
		case !r.weekly && !date.Before(r.first) && !date.After(r.last):
			special = append(special, r)
		}
	}
	if len(special) > 0 {
		return special
	}
	return weekly
}

// closing says whether the rules of a date close it, and whether as a holiday.
func closing(rules []rule) (closed, holiday bool) {
	for _, r := range rules {
		if r.closed {
			return true, !r.weekly
		}
	}
	return false, false
}

func anyHours(rules []rule) bool {
	for _, r := range rules {
		if !r.closed {
			return true
		}
	}
	return false
}
