package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
	"github.com/sipio/sipio/brain/session"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/media"
	"github.com/sipio/sipio/controller/node"
	"github.com/sipio/sipio/controller/pin"
	"github.com/sipio/sipio/controller/queue"
	calls "github.com/sipio/sipio/controller/session"
	"github.com/sipio/sipio/controller/voicemail"
	"github.com/sipio/sipio/internal/keyfile"
)

// answering is what the brain has for calls that the platform answers.
type answering struct {
	cfg     Config
	log     *slog.Logger
	config  *config.Store
	store   *media.Store
	library *media.Library
	calls   *calls.Calls
	boxes   *voicemail.Boxes
	nodes   *node.Ops
	left    *leftovers
	queues  *queue.Queues

	transfers *calls.Transfers
}

// openAnswering opens the media store, the speech engine and the mailboxes, and gives sessions their view of the
// configuration. It goes before the first shard is served.
func openAnswering(ctx context.Context, cfg Config, store *config.Store, l *live, s *secrets, log *slog.Logger) (_ *answering, err error) {
	a := &answering{cfg: cfg, log: log, config: store}
	where := cfg.MediaStore
	if where == "" {
		where = filepath.Join(cfg.DataDir, "media")
	}
	if a.store, err = media.Open(ctx, media.Options{URL: where}); err != nil {
		return nil, fmt.Errorf("media-store: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.store.Close())
		}
	}()
	engine, err := openSpeech(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	a.library = media.NewLibrary(a.store, engine)
	a.library.Log = log
	outside, err := calls.NewClient(calls.ClientOptions{CAFile: cfg.FlowCAFile, AllowNets: cfg.FlowAllowNets, Secret: s.forFlow})
	if err != nil {
		return nil, err
	}
	key, err := readSecret("op-key-file", cfg.OpKeyFile)
	if err != nil {
		return nil, err
	}
	a.nodes = &node.Ops{Key: key, Secrets: s.ofNode}
	a.boxes = &voicemail.Boxes{Config: store, Objects: objects{a.store}, Presence: l.presence, Nodes: a.nodes, Poster: poster{outside},
		Mail: voicemail.Mail{Server: cfg.MailServer, From: cfg.MailFrom}, Log: log}
	a.calls = &calls.Calls{Owner: &actor.Sessions{Live: l.presence.Live}, Directory: store.Directory, Messages: a.boxes, Notifier: a.boxes,
		Recordings: recordings{log}, Sounds: a.library, CheckPIN: pin.Check, HTTP: outside, Log: log}
	l.host.Env = a.calls.Env
	a.queues = queue.New(&actor.Desks{Live: l.presence.Live}, store.Directory, a.nodes, a.library, log)
	a.calls.Queues, a.calls.Agents, a.queues.Callers = a.queues, a.queues, a.calls
	a.queues.Sessions = a.calls.Owner
	a.transfers = &calls.Transfers{Owner: a.calls.Owner, Directory: store.Directory, Desk: a.queues, Live: l.presence, Nodes: a.nodes, Sounds: a.library}
	l.host.Effects = a.queues.Effects
	a.left = newLeftovers(objects{a.store}, store, a.boxes.Lamp, log)
	store.Changed = func(actor string, changes []brain.Change) {
		a.left.changed(actor, changes)
		a.queues.Changed(changes)
	}
	return a, nil
}

// openSpeech finds the engine that speaks texts. Without one calls hear what has been recorded or spoken before.
func openSpeech(ctx context.Context, cfg Config, log *slog.Logger) (media.Engine, error) {
	if cfg.SpeechURL != "" {
		secret, err := readSecret("speech-key-file", cfg.SpeechKeyFile)
		if err != nil {
			return nil, err
		}
		remote, err := media.NewRemote(cfg.SpeechURL, cfg.SpeechBody, secret)
		if err != nil {
			return nil, fmt.Errorf("speech-url: %w", err)
		}
		if remote.Tags = cfg.SpeechLanguages; len(remote.Tags) == 0 {
			remote.Tags = media.PromptLanguages()
		}
		return remote, nil
	}
	engine, err := media.OpenEspeak(ctx, "")
	if err != nil {
		log.Warn("no speech engine: texts of flows and prompts are not heard until espeak-ng is installed or speech-url is set", "err", err)
		return nil, nil
	}
	return engine, nil
}

// readSecret reads a secret of one line; path "" is none.
func readSecret(what, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := keyfile.Text(path, brain.GroupReads)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return text, nil
}

// run does what is done beside calls, until ctx ends.
func (a *answering) run(ctx context.Context) {
	go a.boxes.Run(ctx)
	go a.left.run(ctx)
	go a.calls.Run(ctx)
	go a.queues.Run(ctx)
	go a.keepRecordings(ctx)
	languages := a.cfg.PromptLanguages
	switch {
	case len(languages) == 0: // each is spoken when it is first heard; nodes ask for the music
		if _, err := a.library.Music(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("no music on hold: it could not be made", "err", err)
		}
		return
	case slices.Equal(languages, []string{"all"}):
		languages = nil
	}
	prepared, err := a.library.Prepare(ctx, languages)
	if err != nil && ctx.Err() == nil {
		a.log.Warn("not all prompts could be spoken: those are not heard", "there", prepared.There, "failed", prepared.Failed, "err", err)
	} else if err == nil {
		a.log.Info("the prompts are there", "count", prepared.There)
	}
}

// keepRecordings deletes recordings that are older than their account wants, every hour.
func (a *answering) keepRecordings(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := a.sweepRecordings(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("old recordings stay", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (a *answering) sweepRecordings(ctx context.Context) error {
	const pageSize = 500
	for after := ""; ; {
		page, err := a.config.List(ctx, brain.KindAccount, "", after, pageSize)
		if err != nil {
			return err
		}
		for _, r := range page {
			acct := r.(*brain.Account)
			_, err := a.library.Sweep(ctx, acct.ID, acct.RecRetentionDays, func(_ context.Context, e media.Entry) error {
				a.log.Info("recording deleted: older than the account keeps it", "account", acct.ID, "key", e.Key, "made", e.Changed)
				return nil
			})
			if err != nil {
				return fmt.Errorf("account %s: %w", acct.ID, err)
			}
		}
		if len(page) < pageSize {
			return nil
		}
		after = page[len(page)-1].ResourceID()
	}
}

// registered sets the lamps of phones that have just registered.
func (a *answering) registered(batch *api.EventBatch) {
	for i := range batch.Events {
		if ev := &batch.Events[i]; ev.Type == api.EventContactSaved {
			a.boxes.Registered(batch.Node, ev.AccountID, ev.AOR)
		}
	}
}

func (a *answering) close() {
	a.queues.Close()
	if err := a.store.Close(); err != nil {
		a.log.Warn("media store", "err", err)
	}
}

// content is the media store as operators use it.
type content struct {
	*media.Store
	library *media.Library
	config  *config.Store
}

// Accept stores the file of a media file and enters it in its row; what was there before is deleted.
func (c content) Accept(ctx context.Context, who, accountID, mediaID string, r io.Reader) (*brain.MediaFile, error) {
	row, err := c.config.Get(ctx, brain.KindMediaFile, accountID, mediaID)
	if err != nil {
		return nil, err
	}
	up, err := c.library.Upload(ctx, accountID, mediaID, r)
	if err != nil {
		return nil, err
	}
	before := row.(*brain.MediaFile)
	file := *before
	file.ObjectKey, file.Format, file.DurationMS = up.Ref.Key, up.Format, up.DurationMS
	file.Bytes, file.SHA256, file.Text = int(up.Ref.Bytes), up.Ref.SHA256, ""
	if _, err := c.config.Change(ctx, who, brain.Change{Op: brain.OpUpdate, Resource: &file, Before: before}); err != nil {
		return nil, err
	}
	if before.ObjectKey != "" && before.ObjectKey != file.ObjectKey {
		err = objects{c.Store}.Delete(ctx, before.ObjectKey)
	}
	return &file, err
}

// objects is the media store as mailboxes use it.
type objects struct{ store *media.Store }

func (o objects) Read(ctx context.Context, key string, limit int64) ([]byte, error) {
	body, ref, err := o.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	if ref.Bytes > limit {
		return nil, fmt.Errorf("%s has %d bytes, limit %d", key, ref.Bytes, limit)
	}
	return io.ReadAll(body)
}

func (o objects) Delete(ctx context.Context, key string) error {
	err := o.store.Delete(ctx, key)
	if brain.CodeOf(err) == brain.ENotFound {
		return nil
	}
	return err
}

// poster posts notifications as flows ask servers: https only, bounded, to public addresses or those allowed.
type poster struct{ client *calls.Client }

func (p poster) Post(ctx context.Context, accountID, url, key string, body []byte) error {
	call := &flow.HTTPCall{Method: "POST", URL: url, Headers: map[string]string{"Content-Type": "application/json"}, Body: string(body)}
	outcome, data := p.client.Do(ctx, call, accountID, key)
	if outcome != "success" {
		return fmt.Errorf("%s: %s %s %s", url, outcome, data["status"], data["reason"])
	}
	return nil
}

// recordings tells of recordings in the log.
type recordings struct{ log *slog.Logger }

func (r recordings) Store(_ context.Context, accountID string, rec *session.Recording) error {
	r.log.Info("call recorded", "account", accountID, "token", rec.Token, "call_id", rec.CallID, "key", rec.Key,
		"duration_ms", rec.DurationMS, "bytes", rec.Bytes)
	return nil
}
