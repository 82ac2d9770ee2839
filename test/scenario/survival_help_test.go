package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// The brain is killed and the node agent restarted: phones that are registered call for help all the same. The call leaves over the
// emergency route with the number of the user, or of the account, past a carrier that fails and one that wants a password; both hear each
// other. No other number outside is called. The brain is started again and told of it.
func TestSurvival_CallsForHelpWithoutABrain(t *testing.T) {
	o := newOffice(t, func(opt *edge.Options) {
		opt.NodeFlags = []string{"--survival-refresh=200ms"}
		opt.Config = strings.Replace(opt.Config, "{display_name: Bernd}", `{display_name: Bernd, out_cid_number: "4930102"}`, 1) +
			"\n---\n{kind: did, account: acme, name: \"4930102\", spec: {status: virtual}}\n"
	})
	ctx := within(t, 90*time.Second)
	anna, bernd := registered(t, o.Edge, "1001", realm("kontor.test")), registered(t, o.Edge, "1002", realm("kontor.test"))
	eventually(t, ctx, "the node agent to be ready", func() error {
		s, err := survivalOf(o.Edge)
		if err == nil && s.Door.Survival.Accounts != 1 {
			err = fmt.Errorf("it has %+v", s.Door.Survival)
		}
		return err
	})
	if err := errors.Join(o.Brain.Kill(), o.Node.Kill()); err != nil {
		t.Fatal(err)
	}
	if err := o.StartNode(ctx); err != nil {
		t.Fatal(err)
	}
	wants := func(ctx context.Context, in *phone.Incoming) (*phone.Call, error) {
		return nil, in.Reject(407, "Proxy Authentication Required", "Proxy-Authenticate", `Digest realm="x", nonce="1"`)
	}
	for _, c := range []struct {
		name   string
		p      *phone.Phone
		gamma  func(context.Context, *phone.Incoming) (*phone.Call, error)
		at     *carrier
		number string
		shown  string
	}{
		{"by the emergency route", anna, accept, o.gamma, "112", "4930100"},
		{"with the user's number", bernd, rings, o.gamma, "110", "4930102"},
		{"past a carrier that fails", bernd, refuses(500), o.beta, "112", "030102"},
		{"past a carrier that wants a password", anna, wants, o.beta, "112", "030100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := within(t, 30*time.Second)
			o.do(accept, accept, c.gamma)
			ours, theirs := o.answered(t, ctx, c.p, c.number, c.at)
			showing(t, c.at, c.number, c.shown, map[string]string{"Privacy": ""})
			talk(t, ctx, ours, theirs)
			hangUp(t, ctx, o.Edge, ours, theirs)
		})
	}
	o.do(accept, accept, accept)
	refused(t, ctx, anna, "0301234567", 503)
	o.seen(t, 0, 0, 0)
	if err := o.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "the brain to hear of it", func() error {
		counts, err := brainCounts(o.Edge)
		if err == nil && counts["survival_accepted"] < 4 {
			err = fmt.Errorf("it counts %d", counts["survival_accepted"])
		}
		return err
	})
	ours, theirs := o.answered(t, ctx, anna, "112", o.gamma)
	hangUp(t, ctx, o.Edge, theirs, ours)
}
