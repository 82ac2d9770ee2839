package flow

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// faults are orders that fail, by how they begin.
type faults struct {
	mu     sync.Mutex
	prefix string
	left   int
	err    error
	before func() // called before it fails; nil err: it does not
}

// faulty has orders about a node's channels fail as its faults say, over either connection.
func (n *queueNode) faulty() *faults {
	f := &faults{}
	n.fs.fails = f.fail
	return f
}

func (f *faults) fail(command string) error {
	f.mu.Lock()
	hit := f.left > 0 && strings.HasPrefix(command, f.prefix)
	if !hit {
		f.mu.Unlock()
		return nil
	}
	f.left--
	before, err := f.before, f.err
	f.mu.Unlock()
	if before != nil {
		before()
	}
	return err
}

var errLineLost = errors.New("the connection to FreeSWITCH was lost")

// next has the next orders that begin so get no answer.
func (f *faults) next(prefix string, times int) {
	f.set(prefix, times, errLineLost, nil)
}

func (f *faults) set(prefix string, times int, err error, before func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prefix, f.left, f.err, f.before = prefix, times, err, before
}

// cutOff is a gallery over an inbound connection that may be lost.
type cutOff struct {
	*gallery
	mu  sync.Mutex
	off bool
}

func (c *cutOff) cut() { c.mu.Lock(); defer c.mu.Unlock(); c.off = true }

func (c *cutOff) API(ctx context.Context, command string) (string, error) {
	c.mu.Lock()
	off := c.off
	c.mu.Unlock()
	if off {
		return "", errLineLost
	}
	return c.gallery.API(ctx, command)
}

// Proves for a queue's talk and a dial's that any order of the end of a consultation may fail: the caller is off hold, and the brain hears
// who waits for him.
func TestConsult_EndsThoughOrdersFail(t *testing.T) {
	for _, what := range []string{"uuid_getvar chan-1 " + consultVariable, "uuid_displace chan-1 stop", "uuid_setvar chan-1 " + consultVariable, "uuid_exists ask-", "uuid_getvar ask-"} {
		t.Run("queue "+what, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newGallery(t)
				f := n.faulty()
				n.talks(func() {
					n.wantConsult(api.OpConsult, api.ConsultRinging, "")
					g.one().answers()
					synctest.Wait()
					f.next(what, 3)
					n.agent("r1").hangsUp()
					time.Sleep(4 * time.Second)
					n.wantTakenOver()
				})
			})
		})
		t.Run("dial "+what, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newDialTalk(t, api.CommandParams{DestKind: "user", DestID: "us_1"})
				f := n.faulty()
				n.dialAsks(g, func() { f.next(what, 3) })
				n.wantTakenOver()
			})
		})
	}
	t.Run("dial, and nothing can be asked about whom", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			n, g := newDialTalk(t, api.CommandParams{DestKind: "user", DestID: "us_1"})
			line := &cutOff{gallery: g}
			n.cfg.Switch = line
			n.dialAsks(g, line.cut)
			n.wantTakenOver()
			if killed := strings.Contains(n.fs.orders(), "uuid_kill ask-"); killed {
				t.Error("he was let go")
			}
		})
	})
	t.Run("dial, and the caller comes back when nothing can be asked", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			n, g := newDialTalk(t, api.CommandParams{DestKind: "user", DestID: "us_1"})
			n.cfg.Switch = &cutOff{gallery: g, off: true}
			note := consultNote{seq: 1, leg: "leg-r1-x", asked: "ask-1", kind: "user", id: "u_2", by: "us_1", music: "/cache/hold.wav"}
			n.fs.variable(consultVariable, note.String())
			n.fs.note("api uuid_displace chan-1 start /cache/hold.wav 0 fl")
			n.run(map[string]string{"Answer-State": "answered", "variable_sipio_begun": "1", "variable_originate_disposition": "SUCCESS", "variable_sipio_consult": note.String()})
			n.wantTakenOver()
		})
	})
	t.Run("dial, and the note cannot be read", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			n, g := newDialTalk(t, api.CommandParams{DestKind: "user", DestID: "us_1"})
			f := n.faulty()
			n.dialAsks(g, func() { f.next("uuid_getvar chan-1 "+consultVariable, 1<<20) })
			n.wantTakenOver()
		})
	})
}

