package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// Request is one question to a session. At most one of the pointers is set, Checked beside Flow; with none of
// them the session says what it says now, which does not keep it: nobody has heard of its caller.
type Request struct {
	Flow    *api.FlowRequest `json:"flow,omitempty"`    // of a node agent
	Checked *Checked         `json:"checked,omitempty"` // the digits of Flow were held against Need.PIN
	Result  *Result          `json:"result,omitempty"`  // what became of Need.HTTP, Need.Agent or Enqueue
	Done    int64            `json:"done,omitempty"`    // the effects of this turn are performed

	Transfer *Transfer `json:"transfer,omitempty"` // somebody transfers the caller
	Consult  *Consult  `json:"consult,omitempty"`  // somebody asks a third before he does
	Send     *Send     `json:"send,omitempty"`     // a supervisor sends the caller elsewhere who waits
}

// looks tells that nothing has happened: somebody wants to know how the session stands.
func (r *Request) looks() bool { return r.Flow == nil && r.Result == nil && r.Done == 0 }

// Checked says which hash of Need.PIN the digits belong to, -1 for none.
type Checked struct {
	Turn  int64 `json:"turn"`
	Match int   `json:"match"`
}

// Result is the outcome of an HTTP call: success, error or timeout, with status and body in Data. Of an agent's wish it is
// api.OutcomeDone, or api.OutcomeDenied with the reason. When the place that Reply.Enqueue asked for was not given, it is
// api.OutcomeExit with the exit.
type Result struct {
	Turn    int64             `json:"turn"`
	Outcome string            `json:"outcome"`
	Data    map[string]string `json:"data,omitempty"`
}

// Reply is what a session says. A repeated question gets the same one, but for Trace and Wrong.
type Reply struct {
	Seq     int64             `json:"seq"`
	Turn    int64             `json:"turn"`
	Token   string            `json:"token,omitempty"`
	CallID  string            `json:"call_id,omitempty"`
	Node    string            `json:"node,omitempty"`
	Command string            `json:"command,omitempty"` // "" with Need
	Params  api.CommandParams `json:"params,omitzero"`
	Sounds  []brain.Sound     `json:"sounds,omitempty"` // become Params.Files
	Need    *Need             `json:"need,omitempty"`
	Enqueue *acd.Join         `json:"enqueue,omitempty"` // to be joined before each reply with this command goes on
	Entry   string            `json:"entry,omitempty"`   // the caller's place in a queue, also while he hears what belongs to a key of his; "" = none
	Effects []Effect          `json:"effects,omitempty"` // to be performed before the reply goes on
	Over    bool              `json:"over,omitempty"`    // or lapsed
	Trace   []Trace           `json:"trace,omitempty"`   // of this step, once
	Wrong   string            `json:"wrong,omitempty"`   // a wrong PIN was given for this target, once
	Unknown bool              `json:"unknown,omitempty"` // there is no session, and the question does not begin one
	Refused string            `json:"refused,omitempty"` // the question is out of bounds

	Transfer *Transferred `json:"transfer,omitempty"` // what became of Request.Transfer or Request.Consult
	Sent     *Sent        `json:"sent,omitempty"`     // what became of Request.Send
}

// Need is what the session waits for before it can say the next command. One of the pointers is set.
type Need struct {
	HTTP  *flow.HTTPCall    `json:"http,omitempty"`  // its result comes back as Request.Result
	PIN   *PINCheck         `json:"pin,omitempty"`   // its result comes back as Request.Checked, beside the same Flow
	Agent *api.AgentRequest `json:"agent,omitempty"` // an agent's wish; its result comes back as Request.Result
}

// PINCheck asks which of the hashes the digits belong to. Digits stand in no image and no journal.
type PINCheck struct {
	Hashes []string `json:"hashes"`
	Digits string   `json:"digits"`
}

// Kinds of effects.
const (
	EffectMessageStored   = "message_stored"
	EffectMessageRead     = "message_read"
	EffectMessageDeleted  = "message_deleted"
	EffectNotify          = "notify"
	EffectRecordingStored = "recording_stored"
	EffectTag             = "tag"
	EffectQueueLeft       = "queue_left"
	EffectQueueWebhook    = "queue_webhook"
	EffectQueueCallback   = "queue_callback"
	EffectQueueMissed     = "queue_missed"
	EffectEnded           = "ended"
)

