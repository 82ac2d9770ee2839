package schedule

import (
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine

	"github.com/sipio/sipio/brain"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func moment(t testing.TB, utc string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339, utc)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixMilli()
}

func weekly(dow int, start, end string) brain.ScheduleRule {
	return brain.ScheduleRule{Kind: "weekly", DOW: dow, StartTime: start, EndTime: end}
}

func everyDay(start, end string) []brain.ScheduleRule {
	var out []brain.ScheduleRule
	for dow := range 7 {
		out = append(out, weekly(dow, start, end))
	}
	return out
}

func date(kind, from, to, start, end string, closed bool) brain.ScheduleRule {
	return brain.ScheduleRule{Kind: kind, StartDate: from, EndDate: to, StartTime: start, EndTime: end, IsClosed: closed}
}

func TestState_FollowsTheWallClockOverChangesOfSixZones(t *testing.T) {
	// Proves what is open around a change of the clock, by moments in UTC whose local time stands beside them. The
	// schedule is open every day in the interval given.
	for _, c := range []struct {
		zone, start, end string
		utc              string
		local            string
		want             Status
	}{
		// Berlin, 2026-03-29: 02:00 becomes 03:00.
		{"Europe/Berlin", "02:30", "04:00", "2026-03-29T00:59:00Z", "01:59", Closed},
		{"Europe/Berlin", "02:30", "04:00", "2026-03-29T01:00:00Z", "03:00", Open},
		{"Europe/Berlin", "02:30", "04:00", "2026-03-29T02:00:00Z", "04:00", Closed},
		{"Europe/Berlin", "02:10", "02:50", "2026-03-29T01:00:00Z", "03:00", Closed},
		{"Europe/Berlin", "22:00", "06:00", "2026-03-29T03:59:00Z", "05:59", Open},
		{"Europe/Berlin", "22:00", "06:00", "2026-03-29T04:00:00Z", "06:00", Closed},
		// Berlin, 2026-10-25: 03:00 becomes 02:00.
		{"Europe/Berlin", "02:30", "03:00", "2026-10-25T00:45:00Z", "02:45", Open},
		{"Europe/Berlin", "02:30", "03:00", "2026-10-25T01:15:00Z", "02:15", Closed},
		{"Europe/Berlin", "02:30", "03:00", "2026-10-25T01:45:00Z", "02:45", Open},
		{"Europe/Berlin", "02:30", "03:00", "2026-10-25T02:00:00Z", "03:00", Closed},
		// New York, 2026-03-08 and 2026-11-01.
		{"America/New_York", "09:00", "17:00", "2026-03-07T14:00:00Z", "09:00", Open},
		{"America/New_York", "09:00", "17:00", "2026-03-08T13:00:00Z", "09:00", Open},
		{"America/New_York", "09:00", "17:00", "2026-03-08T12:59:00Z", "08:59", Closed},
		{"America/New_York", "09:00", "17:00", "2026-11-01T13:30:00Z", "08:30", Closed},
		// Lord Howe, half an hour: 2026-04-05 02:00 becomes 01:30, 2026-10-04 02:00 becomes 02:30.
		{"Australia/Lord_Howe", "01:45", "02:00", "2026-04-04T14:50:00Z", "01:50", Open},
		{"Australia/Lord_Howe", "01:45", "02:00", "2026-04-04T15:05:00Z", "01:35", Closed},
		{"Australia/Lord_Howe", "01:45", "02:00", "2026-04-04T15:20:00Z", "01:50", Open},
		{"Australia/Lord_Howe", "02:00", "02:30", "2026-10-03T15:30:00Z", "02:30", Closed},
		{"Australia/Lord_Howe", "02:15", "03:00", "2026-10-03T15:30:00Z", "02:30", Open},
		// Santiago, at midnight: on 2026-09-06 there is no 00:00 to 00:59.
		{"America/Santiago", "22:00", "00:30", "2026-09-06T03:59:00Z", "23:59", Open},
		{"America/Santiago", "22:00", "00:30", "2026-09-06T04:00:00Z", "01:00", Closed},
		{"America/Santiago", "00:00", "02:00", "2026-09-06T04:00:00Z", "01:00", Open},
		// Auckland, 2026-09-27: 02:00 becomes 03:00. Dublin calls winter its saving time; the wall does not care.
		{"Pacific/Auckland", "02:30", "08:00", "2026-09-26T14:00:00Z", "03:00", Open},
		{"Europe/Dublin", "01:30", "02:30", "2026-03-29T01:00:00Z", "02:00", Open},
		// A zone without changes.
		{"Asia/Kolkata", "09:00", "18:00", "2026-03-29T03:30:00Z", "09:00", Open},
		{"Asia/Kolkata", "09:00", "18:00", "2026-03-29T12:30:00Z", "18:00", Closed},
	} {
		z, at := zone(t, c.zone), moment(t, c.utc)
		if local := time.UnixMilli(at).In(z).Format("15:04"); local != c.local {
			t.Fatalf("%s in %s is %s, not %s: the row is wrong", c.utc, c.zone, local, c.local)
		}
		if got := State(&brain.TimeSchedule{Rules: everyDay(c.start, c.end)}, z, at); got != c.want {
			t.Errorf("%s, %s to %s, at %s: %s, want %s", c.zone, c.start, c.end, c.local, got, c.want)
		}
	}
}