// dialAsks runs a dial's talk in which somebody is asked, who answers, and whose other side then hangs up.
func (n *queueNode) dialAsks(g *gallery, before func()) {
	during(5*time.Second, func() {
		n.wantConsult(api.OpConsult, api.ConsultRinging, "")
		g.one().answers()
	})
	during(10*time.Second, func() {
		before()
		n.agents["r1"].goes()
		n.fs.stop()
	})
	n.run(nil)
	synctest.Wait()
}

// wantTakenOver wants the caller off hold, and the brain to have heard who waits for him.
func (n *queueNode) wantTakenOver() {
	n.t.Helper()
	if n.held() || n.variables()[consultVariable] != "" {
		n.t.Errorf("held: %v, noted %q\n%s", n.held(), n.variables()[consultVariable], n.fs.orders())
	}
	if !strings.Contains(n.brain.outcomes(), "consulted_kind=user consulted_id=u_2 consulted_by=us_1") {
		n.t.Errorf("told %q", n.brain.outcomes())
	}
}

// Proves that the caller comes off hold, and who asks hears no ringing any more, also when FreeSWITCH does not answer an order of it at
// once; that a cancel is answered when that is so; and that nothing is tried any more behind the talk.
func TestConsult_BackThoughOrdersFail(t *testing.T) {
	const stopHold, stopRing = "uuid_displace chan-1 stop", "uuid_displace leg-r1-"
	for name, row := range map[string]struct {
		answers    bool
		fails      string
		times      int
		do         func(n *queueNode, p *fakeSpy)
		held, rung bool
	}{
		"he hangs up":           {true, stopHold, 3, func(_ *queueNode, p *fakeSpy) { p.hangsUp() }, false, false},
		"the note stays":        {true, "uuid_setvar chan-1 " + consultVariable, 2, func(_ *queueNode, p *fakeSpy) { p.hangsUp() }, false, false},
		"he declines":           {false, stopRing, 2, func(_ *queueNode, p *fakeSpy) { p.hangsUp(); p.result <- refusal{"CALL_REJECTED"} }, false, false},
		"he answers":            {false, stopRing, 2, func(_ *queueNode, p *fakeSpy) { p.answers() }, true, false},
		"FreeSWITCH stays mute": {true, stopHold, 1 << 20, func(_ *queueNode, p *fakeSpy) { p.hangsUp() }, true, false},
		"cancel": {true, stopHold, 3, func(n *queueNode, _ *fakeSpy) {
			n.wantConsult(api.OpReturn, "", "")
			n.wantHeld(false, false)
		}, false, false},
		"three": {true, stopHold, 1, func(n *queueNode, _ *fakeSpy) {
			if _, err := n.consult(api.OpThreeWay); !errors.Is(err, errLineLost) {
				n.t.Errorf("the first time: %v", err)
			}
			n.wantConsult(api.OpThreeWay, api.ConsultJoined, "")
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newGallery(t)
				f, begun := n.faulty(), time.Now()
				n.talks(func() {
					n.wantConsult(api.OpConsult, api.ConsultRinging, "")
					p := g.one()
					if row.answers {
						p.answers()
						synctest.Wait()
					}
					f.next(row.fails, row.times)
					row.do(n, p)
					time.Sleep(5 * time.Second)
					n.wantHeld(row.held, row.rung)
				})
				n.Calls.mu.Lock()
				defer n.Calls.mu.Unlock()
				if took := time.Since(begun); len(n.asked) != 0 || took > time.Minute {
					t.Errorf("%d are asked still, after %s", len(n.asked), took)
				}
			})
		})
	}
}

