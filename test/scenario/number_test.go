package scenario

import (
	_ "embed"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/number.yaml
var hafen string

// A carrier writes the number it calls and the number of the caller as they are dialed in the country, or as E.164. Both
// reach the same phone, which shows every caller as +, country code and number; who is no number in the country is shown
// as he came. Both ends hear each other, and each spelling counts for the one channel of the number.
func TestNumber_NationalAndInternationalReachTheSamePhone(t *testing.T) {
	e := start(t, edge.Options{Config: hafen, LogDecisions: true, NodeFlags: []string{"--heartbeat-interval=500ms"}})
	if err := e.WaitTrunk("127.0.0.9", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	heike := registered(t, e, "3001", realm("hafen.test"))
	for _, c := range []struct{ from, to, shown string }{
		{"0301234567", "040123450", "+49301234567"},
		{"+33142685300", "+4940123450", "+33142685300"},
		{"0033142685300", "004940123450", "+33142685300"},
		{"49301234567", "4940123450", "+49301234567"},
		{"214", "040123450", "214"},
	} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			ctx := within(t, 30*time.Second)
			shown, up := make(chan string, 1), make(chan *phone.Call, 1)
			go func() {
				defer close(up)
				select {
				case in := <-heike.Incoming():
					shown <- in.FromURI()
					if call, err := in.Answer(ctx); err == nil {
						up <- call
					}
				case <-ctx.Done():
				}
			}()
			a, err := trunkPhone(t, e, c.from).Call(ctx, c.to)
			if err != nil {
				t.Fatal(err)
			}
			b, ok := <-up
			if !ok {
				t.Fatal("nobody was rung")
			}
			if got := <-shown; got != "sip:"+c.shown+"@hafen.test" {
				t.Errorf("the phone shows %s, want %s", got, c.shown)
			}
			talk(t, ctx, a, b)
			for _, spelling := range []string{"040123450", "+4940123450"} {
				refused(t, ctx, trunkPhone(t, e, "0309999999"), spelling, 486)
			}
			hangUp(t, ctx, e, a, b)
			eventually(t, ctx, "the channel is free", func() error { return sameCalls(ctx, e, 0) })
		})
	}
}