func TestState_NightsAreAsLongAsTheClockMakesThem(t *testing.T) {
	// Proves that the night shift of 22:00 to 06:00 lasts from one to the other on the wall, by counting the open
	// minutes from noon to noon, in nights with a change and without.
	for _, c := range []struct {
		zone, noon string
		minutes    int
	}{
		{"Europe/Berlin", "2026-03-27", 480}, {"Europe/Berlin", "2026-03-28", 420}, {"Europe/Berlin", "2026-10-24", 540},
		{"America/New_York", "2026-03-07", 420}, {"America/New_York", "2026-10-31", 540},
		{"Australia/Lord_Howe", "2026-10-03", 450}, {"Australia/Lord_Howe", "2026-04-04", 510},
		{"America/Santiago", "2026-09-05", 420}, {"America/Santiago", "2026-04-04", 540},
		{"Pacific/Auckland", "2026-09-26", 420}, {"Pacific/Auckland", "2026-04-04", 540},
		{"Asia/Kolkata", "2026-03-28", 480},
	} {
		z := zone(t, c.zone)
		from, err := time.ParseInLocation(time.DateOnly+" 15:04", c.noon+" 12:00", z)
		if err != nil {
			t.Fatal(err)
		}
		to := time.Date(from.Year(), from.Month(), from.Day()+1, 12, 0, 0, 0, z)
		s := &brain.TimeSchedule{Rules: everyDay("22:00", "06:00")}
		got := 0
		for at := from; at.Before(to); at = at.Add(time.Minute) {
			if State(s, z, at.UnixMilli()) == Open {
				got++
			}
		}
		if got != c.minutes {
			t.Errorf("%s, night of %s: open for %d minutes, want %d", c.zone, c.noon, got, c.minutes)
		}
	}
}

func TestState_RulesBeatEachOther(t *testing.T) {
	// Proves the order of rules on one schedule: closed beats hours, a date beats the week, an interval goes on after
	// midnight unless that date is closed. 2026-12-21 is a Monday.
	office := []brain.ScheduleRule{
		weekly(1, "09:00", "17:00"), weekly(2, "09:00", "17:00"), weekly(3, "09:00", "12:00"), weekly(3, "13:00", "17:00"),
		weekly(5, "20:00", "04:00"), weekly(6, "", ""), weekly(0, "09:00", "17:00"), {Kind: "weekly", DOW: 0, IsClosed: true},
		date("date", "2026-12-22", "", "10:00", "11:00", false), date("date", "2026-12-24", "", "", "", true),
		date("date", "2026-12-24", "", "09:00", "17:00", false), date("date_range", "2026-12-28", "2027-01-01", "", "", true),
		date("date", "2026-12-30", "", "09:00", "10:00", false), date("date", "2027-01-09", "", "10:00", "12:00", false),
		date("date", "2027-01-16", "", "", "", true), date("date_range", "2027-02-01", "2027-02-02", "00:00", "00:00", false),
	}
	for _, c := range []struct {
		at   string
		want Status
		why  string
	}{
		{"2026-12-21T08:59:59Z", Closed, "before the hours of the day"},
		{"2026-12-21T09:00:00Z", Open, "the first moment counts"},
		{"2026-12-21T16:59:59Z", Open, "the last minute counts"},
		{"2026-12-21T17:00:00Z", Closed, "the end does not"},
		{"2026-12-22T09:30:00Z", Closed, "the date's hours stand in place of the week's"},
		{"2026-12-22T10:30:00Z", Open, "the date's own hours"},
		{"2026-12-23T12:30:00Z", Closed, "between two intervals"},
		{"2026-12-23T13:00:00Z", Open, "the second interval"},
		{"2026-12-24T10:00:00Z", Holiday, "closed beats hours of the same date"},
		{"2026-12-17T10:00:00Z", Closed, "a day without a rule"},
		{"2026-12-18T23:00:00Z", Open, "a Friday night"},
		{"2026-12-19T03:59:00Z", Open, "and what follows of it"},
		{"2026-12-19T23:59:59Z", Open, "a day without times is a whole day"},
		{"2026-12-20T12:00:00Z", Closed, "a weekly closed day is no holiday"},
		{"2026-12-27T12:00:00Z", Closed, "the day before a range"},
		{"2026-12-28T00:00:00Z", Holiday, "first day of a range"},
		{"2027-01-01T23:59:59Z", Holiday, "last day of a range"},
		{"2026-12-30T09:30:00Z", Holiday, "closed by the range beats the hours of the date"},
		{"2027-01-02T00:30:00Z", Open, "a closed Friday begins no night, and Saturday is open by itself"},
		{"2027-01-09T03:00:00Z", Open, "the night of the day before goes on into a date with hours of its own"},
		{"2027-01-09T09:00:00Z", Closed, "where the week's hours no longer hold"},
		{"2027-01-16T03:00:00Z", Holiday, "but not into a closed one"},
		{"2027-02-01T00:00:00Z", Open, "an end at the start is that of the next day"},
		{"2027-02-03T00:00:00Z", Closed, "and no further"},
	} {
		if got := State(&brain.TimeSchedule{Rules: office}, time.UTC, moment(t, c.at)); got != c.want {
			t.Errorf("%s: %s, want %s: %s", c.at, got, c.want, c.why)
		}
	}
}

