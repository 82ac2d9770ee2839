package route

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Proves after what a forward with a trigger takes a call, at once and behind phones, and that every other call goes to its overflow, or
// ends with what has become of it.
func TestDecide_AForwardTakesACallOnItsTriggerAlone(t *testing.T) {
	const busyNow, noAnswer, nobody = 486, 480, 430
	dnd := func(o *office, _ *Caller) { o.user("1002").DND = true }
	full := func(_ *office, c *Caller) { c.Busy = "us_1002" }
	noPhone := func(o *office, _ *Caller) {
		for i := range o.Devices {
			if o.Devices[i].UserID == "us_1002" {
				o.Devices[i].Status = brain.StatusDisabled
			}
		}
	}
	for _, c := range []struct {
		name    string
		trigger brain.Trigger
		code    int // that phones end with; 0: the forward is reached without ringing any
		set     func(o *office, c *Caller)
		takes   bool
		ends    int // without an overflow
	}{
		{"always, busy", brain.TriggerAlways, busyNow, nil, true, 0},
		{"always, nobody", brain.TriggerAlways, nobody, nil, true, 0},
		{"always, dnd", brain.TriggerAlways, 0, dnd, true, 0},
		{"busy, busy", brain.TriggerBusy, busyNow, nil, true, 0},
		{"busy, declined", brain.TriggerBusy, 603, nil, true, 0},
		{"busy, no answer", brain.TriggerBusy, noAnswer, nil, false, 480},
		{"busy, nobody", brain.TriggerBusy, nobody, nil, false, 480},
		{"busy, dnd", brain.TriggerBusy, 0, dnd, true, 0},
		{"busy, no free line", brain.TriggerBusy, 0, full, true, 0},
		{"busy, no phone", brain.TriggerBusy, 0, noPhone, false, 480},
		{"no answer, no answer", brain.TriggerNoAnswer, noAnswer, nil, true, 0},
		{"no answer, busy", brain.TriggerNoAnswer, busyNow, nil, false, 486},
		{"no answer, nobody", brain.TriggerNoAnswer, nobody, nil, false, 480},
		{"no answer, no phone", brain.TriggerNoAnswer, 0, noPhone, false, 480},
		{"unreachable, nobody", brain.TriggerUnreachable, nobody, nil, true, 0},
		{"unreachable, no phone", brain.TriggerUnreachable, 0, noPhone, true, 0},
		{"unreachable, no answer", brain.TriggerUnreachable, noAnswer, nil, false, 480},
		{"unreachable, dnd", brain.TriggerUnreachable, 0, dnd, false, 486},
	} {
		for _, way := range []string{"plain", "overflows", "asks for a key"} {
			s := outScenario{scenario: scenario{dial: "1002", change: func(o *office) {
				busy(o.user("1002"), "forward fwd_work")
				noanswer(o.user("1002"), "forward fwd_work")
				f := o.forward("fwd_work")
				f.Trigger, f.Confirm = c.trigger, way == "asks for a key"
				if way == "overflows" {
					f.OverflowDestKind, f.OverflowDestID = brain.DestUser, "us_1005"
				}
				if c.set != nil {
					c.set(o, &Caller{})
				}
			}}}
			if c.set != nil {
				s.caller = func(caller *Caller) { c.set(newCompany(), caller) }
			}
			req, caller, dir := s.first()
			d := Decide(dir, caller, req)
			if c.code != 0 && (way != "asks for a key" || c.trigger != brain.TriggerAlways) { // who asks always is a step of the directive
				if len(d.Routes) < 2 || d.Routes[1].Ask != "forward/fwd_work" {
					t.Fatalf("%s, %s: the forward is not asked about when it is reached\n%s", c.name, way, Text(d))
				}
				Reached(&req, &d, 2, c.code)
				d = Decide(dir, caller, req)
			}
			text := Text(d)
			switch {
			case c.takes && way == "asks for a key":
				if !strings.Contains(text, "asks for key 1") {
					t.Errorf("%s, %s:\n%s", c.name, way, text)
				}
			case c.takes:
				if len(d.Routes) != 1 || d.Routes[0].Trunk == nil {
					t.Errorf("%s, %s:\n%s", c.name, way, text)
				}
			case way == "overflows":
				if len(d.Routes) == 0 || !strings.Contains(d.Routes[0].URI, "1005") || d.Routes[0].Trunk != nil {
					t.Errorf("%s, %s:\n%s", c.name, way, text)
				}
			case d.Action != api.ActionReject || d.SIPCode != c.ends:
				t.Errorf("%s, %s: not %d\n%s", c.name, way, c.ends, text)
			}
		}
	}
}

// Proves that an overflow with a trigger goes by what the number before it said, that a second forward is told what has become of the
// phones, and that a leg that names a forward gets there.
func TestDecide_ATriggerHoldsForOverflowsAndNotForLegs(t *testing.T) {
	for code, takes := range map[int]bool{486: true, 600: true, 480: false, 404: false} {
		s := outScenario{scenario: scenario{dial: "1002", change: func(o *office) {
			always(o.user("1002"), "forward fwd_cell")
			o.forward("fwd_cell").OverflowDestKind, o.forward("fwd_cell").OverflowDestID = brain.DestForward, "fwd_work"
			o.forward("fwd_work").Trigger = brain.TriggerBusy
		}}}
		req, caller, dir := s.first()
		d := Decide(dir, caller, req)
		Failed(&req, &d, code)
		if d = Decide(dir, caller, req); (d.Action == api.ActionProxy) != takes {
			t.Errorf("%d:\n%s", code, Text(d))
		}
	}
	s := outScenario{scenario: scenario{dial: "1002", change: func(o *office) {
		noanswer(o.user("1002"), "forward fwd_cell")
		o.forward("fwd_cell").Trigger = brain.TriggerBusy
		o.forward("fwd_cell").OverflowDestKind, o.forward("fwd_cell").OverflowDestID = brain.DestForward, "fwd_work"
		o.forward("fwd_work").Trigger = brain.TriggerUnreachable
	}}}
	req, caller, dir := s.first()
	d := Decide(dir, caller, req)
	Reached(&req, &d, 2, 430)
	if d = Decide(dir, caller, req); len(d.Routes) != 1 || d.Call.At != "forward/fwd_work" {
		t.Errorf("the second:\n%s", Text(d))
	}
	s = outScenario{scenario: scenario{dial: "1002", change: func(o *office) {
		always(o.user("1002"), "forward fwd_cell")
		f := o.forward("fwd_cell")
		f.Number, f.OverflowDestKind, f.OverflowDestID = "0900 5123456", brain.DestForward, "fwd_work"
		o.forward("fwd_work").Trigger = brain.TriggerUnreachable
	}}}
	req, caller, dir = s.first()
	if d = Decide(dir, caller, req); len(d.Routes) != 1 || d.Call.At != "forward/fwd_work" {
		t.Errorf("behind a number that is blocked:\n%s", Text(d))
	}
	s = outScenario{scenario: scenario{leg: "forward/fwd_work", change: func(o *office) { o.forward("fwd_work").Trigger = brain.TriggerBusy }}}
	req, caller, dir = s.first()
	if d = Decide(dir, caller, req); d.Action != api.ActionProxy {
		t.Errorf("a leg:\n%s", Text(d))
	}
}
