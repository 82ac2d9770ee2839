package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
	"github.com/sipio/sipio/brain/pack"
)

// image is the whole state of a session.
type image struct {
	Token   string            `json:"token"`
	CallID  string            `json:"call_id,omitempty"`
	Node    string            `json:"node,omitempty"`
	Channel string            `json:"channel,omitempty"`
	Vars    map[string]string `json:"vars,omitempty"` // of the route
	SinceMS int64             `json:"since_ms"`

	FirstSeq   int64 `json:"first_seq"` // of this channel's commands
	Seq        int64 `json:"seq"`       // of the current command
	Turn       int64 `json:"turn"`      // rises with every change
	Hops       int   `json:"hops,omitempty"`
	Recordings int   `json:"recordings,omitempty"`
	Refused    int   `json:"refused,omitempty"` // places in queues, since the node was last heard of
	Gone       bool  `json:"gone,omitempty"`    // the caller has hung up
	Ending     bool  `json:"ending,omitempty"`  // the current command is the last one
	Over       bool  `json:"over,omitempty"`
	EndMS      int64 `json:"end_ms,omitempty"` // when it was over; without Over it has lapsed then

	Command string             `json:"command,omitempty"`
	Params  api.CommandParams  `json:"params,omitzero"`
	Sounds  []brain.Sound      `json:"sounds,omitempty"`
	Then    *api.CommandParams `json:"then,omitempty"`  // of the dial command that follows an announcement
	HTTP    *flow.HTTPCall     `json:"http,omitempty"`  // waits for its result; the command is over
	Agent   *api.AgentRequest  `json:"agent,omitempty"` // as HTTP
	Effects []Effect           `json:"effects,omitempty"`
	Why     string             `json:"why,omitempty"` // it ended, or will

	Flow *flow.State `json:"flow,omitempty"` // runs, or waits for App
	App  *running    `json:"app,omitempty"`  // runs

	Transfer *handover    `json:"transfer,omitempty"` // was asked for
	Sent     *destination `json:"sent,omitempty"`     // as Transfer, while he waited
}

// running is an application. Exactly one of the pointers is set.
type running struct {
	Returns    bool        `json:"returns,omitempty"` // to the flow that asked for it
	Leave      *leave      `json:"leave,omitempty"`
	Mailbox    *mailbox    `json:"mailbox,omitempty"`
	Conference *conference `json:"conference,omitempty"`
	Dial       *dial       `json:"dial,omitempty"`
	Enqueue    *enqueue    `json:"enqueue,omitempty"`
	Agent      *agentCode  `json:"agent,omitempty"`
	Refer      *refer      `json:"refer,omitempty"`
}

// waits tells whether the result of something else than a command is waited for.
func (im *image) waits() bool { return im.HTTP != nil || im.Agent != nil }

// Kinds of ops.
const (
	opImage uint64 = iota
	opForget
)

var errOp = errors.New("not an operation of a session")

// appendImage writes an image with what must be known without reading it, and graphs that are new.
func appendImage(b []byte, text []byte, over, work bool, endMS int64, flows []*Flow) []byte {
	b = pack.AppendUint(b, opImage)
	b = pack.AppendBool(b, over)
	b = pack.AppendBool(b, work)
	b = pack.AppendInt(b, endMS)
	b = pack.AppendBytes(b, text)
	b = pack.AppendUint(b, uint64(len(flows)))
	for _, f := range flows {
		b = pack.AppendText(b, f.ID)
		b = pack.AppendInt(b, f.Version)
		b = pack.AppendBytes(b, f.Source)
	}
	return b
}

func forget() []byte { return pack.AppendUint(nil, opForget) }

// Apply sets what an op says. It has no reply: that came from Decide. An error means that the op cannot be read;
// nothing changed.
func (m *Machine) Apply(nowMS int64, op []byte) (reply []byte, changed bool, err error) {
	r := pack.NewReader(op)
	made := len(op) > 0 && len(m.made) == len(op) && &m.made[0] == &op[0]
	next := m.next
	m.decoded, m.made, m.next = nil, nil, nil
	switch r.Uint() {
	case opForget:
		if err := r.End(); err != nil {
			return nil, false, fmt.Errorf("%w: %w", errOp, err)
		}
		changed = m.image != nil
		*m = Machine{id: m.id}
		return nil, changed, nil
	case opImage:
		if err := m.set(nowMS, r); err != nil {
			return nil, false, err
		}
		if made { // nothing needs to be read again
			m.decoded = next
		}
		return nil, true, nil
	}
	return nil, false, errOp
}

