package acd

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/pack"
)

// Actions of an AgentOp, as in api.AgentRequest.
const (
	ActionLogin     = "login"
	ActionLogout    = "logout"
	ActionAvailable = "available"
	ActionBreak     = "break"
	ActionWrapUpEnd = "wrapup_end"
	ActionJoin      = "queue_join"
	ActionLeave     = "queue_leave"
)

// Why an AgentOp was refused; "" when it was not.
const (
	WhyNoAgent   = "no agent"
	WhyNoMember  = "no member"
	WhyMandatory = "mandatory"
	WhyNoAction  = "no action" // none of the Action values
)

// AgentOp changes what an agent wants.
type AgentOp struct {
	UserID  string `json:"user_id"`
	Action  string `json:"action"`             // one of the Action values
	Reason  string `json:"reason,omitempty"`   // break
	QueueID string `json:"queue_id,omitempty"` // queue_join, queue_leave
}

// Op is an operation as read; which fields are set depends on Kind.
type Op struct {
	Kind          string    `json:"op"` // setup, join, leave, claim, confirm, miss, agent, callback, move, send
	Setup         *Setup    `json:"setup,omitempty"`
	Join          *Join     `json:"join,omitempty"`
	Agent         *AgentOp  `json:"agent,omitempty"`
	Callback      *Callback `json:"callback,omitempty"`
	SetupVersion  int64     `json:"setup_version,omitempty"`  // join, agent: what the reply is to rest on at least
	EntryID       string    `json:"entry_id,omitempty"`       // leave, move, send
	Token         string    `json:"token,omitempty"`          // leave
	Outcome       string    `json:"outcome,omitempty"`        // leave
	ReservationID string    `json:"reservation_id,omitempty"` // claim, confirm, miss
	Fence         int64     `json:"fence,omitempty"`          // claim, confirm, miss
	Cause         string    `json:"cause,omitempty"`          // miss
	Place         int       `json:"place,omitempty"`          // move: 1 = next
	Look          bool      `json:"look,omitempty"`           // send: tell alone whether he has left so
}

// Kinds of an op.
const (
	kindSetup = iota + 1
	kindJoin
	kindLeave
	kindClaim
	kindConfirm
	kindMiss
	kindAgent
	kindCallback
	kindMove
	kindSend
)

var kindNames = [...]string{"", "setup", "join", "leave", "claim", "confirm", "miss", "agent", "callback", "move", "send"}

// Bounds of one op, and of what a snapshot holds.
const (
	maxText        = 1024 // bytes of an id; longer is no real one
	maxSkills      = 50   // of an agent or a caller
	maxRelax       = 100
	maxMemberships = 1_000
	maxRing        = 50             // agents rung for one entry at the same time, over all its tiers
	maxTimeMS      = int64(1) << 46 // the year 4199: far from any overflow
	maxSpanMS      = int64(10 * 365 * 24 * 3600 * 1000)
)

// errOp: bytes that are no op.
var errOp = errors.New("not an operation of a desk")

// AppendSetup appends the op that tells what the configuration says. It has no reply.
func AppendSetup(b []byte, s *Setup) []byte { return appendSetup(append(b, kindSetup), s) }

// AppendJoin appends the op that asks for a place; its reply is read by ReadJoined. setupVersion is the
// configuration's that the asker has seen: a desk that has an older one does nothing and says so.
func AppendJoin(b []byte, j *Join, setupVersion int64) []byte {
	b = pack.AppendInt(append(b, kindJoin), setupVersion)
	for _, s := range [...]string{j.EntryID, j.Token, j.CallID, j.Node, j.QueueID, j.CallerNumber, j.CallerName, j.Label} {
		b = pack.AppendText(b, s)
	}
	b = pack.AppendBool(pack.AppendInt(b, int64(j.Priority)), j.ExitNoAgents)
	return pack.AppendInt(pack.AppendInt(appendSkills(b, j.Skills), j.SinceMS), j.CallbackFence)
}

// AppendLeave appends the op that ends an entry, whatever its state; outcome is one of the Left and Exit values. With a
// token it is the word of that call alone: it changes nothing when the place is another call's, or kept by one who has hung
// up. "" = whichever has it. That of an entry that never joined is remembered for RememberMS: a join that comes later is
// told it. It has no reply.
func AppendLeave(b []byte, entryID, token, outcome string) []byte {
	return pack.AppendText(pack.AppendText(pack.AppendText(append(b, kindLeave), entryID), token), outcome)
}

// AppendClaim appends the op of an agent who has answered; its reply is read by ReadVerdict.
func AppendClaim(b []byte, reservationID string, fence int64) []byte {
	return pack.AppendInt(pack.AppendText(append(b, kindClaim), reservationID), fence)
}

// AppendConfirm appends the op that says that the two talk; its reply is read by ReadVerdict.
func AppendConfirm(b []byte, reservationID string, fence int64) []byte {
	return pack.AppendInt(pack.AppendText(append(b, kindConfirm), reservationID), fence)
}

// AppendMiss appends the op that says that the agent was not reached, cause is one of the Miss values; its reply is
// read by ReadVerdict.
func AppendMiss(b []byte, reservationID string, fence int64, cause string) []byte {
	return pack.AppendText(pack.AppendInt(pack.AppendText(append(b, kindMiss), reservationID), fence), cause)
}