// Proves that what has been done of the beginning is taken back when the next of it fails, though FreeSWITCH does not answer at
// once, and that nobody is rung.
func TestConsult_BeginsInVain(t *testing.T) {
	for name, row := range map[string]struct {
		err  error // of the agent's ringing
		back int   // orders that fail then
		want string
	}{
		"a refusal":                    {err: refusal{"no such channel"}, want: refusal{}.Error()},
		"no answer":                    {err: errLineLost, want: errLineLost.Error()},
		"the talk is over":             {want: api.NobodyTalks},
		"a refusal, and it stays held": {err: refusal{"no such channel"}, back: 3, want: refusal{}.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, _ := newGallery(t)
				f := n.faulty()
				n.talks(func() {
					k := n.find("tok")
					f.set("uuid_displace leg-r1-", 1, row.err, func() {
						if row.err == nil {
							k.whileTalking(nil)
						}
						f.next("uuid_displace chan-1 stop", row.back)
					})
					n.wantConsult(api.OpConsult, "", row.want)
					if held := row.back > 0; n.held() != held {
						t.Errorf("held: %v", n.held())
					}
					time.Sleep(3 * time.Second)
					n.wantHeld(false, false)
					if n.variables()[consultVariable] != "" || strings.Contains(n.fs.orders(), "origination_uuid=ask-") {
						t.Errorf("noted %q\n%s", n.variables()[consultVariable], n.fs.orders())
					}
					if row.err != nil { // it was nothing of his
						n.wantConsult(api.OpConsult, api.ConsultRinging, "")
					}
				})
			})
		})
	}
}

// Proves that what becomes of a talk is told though FreeSWITCH does not answer at once when the caller is back, for a queue's talk
// with who waits for him, and for a join; and that a FreeSWITCH that says nothing holds the caller up for seconds only.
func TestTalkedBefore_ThoughOrdersFail(t *testing.T) {
	for name, row := range map[string]struct {
		fails string
		times int
		told  bool
	}{
		"service":        {"uuid_getvar chan-1 " + serviceVariable, 3, true},
		"to whom":        {"uuid_getvar chan-1 " + lastBridgeTo, 3, true},
		"nothing is bad": {"uuid_getvar chan-1 ", 0, true},
		"mute":           {"uuid_getvar chan-1 " + serviceVariable, 1 << 20, false},
	} {
		t.Run("queue "+name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newGallery(t)
				f := n.faulty()
				n.talks(func() {
					n.wantConsult(api.OpConsult, api.ConsultRinging, "")
					g.one().answers()
					synctest.Wait()
					f.next(row.fails, row.times)
					n.agent("r1").hangsUp()
					time.Sleep(20 * time.Second)
				})
				if got := n.brain.outcomes(); strings.Contains(got, "talk_ms=") != row.told || strings.Contains(got, "consulted_id=u_2") != row.told {
					t.Errorf("told %q\n%s", got, n.fs.orders())
				}
				if left := f.remaining(); row.told && left != 0 {
					t.Errorf("%d of %d failures did not happen", left, row.times)
				}
			})
		})
	}
	for _, fails := range []string{"uuid_getvar chan-1 " + joinVariable, "uuid_getvar chan-1 " + lastBridgeTo} {
		t.Run("join "+fails, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newDialTalk(t, api.CommandParams{DestKind: "user", DestID: "u_2", Join: "ask-1"})
				g.spies["ask-1"] = &fakeSpy{g: g, uuid: "ask-1", up: true, result: make(chan error, 1)}
				n.fs.bridge = func(leg string) (string, error) {
					time.AfterFunc(40*time.Millisecond, func() {
						n.fs.variable(lastBridgeTo, leg)
						n.fs.emit("CHANNEL_BRIDGE", nil)
					})
					return "+OK", nil
				}
				f := n.faulty()
				during(30*time.Second, func() {
					f.next(fails, 3)
					n.comeBack()
				})
				n.run(nil)
				n.served.Wait()
				if got := n.brain.outcomes(); !strings.HasPrefix(strings.TrimSpace(got), "answered duration_ms=30150") || f.remaining() != 0 {
					t.Errorf("told %q, %d failures are left\n%s", got, f.remaining(), n.fs.orders())
				}
			})
		})
	}
}

// remaining is how many failures have not happened.
func (f *faults) remaining() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left
}
