package flow

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Proves that somebody whose phone rings on while the connection to FreeSWITCH breaks is asked still: he talks when he answers, with the
// media here, and is let go by an order.
func TestConsult_RingsOnWithoutConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, g := newGallery(t)
		n.talks(func() {
			n.wantConsult(api.OpConsult, api.ConsultRinging, "")
			p := g.one()
			p.result <- errLineLost
			time.Sleep(10 * time.Second)
			n.wantConsult(api.OpConsult, api.ConsultRinging, "")
			n.wantHeld(true, true)
			p.answers()
			time.Sleep(time.Second)
			n.wantConsult(api.OpConsult, api.ConsultTalking, "")
			n.wantHeld(true, false)
			if got := g.releases(); got != "1 1" {
				t.Errorf("while they talk: %s", got)
			}
			n.wantConsult(api.OpReturn, "", "")
			n.wantOrders("api uuid_kill ask-")
			n.wantHeld(false, false)
		})
	})
}

// Proves the same of a supervisor: the media stays here until he has gone.
func TestSupervise_RingsOnWithoutConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, g := newGallery(t)
		n.talks(func() {
			n.must(n.supervise(api.OpListen, "sv_1"))
			p := g.one()
			p.result <- errLineLost
			time.Sleep(20 * time.Second)
			p.answers()
			time.Sleep(20 * time.Second)
			if got := g.releases(); got != "1 1" {
				t.Errorf("while he listens: %s", got)
			}
			p.hangsUp()
			time.Sleep(20 * time.Second)
			if got := g.releases(); got != "2 1" {
				t.Errorf("afterwards: %s", got)
			}
		})
	})
}

// Proves that three who talk do so as was ordered though FreeSWITCH had him begin to listen as was told when he was rung.
func TestConsult_ChangedWhileItRang(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, g := newGallery(t)
		n.talks(func() {
			n.wantConsult(api.OpConsult, api.ConsultRinging, "")
			p := g.one()
			g.mu.Lock()
			p.up = true // and nobody has told yet
			g.mu.Unlock()
			n.wantConsult(api.OpThreeWay, api.ConsultJoined, "")
			g.mu.Lock()
			p.mode = heardBy[api.OpWhisper]
			g.mu.Unlock()
			p.result <- nil
			synctest.Wait()
			if got := p.heardAs(); got != api.OpBarge {
				t.Errorf("he is heard as %s", got)
			}
			n.wantHeld(false, false)
		})
	})
}

// Proves that the end of a talk is told when nobody is taken for asked any more, though FreeSWITCH is slow to say that he is there.
func TestConsult_EndWaitsForWhoLooks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, g := newDialTalk(t, api.CommandParams{DestKind: "user", DestID: "us_1"})
		f := n.faulty()
		during(9200*time.Millisecond, func() {
			f.set("uuid_exists ask-", 1, nil, func() { time.Sleep(3 * time.Second) })
		})
		during(11*time.Second, func() {
			n.Calls.mu.Lock()
			defer n.Calls.mu.Unlock()
			if told := n.brain.outcomes(); len(n.asked) != 1 || told != "" {
				t.Errorf("%d are asked, told %q", len(n.asked), told)
			}
		})
		n.dialAsks(g, func() {})
		n.wantTakenOver()
		if len(n.asked) != 0 {
			t.Errorf("%d are asked still", len(n.asked))
		}
	})
}

// Proves that the sweep leaves somebody alone whose phone rings to take a caller, and hangs up one whom nobody has rung.
func TestConsult_SweepWhileItRings(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, g := newGallery(t)
		n.talks(func() {
			n.wantConsult(api.OpConsult, api.ConsultRinging, "")
			for _, row := range []channelRow{{UUID: g.one().uuid, State: "CS_CONSUME_MEDIA"}, {UUID: "ask-stray", State: "CS_CONSUME_MEDIA"}} {
				for _, at := range []time.Duration{0, 11 * time.Second} {
					n.lookLeg(n.ctx, row, time.Now().Add(at))
				}
			}
			if orders := n.fs.orders(); strings.Contains(orders, "uuid_kill "+g.one().uuid) || !strings.Contains(orders, "uuid_kill ask-stray") {
				t.Errorf("let go\n%s", orders)
			}
		})
	})
}
