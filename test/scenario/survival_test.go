package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// Two phones are registered, then the brain is killed and the node agent restarted: they register again and
// call each other, at numbers never dialed before, and are heard; a wrong password is refused, a realm that
// never registered here gets 503. The brain is started again: it is told what happened, and decides again.
func TestSurvival_PhonesCallEachOtherWithoutABrain(t *testing.T) {
	e := start(t, edge.Options{Config: acme, NodeFlags: []string{"--survival-refresh=200ms"}})
	ctx := within(t, 90*time.Second)
	alice, bob := registered(t, e, "1001"), registered(t, e, "1002")
	eventually(t, ctx, "the node agent to be ready", func() error {
		s, err := survivalOf(e)
		if err == nil && s.Door.Survival.Accounts != 1 {
			err = fmt.Errorf("it has %+v", s.Door.Survival)
		}
		return err
	})
	if err := errors.Join(e.Brain.Kill(), e.Node.Kill()); err != nil {
		t.Fatal(err)
	}
	if err := e.StartNode(ctx); err != nil {
		t.Fatal(err)
	}

	for _, p := range []*phone.Phone{alice, bob} {
		if err := register200(ctx, p); err != nil {
			t.Fatalf("registering again: %v", err)
		}
	}
	carol := registered(t, e, "1009") // who was not here before, but is of the same account
	began := time.Now()
	a, b := connect(t, ctx, alice, bob, "1002")
	t.Logf("answered %v after the INVITE", time.Since(began).Round(time.Millisecond))
	talk(t, ctx, a, b)
	hangUp(t, ctx, e, a, b)
	converse(t, ctx, e, bob, carol, "1009")
	converse(t, ctx, e, carol, alice, "1001")
	refused(t, ctx, alice, "1006", 486) // who wants not to be disturbed
	refused(t, ctx, alice, "4711", 503)
	thief := newPhone(t, e, "1001", func(c *phone.Config) { c.Password = "wrong" })
	if resp, err := thief.Register(ctx, time.Minute); err != nil || resp.Code != 403 {
		t.Errorf("a wrong password: %v %v, want 403", resp, err)
	}
	stranger := newPhone(t, e, "2001", realm("other.test"))
	if resp, err := stranger.Register(ctx, time.Minute); err != nil || resp.Code != 503 {
		t.Errorf("a realm that nobody has spoken of: %v %v, want 503", resp, err)
	}

	if err := e.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "the brain to hear of it", func() error {
		counts, err := brainCounts(e)
		if err == nil && (counts["survival_accepted"] < 6 || counts["survival_refused"] < 2) {
			err = fmt.Errorf("it counts %d and %d", counts["survival_accepted"], counts["survival_refused"])
		}
		return err
	})
	eventually(t, ctx, "the brain to decide again", func() error { return register200(ctx, stranger) })
	answers, err := survivalOf(e)
	if err != nil {
		t.Fatal(err)
	}
	converse(t, ctx, e, alice, bob, "1002")
	if after, err := survivalOf(e); err != nil || after.Door.Survival.Answers != answers.Door.Survival.Answers {
		t.Errorf("%v: survival answers although the brain is back: %+v", err, after.Door.Survival)
	}
	noCalls(t, ctx, e)
}

// survivalOf is the node agent's health page.
func survivalOf(e *edge.Edge) (h nodeagent.Health, err error) {
	resp, err := http.Get(e.NodeHealth)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		return h, err
	}
	if h.Door.Survival == nil {
		return h, errors.New("survival is switched off")
	}
	return h, nil
}

// brainCounts are the totals of the brain's health page.
func brainCounts(e *edge.Edge) (map[string]int64, error) {
	body, err := e.Request(context.Background(), "GET", "/health", "", nil)
	if err != nil {
		return nil, err
	}
	var h struct{ Counts map[string]int64 }
	err = json.Unmarshal(body, &h)
	return h.Counts, err
}
