package controller

import (
	"context"
	"log/slog"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/voicemail"
)

// maxLeftovers bounds the objects that wait to be deleted: more than that go at once only with a whole account.
const maxLeftovers = 1 << 16

// Deleting an object is tried this often, with a pause that grows each time.
const (
	leftoverTries = 5
	leftoverPause = 2 * time.Second
)

// leftovers deletes the sounds of messages and media files whose rows are gone, and has lamps follow the messages,
// whoever changed the rows: an operator, a document, a rollback. What mailboxes change they see to themselves.
type leftovers struct {
	objects voicemail.Objects
	config  interface{ Directory() brain.Directory }
	lamp    func(accountID, boxID string)
	log     *slog.Logger
	queue   chan leftover
	pause   time.Duration
}

// leftover is an object that no row names any more.
type leftover struct{ account, key, row string }

func newLeftovers(objects voicemail.Objects, config interface{ Directory() brain.Directory }, lamp func(accountID, boxID string), log *slog.Logger) *leftovers {
	return &leftovers{objects: objects, config: config, lamp: lamp, log: log, queue: make(chan leftover, maxLeftovers), pause: leftoverPause}
}

// changed takes note of what a change of the configuration leaves behind. It does not wait.
func (l *leftovers) changed(actor string, changes []brain.Change) {
	if actor == voicemail.Actor {
		return
	}
	type box struct{ account, id string }
	told := map[box]bool{}
	for _, c := range changes {
		row := c.Resource
		if row == nil {
			row = c.Before
		}
		switch r := row.(type) {
		case *brain.VoicemailMessage:
			if b := (box{r.AccountID, r.VoicemailID}); !told[b] {
				told[b] = true
				l.lamp(b.account, b.id)
			}
			if c.Op == brain.OpDelete {
				l.add(leftover{r.AccountID, r.ObjectKey, r.ID})
			}
		case *brain.MediaFile:
			if c.Op == brain.OpDelete && r.ObjectKey != "" {
				l.add(leftover{r.AccountID, r.ObjectKey, r.ID})
			}
		}
	}
}

func (l *leftovers) add(o leftover) {
	select {
	case l.queue <- o:
	default:
		l.log.Error("too many objects to delete at once: this one stays", "account", o.account, "key", o.key)
	}
}

// run deletes until ctx ends. What waits then stays: the log says so.
func (l *leftovers) run(ctx context.Context) {
	for {
		select {
		case o := <-l.queue:
			l.delete(ctx, o)
		case <-ctx.Done():
			if n := len(l.queue); n > 0 {
				l.log.Warn("objects stay although nothing names them any more", "count", n)
			}
			return
		}
	}
}

func (l *leftovers) delete(ctx context.Context, o leftover) {
	if l.named(o) {
		return // its row is back, or another one has the object
	}
	err := l.objects.Delete(ctx, o.key)
	for try := 1; err != nil && try < leftoverTries && ctx.Err() == nil; try++ {
		select {
		case <-time.After(l.pause << (try - 1)):
			err = l.objects.Delete(ctx, o.key)
		case <-ctx.Done():
		}
	}
	if err == nil {
		l.log.Info("object deleted with its row", "account", o.account, "row", o.row, "key", o.key)
		return
	}
	l.log.Error("an object stays although nothing names it any more", "account", o.account, "row", o.row, "key", o.key, "err", err)
}

// named tells whether a row names the object now.
func (l *leftovers) named(o leftover) bool {
	acct := l.config.Directory().ByAccount(o.account)
	if acct == nil {
		return false
	}
	for _, f := range acct.MediaFiles {
		if f.ObjectKey == o.key {
			return true
		}
	}
	for _, list := range acct.MessagesByVoicemail {
		for _, m := range list {
			if m.ObjectKey == o.key {
				return true
			}
		}
	}
	return false
}
