package brain

import (
	"slices"
	"testing"
)

// Proves that a route for the calls of a subaccount blocks, and is not for those of its own account.
func TestValidate_ARouteForASubaccountBlocks(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(r *OutboundRoute)
		want []string
	}{
		{"blocked", func(r *OutboundRoute) { r.Blocked, r.Trunks = true, nil }, nil},
		{"with trunks", func(r *OutboundRoute) {}, []string{"caller_account"}},
		{"its own account", func(r *OutboundRoute) { r.CallerAccount, r.Blocked = r.AccountID, true }, []string{"caller_account"}},
	} {
		r := valid()[KindOutboundRoute].(*OutboundRoute)
		ApplyDefaults(r)
		r.ID, r.AccountID, r.CallerAccount = "route_1", "acc_1", "acc_2"
		c.set(r)
		if got := paths(Validate(r)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Proves that a trigger is one of those there are, absent is always, and that a forward with one is refused where nobody has been tried
// before, and nowhere else.
func TestValidate_AForwardWithATriggerFollowsSomething(t *testing.T) {
	f := valid()[KindForward].(*Forward)
	ApplyDefaults(f)
	if f.Trigger != TriggerAlways || len(Validate(f)) != 0 {
		t.Errorf("default: %q %v", f.Trigger, Validate(f))
	}
	f.Trigger = "never"
	if got := paths(Validate(f)); !slices.Equal(got, []string{"trigger"}) {
		t.Errorf("a trigger that is none: %v", got)
	}
	for _, trigger := range []Trigger{TriggerAlways, TriggerBusy, TriggerNoAnswer, TriggerUnreachable} {
		rows := AccountRows{Account: Account{ID: "acc_1", DIDDefaultDestKind: DestForward, DIDDefaultDestID: "fwd_1"},
			Forwards: []Forward{{ID: "fwd_1", Name: "a", Trigger: trigger, OverflowDestKind: DestForward, OverflowDestID: "fwd_1"}},
			Users: []SIPUser{{ID: "us_1", Username: "1", FwdAlwaysDestKind: DestForward, FwdAlwaysDestID: "fwd_1", FwdBusyDestKind: DestForward, FwdBusyDestID: "fwd_1",
				FwdNoanswerDestKind: DestForward, FwdNoanswerDestID: "fwd_1"}},
			DIDs: []DID{{ID: "did_1", E164: "4930", DestKind: DestForward, DestID: "fwd_1", ClosedDestKind: DestForward, ClosedDestID: "fwd_1",
				HolidayDestKind: DestForward, HolidayDestID: "fwd_1"}}}
		want := []string{"did_default_dest_id", "fwd_always_dest_id", "dest_id", "closed_dest_id", "holiday_dest_id"}
		if trigger == TriggerAlways {
			want = nil
		}
		var got []string
		for _, e := range ValidateAccount(rows) {
			got = append(got, e.Path)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", trigger, got, want)
		}
	}
}
