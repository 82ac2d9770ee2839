package session

import (
	"encoding/json"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// Actions of keys that callers press while they wait.
const (
	optionRoute    = "route"
	optionWebhook  = "webhook"
	optionDeflect  = "deflect"
	optionCallback = "callback"
)

// pressed is what follows a key.
type pressed struct {
	Key    string            `json:"key"`
	Stay   bool              `json:"stay,omitempty"` // he waits on, in his place
	Target brain.RouteTarget `json:"target,omitzero"`
}

// keys are those that do something: by the queue, or by an edge of the flow.
func (e *enqueue) keys(t *turn) string {
	var keys strings.Builder
	for _, key := range strings.Split(allKeys, "") {
		if t.env.Account.QueueOptions[e.ID][key] != nil || e.leads(t, optionOf+key) {
			keys.WriteString(key)
		}
	}
	return keys.String()
}

// key does what a key says: an edge of the flow goes before what the queue has for it.
func (e *enqueue) key(t *turn, key string) {
	if e.leads(t, optionOf+key) {
		e.left(t, acd.LeftOption)
		t.finish(optionOf+key, flow.End{})
		return
	}
	o := t.env.Account.QueueOptions[e.ID][key]
	if o == nil { // deleted meanwhile
		t.note("queue", "nothing is behind the key "+clip(key))
		e.wait(t)
		return
	}
	t.note("queue", "the key "+key+": "+o.Action)
	if o.Action == optionCallback {
		e.callBack(t, o)
		return
	}
	e.After = &pressed{Key: key}
	switch o.Action {
	case optionRoute:
		e.After.Target = o.Dest()
	case optionWebhook, optionDeflect:
		e.After.Stay = o.StayInQueue && o.Action == optionWebhook
		t.effect(Effect{Kind: EffectQueueWebhook, EntryID: e.Entry, URL: o.WebhookURL, Body: e.told(t, o)})
	}
	if !e.After.Stay {
		e.left(t, acd.LeftOption)
		t.im.Flow, t.im.App.Returns = nil, false // the flow has no more say
	}
	if o.PromptMediaID == "" {
		e.follow(t)
		return
	}
	e.State = stateOption
	sound := brain.Sound{MediaID: o.PromptMediaID}
	if q := t.env.Account.Queues[e.ID]; q != nil {
		sound.Language = q.Language
	}
	t.command(api.CommandPlay, api.CommandParams{}, sound)
}

// follow goes on after the prompt of a key.
func (e *enqueue) follow(t *turn) {
	p := *e.After
	e.After = nil
	switch {
	case p.Stay:
		e.wait(t)
	case p.Target.Kind != "":
		t.enter(p.Target, nil, false)
	default:
		t.end(flow.End{Why: "the caller has pressed " + p.Key + " in the queue"})
	}
}

// keyEvent is what a server is told of a key.
type keyEvent struct {
	Event        string `json:"event"` // queue.option; queue.deflect: the server is to serve him another way
	AccountID    string `json:"account_id"`
	QueueID      string `json:"queue_id"`
	QueueName    string `json:"queue_name"`
	Digit        string `json:"digit"`
	Label        string `json:"label,omitempty"` // of the key
	CallID       string `json:"call_id"`
	Token        string `json:"token"`
	EntryID      string `json:"entry_id"`
	CallerNumber string `json:"caller_number,omitempty"`
	CallerName   string `json:"caller_name,omitempty"`
	CallerLabel  string `json:"caller_label,omitempty"`
	StayInQueue  bool   `json:"stay_in_queue"`
	WaitedMS     int64  `json:"waited_ms"`
	TimeMS       int64  `json:"time_ms"` // epoch
}

// keyEvents are the names of events by the action of their key.
var keyEvents = map[string]string{optionWebhook: "queue.option", optionDeflect: "queue.deflect"}

func (e *enqueue) told(t *turn, o *brain.InQueueOption) string {
	ev := keyEvent{Event: keyEvents[o.Action], AccountID: t.env.Account.Account.ID, QueueID: e.ID, Digit: o.Digit, Label: o.Label, CallID: t.im.CallID,
		Token: t.im.Token, EntryID: e.Entry, CallerNumber: e.Number, CallerName: e.Name, CallerLabel: e.Label, StayInQueue: e.After.Stay,
		WaitedMS: max(0, t.now-e.SinceMS), TimeMS: t.now}
	if q := t.env.Account.Queues[e.ID]; q != nil {
		ev.QueueName = q.Name
	}
	body, err := json.Marshal(ev)
	if err != nil {
		panic("event of a key: " + err.Error()) // our own type: texts and numbers
	}
	return string(body)
}
