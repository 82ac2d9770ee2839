package scenario

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

// burst is what became of calls that were made at once.
type burst struct {
	mu    sync.Mutex
	up    map[string]*phone.Call // by Call-ID
	codes []int                  // of those refused
	took  time.Duration          // from the first question to the last answer
}

// atOnce makes n calls of two phones at the same moment.
func atOnce(t *testing.T, ctx context.Context, phones []*phone.Phone, n int, target string) *burst {
	t.Helper()
	b := &burst{up: map[string]*phone.Call{}}
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-begin
			call, err := phones[i%len(phones)].Call(ctx, target)
			b.mu.Lock()
			defer b.mu.Unlock()
			var status *phone.StatusError
			switch {
			case err == nil:
				b.up[call.CallID()] = call
			case errors.As(err, &status):
				b.codes = append(b.codes, status.Code)
			default:
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	began := time.Now()
	close(begin)
	wg.Wait()
	b.took = time.Since(began)
	return b
}

// heard has every call of a burst that a carrier has taken talk, and ends it.
func (b *burst) heard(t *testing.T, ctx context.Context, c *carrier, n int) {
	t.Helper()
	for range n {
		select {
		case theirs := <-c.up:
			ours := b.up[theirs.CallID()]
			if ours == nil {
				t.Fatalf("the carrier has a call %s that no phone has", theirs.CallID())
			}
			talk(t, ctx, ours, theirs)
			if err := ours.Bye(ctx); err != nil {
				t.Errorf("BYE: %v", err)
			}
			select {
			case <-theirs.Done():
			case <-ctx.Done():
				t.Fatal("a carrier was not told that the call is over")
			}
		case <-ctx.Done():
			t.Fatal("a carrier has not answered")
		}
	}
}

// refusedAll fails unless so many calls were refused, all with a code.
func (b *burst) refusedAll(t *testing.T, n, code int) {
	t.Helper()
	if len(b.codes) != n {
		t.Errorf("%d calls were refused, want %d: %v", len(b.codes), n, b.codes)
	}
	for _, c := range b.codes {
		if c != code {
			t.Errorf("refused with %v, want %d", b.codes, code)
		}
	}
}

// Eight calls at once over a trunk that takes two a second, or has two channels: two leave over it, never more, and the others over the next
// trunk of the route; without a next trunk they are refused with 503. Everybody who got through hears and is heard, and when the calls are over
// the trunk takes calls again.
func TestOutbound_CapsHoldUnderABurst(t *testing.T) {
	const calls, limit = 8, 2
	o := newOffice(t)
	phones := []*phone.Phone{registered(t, o.Edge, "1001", realm("kontor.test")), registered(t, o.Edge, "1002", realm("kontor.test"))}
	for _, c := range []struct {
		name, target string
		first, next  *carrier // next is nil when there is no other trunk
		perSecond    bool
	}{
		{"calls a second, another trunk", "0695551234", o.alpha, o.beta, true},
		{"calls a second, no other", "07115551234", o.gamma, nil, true},
		{"channels, another trunk", "0405551234", o.alpha, o.beta, false},
		{"channels, no other", "02215551234", o.alpha, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := within(t, 30*time.Second)
			o.do(accept, accept, accept)
			b := atOnce(t, ctx, phones, calls, c.target)
			passed, most := len(c.first.calls()), limit
			if c.perSecond { // a burst that a busy machine draws out has more seconds to leave in
				most = limit * (1 + int(b.took/time.Second))
			}
			if passed < limit || passed > most {
				t.Errorf("%d calls left over the trunk within %v, want %d to %d", passed, b.took, limit, most)
			}
			if c.next == nil {
				b.refusedAll(t, calls-passed, 503)
			} else {
				b.refusedAll(t, 0, 0)
				if n := len(c.next.calls()); n != calls-passed {
					t.Errorf("%d calls left over the next trunk, want %d", n, calls-passed)
				}
				b.heard(t, ctx, c.next, calls-passed)
			}
			b.heard(t, ctx, c.first, passed)
			noMedia(t, ctx, o.Edge)
			eventually(t, ctx, "no call is left", func() error { return sameCalls(ctx, o.Edge, 0) })
			if !c.perSecond { // a second is over by itself
				ours, theirs := o.answered(t, ctx, phones[0], c.target, c.first)
				hangUp(t, ctx, o.Edge, ours, theirs)
				eventually(t, ctx, "no call is left", func() error { return sameCalls(ctx, o.Edge, 0) })
			}
		})
	}
}
