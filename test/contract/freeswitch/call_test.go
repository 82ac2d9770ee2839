package freeswitch

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

// call is one call of a phone to the platform, with the agent that drives it.
type call struct {
	*agent
	token string
	phone *phone.Phone
	ear   *phone.Call // the phone's side
}

// ring makes a call and waits until an agent has it. It is not answered.
func (s *site) ring(t *testing.T, opts ...phone.CallOption) *call {
	t.Helper()
	c := s.invite(t, opts...)
	c.agent = s.agents.wait(t, c.token)
	return c
}

// invite makes a call and does not wait for anybody.
func (s *site) invite(t *testing.T, opts ...phone.CallOption) *call {
	t.Helper()
	c := &call{token: rand.Text()}
	c.phone = s.newPhone(t, "1001")
	opts = append([]phone.CallOption{
		phone.WithHeader("X-Sipio-Call", c.token), phone.WithHeader("X-Sipio-Account", "acct_1"),
		phone.WithHeader("X-Sipio-App", "flow/flow_1"), phone.WithHeader("X-Sipio-Vars", "caller_number=1001&caller_name=Z%C3%B6e"),
	}, opts...)
	var err error
	if c.ear, err = c.phone.Dial(t.Context(), "sip:4930@"+s.sip, opts...); err != nil {
		t.Fatal(err)
	}
	leaves(t, c.ear)
	return c
}

// leaves hangs up at the end of the test: whoever is left goes on being sent to, at a port that the phone of another
// test may have by then.
func leaves(t *testing.T, ear *phone.Call) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		select {
		case <-ear.Done():
		default:
			ear.Cancel()
			if ear.Wait(ctx) == nil {
				_ = ear.Bye(ctx) // an error: the site is gone
			}
		}
	})
}

// answered makes a call that is answered and under its agent's control.
func (s *site) answered(t *testing.T, opts ...phone.CallOption) *call {
	t.Helper()
	c := s.ring(t, opts...)
	c.begin(t)
	c.runs(t, "answer", "")
	c.up(t)
	return c
}

// up waits until the phone has its 200.
func (c *call) up(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.ear.Wait(ctx); err != nil {
		t.Fatalf("the call was not answered: %v", err)
	}
}

// refused waits for the refusal of a call and returns it.
func (c *call) refused(t *testing.T, within time.Duration) *phone.StatusError {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	err := c.ear.Wait(ctx)
	var refusal *phone.StatusError
	if !errors.As(err, &refusal) {
		t.Fatalf("want a refusal, got %v", err)
	}
	return refusal
}

// hears waits for a tone at the phone.
func hears(t *testing.T, ear *phone.Call, hz float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := ear.HearTone(ctx, hz); err != nil {
		t.Fatal(err)
	}
}

// silent waits for half a second of silence at the phone.
func silent(t *testing.T, ear *phone.Call) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := ear.HearSilence(ctx, 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
}

// says waits until the phone has sent so much more audio, which may take longer on a busy machine.
func says(t *testing.T, ear *phone.Call, d time.Duration) {
	t.Helper()
	frames := uint64(d / (20 * time.Millisecond))
	for from, deadline := ear.Stats().PacketsSent, time.Now().Add(patience); ear.Stats().PacketsSent < from+frames; spoken(t, 20*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the phone has sent %d packets, want %d", ear.Stats().PacketsSent-from, frames)
		}
	}
}

// over waits until the phone's call has ended, and says how long that took.
func over(t *testing.T, ear *phone.Call, within time.Duration) time.Duration {
	t.Helper()
	from := time.Now()
	select {
	case <-ear.Done():
	case <-time.After(within):
		t.Fatalf("the call is still up after %v", within)
	}
	return time.Since(from)
}
