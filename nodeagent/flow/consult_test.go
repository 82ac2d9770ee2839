package flow

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// consult gives an order about whom the agent of a talk asks to take its caller, and returns the state that is told.
func (n *queueNode) consult(kind string) (string, error) {
	return n.consultTo(kind, "u_2")
}

func (n *queueNode) consultTo(kind, id string) (string, error) {
	op := api.Op{Kind: kind, Token: "tok", Seq: 1}
	do := map[string]func(context.Context, api.Op) (api.OpReply, error){
		api.OpConsult: n.Consult, api.OpThreeWay: n.ThreeWay, api.OpReturn: n.Return, api.OpComplete: n.Complete}[kind]
	if kind == api.OpConsult {
		op.Consult = &api.Consult{DestKind: "user", DestID: id, UserID: "us_1", Number: "101", Name: "Ann", Music: refs("hold.wav")}
	}
	reply, err := do(n.ctx, op)
	synctest.Wait()
	return reply.State, err
}

// wantConsult wants a state, or a refusal, of an order.
func (n *queueNode) wantConsult(kind, state, refusal string) {
	n.t.Helper()
	got, err := n.consult(kind)
	if refusal == "" && (err != nil || got != state) || refusal != "" && (err == nil || err.Error() != refusal) {
		n.t.Errorf("%s: %q %v, want %q %q", kind, got, err, state, refusal)
	}
}

// held tells whether the caller hears music in place of the agent.
func (n *queueNode) held() bool { return n.displaced("chan-1 ", " /cache/hold.wav") }

// rung tells whether the agent hears ringing.
func (n *queueNode) rung() bool { return n.displaced("leg-r1-", ringBack) }

func (n *queueNode) displaced(channel, sound string) bool {
	on := false
	orders := n.fs.orders()
	if line := n.caller(); line != n.fs { // he has come back by it
		orders += "\n" + line.orders()
	}
	for line := range strings.Lines(orders) {
		if strings.HasPrefix(line, "api uuid_displace "+channel) && strings.Contains(line, sound) {
			on = strings.Contains(line, " start ")
		}
	}
	return on
}

func (n *queueNode) wantHeld(held, rung bool) {
	n.t.Helper()
	if n.held() != held || n.rung() != rung {
		n.t.Errorf("the caller is held: %v, the agent hears ringing: %v, want %v %v\n%s", n.held(), n.rung(), held, rung, n.fs.orders())
	}
}

// Proves what each order does to a talk whose media had gone past the media server: it is back before anybody is rung, the caller is
// held until all three talk, the agent hears ringing until the other one answers; orders again change nothing; and the media goes
// again when that one has gone.
func TestConsult_FromRingingToThree(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, g := newGallery(t)
		n.talks(func() {
			n.wantConsult(api.OpThreeWay, "", api.NobodyAsked)
			n.wantConsult(api.OpReturn, "", api.NobodyAsked)
			n.wantConsult(api.OpComplete, "", api.NobodyAsked)
			n.wantConsult(api.OpConsult, api.ConsultRinging, "")
			n.wantHeld(true, true)
			n.wantOrders("api uuid_media leg-r1-", "api uuid_setvar chan-1 sipio_consult 1|leg-r1-", "api uuid_displace chan-1 start /cache/hold.wav 0 fl",
				"job originate {^^;origination_uuid=ask-", "park_timeout=15;eavesdrop_enable_dtmf=false;"+heardBy[api.OpWhisper],
				"sip_h_X-Sipio-Dial='user/u_2';sip_h_X-Sipio-Call='tok';sip_h_X-Sipio-Account='acc';origination_caller_id_number='101';origination_caller_id_name='Ann'", "eavesdrop:leg-r1-", ",park inline")
			n.wantConsult(api.OpConsult, api.ConsultRinging, "")
			n.wantConsult(api.OpThreeWay, "", api.NotAnswered)
			n.wantConsult(api.OpComplete, "", api.NotAnswered)
			if _, err := n.consultTo(api.OpConsult, "u_3"); !errors.Is(err, errAsked) {
				t.Errorf("somebody else: %v", err)
			}
			p := g.one()
			p.answers()
			synctest.Wait()
			n.wantHeld(true, false)
			n.wantConsult(api.OpConsult, api.ConsultTalking, "")
			for range 2 {
				n.wantConsult(api.OpThreeWay, api.ConsultJoined, "")
				n.wantHeld(false, false)
			}
			if got := p.heardAs(); got != api.OpBarge {
				t.Errorf("he is heard as %s", got)
			}
			n.wantConsult(api.OpConsult, api.ConsultJoined, "")
			if got := g.releases(); got != "1 1" {
				t.Errorf("while three talk: %s", got)
			}
			p.hangsUp()
			time.Sleep(20 * time.Second)
			n.wantConsult(api.OpReturn, "", api.NobodyAsked)
			if got := g.releases(); got != "2 1" {
				t.Errorf("afterwards: %s", got)
			}
			if n.variables()[consultVariable] != "" {
				t.Errorf("noted is still %q", n.variables()[consultVariable])
			}
		})
	})
}

