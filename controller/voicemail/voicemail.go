// Package voicemail keeps what callers leave in mailboxes, and tells of it: the lamps of the owner's phones
// (RFC 3842), mail, and a request to a server of the operator's.
package voicemail

import (
	"context"
	"crypto/rand"
	"errors"
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

// Bounds of what waits to be told, and how many tell at once: of lamps, and beside them of messages, so that a mail
// relay that hangs keeps no lamp from changing.
const (
	maxQueue = 1024
	tellers  = 4
)

// Boxes keeps the messages. Set the fields before Run; without Mail.Server no mail is sent.
type Boxes struct {
	Config   Config
	Objects  Objects
	Presence Presence
	Nodes    Nodes
	Poster   Poster
	Mail     Mail
	Log      *slog.Logger

	once           sync.Once
	lamps, tidings chan job

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
	node, aor    string // the phone that has just registered there; "" = every phone of the box
	msg          *brain.VoicemailMessage
}

// Store enters a message into its box. The same message again changes nothing. One whose box was deleted while the
// caller spoke is nobody's: its sound is deleted.
func (b *Boxes) Store(ctx context.Context, msg *brain.VoicemailMessage) error {
	_, err := b.Config.Change(ctx, Actor, brain.Change{Op: brain.OpCreate, Resource: msg})
	switch acct := b.Config.Directory().ByAccount(msg.AccountID); {
	case brain.CodeOf(err) == brain.EUnavailable:
		return err
	case err == nil, b.find(msg.AccountID, msg.ID) != nil: // it was there: whoever entered it may have died before the lamps
		b.Lamp(msg.AccountID, msg.VoicemailID)
		return nil
	case acct == nil || acct.Voicemails[msg.VoicemailID] == nil:
		b.Log.Warn("a message is deleted: its mailbox is gone", "account", msg.AccountID, "voicemail", msg.VoicemailID, "message", msg.ID)
		return b.Objects.Delete(ctx, msg.ObjectKey)
	}
	return err
}

// MarkRead notes that a message was heard. One that is gone is no error.
func (b *Boxes) MarkRead(ctx context.Context, accountID, id string) error {
	msg := b.find(accountID, id)
	if msg == nil {
		return nil
	}
	if !msg.Read {
		heard := *msg
		heard.Read = true
		_, err := b.Config.Change(ctx, Actor, brain.Change{Op: brain.OpUpdate, Resource: &heard})
		if err != nil && brain.CodeOf(err) != brain.ENotFound {
			return err
		}
	}
	b.Lamp(accountID, msg.VoicemailID)
	return nil
}

// Delete removes a message, and its sound with it. One that is gone is no error.
func (b *Boxes) Delete(ctx context.Context, msg *brain.VoicemailMessage) error {
	_, err := b.Config.Change(ctx, Actor, brain.Change{Op: brain.OpDelete, Resource: msg})
	if err != nil && brain.CodeOf(err) != brain.ENotFound {
		return err
	}
	b.Lamp(msg.AccountID, msg.VoicemailID)
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

// Lamp has the phones of a box show what is in it, in its own time.
func (b *Boxes) Lamp(accountID, boxID string) {
	b.enqueue(job{account: accountID, box: boxID})
}

// Registered has a phone that has just registered at a node show what is in its owner's box, also when it is empty:
// the phone may have been away when the last message was deleted.
func (b *Boxes) Registered(node, accountID, aor string) {
	acct := b.Config.Directory().ByAccount(accountID)
	if acct == nil {
		return
	}
	d := acct.DeviceByAuth[strings.TrimPrefix(aor, "sip:")]
	if d == nil {
		return
	}
	if u := acct.Users[d.UserID]; u != nil && acct.Voicemails[u.VoicemailID] != nil {
		b.enqueue(job{account: accountID, box: u.VoicemailID, aor: aor, node: node})
	}
}

func (b *Boxes) enqueue(j job) {
	lamps, tidings := b.queues()
	queue := lamps
	if j.msg != nil {
		queue = tidings
	}
	select {
	case queue <- j:
	default:
		b.dropped.Add(1)
		b.Log.Warn("too much to tell at once: dropped", "account", j.account, "voicemail", j.box)
	}
}

func (b *Boxes) queues() (lamps, tidings chan job) {
	b.once.Do(func() { b.lamps, b.tidings = make(chan job, maxQueue), make(chan job, maxQueue) })
	return b.lamps, b.tidings
}

// Run tells what there is to tell until ctx ends.
func (b *Boxes) Run(ctx context.Context) {
	lamps, tidings := b.queues()
	var workers sync.WaitGroup
	for _, queue := range []chan job{lamps, tidings} {
		for range tellers {
			workers.Go(func() {
				for {
					select {
					case j := <-queue:
						b.tell(ctx, j)
					case <-ctx.Done():
						return
					}
				}
			})
		}
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

// light sets the lamps of a box's phones, each through the node where it is registered. One that cannot be told does
// not keep the others from it.
func (b *Boxes) light(ctx context.Context, acct *brain.AccountConfig, j job) error {
	op := api.Op{Kind: api.OpMWI}
	for _, m := range acct.MessagesByVoicemail[j.box] {
		if m.Read {
			op.Old++
		} else {
			op.New++
		}
	}
	if j.node != "" {
		return b.push(ctx, j.node, j.aor, op)
	}
	state, err := b.Presence.State(ctx, acct.Account.ID)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range state.Devices {
		u := acct.Users[d.UserID]
		if u != nil && u.VoicemailID == j.box && d.Contacts > 0 {
			errs = append(errs, b.push(ctx, d.Node, d.AOR, op))
		}
	}
	return errors.Join(errs...)
}

// push sends one phone's lamp to its node.
func (b *Boxes) push(ctx context.Context, node, aor string, op api.Op) error {
	n := b.Config.Directory().NodeByName(node)
	if n == nil || !n.TakesOrders() {
		return nil // a node that takes no orders
	}
	op.ID, op.AOR = "op_"+strings.ToLower(rand.Text()), aor
	reply, err := b.Nodes.Push(ctx, n, op)
	if err == nil && !reply.OK {
		err = brain.Errorf(brain.EUnavailable, "node %s: %s", n.Name, reply.Error)
	}
	if err == nil {
		b.lit.Add(1)
	}
	return err
}
