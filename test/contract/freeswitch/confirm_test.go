package freeswitch

import (
	"context"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

// asking are the variables of a leg whose callee is asked to press 1, with a question of 600 Hz.
func asking(t *testing.T, seconds string) string {
	t.Helper()
	return "ignore_early_media=true,instant_ringback=true,group_confirm_key=1,group_confirm_read_timeout=1000,group_confirm_timeout=" + seconds +
		",group_confirm_file=" + toneFile(t, 600, 700*time.Millisecond)
}

// dialsAsking has a caller who is not answered dial somebody who is asked, and hears him ring before he has said anything.
func (s *site) dialsAsking(t *testing.T, variables string) (c *call, b callee, id string) {
	t.Helper()
	c, b = s.ring(t), s.callee(t, variables)
	c.begin(t)
	c.runs(t, "set", "ringback=%(1000,0,425)")
	c.runs(t, "set", "continue_on_fail=true")
	return c, b, c.begins(t, "bridge", b.dial, false)
}

// Proves what a forward with confirm relies on: the caller, who is not answered, hears ringing from the first moment on and still
// when somebody has answered there; that one hears the question, again after another key; when he presses 1 the caller is answered
// and the two talk.
func TestConfirm_KeyConnects(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, b, id := s.dialsAsking(t, asking(t, "10"))
		in := b.rings(t)
		hears(t, c.ear, 425)
		if _, err := in.Progress(t.Context()); err != nil {
			t.Fatal(err)
		}
		ear, err := in.Answer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leaves(t, ear)
		hears(t, ear, 600)
		if err := ear.SendDigits("2"); err != nil {
			t.Fatal(err)
		}
		hears(t, ear, 600)
		hears(t, c.ear, 425)
		if got := c.variable(t, "endpoint_disposition"); got == "ANSWER" {
			t.Fatal("the caller was answered before anybody took the call")
		}
		if err := ear.SendDigits("1"); err != nil {
			t.Fatal(err)
		}
		c.up(t)
		c.named(t, "CHANNEL_BRIDGE")
		c.ear.SendTone(440)
		ear.SendTone(700)
		hears(t, ear, 440)
		hears(t, c.ear, 700)
		if err := ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.completed(t, id)
		if got := c.variable(t, "originate_disposition"); got != "SUCCESS" {
			t.Errorf("originate_disposition is %q", got)
		}
	})
}

// Proves how the dial ends for a callee who does not press it in time, or hangs up, or cannot be asked: the caller is not answered
// and still there, the callee is let go.
func TestConfirm_WithoutKeyNobodyIsConnected(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, row := range []struct {
			name, variables string
			does            func(ctx context.Context, ear *phone.Call) error
			want            string
		}{
			{"no key", asking(t, "2"), nil, "ALLOTTED_TIMEOUT"},
			{"another key", asking(t, "3"), func(_ context.Context, ear *phone.Call) error { return ear.SendDigits("55") }, "ALLOTTED_TIMEOUT"},
			{"hangs up", asking(t, "10"), func(ctx context.Context, ear *phone.Call) error { return ear.Bye(ctx) }, "NORMAL_CLEARING"},
			{"no file", "group_confirm_key=1,group_confirm_file=/nowhere/question.wav", nil, "DESTINATION_OUT_OF_ORDER"},
		} {
			t.Run(row.name, func(t *testing.T) {
				c, b, id := s.dialsAsking(t, row.variables)
				_, ear := b.answers(t)
				if row.does != nil {
					hears(t, ear, 600)
					if err := row.does(t.Context(), ear); err != nil {
						t.Fatal(err)
					}
				}
				over(t, ear, patience)
				c.completed(t, id)
				if got := c.variable(t, "originate_disposition"); got != row.want {
					t.Errorf("originate_disposition is %q, want %q", got, row.want)
				}
				if got := c.variable(t, "endpoint_disposition"); got == "ANSWER" {
					t.Error("the caller was answered")
				}
				c.runs(t, "respond", "480")
			})
		}
	})
}

// Proves that a tone may ask, quoted, and that a caller who hangs up lets go who is being asked.
func TestConfirm_ToneAsksAndCallerLeaves(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, b, _ := s.dialsAsking(t, "instant_ringback=true,group_confirm_key=1,group_confirm_file='tone_stream://%(500,0,800)'")
		_, ear := b.answers(t)
		hears(t, ear, 800)
		c.ear.Cancel()
		over(t, ear, patience)
	})
}