// AppendAgent appends the op that changes what an agent wants; its reply is read by ReadAgent. setupVersion is as
// for AppendJoin.
func AppendAgent(b []byte, a *AgentOp, setupVersion int64) []byte {
	b = pack.AppendInt(append(b, kindAgent), setupVersion)
	for _, s := range [...]string{a.UserID, a.Action, a.Reason, a.QueueID} {
		b = pack.AppendText(b, s)
	}
	return b
}

func appendSkills(b []byte, skills []Skill) []byte {
	b = pack.AppendUint(b, uint64(len(skills)))
	for _, s := range skills {
		b = pack.AppendInt(pack.AppendText(b, s.Name), int64(s.Level))
	}
	return b
}

func readSkills(r *pack.Reader) []Skill {
	n := r.Count(maxSkills)
	if n == 0 {
		return nil
	}
	skills := make([]Skill, n)
	for i := range skills {
		skills[i] = Skill{Name: r.Text(), Level: int(r.Int())}
	}
	return skills
}

// read makes o the op that b holds.
func (o *Op) read(b []byte) error {
	if len(b) == 0 || b[0] == 0 || int(b[0]) >= len(kindNames) {
		return errOp
	}
	o.Kind = kindNames[b[0]]
	var r pack.Reader
	r.Reset(b[1:])
	var err error
	switch b[0] {
	case kindSetup:
		o.Setup, err = readSetup(&r)
	case kindJoin:
		o.SetupVersion, o.Join = r.Int(), readJoin(&r)
	case kindLeave:
		o.EntryID, o.Token, o.Outcome = r.Text(), r.Text(), r.Text()
	case kindClaim, kindConfirm:
		o.ReservationID, o.Fence = r.Text(), r.Int()
	case kindMiss:
		o.ReservationID, o.Fence, o.Cause = r.Text(), r.Int(), r.Text()
	case kindAgent:
		o.SetupVersion = r.Int()
		o.Agent = &AgentOp{UserID: r.Text(), Action: r.Text(), Reason: r.Text(), QueueID: r.Text()}
	case kindCallback:
		o.Callback = readCallback(&r)
	case kindMove:
		o.EntryID, o.Place = r.Text(), readSmall(&r)
	case kindSend:
		o.EntryID, o.Look = r.Text(), r.Bool()
	}
	if fault := r.End(); fault != nil {
		err = fault
	}
	if err == nil && !o.bounded() {
		err = pack.ErrRange
	}
	if err != nil {
		return fmt.Errorf("read an op %s: %w: %w", o.Kind, errOp, err)
	}
	return nil
}

// bounded tells whether the ids of an op are of a length that is real.
func (o *Op) bounded() bool {
	if j := o.Join; j != nil && !texts(j.EntryID, j.Token, j.CallID, j.Node, j.QueueID, j.CallerNumber) {
		return false
	}
	if s := o.Setup; s != nil && s.Version < 0 {
		return false
	}
	if c := o.Callback; c != nil && !c.bounded() {
		return false
	}
	if o.Kind == kindNames[kindMove] && o.Place < 1 {
		return false
	}
	return texts(o.EntryID, o.Token, o.ReservationID)
}

func texts(list ...string) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return len(s) > maxText || !utf8.ValidString(s) })
}

func readJoin(r *pack.Reader) *Join {
	j := &Join{}
	for _, s := range [...]*string{&j.EntryID, &j.Token, &j.CallID, &j.Node, &j.QueueID, &j.CallerNumber, &j.CallerName, &j.Label} {
		*s = r.Text()
	}
	j.Priority, j.ExitNoAgents, j.Skills, j.SinceMS, j.CallbackFence = readSmall(r), r.Bool(), readSkills(r), readTime(r), r.Int()
	return j
}

// Describe reads an op for people; it encodes to JSON. AppendOp is the way back.
func Describe(op []byte) (*Op, error) {
	o := &Op{}
	if err := o.read(op); err != nil {
		return nil, err
	}
	return o, nil
}

// AppendOp appends the op that Describe described. What is not an op is refused.
func AppendOp(b []byte, o *Op) ([]byte, error) {
	switch code := slices.Index(kindNames[:], o.Kind); {
	case code == kindSetup && o.Setup != nil:
		return AppendSetup(b, o.Setup), nil
	case code == kindJoin && o.Join != nil:
		return AppendJoin(b, o.Join, o.SetupVersion), nil
	case code == kindLeave:
		return AppendLeave(b, o.EntryID, o.Token, o.Outcome), nil
	case code == kindClaim:
		return AppendClaim(b, o.ReservationID, o.Fence), nil
	case code == kindConfirm:
		return AppendConfirm(b, o.ReservationID, o.Fence), nil
	case code == kindMiss:
		return AppendMiss(b, o.ReservationID, o.Fence, o.Cause), nil
	case code == kindAgent && o.Agent != nil:
		return AppendAgent(b, o.Agent, o.SetupVersion), nil
	case code == kindCallback && o.Callback != nil:
		return AppendCallback(b, o.Callback), nil
	case code == kindMove:
		return AppendMove(b, o.EntryID, o.Place), nil
	case code == kindSend:
		return appendSend(b, o.EntryID, o.Look), nil
	}
	return nil, fmt.Errorf("op %q: %w", o.Kind, errOp)
}
