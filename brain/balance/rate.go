package balance

import (
	"errors"
	"fmt"
)

// Terms are the price of a call. Prices are 0 to MaxPriceMicros, intervals 1 to MaxIntervalSec seconds.
type Terms struct {
	ConnectMicros   int64 `json:"connect_micros"`
	PerMinuteMicros int64 `json:"per_minute_micros"`
	FirstSec        int32 `json:"interval_first_sec"`
	NextSec         int32 `json:"interval_next_sec"`
}

// Rate are the terms of the numbers that begin with a prefix, from a time on: epoch seconds, until the year 2106.
type Rate struct {
	Prefix string `json:"prefix"` // 1 to 15 digits
	Terms
	EffectiveFrom int64 `json:"effective_from"`
}

// maxPrefix is how many digits a prefix may have: those of E.164.
const maxPrefix = 15

// Errors of Check, with the field before them.
var (
	errPrefix   = errors.New("prefix: is not 1 to 15 digits")
	errPrice    = errors.New("is not 0 to 1000000000000 micro-units")
	errInterval = errors.New("is not 1 to 3600 seconds")
	errFrom     = errors.New("effective_from: is no time between 1970 and 2106")
)

// Check tells what is wrong with terms: the field, and what it must be.
func (t Terms) Check() error {
	price := func(v int64) bool { return v >= 0 && v <= MaxPriceMicros }
	interval := func(v int32) bool { return v >= 1 && v <= MaxIntervalSec }
	switch {
	case !price(t.ConnectMicros):
		return fmt.Errorf("connect_micros: %w", errPrice)
	case !price(t.PerMinuteMicros):
		return fmt.Errorf("per_minute_micros: %w", errPrice)
	case !interval(t.FirstSec):
		return fmt.Errorf("interval_first_sec: %w", errInterval)
	case !interval(t.NextSec):
		return fmt.Errorf("interval_next_sec: %w", errInterval)
	}
	return nil
}

// Check tells what is wrong with a rate: the field, and what it must be.
func (r Rate) Check() error {
	switch {
	case len(r.Prefix) > maxPrefix || !isDigits(r.Prefix):
		return errPrefix
	case r.EffectiveFrom < 0 || r.EffectiveFrom > maxFrom:
		return errFrom
	}
	return r.Terms.Check()
}

// BilledSec is how many seconds an answered call of so many milliseconds is billed for: the first interval, and every
// next one that has begun. Less than no time counts as none.
func (t Terms) BilledSec(talkMS int64) int64 {
	first, next := int64(t.FirstSec), int64(t.NextSec)
	beyond := talkMS - first*1000
	if beyond <= 0 {
		return first
	}
	return first + (beyond+next*1000-1)/(next*1000)*next
}

// Charge is the price of an answered call of so many milliseconds, at most MaxTalkMS, in micro-units rounded up.
func (t Terms) Charge(talkMS int64) int64 {
	return t.ConnectMicros + (t.PerMinuteMicros*t.BilledSec(talkMS)+59)/60
}

// Free tells whether no call costs anything.
func (t Terms) Free() bool { return t.ConnectMicros == 0 && t.PerMinuteMicros == 0 }

// Affords is how many seconds, at most as many as said, an amount pays for: a call that ends there is not charged more. 0
// when it does not pay for the connect fee and the first interval.
func (t Terms) Affords(micros, mostSec int64) int64 {
	left := micros - t.ConnectMicros
	switch {
	case t.Free():
		return mostSec
	case left < 0:
		return 0
	case t.PerMinuteMicros == 0:
		return mostSec
	}
	sec := left * 60 / t.PerMinuteMicros
	first, next := int64(t.FirstSec), int64(t.NextSec)
	if sec < first {
		return 0
	}
	return min(mostSec, first+(sec-first)/next*next)
}

// reach is how many seconds may be talked for the price of sec seconds: to the end of the interval, at most mostSec.
func (t Terms) reach(sec, mostSec int64) int64 {
	return min(mostSec, t.BilledSec(sec*1000))
}
