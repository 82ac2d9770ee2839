package flow

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// gallery is the media server of a queueNode with supervisors' legs.
type gallery struct {
	*fakeSwitch
	mu    sync.Mutex
	spies map[string]*fakeSpy // by channel
	stuck bool                // no media comes back
	dying int                 // how often the name of a channel that has ended is still taken
}

// fakeSpy is a supervisor's leg.
type fakeSpy struct {
	g      *gallery
	uuid   string
	up     bool
	gone   bool
	mode   string
	result chan error
}

var spyDialed = regexp.MustCompile(`origination_uuid=((?:sup|ask)-[0-9a-z]+);.*(eavesdrop_whisper_aleg=[a-z]+;eavesdrop_whisper_bleg=[a-z]+);sip_h`)

// newGallery is a talk that has run past the media server for some seconds, of an agent whose leg begins leg-r1.
func newGallery(t *testing.T) (*queueNode, *gallery) {
	n := newQueueNode(t, api.CommandParams{})
	g := &gallery{fakeSwitch: n.fs, spies: map[string]*fakeSpy{}}
	n.cfg.Switch = g
	return n, g
}

// talks runs test in the talk, and hangs up.
func (n *queueNode) talks(test func()) {
	n.during(time.Second, func() {
		n.rings(dispatch("r1", func(d *api.Dispatch) { d.Release = true }))
		n.agent("r1").answers()
		time.Sleep(20 * time.Second)
		test()
		n.hangsUpNow()
	})
	n.call(n.t.Context())
}

func (g *gallery) Job(ctx context.Context, command string) (string, error) {
	if m := spyDialed.FindStringSubmatch(command); m != nil {
		return g.dial(command, m[1], m[2])
	}
	if g.stuck && strings.HasPrefix(command, "uuid_media leg-") {
		g.note("api " + command)
		return "", refusal{"Operation failed"}
	}
	return g.fakeSwitch.Job(ctx, command)
}

func (g *gallery) dial(command, uuid, mode string) (string, error) {
	g.note("job " + command)
	g.mu.Lock()
	p := g.spies[uuid]
	if p != nil && p.gone && g.dying > 0 || p != nil && !p.gone {
		g.dying--
		g.mu.Unlock()
		return "", refusal{"DESTINATION_OUT_OF_ORDER"}
	}
	p = &fakeSpy{g: g, uuid: uuid, mode: mode, result: make(chan error, 1)}
	g.spies[uuid] = p
	g.mu.Unlock()
	return "+OK " + uuid, <-p.result
}

func (g *gallery) API(ctx context.Context, command string) (string, error) {
	words := strings.Fields(command)
	if len(words) < 2 || !(channelRow{UUID: words[1]}).ofOurs() || strings.HasPrefix(words[1], legPrefix) {
		return g.fakeSwitch.API(ctx, command)
	}
	if g.fails != nil {
		if err := g.fails(command); err != nil {
			return "", err
		}
	}
	g.note("api " + command)
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.spies[words[1]]
	if words[0] == "uuid_exists" {
		return fmt.Sprint(p != nil && !p.gone), nil
	}
	if p == nil || p.gone {
		return "", refusal{"No such channel!"}
	}
	switch words[0] {
	case "uuid_kill":
		p.gone = true
		if !p.up {
			p.result <- refusal{words[2]}
		}
	case "uuid_setvar_multi":
		p.mode = words[2]
	case "uuid_getvar":
		switch {
		case words[2] == heardByCaller:
			return fmt.Sprint(strings.Contains(p.mode, heardByCaller+"=true")), nil
		case p.up:
			return "ANSWER", nil
		}
		return notGiven, nil
	}
	return "+OK", nil
}

// one is the leg of the only supervisor.
func (g *gallery) one() *fakeSpy {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.spies {
		return p
	}
	g.t.Fatal("no supervisor is rung")
	return nil
}

func (p *fakeSpy) answers() {
	p.g.mu.Lock()
	p.up = true
	p.g.mu.Unlock()
	p.result <- nil
}

func (p *fakeSpy) hangsUp() {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	p.gone = true
}

// heardAs is who hears a supervisor.
func (p *fakeSpy) heardAs() string {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	for kind, variables := range heardBy {
		if p.mode == variables {
			return kind
		}
	}
	return p.mode
}