// set reads an image behind its kind.
func (m *Machine) set(nowMS int64, r *pack.Reader) error {
	over, work, endMS, text := r.Bool(), r.Bool(), r.Int(), r.Bytes()
	var flows []*Flow
	for range r.Count(MaxFlows) {
		f := &Flow{ID: string([]byte(r.Text())), Version: r.Int(), Source: r.Bytes()}
		if known := pinned(m.fresh, f.ID, f.Version); known != nil {
			f = known
		} else {
			f.Source = bytes.Clone(f.Source)
		}
		flows = append(flows, f)
	}
	if err := r.End(); err != nil {
		return fmt.Errorf("%w: %w", errOp, err)
	}
	if len(text) == 0 || len(text) > 2*MaxState {
		return fmt.Errorf("%w: an image of %d bytes", errOp, len(text))
	}
	m.image, m.over, m.work, m.endMS = bytes.Clone(text), over, work, endMS
	for _, f := range flows {
		if pinned(m.flows, f.ID, f.Version) == nil {
			m.flows = append(m.flows, f)
		}
	}
	if over {
		m.flows = nil // nothing runs any more
	}
	switch {
	case endMS == 0:
		m.lateMS = 0
	case m.lateMS == 0:
		m.lateMS = nowMS + lateMS
	}
	m.fresh = nil
	if endMS == 0 {
		m.Renew(nowMS)
	}
	return nil
}

// read gives the image; who changes it must see to it that decoded is not used any more.
func (m *Machine) read() image {
	if m.decoded != nil {
		return *m.decoded
	}
	var im image
	if err := json.Unmarshal(m.image, &im); err != nil {
		panic(fmt.Sprintf("image of %s: %v", m.id, err)) // Apply and Restore let none in that cannot be read
	}
	return im
}

// AppendSnapshot appends the whole state: one image op with every graph.
func (m *Machine) AppendSnapshot(b []byte) []byte {
	if m.image == nil {
		return pack.AppendUint(b, opForget)
	}
	return appendImage(b, m.image, m.over, m.work, m.endMS, m.flows)
}

// Restore reads what AppendSnapshot wrote.
func Restore(id string, snapshot []byte) (*Machine, error) {
	m := New(id)
	if _, _, err := m.Apply(0, snapshot); err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	if m.image != nil {
		if err := json.Unmarshal(m.image, &image{}); err != nil {
			return nil, fmt.Errorf("session %s: %w", id, err)
		}
	}
	return m, nil
}

// described is an op as people read it.
type described struct {
	Kind  string          `json:"kind"` // image, forget
	Over  bool            `json:"over,omitempty"`
	Work  bool            `json:"effects_wait,omitempty"`
	EndMS int64           `json:"end_ms,omitempty"`
	Image json.RawMessage `json:"image,omitempty"`
	Flows []describedFlow `json:"flows,omitempty"`
}

type describedFlow struct {
	ID      string          `json:"id"`
	Version int64           `json:"version"`
	Graph   json.RawMessage `json:"graph"`
}

// Describe reads an op for people: what it gives encodes to JSON. OpFromJSON is the way back.
func Describe(op []byte) (any, error) {
	m := New("")
	if _, _, err := m.Apply(0, op); err != nil {
		return nil, err
	}
	if m.image == nil {
		return &described{Kind: "forget"}, nil
	}
	d := &described{Kind: "image", Over: m.over, Work: m.work, EndMS: m.endMS, Image: m.image}
	for _, f := range m.flows {
		d.Flows = append(d.Flows, describedFlow{f.ID, f.Version, f.Source})
	}
	return d, nil
}

// OpFromJSON makes the op that Describe described. What is not an op is refused.
func OpFromJSON(text []byte) ([]byte, error) {
	var d described
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("read an op as JSON: %w", err)
	}
	switch d.Kind {
	case "forget":
		return forget(), nil
	case "image":
		var flows []*Flow
		for _, f := range d.Flows {
			flows = append(flows, &Flow{ID: f.ID, Version: f.Version, Source: f.Graph})
		}
		op := appendImage(nil, d.Image, d.Over, d.Work, d.EndMS, flows)
		_, err := Restore("", op)
		return op, err
	}
	return nil, fmt.Errorf("op %q: %w", d.Kind, errOp)
}

// Query gives the image as JSON, null when there is no session.
func (m *Machine) Query(int64, []byte) ([]byte, error) {
	if m.image == nil {
		return []byte("null"), nil
	}
	return m.image, nil
}