func TestState_ClosedDayEndsTheNightBefore(t *testing.T) {
	// Proves that a night whose first date is closed does not begin, so nothing of it follows after midnight.
	rules := []brain.ScheduleRule{weekly(5, "20:00", "04:00"), date("date", "2027-01-01", "", "", "", true)} // a Friday
	if got := State(&brain.TimeSchedule{Rules: rules}, time.UTC, moment(t, "2027-01-02T01:00:00Z")); got != Closed {
		t.Errorf("after a closed Friday: %s", got)
	}
	if got := State(&brain.TimeSchedule{Rules: rules}, time.UTC, moment(t, "2027-01-09T01:00:00Z")); got != Open {
		t.Errorf("after any other Friday: %s", got)
	}
}

func TestState_WhatCannotBeReadIsOpen(t *testing.T) {
	// Proves that a schedule which is missing or broken never closes a place: each broken rule stands beside one that
	// would close it.
	shut := brain.ScheduleRule{Kind: "weekly", DOW: 1, IsClosed: true}
	at := moment(t, "2026-12-21T12:00:00Z") // a Monday
	if got := State(nil, time.UTC, at); got != Open {
		t.Errorf("nil: %s", got)
	}
	if got := State(&brain.TimeSchedule{Rules: []brain.ScheduleRule{shut}}, nil, at); got != Open {
		t.Errorf("no zone: %s", got)
	}
	if got := State(&brain.TimeSchedule{}, time.UTC, at); got != Open {
		t.Errorf("no rules: %s", got)
	}
	if got := State(&brain.TimeSchedule{Rules: []brain.ScheduleRule{shut}}, time.UTC, at); got != Closed {
		t.Errorf("the rule that closes: %s", got)
	}
	for _, broken := range []brain.ScheduleRule{
		{Kind: "monthly"}, {Kind: "weekly", DOW: 7}, {Kind: "weekly", DOW: -1}, weekly(1, "25:00", ""), weekly(1, "9:00", ""), weekly(1, "24:00", ""),
		weekly(1, "", "24:01"), weekly(1, "", "12:60"), weekly(1, "ab:cd", ""), date("date", "", "", "", "", true), date("date", "2026-02-30", "", "", "", true),
		date("date_range", "2026-12-21", "", "", "", true), date("date_range", "2026-12-22", "2026-12-21", "", "", true),
	} {
		if got := State(&brain.TimeSchedule{Rules: []brain.ScheduleRule{shut, broken}}, time.UTC, at); got != Open {
			t.Errorf("%+v: %s", broken, got)
		}
	}
}

func TestState_OnlyClosedDatesLeaveTheRestOpen(t *testing.T) {
	// Proves that a list of holidays without any hours closes those dates alone.
	rules := []brain.ScheduleRule{date("date", "2026-12-24", "", "", "", true)}
	for at, want := range map[string]Status{"2026-12-23T12:00:00Z": Open, "2026-12-24T12:00:00Z": Holiday, "2026-12-25T00:00:00Z": Open} {
		if got := State(&brain.TimeSchedule{Rules: rules}, time.UTC, moment(t, at)); got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
	}
}

// FuzzState proves that no schedule and no moment make it panic, and that it says one of three words.
func FuzzState(f *testing.F) {
	f.Add("weekly", 1, "22:00", "06:00", "2026-12-24", "2026-12-26", false, int64(1_800_000_000_000))
	f.Add("date_range", 9, "24:00", "00:00", "0000-00-00", "9999-12-31", true, int64(-1<<63))
	z := zone(f, "Australia/Lord_Howe")
	f.Fuzz(func(t *testing.T, kind string, dow int, start, end, from, to string, closed bool, at int64) {
		r := brain.ScheduleRule{Kind: kind, DOW: dow, StartTime: start, EndTime: end, StartDate: from, EndDate: to, IsClosed: closed}
		switch got := State(&brain.TimeSchedule{Rules: []brain.ScheduleRule{r}}, z, at); got {
		case Open, Closed, Holiday:
		default:
			t.Errorf("%q", got)
		}
	})
}
