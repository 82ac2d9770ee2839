package route

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// choices draws a configuration from the fuzzer's bytes; when they run out every draw is 0.
type choices []byte

func (c *choices) n(n int) int {
	if len(*c) == 0 {
		return 0
	}
	b := (*c)[0]
	*c = (*c)[1:]
	return int(b) % n
}

func (c *choices) status() brain.Status {
	if c.n(6) == 5 {
		return brain.StatusDisabled
	}
	return brain.StatusActive
}

// dest draws a target: unset, of any kind, now and then one that does not exist.
func (c *choices) dest() (brain.DestKind, string) {
	switch c.n(6) {
	case 0, 1:
		return brain.DestNone, ""
	case 2:
		return brain.DestUser, fmt.Sprint("us_", c.n(9))
	case 3:
		return brain.DestExtension, fmt.Sprint("ext_", c.n(5))
	case 4:
		return brain.DestRingGroup, fmt.Sprint("rg_", c.n(5))
	}
	return brain.DestHangup, []string{"", "486", "603", "999", "x"}[c.n(5)]
}

// account draws an account of 8 users, 24 devices, 4 extensions, 4 ring groups of up to 30 members.
func (c *choices) account() *brain.AccountConfig {
	strategies := []brain.RingStrategy{brain.RingSimultaneous, brain.RingSequential, brain.RingSpecific, ""}
	rows := brain.AccountRows{Account: brain.Account{ID: "acc_f", Status: brain.StatusActive}, Domains: []brain.SIPDomain{{Domain: "f.example"}}}
	for i := range 8 {
		u := brain.SIPUser{ID: fmt.Sprint("us_", i), Username: fmt.Sprint(100 + i), DisplayName: strings.Repeat("\"é\n", c.n(40)),
			RingTimeoutSec: c.n(60), RingStrategy: strategies[c.n(4)], Status: c.status(), DND: c.n(5) == 4}
		u.FwdBusyDestKind, u.FwdBusyDestID = c.dest()
		u.FwdNoanswerDestKind, u.FwdNoanswerDestID = c.dest()
		if c.n(3) == 2 {
			u.FwdAlwaysDestKind, u.FwdAlwaysDestID = c.dest()
		}
		rows.Users = append(rows.Users, u)
	}
	for i := range 24 {
		rows.Devices = append(rows.Devices, brain.SIPDevice{ID: fmt.Sprint("dev_", i), UserID: fmt.Sprint("us_", c.n(8)), AuthUsername: fmt.Sprint("phone", i),
			Realm: "f.example", RingOrder: c.n(3), RingOnFork: c.n(4) != 3, Status: c.status()})
	}
	for i := range 4 {
		e := brain.Extension{ID: fmt.Sprint("ext_", i), Digits: fmt.Sprint(104 + 2*i), Status: c.status()}
		e.DestKind, e.DestID = c.dest()
		rows.Extensions = append(rows.Extensions, e)
		g := brain.RingGroup{ID: fmt.Sprint("rg_", i), Name: fmt.Sprint("G", i), Strategy: strategies[c.n(4)], RingTimeoutSec: c.n(60)}
		for range c.n(31) {
			g.Members = append(g.Members, brain.RingGroupMember{UserID: fmt.Sprint("us_", c.n(9)), Order: c.n(3)})
		}
		g.OverflowDestKind, g.OverflowDestID = c.dest()
		rows.RingGroups = append(rows.RingGroups, g)
	}
	return brain.NewAccountConfig(1, rows)
}

// walk plays every way a call can go through a directive and counts the steps of the longest, which must
// be finite: steps only lead forward.
func walk(d api.Directive, step int) int {
	longest := 0
	for _, r := range d.Routes {
		if r.Step == step {
			for _, to := range []int{r.Busy, r.Noanswer} {
				if to != 0 {
					longest = max(longest, walk(d, to))
				}
			}
			break
		}
	}
	return longest + 1
}

// Draws configurations and questions from any bytes. Proves that Decide never panics, that what it says
// keeps every promise of checkDirective, rings neither the calling device nor a step without end, is the
// same when asked again, and that Text prints it without control characters.
func FuzzDecide(f *testing.F) {
	f.Add([]byte{}, "100", "f.example", "100", "Alice", "call-1")
	f.Add([]byte("a sequence of bytes that makes up a configuration of some sort, long enough for users and phones"), "104", "F.EXAMPLE", "x", "\"A\"", "")
	f.Add([]byte(strings.Repeat("\x03\x09\x14\x1e\x02\x05\x01", 60)), "106", "f.example", "101", "", "c")
	f.Add([]byte(strings.Repeat("\x02\x01\x04\x00\x1f", 90)), "110", "f.example", "\r\n", "\xff", "c")
	f.Fuzz(func(t *testing.T, config []byte, dialed, domain, fromUser, fromName, callID string) {
		c := choices(config)
		acct := c.account()
		dev := acct.Devices[fmt.Sprint("dev_", c.n(24))]
		caller := Caller{Account: acct, Device: dev, User: acct.Users[dev.UserID]}
		dir := directory{"f.example": acct}
		req := api.RouteRequest{Origin: api.Origin{CallID: callID}, FromUser: fromUser, FromDomain: domain, FromName: fromName, RURIUser: dialed, RURIDomain: domain}
		d := Decide(dir, caller, req)
		checkDirective(t, acct, d)
		for _, r := range d.Routes {
			if r.URI == dev.AOR() {
				t.Fatalf("rings the calling device\n%s", Text(d))
			}
		}
		if d.Action == api.ActionProxy && walk(d, 1) > MaxSteps {
			t.Fatalf("a call goes through too many steps\n%s", Text(d))
		}
		if again := Decide(dir, caller, req); !reflect.DeepEqual(d, again) {
			t.Fatalf("asked twice\n%s\n%s", Text(d), Text(again))
		}
		if text := strings.ReplaceAll(Text(d), "\n", ""); !printable(text) {
			t.Fatalf("does not print: %q", text)
		}
	})
}
