package route

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Proves that what a node is given leads every call where Decide leads it: in the office of each golden
// scenario every device dials every number, and the routes, or the code, are the same.
func TestSurvival_LeadsWhereDecideLeads(t *testing.T) {
	calls, own := 0, 0
	for _, s := range scenarios {
		o := newOffice()
		if s.change != nil {
			s.change(o)
		}
		acct, dir := o.config()
		kept, ok := Survival(acct, nil)
		if ok != (acct.Account.Status == brain.StatusActive) {
			t.Fatalf("%s: an account that is %s is kept: %v", s.name, acct.Account.Status, ok)
		}
		if s.name == "cut-routes" || s.name == "cut-steps" {
			continue // see survivalNumber: what was cut may lack one phone, which is the callers' own
		}
		for i := range kept.Numbers {
			n := &kept.Numbers[i]
			own += len(n.Own)
			for _, c := range kept.Callers {
				calls++
				d := Decide(dir, callerOf(acct, c.AuthUsername), invite(n.Number, "acme.example"))
				got := n.For(c.AOR)
				if want := bare(d); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %s dials %s: %+v, want %+v", s.name, c.AOR, n.Number, got, want)
				}
			}
		}
	}
	if calls < 1000 || own == 0 {
		t.Errorf("%d calls compared, %d plans of one caller's own: the comparison has seen too little", calls, own)
	}
}

// bare is a directive without what depends on the request and the caller's name.
func bare(d api.Directive) api.SurvivalPlan {
	p := api.SurvivalPlan{SIPCode: d.SIPCode}
	for _, r := range d.Routes {
		r.Headers = nil
		p.Routes = append(p.Routes, r)
	}
	return p
}

// Proves that a node is given those who may call and what may be dialed, and nothing that is disabled; and
// that a caller's forced identity is the one Decide writes.
func TestSurvival_HoldsOnlyWhatIsActive(t *testing.T) {
	o := newOffice()
	o.device("1003-mobile").Status = brain.StatusDisabled
	o.user("1005").Status = brain.StatusDisabled
	o.extension("900").Status = brain.StatusDisabled
	o.device("1001-desk").HA1MD5 = "0123456789abcdef0123456789abcdef"
	acct, dir := o.config()
	kept, _ := Survival(acct, nil)
	var callers, numbers string
	for _, c := range kept.Callers {
		callers += " " + c.AuthUsername
		req := invite("1002", "acme.example")
		req.FromUser = "x"
		d := Decide(dir, callerOf(acct, c.AuthUsername), req)
		if d.Action == api.ActionProxy && *d.Routes[0].Headers.From != c.From {
			t.Errorf("%s calls as %+v, want %+v", c.AuthUsername, c.From, *d.Routes[0].Headers.From)
		}
	}
	for _, n := range kept.Numbers {
		numbers += " " + n.Number
	}
	if callers != " 1001-desk 1001-mobile 1002-desk 1003-desk 1003-spare" || numbers != " 1001 1002 1003 1004 200 300" {
		t.Errorf("callers%s, numbers%s", callers, numbers)
	}
	if kept.Callers[0].HA1MD5 != o.device("1001-desk").HA1MD5 || fmt.Sprint(kept.Domains) != "[acme.example old.acme.example]" ||
		kept.Media == nil || kept.MaxDurationSec != MaxDurationSec || kept.ConfigVersion != 7 || kept.AccountID != "acc_acme" {
		t.Errorf("account %+v", kept)
	}
}

func BenchmarkSurvival(b *testing.B) {
	o := newOffice()
	addUsers(o, 7001, 100)
	acct, _ := o.config()
	b.ReportAllocs()
	for b.Loop() {
		Survival(acct, nil)
	}
}
