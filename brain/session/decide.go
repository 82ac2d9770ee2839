package session

import (
	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// Decide says what a question leads to. op is the record that Apply takes to bring the machine there, nil when
// nothing changes: the same outcome again, an outcome of a command that is not the current one, a PIN that
// must be checked first. Decide itself changes nothing.
func (m *Machine) Decide(nowMS int64, env *Env, req *Request) (op []byte, reply Reply) {
	m.fresh, m.made, m.next = nil, nil, nil
	if m.image != nil && (m.endMS == 0 && !req.looks() || req.Flow != nil) {
		m.Renew(nowMS)
	}
	t := &turn{m: m, env: env, now: nowMS}
	if m.image != nil {
		t.im = m.read()
		m.decoded = nil // until it is known that nothing in it was touched
	}
	moved, refused := t.take(req)
	switch {
	case refused != nil:
		return nil, *refused
	case t.check != nil:
		reply = t.reply()
		reply.Command, reply.Params, reply.Sounds = "", api.CommandParams{}, nil
		reply.Need = &Need{PIN: t.check}
		return nil, reply
	case !moved:
		m.decoded = kept(t.im)
		return nil, t.reply()
	}
	op = t.op()
	m.fresh, m.made, m.next = t.flows, op, kept(t.im)
	return op, t.reply()
}

// kept is a copy that keeps nothing else of its turn alive.
func kept(im image) *image { return &im }

// take does what a question asks for. moved: the image is another one now.
func (t *turn) take(req *Request) (moved bool, refused *Reply) {
	switch {
	case t.m.image == nil && (req.Flow == nil || req.Flow.Outcome != "" || req.Flow.Start == nil):
		return false, &Reply{Unknown: true}
	case req.Flow != nil:
		return t.asked(req.Flow, req.Checked)
	case req.Result != nil:
		return t.result(req.Result), nil
	case req.Done != 0:
		return t.done(req.Done), nil
	case req.Transfer != nil:
		return t.transferAsked(req.Transfer), nil
	case req.Send != nil:
		return t.sendAsked(req.Send), nil
	case req.Consult != nil:
		t.said = t.consultAsked(req.Consult)
	}
	return false, nil
}

// asked takes a node agent's question.
func (t *turn) asked(f *api.FlowRequest, checked *Checked) (moved bool, refused *Reply) {
	if err := CheckFlow(f); err != nil {
		return false, &Reply{Refused: err.Error()}
	}
	im := &t.im
	gone := f.Outcome == api.OutcomeHangup || f.Outcome == api.OutcomeLost
	theirs := f.Seq >= im.FirstSeq && f.Seq <= im.Seq || gone && f.Seq == 0
	if f.Outcome == "" {
		theirs = t.m.image != nil && (f.Start == nil || f.Start.Channel == im.Channel)
	}
	switch {
	case f.Outcome == "" && !theirs:
		t.begin(f)
		return true, nil
	case im.Over || !theirs:
		return false, nil
	}
	t.revive()
	switch {
	case im.Gone || f.Outcome == "":
		return t.woken(), nil
	case gone:
		t.unsaid = f.Seq != im.Seq
		t.turn()
		t.gone(f.Outcome, f.Data)
		return true, nil
	case f.Seq != im.Seq || im.waits() || checked != nil && checked.Turn != im.Turn:
		return t.woken(), nil
	}
	t.checked = checked
	before := im.Turn
	t.turn()
	im.Refused = 0
	t.input(flow.Input{Outcome: f.Outcome, Data: f.Data})
	if t.check != nil { // nothing has happened yet
		im.Turn = before
		return false, nil
	}
	return true, nil
}

// revive takes back that the session has lapsed: its call is still there, or brings its end.
func (t *turn) revive() {
	if t.revived = t.im.EndMS != 0; t.revived {
		t.im.EndMS = 0
		t.note("lease", "the node has the call again")
		if a := t.im.App; a != nil && a.Enqueue != nil {
			a.Enqueue.revived(t)
		}
	}
}

// woken says whether the session was revived, where nothing else has changed.
func (t *turn) woken() bool {
	if t.revived {
		t.turn()
	}
	return t.revived
}

// begin makes the session, or lets another channel of the same call take its place: one that was not answered went
// on to the next target of its directive.
func (t *turn) begin(f *api.FlowRequest) {
	old := t.im
	t.im = image{Token: f.Token, CallID: f.CallID, Node: f.Node, Channel: f.Start.Channel, Vars: f.Start.Vars,
		SinceMS: t.now, FirstSeq: old.Seq + 1, Seq: old.Seq, Turn: old.Turn, Recordings: old.Recordings}
	t.im.Turn++
	if t.m.image != nil {
		t.im.Effects = old.Effects
		if old.EndMS == 0 {
			if old.App != nil && old.App.Enqueue != nil {
				old.App.Enqueue.left(t, acd.LeftFailed)
			}
			t.im.Effects = append(t.im.Effects, Effect{ID: t.effectID(), Kind: EffectEnded, Why: "another channel of the call"})
		}
	}
	t.enter(brain.RouteTarget{Kind: brain.DestKind(f.Start.TargetKind), ID: f.Start.TargetID}, nil, false)
}

// result takes what became of an HTTP call or of an agent's wish, or that the caller got no place in his queue.
func (t *turn) result(r *Result) bool {
	im := &t.im
	waiting := im.App != nil && im.App.Enqueue != nil && im.App.Enqueue.join(t) != nil
	if r.Turn != im.Turn || im.Over || !im.waits() && !(waiting && r.Outcome == api.OutcomeExit) {
		return false
	}
	t.turn()
	http, agent := im.HTTP, im.Agent
	im.HTTP, im.Agent = nil, nil
	switch {
	case http != nil:
		t.step(flow.Input{Outcome: r.Outcome, Data: r.Data})
	case agent != nil:
		im.App.Agent.answered(t, r.Outcome, r.Data["reason"])
	case im.Refused >= maxRefused:
		t.end(flow.End{Why: "the call goes from queue to queue without a word to the caller", Cause: causeFailure})
	default:
		im.Refused++
		t.input(flow.Input{Outcome: r.Outcome, Data: r.Data})
	}
	return true
}

// done forgets the effects of a turn.
func (t *turn) done(turn int64) bool {
	if turn != t.im.Turn || len(t.im.Effects) == 0 {
		return false
	}
	t.im.Effects = nil
	return true
}

// input gives the outcome of the current command to whatever asked for it.
func (t *turn) input(in flow.Input) {
	im := &t.im
	switch {
	case im.Ending:
		t.overNow(im.Why)
	case im.Then != nil: // also when the announcement could not be played: the call matters more
		p := *im.Then
		im.Then = nil
		t.call(p)
	case im.App != nil:
		t.application(in)
	case im.Flow != nil:
		t.recorded(in.Data)
		if in.Outcome != api.OutcomeAnswered || !t.passedOn(in.Data) {
			t.step(in)
		}
	default:
		t.end(flow.End{Why: "nothing is left to do"})
	}
}

// gone takes the caller's hang-up: what he left is kept, and a flow runs what it has for this.
func (t *turn) gone(outcome string, data map[string]string) {
	im := &t.im
	im.Gone, im.HTTP, im.Agent, im.Then = true, nil, nil, nil
	im.Why = outcome
	if outcome == api.OutcomeLost {
		im.Why = "the media server is gone"
	}
	if a := im.App; a != nil && a.Leave != nil {
		a.Leave.hangup(t, data)
	} else {
		t.recorded(data)
	}
	left := acd.LeftAbandoned
	switch {
	case data["talk_ms"] != "":
		left = acd.LeftAnswered
	case outcome == api.OutcomeLost:
		left = acd.LeftFailed
	}
	t.close(left)
	if im.Ending || im.Flow == nil {
		t.overNow(im.Why)
		return
	}
	t.step(flow.Input{Outcome: api.OutcomeHangup, Data: data})
}