// supervise gives an order for a supervisor.
func (n *queueNode) supervise(kind, user string) error {
	op := api.Op{Kind: kind, Token: "tok", EntryID: "e1", UserID: user}
	do := n.Supervise
	if kind == api.OpLeave {
		do = n.StopSupervise
	}
	_, err := do(n.ctx, op)
	synctest.Wait()
	return err
}

func (n *queueNode) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Error(err)
	}
}

// releases is how often the media was let go, and taken back.
func (g *gallery) releases() string {
	return fmt.Sprintf("%d %d", countOf(g.orders(), "uuid_media off leg-r1-"), countOf(g.orders(), "api uuid_media leg-r1-"))
}

// Proves that the media of a talk comes back before a supervisor is rung, stays while anybody listens, and goes again when the
// last one has hung up, was let go, or was not reached.
func TestSupervise_TheMediaIsHereWhileSomebodyListens(t *testing.T) {
	for name, ends := range map[string]func(n *queueNode, p *fakeSpy){
		"hangs up":   func(_ *queueNode, p *fakeSpy) { p.answers(); time.Sleep(time.Minute); p.hangsUp() },
		"is let go":  func(n *queueNode, p *fakeSpy) { p.answers(); n.must(n.supervise(api.OpLeave, "us_9")) },
		"rings only": func(n *queueNode, _ *fakeSpy) { n.must(n.supervise(api.OpLeave, "us_9")) },
		"declines":   func(_ *queueNode, p *fakeSpy) { p.hangsUp(); p.result <- refusal{"CALL_REJECTED"} },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newGallery(t)
				n.talks(func() {
					if got := g.releases(); got != "1 0" {
						t.Fatalf("before: %s", got)
					}
					n.must(n.supervise(api.OpListen, "us_9"))
					p := g.one()
					n.must(n.supervise(api.OpBarge, "us_8"))
					if got := g.releases(); got != "1 1" {
						t.Errorf("while it rings: %s", got)
					}
					n.wantOrders("api uuid_media leg-r1-", "job originate {^^;origination_uuid=sup-", "eavesdrop_enable_dtmf=false;", "sip_h_X-Sipio-Dial='supervisor/us_9'", "eavesdrop:leg-r1-")
					ends(n, p)
					time.Sleep(10 * time.Second)
					if got := g.releases(); got != "1 1" {
						t.Errorf("while another one listens: %s", got)
					}
					n.must(n.supervise(api.OpLeave, "us_8"))
					time.Sleep(10 * time.Second)
					if got := g.releases(); got != "2 1" {
						t.Errorf("when nobody listens: %s", got)
					}
					for uuid, p := range g.spies {
						if !p.gone {
							t.Errorf("%s is still there", uuid)
						}
					}
				})
			})
		})
	}
}

// Proves that the media stays when a supervisor comes just before it would go, until he has left, and that one who came and left by
// then changes nothing: it goes once.
func TestSupervise_ComesJustBeforeTheRelease(t *testing.T) {
	for stays, want := range map[bool]string{true: "0 0", false: "1 0"} {
		inBubble(t, func(t *testing.T) {
			n, g := newGallery(t)
			n.during(time.Second, func() {
				n.rings(dispatch("r1", func(d *api.Dispatch) { d.Release = true }))
				n.agent("r1").answers()
				time.Sleep(50 * time.Millisecond) // they talk, and the phones are being asked
				n.must(n.supervise(api.OpListen, "us_9"))
				if !stays {
					n.must(n.supervise(api.OpLeave, "us_9"))
				}
				if got := g.releases(); got != "0 0" {
					t.Errorf("at first: %s", got)
				}
				time.Sleep(25 * time.Second)
				if got := g.releases(); got != want {
					t.Errorf("he stays %v: %s, want %s", stays, got, want)
				}
				if stays {
					n.must(n.supervise(api.OpLeave, "us_9"))
				}
				time.Sleep(25 * time.Second)
				if got := g.releases(); got != "1 0" {
					t.Errorf("at last: %s", got)
				}
				n.hangsUpNow()
			})
			n.call(t.Context())
		})
	}
}