// Proves how each end of a consultation leaves the caller, whom the agent asked, and what the brain is told: nobody stays on hold, no
// leg stays that nobody waits for, and who has answered waits for a caller whose agent has gone.
func TestConsult_Ends(t *testing.T) {
	for name, row := range map[string]struct {
		answers bool
		ends    func(n *queueNode, p *fakeSpy)
		killed  bool // whom he asked is let go
		told    bool // he waits for the caller
		talks   bool // the caller and the agent talk on
	}{
		"declines":                 {ends: func(_ *queueNode, p *fakeSpy) { p.hangsUp(); p.result <- refusal{"CALL_REJECTED"} }, talks: true},
		"hangs up":                 {answers: true, ends: func(_ *queueNode, p *fakeSpy) { p.hangsUp(); time.Sleep(time.Second) }, talks: true},
		"is let go":                {answers: true, ends: func(n *queueNode, _ *fakeSpy) { n.wantConsult(api.OpReturn, "", "") }, killed: true, talks: true},
		"is let go while it rings": {ends: func(n *queueNode, _ *fakeSpy) { n.wantConsult(api.OpReturn, "", "") }, killed: true, talks: true},
		"the agent hangs up":       {answers: true, ends: func(n *queueNode, _ *fakeSpy) { n.agent("r1").hangsUp() }, told: true},
		"the agent hangs up of three": {answers: true, ends: func(n *queueNode, _ *fakeSpy) {
			n.wantConsult(api.OpThreeWay, api.ConsultJoined, "")
			n.agent("r1").hangsUp()
		}, told: true},
		"the agent hangs up too soon": {ends: func(n *queueNode, _ *fakeSpy) { n.agent("r1").hangsUp() }, killed: true},
		"the caller hangs up":         {answers: true, ends: func(n *queueNode, _ *fakeSpy) { n.hangsUpNow() }, killed: true},
		"complete": {answers: true, ends: func(n *queueNode, _ *fakeSpy) {
			n.wantConsult(api.OpComplete, "", "")
			if got := n.agent("r1").ended; got != "killed NORMAL_CLEARING" {
				n.t.Errorf("the agent: %q", got)
			}
			n.comeBack()
		}, told: true},
		"blind in the middle": {answers: true, ends: func(n *queueNode, _ *fakeSpy) {
			_, err := n.Transfer(n.ctx, api.Op{Token: "tok", Seq: 1})
			n.must(err)
			synctest.Wait()
			n.comeBack()
		}, killed: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newGallery(t)
				n.talks(func() {
					n.wantConsult(api.OpConsult, api.ConsultRinging, "")
					p := g.one()
					if row.answers {
						p.answers()
						synctest.Wait()
					}
					row.ends(n, p)
					time.Sleep(2 * time.Second)
					if row.talks {
						n.wantHeld(false, false)
						if n.brain.outcomes() != "" && strings.Contains(n.brain.outcomes(), "exit") {
							t.Errorf("the talk has ended: %s", n.brain.outcomes())
						}
						if !row.killed { // it is told once
							n.wantConsult(api.OpConsult, "", api.AskedGone)
							n.wantHeld(false, false)
						}
						n.wantConsult(api.OpConsult, api.ConsultRinging, "") // again
						n.wantHeld(true, true)
					}
				})
				if killed := strings.Contains(n.fs.orders(), "api uuid_kill ask-"); killed != row.killed && !row.talks {
					t.Errorf("let go: %v, want %v", killed, row.killed)
				}
				if v := n.variables()[consultVariable]; v != "" && !row.talks && name != "the caller hangs up" {
					t.Errorf("noted is still %q", v)
				}
				told := strings.Contains(n.brain.outcomes(), "consulted_kind=user consulted_id=u_2 consulted_by=us_1")
				if told != row.told {
					t.Errorf("told: %q", n.brain.outcomes())
				}
				if name != "the caller hangs up" && !row.talks && n.held() {
					t.Error("the caller is held")
				}
				n.Calls.mu.Lock()
				defer n.Calls.mu.Unlock()
				if len(n.asked) != 0 {
					t.Errorf("%d are asked still", len(n.asked))
				}
			})
		})
	}
}

