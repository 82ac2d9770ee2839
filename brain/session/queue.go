package session

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// What a caller in a queue does.
const (
	stateConsent = "consent" // hears that talks are recorded
	stateWaiting = "waiting" // or talks: his command is enqueue
	stateOption  = "option"  // hears what comes before what his key does
)

const (
	maxNeeded   = 20        // skills that one caller needs
	skillPrefix = "skill:"  // and its name: a variable that asks for a level of it
	optionOf    = "option:" // and the key: an outcome of a flow's step
	outClosed   = "closed"  // outcomes of enqueue beside those of the command
	outHoliday  = flow.Holiday
	causeNobody = "NO_ANSWER"
)

// enqueue lets the caller wait in a queue until an agent has him. While the command enqueue is the current one he
// has a place, his entry: controller/session asks for it before the node hears the command. Whichever way the
// application is left, the effect queue_left gives the place back, or queue_callback keeps it for a caller who hangs up.
//
// Outcomes: answered, timeout, no_agents, queue_full, ewt, option:x, closed, holiday, failed. A flow's step goes on
// with them, but a queue that is closed and says where calls go then sends them there. Without a flow the queue's own
// exits are entered, and with none the call ends. Whom a supervisor has sent elsewhere goes there, also out of a flow.
type enqueue struct {
	ID       string      `json:"id"`
	State    string      `json:"state"`
	Entry    string      `json:"entry,omitempty"` // "" = he has no place, or none any more
	SinceMS  int64       `json:"since_ms,omitempty"`
	Again    bool        `json:"again,omitempty"` // the place was given back when the session lapsed, and keeps its age
	Priority int         `json:"priority,omitempty"`
	Skills   []acd.Skill `json:"skills,omitempty"`
	Number   string      `json:"number,omitempty"`
	Name     string      `json:"name,omitempty"`
	Label    string      `json:"label,omitempty"`
	After    *pressed    `json:"after,omitempty"`  // what his key does, once he has heard its prompt
	Wish     *wish       `json:"wish,omitempty"`   // to be called back
	Called   *calledBack `json:"called,omitempty"` // the call is a callback
}

func (e *enqueue) begin(t *turn, id string, vars map[string]string) {
	e.ID = id
	e.Number, e.Name = clip(vars["caller_number"]), clip(vars["caller_name"])
	e.Label = clip(cmp.Or(vars["label"], vars["did_label"]))
	e.Priority = min(number(vars["priority"]), 100)
	e.Skills = needed(vars)
	q := t.env.Account.Queues[id]
	if q == nil {
		t.note("queue", "there is no queue "+id)
		t.finish(api.OutcomeFailed, flow.End{SIPCode: 404, Cause: "UNALLOCATED_NUMBER", Why: "there is no queue " + id})
		return
	}
	if e.isCalled(t, vars) { // whatever the hours: an agent waits for him
		e.accept(t, q)
		return
	}
	if q.ScheduleID != "" {
		if hours := (graphs{t}).Hours(q.ScheduleID); hours == flow.OutOfHours || hours == flow.Holiday {
			e.closed(t, q, hours)
			return
		}
	}
	if q.Record && t.env.Account.Account.RecordConsent {
		e.State = stateConsent
		t.command(api.CommandPlay, api.CommandParams{NoAnswer: true}, brain.Sound{Prompt: "recording-consent", Language: q.Language})
		return
	}
	e.wait(t)
}

// needed reads the skills that variables ask for, by name. What is no level from 1 to 5 asks for nothing.
func needed(vars map[string]string) (skills []acd.Skill) {
	for name, level := range vars {
		name, is := strings.CutPrefix(name, skillPrefix)
		if n := number(level); is && n >= 1 && n <= 5 {
			skills = append(skills, acd.Skill{Name: name, Level: n})
		}
	}
	slices.SortFunc(skills, func(a, b acd.Skill) int { return strings.Compare(a.Name, b.Name) })
	return skills[:min(len(skills), maxNeeded)]
}

// closed sends the call where the queue says, on a holiday without a target of its own as when it is closed.
func (e *enqueue) closed(t *turn, q *brain.Queue, hours string) {
	outcome, to := outClosed, q.Closed()
	if hours == flow.Holiday {
		outcome = outHoliday
		if q.HolidayDestKind != "" {
			to = q.Holiday()
		}
	}
	t.note("queue", "the queue is closed: "+outcome)
	if to.Kind != "" {
		t.enter(to, nil, false)
		return
	}
	t.finish(outcome, flow.End{SIPCode: 480, Cause: causeNobody, Why: "the queue is closed"})
}

// wait gives the command enqueue, to a caller who has a place already with that one.
func (e *enqueue) wait(t *turn) {
	q := t.env.Account.Queues[e.ID]
	if q == nil {
		e.fail(t, "the queue was deleted")
		return
	}
	if e.Entry == "" {
		e.Entry, e.SinceMS = t.im.Token+"-"+strconv.FormatInt(t.im.Turn, 10), t.now
	}
	e.State = stateWaiting
	p := api.CommandParams{EntryID: e.Entry, Loops: -1, BargeIn: e.keys(t)}
	if m := music(q); m != (brain.Sound{}) {
		t.command(api.CommandEnqueue, p, m)
		return
	}
	t.command(api.CommandEnqueue, p)
}