// Proves that another mode changes who hears a supervisor without a new call: at once, when he answers, and when he was rung by an
// agent before this one; that the same order again does nothing; and that one who was let go can come again.
func TestSupervise_ChangesWhoHearsHim(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, g := newGallery(t)
		n.talks(func() {
			n.must(n.supervise(api.OpListen, "us_9"))
			p := g.one()
			n.must(n.supervise(api.OpBarge, "us_9"))
			if got := p.heardAs(); got != api.OpBarge || strings.Contains(g.orders(), "uuid_transfer") {
				t.Errorf("while it rings: %s", got)
			}
			p.answers()
			synctest.Wait()
			before := countOf(g.orders(), "uuid_transfer sup-")
			n.must(n.supervise(api.OpWhisper, "us_9"))
			n.must(n.supervise(api.OpWhisper, "us_9"))
			if got := p.heardAs(); got != api.OpWhisper || countOf(g.orders(), "uuid_transfer sup-") != before+1 || countOf(g.orders(), "job originate {^^;origination_uuid=sup-") != 1 {
				t.Errorf("while he listens: %s, orders\n%s", got, g.orders())
			}
			n.Calls.mu.Lock()
			clear(n.spies) // as in an agent that was restarted
			n.Calls.mu.Unlock()
			n.must(n.supervise(api.OpListen, "us_9"))
			if got := p.heardAs(); got != api.OpListen {
				t.Errorf("of an agent before this one: %s", got)
			}
			n.must(n.supervise(api.OpLeave, "us_9"))
			if !p.gone {
				t.Error("he was not let go")
			}
			time.Sleep(time.Second)
			n.must(n.supervise(api.OpListen, "us_9"))
			if g.one() == p {
				t.Error("he is not rung again")
			}
			n.must(n.supervise(api.OpLeave, "us_9"))
		})
	})
}

// Proves that a supervisor who was let go and comes again at once is rung as soon as his old channel has gone, as ordered last; that this is
// tried for a while only; and that he is not rung when he is let go meanwhile.
func TestSupervise_ComesAgainAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		dying int
		leave bool
		rung  bool
	}{"soon": {dying: 3, rung: true}, "never": {dying: 1000}, "let go": {dying: 3, leave: true}} {
		inBubble(t, func(t *testing.T) {
			n, g := newGallery(t)
			n.talks(func() {
				n.must(n.supervise(api.OpListen, "us_9"))
				p := g.one()
				p.answers()
				synctest.Wait()
				n.must(n.supervise(api.OpLeave, "us_9"))
				g.mu.Lock()
				g.dying = c.dying
				g.mu.Unlock()
				n.must(n.supervise(api.OpListen, "us_9"))
				n.must(n.supervise(api.OpBarge, "us_9"))
				if c.leave {
					n.must(n.supervise(api.OpLeave, "us_9"))
				}
				time.Sleep(20 * time.Second)
				again := g.one()
				if rung := again != p; rung != c.rung || rung && again.heardAs() != api.OpBarge {
					t.Errorf("%s: rung %v, heard as %s", name, rung, again.heardAs())
				}
				n.Calls.mu.Lock()
				known := len(n.spies) > 0
				n.Calls.mu.Unlock()
				if dials := countOf(g.orders(), "job originate {^^;origination_uuid=sup-"); known != c.rung || dials > 2+maxTries {
					t.Errorf("%s: known %v, dialed %d times", name, known, dials)
				}
			})
		})
	}
}