// Proves that orders which are not whole, or not of this talk, begin nothing, and that what fails at the beginning is taken back.
func TestConsult_Refused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, g := newGallery(t)
		n.talks(func() {
			whole := api.Consult{DestKind: "user", DestID: "u_2", UserID: "us_1"}
			for _, w := range []*api.Consult{nil, {DestKind: "user", DestID: "u_2"}, {DestKind: "user", DestID: "u|2", UserID: "us_1"}, {DestKind: "user", DestID: "u\n2", UserID: "us_1"}, {DestKind: "${x}", DestID: "u", UserID: "us_1"}} {
				if _, err := n.Consult(n.ctx, api.Op{Token: "tok", Seq: 1, Consult: w}); !errors.Is(err, errNotWhole) {
					t.Errorf("%+v: %v", w, err)
				}
			}
			for want, op := range map[error]api.Op{errNoCall: {Token: "other", Seq: 1, Consult: &whole}, errNobodyTalks: {Token: "tok", Seq: 9, Consult: &whole}} {
				if _, err := n.Consult(n.ctx, op); !errors.Is(err, want) {
					t.Errorf("%+v: %v, want %v", op, err, want)
				}
			}
			if _, err := n.Consult(n.ctx, api.Op{Token: "tok", Seq: 0, Consult: &whole}); !errors.Is(err, errNobodyTalks) {
				t.Errorf("of a talk that is over: %v", err)
			}
			g.stuck = true
			if _, err := n.consult(api.OpConsult); err == nil {
				t.Error("begun without media")
			}
			g.stuck = false
			n.wantHeld(false, false)
			if strings.Contains(n.fs.orders(), "origination_uuid=ask-") {
				t.Error("somebody was rung")
			}
			n.wantConsult(api.OpReturn, "", api.NobodyAsked)
		})
	})
}

// Proves that the agent after the one that began a consultation finds it at its sweep: it answers orders as that one did, lets the
// caller off hold when whom was asked has gone, and lets that one go with the caller.
func TestConsult_OfTheAgentBefore(t *testing.T) {
	for name, row := range map[string]struct {
		up   bool
		gone bool
		do   func(n *queueNode, p *fakeSpy)
		held bool
		rung bool
		kill bool
	}{
		"nothing happens": {up: true, do: func(*queueNode, *fakeSpy) {}, held: true},
		"he hangs up":     {up: true, do: func(_ *queueNode, p *fakeSpy) { p.hangsUp() }},
		"he answers": {do: func(n *queueNode, p *fakeSpy) {
			p.answers()
			time.Sleep(time.Second)
			n.wantConsult(api.OpThreeWay, api.ConsultJoined, "")
		}},
		"rings on":                     {do: func(*queueNode, *fakeSpy) {}, held: true, rung: true},
		"he answers, and the two talk": {do: func(_ *queueNode, p *fakeSpy) { p.answers() }, held: true},
		"he went before it came":       {up: true, do: func(n *queueNode, _ *fakeSpy) {}, gone: true},
		"is let go":                    {up: true, do: func(n *queueNode, _ *fakeSpy) { n.wantConsult(api.OpReturn, "", "") }, kill: true},
		"the caller went":              {up: true, do: func(n *queueNode, _ *fakeSpy) { n.fs.mu.Lock(); n.fs.gone = true; n.fs.mu.Unlock() }, held: true, kill: true},
		"is asked for too":             {up: true, do: func(n *queueNode, _ *fakeSpy) { n.wantConsult(api.OpConsult, api.ConsultTalking, "") }, held: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, g := newGallery(t)
				n.ctx = t.Context()
				note := consultNote{seq: 1, leg: "leg-r1-x", asked: "ask-1", kind: "user", id: "u_2", by: "us_1", music: "/cache/hold.wav"}
				p := &fakeSpy{g: g, uuid: "ask-1", up: row.up, gone: row.gone, mode: heardBy[api.OpWhisper], result: make(chan error, 1)}
				g.spies["ask-1"] = p
				n.agents["r1"] = &fakeAgent{in: n, uuid: "leg-r1-x", up: true, vars: map[string]string{}}
				for name, value := range map[string]string{markVariable: "1", lastBridgeTo: "leg-r1-x", consultVariable: note.String(), "sip_h_X-Sipio-Call": "tok", "sip_h_X-Sipio-Account": "acc"} {
					n.fs.variable(name, value)
				}
				n.fs.note("api uuid_displace chan-1 start /cache/hold.wav 0 fl")
				if !row.up {
					n.fs.note("api uuid_displace leg-r1-x start " + ringBack + " 40 fl")
				}
				n.fs.set("show channels", `{"rows":[{"uuid":"chan-1","direction":"inbound","state":"CS_EXCHANGE_MEDIA"},{"uuid":"ask-1","direction":"outbound","state":"CS_CONSUME_MEDIA"}]}`)
				if err := n.sweep(n.ctx, time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				row.do(n, p)
				time.Sleep(time.Second)
				if n.held() != row.held || n.displaced("leg-r1-x ", ringBack) != row.rung {
					t.Errorf("held: %v, rung: %v\n%s", n.held(), n.displaced("leg-r1-x ", ringBack), n.fs.orders())
				}
				if kill := strings.Contains(n.fs.orders(), "uuid_kill ask-1"); kill != row.kill {
					t.Errorf("let go: %v\n%s", kill, n.fs.orders())
				}
				p.hangsUp() // and so all of it ends
				time.Sleep(2 * time.Second)
			})
		})
	}
}