// music is what callers of a queue hear; none: the platform's.
func music(q *brain.Queue) brain.Sound {
	if q.MOHMediaID == "" && q.MOHPlaylistID == "" {
		return brain.Sound{}
	}
	return brain.Sound{MediaID: q.MOHMediaID, PlaylistID: q.MOHPlaylistID, Language: q.Language}
}

// join is what asks for the caller's place; nil when he is not to have one now.
func (e *enqueue) join(t *turn) *acd.Join {
	im := &t.im
	if e.State != stateWaiting || e.Entry == "" || im.Command != api.CommandEnqueue || im.EndMS != 0 {
		return nil
	}
	j := &acd.Join{EntryID: e.Entry, Token: im.Token, CallID: im.CallID, Node: im.Node, QueueID: e.ID, Priority: e.Priority,
		Skills: e.Skills, CallerNumber: e.Number, CallerName: e.Name, Label: e.Label, ExitNoAgents: e.leads(t, acd.ExitNoAgents)}
	if e.Again {
		j.SinceMS = e.SinceMS
	}
	if e.Called != nil {
		j.CallbackFence = e.Called.Fence
	}
	return j
}

// leads tells whether a flow waits for the outcome and has a way on for it alone.
func (e *enqueue) leads(t *turn, outcome string) bool {
	return t.im.App.Returns && t.im.Flow != nil && t.im.Flow.Leads(graphs{t}, outcome)
}

func (e *enqueue) input(t *turn, in flow.Input) {
	switch {
	case e.State == stateConsent: // also when it could not be played
		e.wait(t)
		return
	case e.State == stateOption:
		e.follow(t)
		return
	case e.Wish != nil:
		e.asked(t, in)
		return
	case e.State == stateAccept:
		e.accepted(t, in)
		return
	}
	t.recorded(in.Data)
	switch in.Outcome {
	case api.OutcomeAnswered:
		e.left(t, acd.LeftAnswered)
		if t.passedOn(in.Data) {
			return
		}
		t.finish(in.Outcome, flow.End{Why: "the talk with the agent is over"})
	case api.OutcomeDigit:
		e.key(t, in.Data["digit"])
	case api.OutcomeExit:
		e.exit(t, in.Data["exit"])
	default:
		e.fail(t, "waiting failed: "+clip(in.Data["reason"]))
	}
}

// exit ends the waiting as the desk has decided.
func (e *enqueue) exit(t *turn, exit string) {
	if exit == acd.LeftSent {
		e.goes(t)
		return
	}
	q := t.env.Account.Queues[e.ID]
	if q == nil {
		e.fail(t, "the queue was deleted")
		return
	}
	var to brain.RouteTarget
	switch exit {
	case acd.ExitTimeout:
		to = q.Timeout()
	case acd.ExitNoAgents:
		to = q.NoAgents()
	case acd.ExitQueueFull:
		to = q.QueueFull()
	case acd.ExitEWT:
		to = q.EWT()
	default:
		if e.Called != nil { // it may be his yet, for another callback
			e.Entry = ""
		}
		e.fail(t, "the place is gone: "+clip(exit))
		return
	}
	e.left(t, exit)
	t.note("queue", "left by "+exit)
	if to.Kind != "" && !t.im.App.Returns {
		t.enter(to, nil, false)
		return
	}
	t.finish(exit, flow.End{SIPCode: 480, Cause: causeNobody, Why: "the queue was left by " + exit})
}

func (e *enqueue) fail(t *turn, why string) {
	t.note("queue", why)
	e.left(t, acd.LeftFailed)
	t.finish(api.OutcomeFailed, flow.End{SIPCode: 480, Cause: causeFailure, Why: why})
}

// left gives the place back, or says that he keeps it.
func (e *enqueue) left(t *turn, outcome string) {
	switch {
	case e.Entry == "":
	case e.State == stateAgreed:
		call := e.Wish.Call
		t.effect(Effect{Kind: EffectQueueCallback, EntryID: e.Entry, Callback: &call})
	case e.State == stateAccept:
		t.effect(Effect{Kind: EffectQueueMissed, EntryID: e.Entry, Missed: e.missed(outcome)})
	default:
		t.effect(Effect{Kind: EffectQueueLeft, EntryID: e.Entry, Outcome: outcome})
	}
	e.Entry = ""
}

// lapsed gives the place back for as long as nobody hears of the caller.
func (e *enqueue) lapsed(t *turn) {
	switch {
	case e.Entry == "":
	case e.State == stateAgreed || e.State == stateAccept:
		e.left(t, acd.LeftFailed)
	default:
		t.effect(Effect{Kind: EffectQueueLeft, EntryID: e.Entry, Outcome: acd.LeftFailed})
		e.Again = true
		if e.Wish != nil {
			e.Wish.Lapsed = true
		}
	}
}

// revived takes back that the place was to be given back: it is asked for again.
func (e *enqueue) revived(t *turn) {
	t.im.Effects = slices.DeleteFunc(slices.Clone(t.im.Effects), func(x Effect) bool { return x.Kind == EffectQueueLeft && x.EntryID == e.Entry })
}