// Proves what is refused, and that nobody is rung then: what is not whole, a caller who is not here or in no talk, more supervisors than may, a
// talk whose media does not come back, and the leaving of nobody.
func TestSupervise_Refuses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, g := newGallery(t)
		n.during(500*time.Millisecond, func() {
			if err := n.supervise(api.OpListen, "us_9"); !errors.Is(err, errNoTalk) {
				t.Errorf("who waits: %v", err)
			}
		})
		n.talks(func() {
			for want, op := range map[error]api.Op{
				errNotWhole: {Kind: api.OpListen, Token: "tok", EntryID: "e1"}, errNoCaller: {Kind: api.OpListen, Token: "tok2", EntryID: "e1", UserID: "us_9"},
			} {
				if _, err := n.Supervise(n.ctx, op); !errors.Is(err, want) {
					t.Errorf("%+v: %v, want %v", op, err, want)
				}
			}
			if err := n.supervise(api.OpLeave, "us_9"); !errors.Is(err, errNoSpy) {
				t.Errorf("leaving of nobody: %v", err)
			}
			g.stuck = true
			if err := n.supervise(api.OpListen, "us_9"); err == nil {
				t.Error("the media did not come back, and it was granted")
			}
			g.stuck = false
			if strings.Contains(g.orders(), "origination_uuid=sup-") {
				t.Error("somebody was rung")
			}
			for i := range maxSpies {
				n.must(n.supervise(api.OpListen, fmt.Sprint("us_", i)))
			}
			if err := n.supervise(api.OpListen, "us_9"); !errors.Is(err, errManySpy) {
				t.Errorf("one too many: %v", err)
			}
			n.must(n.supervise(api.OpLeave, "us_0"))
			n.must(n.supervise(api.OpListen, "us_9"))
		})
		for uuid, p := range g.spies {
			if !p.gone {
				t.Errorf("the talk is over, and %s rings", uuid)
			}
		}
	})
}

// Proves that a supervisor can hear a talk that goes on without a runner, as after a restart of the agent.
func TestSupervise_ATalkWithoutARunner(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, g := newGallery(t)
		n.ctx = t.Context()
		talk := service{seq: 1, claim: api.Claim{ReservationID: "r1", Fence: 7}, leg: "leg-r1-x", sinceMS: 1, confirmed: true}
		n.orphans["chan-9"] = orphan{token: "tok", acct: "acc", alone: true, service: talk.String(), other: "leg-r1-x"}
		n.must(n.supervise(api.OpWhisper, "us_9"))
		n.wantOrders("api uuid_media leg-r1-x", "job originate {^^;origination_uuid=sup-", "eavesdrop:leg-r1-x inline")
		p := g.one()
		p.answers()
		synctest.Wait()
		if p.heardAs() != api.OpWhisper {
			t.Errorf("heard as %s", p.heardAs())
		}
		n.must(n.supervise(api.OpLeave, "us_9"))
		if !p.gone {
			t.Error("he was not let go")
		}
	})
}

// Proves the sweep on a supervisor's leg that this agent knows nothing of: while it listens it is left alone; one that does not is
// hung up after ten seconds.
func TestSupervise_TheSweepKnowsHim(t *testing.T) {
	for application, killed := range map[string]bool{"eavesdrop": false, "": true} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t)
			n.fs.set("show channels", `{"rows":[{"uuid":"sup-1","direction":"outbound","state":"CS_EXECUTE","application":"`+application+`"}]}`)
			for from := time.Now(); time.Since(from) < 25*time.Second; time.Sleep(5 * time.Second) {
				if err := n.sweep(t.Context(), time.Now()); err != nil {
					t.Fatal(err)
				}
				if time.Since(from) < strayAfter && strings.Contains(n.fs.orders(), "uuid_kill") {
					t.Errorf("%q: hung up after %v", application, time.Since(from))
				}
			}
			if got := strings.Contains(n.fs.orders(), "uuid_kill sup-1"); got != killed {
				t.Errorf("%q: hung up is %v, want %v", application, got, killed)
			}
		})
	}
}

// Proves that the edge ends a supervisor's dialog too when the media server dies in a talk.
func TestSupervise_HisDialogEndsWithTheMediaServer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, g := newGallery(t)
		n.during(time.Second, func() {
			n.rings(dispatch("r1"))
			n.agent("r1").answers()
			time.Sleep(2 * time.Second)
			n.must(n.supervise(api.OpListen, "us_9"))
			g.one().answers()
			time.Sleep(time.Second)
			n.caller().die()
		})
		n.call(t.Context())
		dialed := regexp.MustCompile(`sup-[^ ]*;sip_invite_call_id=([^;]+);`).FindStringSubmatch(g.orders())
		if dialed == nil || !strings.Contains(strings.Join(n.edge.ended, " "), dialed[1]) {
			t.Errorf("ended %v, the supervisor's is %v", n.edge.ended, dialed)
		}
	})
}
