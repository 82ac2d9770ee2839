package state

import (
	"fmt"
	"math/bits"

	"github.com/anishathalye/porcupine"

	"github.com/sipio/sipio/brain/cac"
)

// What a client asks.
type askKind uint8

const (
	admit askKind = iota
	release
	read
)

// ask is a question about a token (0 to 15).
type ask struct {
	kind  askKind
	token int
}

func (q ask) String() string {
	return fmt.Sprintf("%s %d", [...]string{"admit", "release", "read"}[q.kind], q.token)
}

// answer is what came back. unknown: nothing, and whether anything happened is open.
type answer struct {
	unknown  bool
	unlogged bool
	verdict  cac.Verdict
	released int
	held     uint16 // tokens, as read
}

func (a answer) String() string {
	v := a.verdict
	switch {
	case a.unknown:
		return "unknown"
	case v.Admitted && v.Repeated:
		return "admitted, again"
	case v.Admitted:
		return "admitted"
	case v.Kind != 0:
		return fmt.Sprintf("refused by %v %s (%d of %d)", v.Kind, v.ID, v.Used, v.Limit)
	}
	return fmt.Sprintf("%d released, held %016b", a.released, a.held)
}

// The limits: three calls of the account, two of each user. The calls of even and odd tokens are of two users, that of
// every eighth is an emergency call.
const (
	modelCalls = 3
	modelUser  = 2
	evens      = uint16(0x5555)
)

func tokenName(n int) string { return fmt.Sprintf("token%02d", n) }

func tokenNumber(name string) (n int) {
	_, _ = fmt.Sscanf(name, "token%02d", &n)
	return n
}

// emergency tells whether the token's call is one.
func (q ask) emergency() bool { return q.token%8 == 5 }

func userOf(token int) string { return fmt.Sprint("us_", token%2) }

// call is what a token asks to be admitted with.
func (q ask) call() cac.Call {
	return cac.Call{Token: tokenName(q.token), CallID: tokenName(q.token), Node: "node1", AskedMS: 1, Emergency: q.emergency(), Takes: []cac.Take{
		{Kind: cac.Internal, Limit: modelCalls}, {Kind: cac.User, ID: userOf(q.token), Limit: modelUser}}}
}

// ledger is the state of the model: which tokens have a place, and which are over.
type ledger struct{ held, over uint16 }

// model says what admission is, in one place at a time: written from the specification, without a line of brain/cac.
var model = porcupine.Model{
	Init: func() any { return ledger{} },
	Step: func(state, input, output any) (bool, any) {
		l, q, got := state.(ledger), input.(ask), output.(answer)
		next, right := l, answer{}
		switch q.kind {
		case admit:
			next, right.verdict = l.admit(q.token)
		case release:
			next = ledger{l.held &^ (1 << q.token), l.over | 1<<q.token}
			right.released = bits.OnesCount16(l.held & (1 << q.token))
		case read:
			right.held = l.held
		}
		return got.unknown || got.same(right), next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input, " -> ", output) },
}

func (a answer) same(b answer) bool {
	v, w := a.verdict, b.verdict
	return a.released == b.released && a.held == b.held && v.Admitted == w.Admitted && v.Repeated == w.Repeated &&
		v.Kind == w.Kind && v.ID == w.ID && v.Limit == w.Limit && v.Used == w.Used
}

func (l ledger) admit(token int) (ledger, cac.Verdict) {
	bit, mine := uint16(1)<<token, evens
	if token%2 == 1 {
		mine = ^evens
	}
	calls, user := bits.OnesCount16(l.held), bits.OnesCount16(l.held&mine)
	next := ledger{l.held | bit, l.over}
	switch {
	case l.held&bit != 0:
		return l, cac.Verdict{Admitted: true, Repeated: true}
	case ask{token: token}.emergency(): // an emergency call, even one whose end was heard of before it
		return next, cac.Verdict{Admitted: true}
	case l.over&bit != 0:
		return l, cac.Verdict{}
	case calls >= modelCalls:
		return l, cac.Verdict{Kind: cac.Internal, Limit: modelCalls, Used: calls}
	case user >= modelUser:
		return l, cac.Verdict{Kind: cac.User, ID: userOf(token), Limit: modelUser, Used: user}
	}
	return next, cac.Verdict{Admitted: true}
}
