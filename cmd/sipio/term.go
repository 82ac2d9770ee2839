package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// maxTermDays keeps a term within time.Duration: some 290 years.
const maxTermDays = 100_000

// parseTerm reads how long: what time.ParseDuration reads, and days before it, as in 60d or 1d12h.
func parseTerm(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if err != nil || n > maxTermDays {
		return 0, fmt.Errorf("%q is not how long, such as 90s, 2h or 30d", text)
	}
	term := time.Duration(n) * 24 * time.Hour
	if rest == "" && found {
		return term, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || found && more < 0 {
		return 0, fmt.Errorf("%q is not how long, such as 90s, 2h or 30d", text)
	}
	return term + more, nil
}

// termFlag is a flag that parseTerm reads.
type termFlag struct{ *time.Duration }

func (f termFlag) Type() string { return "duration" }

func (f termFlag) Set(text string) (err error) {
	*f.Duration, err = parseTerm(text)
	return err
}

// String shows whole days as days, and nothing for none.
func (f termFlag) String() string {
	const day = 24 * time.Hour
	switch {
	case f.Duration == nil || *f.Duration == 0:
		return ""
	case *f.Duration > 0 && *f.Duration%day == 0:
		return strconv.Itoa(int(*f.Duration/day)) + "d"
	}
	return f.Duration.String()
}

// addTerm adds a flag for how long, with what is there as its default.
func addTerm(flags *pflag.FlagSet, term *time.Duration, name, usage string) {
	flags.Var(termFlag{term}, name, usage)
}

// parseSince reads since when: how long before now, such as 7d, a date (its beginning in UTC), or a time of RFC 3339. "" is the zero time.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	ago, err := parseTerm(text)
	if err != nil || ago < 0 {
		return time.Time{}, fmt.Errorf("--since: %q is neither how long ago, such as 2h or 7d, nor a date such as 2026-11-01", text)
	}
	return now.Add(-ago), nil
}
