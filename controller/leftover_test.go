package controller

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/voicemail"
)

// fakeObjects remembers what was deleted and fails as often as told.
type fakeObjects struct {
	mu      sync.Mutex
	fail    int
	deleted []string
}

func (f *fakeObjects) Read(context.Context, string, int64) ([]byte, error) { return nil, nil }

func (f *fakeObjects) Delete(_ context.Context, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail > 0 {
		f.fail--
		return errors.New("the store is away")
	}
	f.deleted = append(f.deleted, key)
	return nil
}

// fakeAccounts is a configuration of one account.
type fakeAccounts struct{ acct *brain.AccountConfig }

func (f fakeAccounts) Directory() brain.Directory { return oneAccount{acct: f.acct} }

// oneAccount is a directory; its other methods are not called.
type oneAccount struct {
	brain.Directory
	acct *brain.AccountConfig
}

func (f oneAccount) ByAccount(id string) *brain.AccountConfig {
	if f.acct != nil && f.acct.Account.ID == id {
		return f.acct
	}
	return nil
}

func TestLeftovers_AreDeletedWithTheirRows(t *testing.T) {
	// Proves that the objects of deleted messages and media files are deleted, however often the store fails at first, that
	// those which a row still names, rows without an object and all that mailboxes do themselves are left alone, and that
	// each mailbox changed is told of once, read marks included.
	synctest.Test(t, func(t *testing.T) {
		store := &fakeObjects{fail: leftoverTries - 1}
		kept := &brain.MediaFile{ID: "media_k", AccountID: "acc_1", ObjectKey: "acc_1/media/k.wav"}
		config := fakeAccounts{acct: &brain.AccountConfig{Account: brain.Account{ID: "acc_1"}, MediaFiles: map[string]*brain.MediaFile{"media_k": kept}}}
		var lamps []string
		l := newLeftovers(store, config, func(account, box string) { lamps = append(lamps, account+" "+box) }, slog.New(slog.NewTextHandler(io.Discard, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { l.run(ctx); close(done) }()
		message := func(box, key string) *brain.VoicemailMessage {
			return &brain.VoicemailMessage{ID: "msg_" + key, AccountID: "acc_1", VoicemailID: box, ObjectKey: "acc_1/vm/" + key}
		}
		remove := func(r brain.Resource) brain.Change { return brain.Change{Op: brain.OpDelete, Before: r} }
		l.changed("key_1", []brain.Change{
			remove(message("vm_1", "a")), remove(message("vm_1", "b")), remove(kept),
			remove(&brain.MediaFile{ID: "media_t", AccountID: "acc_1", Text: "spoken"}),
			remove(&brain.MediaFile{ID: "media_g", AccountID: "acc_gone", ObjectKey: "acc_gone/media/g.wav"}),
			{Op: brain.OpUpdate, Before: message("vm_2", "c"), Resource: message("vm_2", "c")},
			{Op: brain.OpUpdate, Before: kept, Resource: kept},
		})
		l.changed(voicemail.Actor, []brain.Change{remove(message("vm_3", "d"))})
		time.Sleep(time.Hour)
		synctest.Wait()
		if want := []string{"acc_1/vm/a", "acc_1/vm/b", "acc_gone/media/g.wav"}; !slices.Equal(store.deleted, want) {
			t.Errorf("deleted %q, want %q", store.deleted, want)
		}
		if want := []string{"acc_1 vm_1", "acc_1 vm_2"}; !slices.Equal(lamps, want) {
			t.Errorf("lamps of %q, want %q", lamps, want)
		}
		cancel()
		<-done
	})
}

func TestLeftovers_AStoreThatStaysAwayIsGivenUp(t *testing.T) {
	// Proves that an object which cannot be deleted is told in the log and holds up the next one only for so long.
	synctest.Test(t, func(t *testing.T) {
		store, log := &fakeObjects{fail: leftoverTries}, &safeBuffer{}
		l := newLeftovers(store, fakeAccounts{}, nil, slog.New(slog.NewTextHandler(log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { l.run(ctx); close(done) }()
		for _, key := range []string{"acc_1/media/a.wav", "acc_1/media/b.wav"} {
			l.changed("key_1", []brain.Change{{Op: brain.OpDelete, Before: &brain.MediaFile{AccountID: "acc_1", ObjectKey: key}}})
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if !slices.Equal(store.deleted, []string{"acc_1/media/b.wav"}) {
			t.Errorf("deleted %q", store.deleted)
		}
		if text := log.String(); !contains(text, "an object stays", "acc_1/media/a.wav", "the store is away") {
			t.Errorf("the log says\n%s", text)
		}
		cancel()
		<-done
	})
}