// Effect is something to be done beside the call, at least once. ID is the same each time.
type Effect struct {
	ID          string                  `json:"id"`
	Kind        string                  `json:"kind"`
	Message     *brain.VoicemailMessage `json:"message,omitempty"`      // message_stored, notify
	MessageID   string                  `json:"message_id,omitempty"`   // message_read, message_deleted
	VoicemailID string                  `json:"voicemail_id,omitempty"` // message_*, notify
	Recording   *Recording              `json:"recording,omitempty"`    // recording_stored
	Label       string                  `json:"label,omitempty"`        // tag
	Value       string                  `json:"value,omitempty"`        // tag
	Why         string                  `json:"why,omitempty"`          // ended
	EntryID     string                  `json:"entry_id,omitempty"`     // queue_*: the caller's place
	Outcome     string                  `json:"outcome,omitempty"`      // queue_left: how he left it
	URL         string                  `json:"url,omitempty"`          // queue_webhook
	Body        string                  `json:"body,omitempty"`         // queue_webhook: JSON
	Callback    *acd.Callback           `json:"callback,omitempty"`     // queue_callback: he keeps his place and is called
	Missed      *api.Claim              `json:"missed,omitempty"`       // queue_missed: he was called and did not take the call; without the account
}

// Recording is one recording of a call in the media store.
type Recording struct {
	Key        string `json:"key"`
	Bytes      int    `json:"bytes"`
	SHA256     string `json:"sha256"`
	DurationMS int    `json:"duration_ms"`
	CallID     string `json:"call_id,omitempty"`
	Token      string `json:"token"`
}

// Trace is one line of what a session did, for operators. Digits of PINs are in none.
type Trace struct {
	Flow    string            `json:"flow,omitempty"`
	Version int64             `json:"version,omitempty"`
	Step    string            `json:"step,omitempty"`
	Kind    string            `json:"kind,omitempty"` // of the step, or the application
	Outcome string            `json:"outcome,omitempty"`
	Changed map[string]string `json:"changed,omitempty"`
	Note    string            `json:"note,omitempty"`
}

const (
	maxID       = 256
	maxOutcome  = 64
	maxHTTPBody = 64 << 10
	maxRequest  = 1 << 20
)

// ReadRequest reads a question from JSON and holds it to its bounds.
func ReadRequest(text []byte) (*Request, error) {
	if len(text) > maxRequest {
		return nil, fmt.Errorf("a question has at most %d bytes", maxRequest)
	}
	d := json.NewDecoder(bytes.NewReader(text)) // a brain that is newer may say more
	var r Request
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("read a question: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something stands behind the question")
	}
	if r.Flow != nil {
		if err := CheckFlow(r.Flow); err != nil {
			return nil, err
		}
	}
	if r.Result != nil {
		return &r, checkData(r.Result.Data, 4, maxHTTPBody)
	}
	return &r, nil
}

// CheckFlow holds a node agent's question to its bounds. The error names the field.
func CheckFlow(f *api.FlowRequest) error {
	for _, v := range [...]struct {
		name, value string
		most        int
	}{{"account_id", f.AccountID, maxID}, {"token", f.Token, maxID}, {"call_id", f.CallID, maxID}, {"node", f.Node, maxID}, {"outcome", f.Outcome, maxOutcome}} {
		if len(v.value) > v.most || !utf8.ValidString(v.value) {
			return fmt.Errorf("%s: longer than %d bytes, or not UTF-8", v.name, v.most)
		}
	}
	if f.Seq < 0 {
		return fmt.Errorf("seq: below 0")
	}
	if err := checkData(f.Data, MaxVars, MaxValue); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if s := f.Start; s != nil {
		if len(s.TargetKind) > maxOutcome || len(s.TargetID) > maxID || len(s.Channel) > maxID ||
			!utf8.ValidString(s.TargetKind+s.TargetID+s.Channel) {
			return fmt.Errorf("start: a field is too long, or not UTF-8")
		}
		if err := checkData(s.Vars, MaxVars, MaxValue); err != nil {
			return fmt.Errorf("start.vars: %w", err)
		}
	}
	return nil
}

// checkData bounds names and values.
func checkData(data map[string]string, entries, most int) error {
	if len(data) > entries {
		return fmt.Errorf("%d entries; at most %d", len(data), entries)
	}
	for name, value := range data {
		if len(name) > maxOutcome || len(value) > most {
			return fmt.Errorf("an entry is longer than %d bytes", most)
		}
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return fmt.Errorf("an entry is not UTF-8")
		}
	}
	return nil
}
