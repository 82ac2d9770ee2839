// Package voicemail keeps what callers leave in mailboxes, and tells of it: the lamps of the owner's phones
// (RFC 3842), mail, and a request to a server of the operator's.
package voicemail

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Config changes the configuration, where the list of messages is.
type Config interface {
	Directory() brain.Directory
	Change(ctx context.Context, actor string, changes ...brain.Change) (version int64, err error)
}

// Objects is the media store.
type Objects interface {
	Read(ctx context.Context, key string, limit int64) ([]byte, error)
	Delete(ctx context.Context, key string) error
}

// Presence says at which node a phone is registered.
type Presence interface {
	State(ctx context.Context, accountID string) (api.PresenceState, error)
}

// Nodes carries out ops on the nodes.
type Nodes interface {
	Push(ctx context.Context, n *brain.Node, op api.Op) (api.OpReply, error)
}

// Poster posts a JSON document to a server outside; an error is any answer but 2xx.
type Poster interface {
	Post(ctx context.Context, accountID, url, key string, body []byte) error
}

// Actor is how revisions name what mailboxes change.
const Actor = "voicemail"

const maxQueue = 1024

// Boxes keeps the messages. Set the fields before Run; without Mail.Server no mail is sent.
type Boxes struct {
	Config   Config
	Objects  Objects
	Presence Presence
	Nodes    Nodes
	Poster   Poster
	Mail     Mail
	Log      *slog.Logger

	once  sync.Once
	queue chan job

	lit, told, dropped, failed atomic.Int64
}

// Counts are totals since the process began, by name.
func (b *Boxes) Counts() map[string]int64 {
	return map[string]int64{"lamps_set": b.lit.Load(), "messages_told_of": b.told.Load(),
		"notifications_dropped": b.dropped.Load(), "notifications_failed": b.failed.Load()}
}

// job is something to tell: of a message, or the state of a box to its owner's phones.
type job struct {
	account, box string
	aor          string // this phone only; "" = every phone of the box
	msg          *brain.VoicemailMessage
}

// Store enters a message into its box. The same message again changes nothing.
func (b *Boxes) Store(ctx context.Context, msg *brain.VoicemailMessage) error {
	if b.find(msg.AccountID, msg.ID) != nil {
		return nil
	}
	_, err := b.Config.Change(ctx, Actor, brain.Change{Op: brain.OpCreate, Resource: msg})
	if brain.CodeOf(err) == brain.EConflict && b.find(msg.AccountID, msg.ID) != nil {
		err = nil
	}
	if err == nil {
		b.Lamp(msg.AccountID, msg.VoicemailID, "")
	}
	return err
}

// MarkRead notes that a message was heard. One that is gone is no error.
func (b *Boxes) MarkRead(ctx context.Context, accountID, id string) error {
	msg := b.find(accountID, id)
	if msg == nil || msg.Read {
		return nil
	}
	heard := *msg
	heard.Read = true
	_, err := b.Config.Change(ctx, Actor, brain.Change{Op: brain.OpUpdate, Resource: &heard})
	if brain.CodeOf(err) == brain.ENotFound {
		return nil
	}
	if err == nil {
		b.Lamp(accountID, msg.VoicemailID, "")
	}
	return err
}

// Delete removes a message, and its sound with it. One that is gone is no error.
func (b *Boxes) Delete(ctx context.Context, msg *brain.VoicemailMessage) error {
	_, err := b.Config.Change(ctx, Actor, brain.Change{Op: brain.OpDelete, Resource: msg})
	if err != nil && brain.CodeOf(err) != brain.ENotFound {
		return err
	}
	b.Lamp(msg.AccountID, msg.VoicemailID, "")
	return b.Objects.Delete(ctx, msg.ObjectKey)
}

// find returns a message as the configuration has it, nil when it has not.
func (b *Boxes) find(accountID, id string) *brain.VoicemailMessage {
	acct := b.Config.Directory().ByAccount(accountID)
	if acct == nil {
		return nil
	}
	for _, list := range acct.MessagesByVoicemail {
		for _, m := range list {
			if m.ID == id {
				return m
			}
		}
	}
	return nil
}

// Notify tells of a new message, in its own time.
func (b *Boxes) Notify(_ context.Context, msg *brain.VoicemailMessage) error {
	b.enqueue(job{account: msg.AccountID, box: msg.VoicemailID, msg: msg})
	return nil
}

// Lamp has the phones of a box show what is in it, in its own time; aor "" = all of them.
func (b *Boxes) Lamp(accountID, boxID, aor string) {
	b.enqueue(job{account: accountID, box: boxID, aor: aor})
}

// Registered has a phone that has just registered show what is in its owner's box.
func (b *Boxes) Registered(accountID, aor string) {
	acct := b.Config.Directory().ByAccount(accountID)
	if acct == nil {
		return
	}
	for _, d := range acct.Devices {
		if d.AOR() != aor {
			continue
		}
		if u := acct.Users[d.UserID]; u != nil && len(acct.MessagesByVoicemail[u.VoicemailID]) > 0 {
			b.Lamp(accountID, u.VoicemailID, aor)
		}
		return
	}
}

func (b *Boxes) enqueue(j job) {
	select {
	case b.jobs() <- j:
	default:
		b.dropped.Add(1)
		b.Log.Warn("too much to tell at once: dropped", "account", j.account, "voicemail", j.box)
	}
}

func (b *Boxes) jobs() chan job {
	b.once.Do(func() { b.queue = make(chan job, maxQueue) })
	return b.queue
}

// Run tells what there is to tell until ctx ends, four things at a time.
func (b *Boxes) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for {
				select {
				case j := <-b.jobs():
					b.tell(ctx, j)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	workers.Wait()
}

func (b *Boxes) tell(ctx context.Context, j job) {
	acct := b.Config.Directory().ByAccount(j.account)
	if acct == nil || acct.Voicemails[j.box] == nil {
		return
	}
	var err error
	if j.msg != nil {
		err = b.tellOf(ctx, acct.Voicemails[j.box], j.msg)
	} else {
		err = b.light(ctx, acct, j)
	}
	if err != nil && ctx.Err() == nil {
		b.failed.Add(1)
		b.Log.Warn("nobody was told of a mailbox", "account", j.account, "voicemail", j.box, "err", err)
	}
}

// light sets the lamps of a box's phones, each through the node where it is registered.
func (b *Boxes) light(ctx context.Context, acct *brain.AccountConfig, j job) error {
	op := api.Op{Kind: api.OpMWI}
	for _, m := range acct.MessagesByVoicemail[j.box] {
		if m.Read {
			op.Old++
		} else {
			op.New++
		}
	}
	state, err := b.Presence.State(ctx, acct.Account.ID)
	if err != nil {
		return err
	}
	var last error
	for _, d := range state.Devices {
		u := acct.Users[d.UserID]
		if u == nil || u.VoicemailID != j.box || d.Contacts == 0 || j.aor != "" && d.AOR != j.aor {
			continue
		}
		n := b.Config.Directory().NodeByName(d.Node)
		if n == nil || n.AgentURL == "" {
			continue
		}
		op.ID, op.AOR = "op_"+strings.ToLower(rand.Text()), d.AOR
		reply, err := b.Nodes.Push(ctx, n, op)
		if err == nil && !reply.OK {
			err = brain.Errorf(brain.EUnavailable, "node %s: %s", n.Name, reply.Error)
		}
		if err != nil {
			last = err
			continue
		}
		b.lit.Add(1)
	}
	return last
}
