// Package actor gives each live object one owner: an actor with a mailbox, a timer and a journal. A machine
// (pure state, see brain/) is only ever touched by its actor, one operation after the other, so it needs no
// lock and its checks and changes are one step. What an operation changed is in the journal before its
// answer leaves: what was acknowledged survives the process.
//
// The actors of a shard share one goroutine and one group commit; docs/adr/0008 says why.
package actor

import (
	"context"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/brain/session"
)

// Bounds of one shard. What lies beyond is refused with brain.EUnavailable: a queue that grows answers
// everybody too late.
const (
	MailboxSize = 256     // operations waiting for one actor
	queueSize   = 8192    // operations waiting for one shard
	maxPending  = 8192    // operations applied and not yet in the journal
	maxBatch    = 1 << 20 // bytes of one message of the journal that may take another operation
	maxActors   = 1 << 16 // actors of one shard
	maxCalls    = 1 << 13 // of them calls that the platform answers: they must not push accounts out
	controlSize = 64      // reports waiting for one shard
	partSize    = 512 << 10

	// MaxOp is how many bytes one operation may have. Refused with brain.EInvalid: written behind a message of almost
	// maxBatch bytes it must still fit into what the journal takes at once, or it would cost the shard, and again after
	// each restart of whoever sent it.
	MaxOp = presence.MaxOp + 64<<10

	// MaxMessage is how many bytes a Log must be able to take at once: operations short of maxBatch and one more, with
	// whose it is and when, and the wrong PIN that a step may tell of.
	MaxMessage = maxBatch + MaxOp + 4<<10
)

// Machine is the pure state of one object, as brain/presence has it for an account.
type Machine interface {
	Apply(nowMS int64, op []byte) (reply []byte, changed bool, err error)
	Observe(nowMS int64, r *presence.Report) (op []byte)
	Due(nowMS int64) (op []byte)
	Deadline() (ms int64, ok bool)
	Resume(nowMS int64)
	Query(nowMS int64, question []byte) ([]byte, error)
	AppendSnapshot(b []byte) []byte
	Empty() bool
	Watch(on bool)
	Deltas() []api.Delta
	// Effects gives what there is to do outside since it was asked last. It leaves once the journal holds what led to it.
	Effects() presence.Effects
}

// Log is the journal of one shard. Append takes up to MaxMessage bytes and returns once they are durable. Any error means
// that this owner will never write again: it was replaced, or it must stop. One call at a time.
type Log interface {
	Append(ctx context.Context, data []byte) error
	// AppendSnapshot writes one part of a snapshot of everything appended before its first part.
	AppendSnapshot(ctx context.Context, part []byte, first, last bool) error
	Close()
}

// OpenLog reads a shard's journal from its newest snapshot on and takes it over with an epoch, which fences
// every earlier owner.
type OpenLog func(ctx context.Context, shard int, epoch uint64, snapshot func(part []byte, last bool) error, record func(data []byte) error) (Log, error)

// Class says how long an answer waits for the journal.
type Class uint8

// The classes of durability.
const (
	ClassMoney     Class = iota // for ever
	ClassStep                   // StepWait, then the operation counts as failed, though its effect may still come
	ClassAdmission              // AdmissionWait, then the answer leaves marked unlogged and is written behind
	ClassSoft                   // not at all
)

// How long an answer waits for the journal, by class.
const (
	StepWait      = time.Second
	AdmissionWait = 25 * time.Millisecond
)

// Reply is the answer to an operation.
type Reply struct {
	Data     []byte
	Unlogged bool // the journal had not acknowledged it when the answer left
}

// ErrNoOwner says that this brain does not own the shard of an account.
var ErrNoOwner = brain.Errorf(brain.EUnavailable, "the account's shard is not owned here")

// checkOp refuses an operation that is larger than MaxOp.
func checkOp(id string, op []byte) error {
	if len(op) > MaxOp {
		return brain.Errorf(brain.EInvalid, "an operation on %s has %d bytes, more than %d", id, len(op), MaxOp)
	}
	return nil
}

// request is one operation or question on its way.
type request struct {
	id    string
	class Class
	op    []byte
	ask   func(s *shard, a *object, nowMS int64) ([]byte, error) // instead of op: reads, never changes
	step  *question                                              // instead of op

	reply   []byte
	err     error
	changed bool // the journal vouches for the answer: a replaced owner's is refused there

	gated
}

// question is one to a session, decided in the loop, and its answer.
type question struct {
	asked *session.Request
	said  session.Reply
}

// object is one actor: its machine, and its place among the timers of its shard.
type object struct {
	id      string
	machine Machine
	dueMS   int64
	index   int // in the heap of timers; -1 = none
	feed    *feed
}
