package flow

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// newDialTalk is a node whose caller is dialed somebody, who answers after a second.
func newDialTalk(t *testing.T, p api.CommandParams) (*queueNode, *gallery) {
	n := &queueNode{node: newNode(t, command(api.CommandDial, p)), agents: map[string]*fakeAgent{}}
	n.ctx = t.Context()
	g := &gallery{fakeSwitch: n.fs, spies: map[string]*fakeSpy{}}
	n.cfg.Switch, n.fs.agents, n.line = g, n.aboutAgent, n.fs
	n.agents["r1"] = &fakeAgent{in: n, uuid: "leg-r1-x", up: true, vars: map[string]string{}}
	n.fs.ends["bridge"] = map[string]string{"variable_originate_disposition": "SUCCESS"}
	n.fs.onStart = func(app, _ string) {
		if app == "bridge" {
			time.AfterFunc(time.Second, func() {
				n.fs.variable(lastBridgeTo, "leg-r1-x")
				n.fs.emit("CHANNEL_ANSWER", nil)
				n.fs.emit("CHANNEL_BRIDGE", nil)
			})
		}
	}
	return n, g
}

// Proves the same of a talk that a flow's dial has made: when the other side hangs up, the brain hears who waits for the caller if he
// has answered, and of nobody otherwise; the caller's hangup lets him go.
func TestConsult_OfADial(t *testing.T) {
	for name, row := range map[string]struct {
		answers, gone bool
		want          string
	}{
		"answered":          {answers: true, want: "answered duration_ms=9000 consulted_kind=user consulted_id=u_2 consulted_by=us_1"},
		"rings":             {want: "answered duration_ms=9000"},
		"the caller leaves": {answers: true, gone: true, want: "hangup cause=NORMAL_CLEARING"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newDialTalk(t, api.CommandParams{DestKind: "user", DestID: "us_1"})
				during(5*time.Second, func() {
					n.wantConsult(api.OpConsult, api.ConsultRinging, "")
					n.wantHeld(true, true)
					if row.answers {
						g.one().answers()
					}
				})
				during(10*time.Second, func() {
					if row.gone {
						n.fs.hangup("NORMAL_CLEARING")
						return
					}
					n.agents["r1"].goes()
					n.fs.stop()
				})
				n.run(nil)
				synctest.Wait()
				if got := strings.TrimSpace(n.brain.outcomes()); !strings.HasPrefix(got, row.want) || strings.Contains(got, "consulted") != strings.Contains(row.want, "consulted") {
					t.Errorf("told %q, want %q", got, row.want)
				}
				if kept := !strings.Contains(n.fs.orders(), "uuid_kill ask-"); kept != strings.Contains(row.want, "consulted") {
					t.Errorf("he stays: %v\n%s", kept, n.fs.orders())
				}
				if !row.gone {
					n.wantHeld(false, false)
				}
			})
		})
	}
}

// Proves that the agent to which a caller comes back from a dial's talk tells who waits for him, though another agent had begun all
// that; that it lets go of one who rings still; that it tells nothing of him in another command; and that the caller is off
// hold each time.
func TestConsult_DialedBefore(t *testing.T) {
	for name, row := range map[string]struct {
		mark, want string
		up         bool
	}{
		"waits":           {"1", "answered duration_ms=0 consulted_kind=user consulted_id=u_2 consulted_by=us_1", true},
		"rings":           {"1", "answered duration_ms=0\nhangup", false},
		"another command": {"7", "answered duration_ms=0\nhangup", true},
	} {
		inBubble(t, func(t *testing.T) {
			n, g := newDialTalk(t, api.CommandParams{DestKind: "user", DestID: "us_1"})
			n.fs.onStart, n.fs.lasts["bridge"] = nil, time.Second
			note := consultNote{seq: 1, leg: "leg-r1-x", asked: "ask-1", kind: "user", id: "u_2", by: "us_1", music: "/cache/hold.wav"}
			if row.mark == "7" {
				note.seq = 7
			}
			g.spies["ask-1"] = &fakeSpy{g: g, uuid: "ask-1", up: row.up, mode: heardBy[api.OpBarge], result: make(chan error, 1)}
			n.fs.variable(consultVariable, note.String())
			n.run(map[string]string{"Answer-State": "answered", "variable_sipio_begun": row.mark, "variable_originate_disposition": "SUCCESS", "variable_sipio_consult": note.String()})
			if got := n.brain.outcomes() + "\nhangup"; !strings.HasPrefix(strings.TrimSpace(got), row.want) {
				t.Errorf("%s: told %q, want %q", name, got, row.want)
			}
			n.wantOrders("api uuid_displace chan-1 stop /cache/hold.wav", "api uuid_setvar chan-1 sipio_consult\n")
			if let := strings.Contains(n.fs.orders(), "uuid_kill ask-1"); let != (name == "rings") {
				t.Errorf("%s: let go: %v", name, let)
			}
		})
	}
}

// Proves that a dial with a leg to join calls nobody: the caller is connected with that one, comes back when he hangs up, and the
// runner by then tells so, with the recording of it; one who is not there, or is no such leg, is a failure at once.
func TestJoin(t *testing.T) {
	for name, row := range map[string]struct {
		join, want string
		back, bond bool
	}{
		"both talk":       {join: "ask-1", bond: true, back: true, want: "answered key=k duration_ms=29000"},
		"he has gone":     {join: "ask-2", want: "failed reason=" + askedGone},
		"no such leg":     {join: "leg-1", want: `failed reason=no leg is called "leg-1"`},
		"not connected":   {join: "ask-1", want: "failed reason=" + askedGone},
		"caller hangs up": {join: "ask-1", bond: true, want: "hangup cause=NORMAL_CLEARING key=k"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newDialTalk(t, api.CommandParams{DestKind: "user", DestID: "u_2", Join: row.join, Key: "k"})
				g.spies["ask-1"] = &fakeSpy{g: g, uuid: "ask-1", up: true, result: make(chan error, 1)}
				n.fs.variable(lastBridgeTo, "leg-r1-x")
				n.fs.bridge = func(leg string) (string, error) {
					if row.bond {
						time.AfterFunc(40*time.Millisecond, func() {
							n.fs.variable(lastBridgeTo, leg)
							n.fs.emit("CHANNEL_BRIDGE", nil)
						})
					}
					return "+OK", nil
				}
				if row.bond {
					during(30*time.Second, func() {
						if row.back {
							n.comeBack()
						} else {
							n.fs.hangup("NORMAL_CLEARING")
						}
					})
				}
				n.run(nil)
				n.served.Wait()
				if got := n.brain.outcomes(); !strings.HasPrefix(strings.TrimSpace(got), row.want) {
					t.Errorf("told %q, want %q\n%s", got, row.want, n.fs.orders())
				}
				if strings.Contains(n.fs.orders(), "bridge {") {
					t.Error("somebody was called")
				}
				if row.bond {
					n.wantOrders("playback "+aMoment, "sipio_begun=1;socket_resume=false", "transfer_after_bridge=away:XML:away;sipio_join=1|", "api uuid_bridge chan-1 ask-1", "uuid_record chan-1 start ")
				} else if name == "not connected" {
					n.wantOrders("api uuid_setvar chan-1 transfer_after_bridge\n", "api uuid_kill ask-1")
				}
			})
		})
	}
}
