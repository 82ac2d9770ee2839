// Package cac decides whether there is room for another call, and keeps the books of the calls there
// are. One Ledger holds one account; one step tests and takes every dimension of a call, or none.
package cac

import (
	"fmt"
	"slices"
	"time"
)

// Kind is a dimension of admission. Account dimensions are told apart by the direction of the call.
type Kind uint8

// The dimensions. Limit and TrunkRate are windows, the others count calls that are up.
const (
	In        Kind = iota + 1 // calls of the account that came in
	Out                       // calls of the account that go out
	Internal                  // calls inside the account
	Dialer                    // calls of the account made by a dialer
	User                      // calls of a user, by its id
	DID                       // calls of a number
	Trunk                     // channels of a trunk
	Node                      // calls of the account at a node
	Limit                     // a call_limit: admissions in its period
	TrunkRate                 // admissions of a trunk in a second
)

var kindNames = [...]string{"", "in", "out", "internal", "dialer", "user", "did", "trunk", "node", "limit", "trunk_rate"}

// String is the name of the dimension in the API; "" for none.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// KindOf is the dimension of a name of the API; 0 when there is none.
func KindOf(name string) Kind { return Kind(max(0, slices.Index(kindNames[:], name))) }

// MarshalText writes the name of the dimension.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the name of a dimension, "" for none.
func (k *Kind) UnmarshalText(text []byte) error {
	if *k = KindOf(string(text)); *k == 0 && len(text) > 0 {
		return fmt.Errorf("no dimension of admission is named %q", text)
	}
	return nil
}

// Valid tells whether k is a dimension.
func (k Kind) Valid() bool { return k >= In && k <= TrunkRate }

const (
	// Lease is how long a slot lives after its admission or the last report that listed its call. Longer
	// than a node may be unseen for a moment, shorter than an account may suffer from a call that is not there.
	Lease = 5 * time.Minute
	// Remember is how long a token that was released is not admitted again: longer than any question is repeated.
	Remember = 5 * time.Minute
	// MaxSlots bounds the calls of a ledger. Emergency calls may pass it by MaxEmergency.
	MaxSlots = 100_000
	// MaxEmergency is the room kept for emergency calls beyond MaxSlots.
	MaxEmergency = 10_000
	// MaxWindows bounds the windows with admissions in them.
	MaxWindows = 10_000
	// MaxEntries bounds the admissions remembered in all windows together: 16 MB.
	MaxEntries = 2_000_000
	// MaxPerWindow bounds the admissions remembered of one window, and so what a window may allow.
	MaxPerWindow = 10_000
	// MaxTakes bounds the takes, and the windows, of one call.
	MaxTakes = 64

	maxEnded = 200_000
	// tolerance is how far the clock may go back before what it said is no longer believed.
	tolerance = time.Minute
	// slack is how long what is no longer needed may lie before it is swept out.
	slack = time.Minute
)

// Take is a place in one dimension; Limit 0 means counted only.
type Take struct {
	Kind  Kind   `json:"kind"`
	ID    string `json:"id,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// Window allows at most Max admissions in any PeriodMS milliseconds. A soft window refuses nothing: it is
// reported. Without a Max or a period it is not looked at. Refused calls do not count.
type Window struct {
	Kind     Kind   `json:"kind"`
	ID       string `json:"id,omitempty"`
	Max      int    `json:"max"`
	PeriodMS int64  `json:"period_ms"`
	Hard     bool   `json:"hard,omitempty"`
}

// Call is what asks for admission. Token names it for good; AskedMS is the clock of its node, in epoch
// milliseconds, when it asked. An emergency call is counted and never refused.
type Call struct {
	Token     string   `json:"token"`
	CallID    string   `json:"call_id"`
	Node      string   `json:"node"`
	AskedMS   int64    `json:"asked_ms"`
	Emergency bool     `json:"emergency,omitempty"`
	Takes     []Take   `json:"takes,omitempty"`
	Windows   []Window `json:"windows,omitempty"`
}

// Swap is what a later question of a call changes of its places: a trunk did not take it, the next one is tried.
// Attempt rises with each question of the call, from 1. Drop is given back by kind and id, one place for each; what
// the call does not hold is passed over, so that every trunk tried so far may be named. Emergency: the call now goes
// to an emergency number, whatever it was admitted as; it stays one.
type Swap struct {
	Token     string   `json:"token"`
	Attempt   int      `json:"attempt"`
	Emergency bool     `json:"emergency,omitempty"`
	Drop      []Take   `json:"drop,omitempty"`
	Add       []Take   `json:"add,omitempty"`
	Windows   []Window `json:"windows,omitempty"`
}

// MaxAttempt bounds Swap.Attempt, far above what the questions of a call count to.
const MaxAttempt = 1 << 20

// Verdict is the answer to a call. A refusal names the first dimension without room, its Limit and how
// much of it is Used, and for windows after how many milliseconds it frees. Kind 0 with Limit 0: the token was
// released lately. Kind 0 with a Limit: the ledger itself is full. Repeated: the token had its place already, or made
// the attempt; Held is what it holds, which may be another trunk than the one now asked for.
type Verdict struct {
	Admitted bool     `json:"admitted"`
	Repeated bool     `json:"repeated,omitempty"`
	Kind     Kind     `json:"kind,omitempty"`
	ID       string   `json:"id,omitempty"`
	Limit    int      `json:"limit,omitempty"`
	Used     int      `json:"used,omitempty"`
	RetryMS  int64    `json:"retry_ms,omitempty"`
	Soft     []Window `json:"soft,omitempty"` // soft windows that had been full
	Held     []Take   `json:"held,omitempty"`
}

// Usage is how much of a dimension is taken. Limit is that of the last admission which took it.
type Usage struct {
	Kind        Kind
	ID          string
	Used, Limit int
}

// Slot is a call that has its place. LeaseMS is when it is given up unless renewed, in epoch milliseconds. Attempt
// is that of the last swap granted, 0 for none.
type Slot struct {
	Call
	Attempt             int
	AdmittedMS, LeaseMS int64
}
