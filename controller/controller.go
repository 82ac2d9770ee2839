// Package controller is the process sipio-brain: it opens the configuration, gives every account's
// live state an actor, and answers the decision endpoints and /v1. It decides nothing; brain/ does.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/endpoint"
	"github.com/sipio/sipio/controller/guard"
	"github.com/sipio/sipio/controller/journal"
	"github.com/sipio/sipio/controller/pin"
	"github.com/sipio/sipio/controller/stir"
	"github.com/sipio/sipio/controller/v1"
)

const (
	databaseFile = "config.db"
	adminKeyFile = "admin.key"
)

// process is the parts of a running brain.
type process struct {
	cfg     Config
	log     *slog.Logger
	store   *config.Store
	live    *live
	secrets *secrets
	answer  *answering
	money   money
	stir    *stir.Calls
	guard   *guard.Guard
	ids     identities
}

// Run is the brain from start to end: it returns nil after a graceful stop by ctx, or the error that
// kept it from answering.
func Run(ctx context.Context, cfg Config) (err error) {
	p := &process{cfg: cfg, log: cfg.Log}
	if p.log == nil {
		p.log = slog.Default()
	}
	if err := cfg.Check(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data-dir: %w", err)
	}
	if p.store, p.live, err = openState(ctx, cfg, p.log); err != nil {
		return err
	}
	defer p.store.Close()
	defer p.live.close()
	if err := openAudit(ctx, p.live.bus, p.store); err != nil {
		return err
	}
	if p.secrets, err = openSecrets(ctx, cfg, p.store, p.log); err != nil {
		return err
	}
	if err := ensureAdminKey(ctx, p.store, filepath.Join(cfg.DataDir, adminKeyFile), p.log); err != nil {
		return fmt.Errorf("first key: %w", err)
	}
	if p.answer, err = openAnswering(ctx, cfg, p.store, p.live, p.secrets, p.log); err != nil {
		return err
	}
	defer p.answer.close()
	if err := p.open(ctx); err != nil {
		return err
	}
	background, stop := context.WithCancel(ctx)
	defer stop()
	go follow(background, p.store, p.log)
	if err := p.live.join(ctx, cfg); err != nil {
		return fmt.Errorf("live state: %w", err)
	}
	handler := p.handler(ctx)
	go p.guard.Run(background)
	go p.answer.run(background)
	go p.store.FollowAudit(background, auditEvery)
	return serve(ctx, p.cfg, p.log, handler)
}

// open makes the parts that need no closing. They go before the first shard is served.
func (p *process) open(ctx context.Context) (err error) {
	if p.money, err = openMoney(ctx, p.store, p.live, p.answer, p.log); err != nil {
		return fmt.Errorf("rate plans: %w", err)
	}
	if p.stir, err = openStir(&p.cfg, p.secrets.password, p.log); err != nil {
		return err
	}
	if p.guard, err = openGuard(p.cfg, p.store, p.live, p.answer, p.log); err != nil {
		return err
	}
	if p.ids, err = openIdentities(p.cfg, p.log); err != nil {
		return err
	}
	p.answer.nodes.TLS = p.ids.nodeTLS()
	openNodeBus(p.cfg, p.store, p.live.bus, p.answer.nodes, p.log)
	p.cfg.nodeBus = p.live.bus.NodeAddr()
	return nil
}

// handler answers all that a brain is asked until ctx ends.
func (p *process) handler(ctx context.Context) http.Handler {
	ask := endpoint.New(p.store, p.live.presence)
	if p.ids.of != nil {
		ask.Identities = p.ids.of
	}
	ask.Allow, ask.Version, ask.LogDecisions, ask.Log = p.cfg.AllowPeers, p.cfg.Version, p.cfg.LogDecisions, p.log
	ask.Done, ask.Operator = ctx.Done(), &operator{p.cfg.Name, p.live, p.store}
	ask.Nodes, ask.Delivered, ask.Stir = p.answer.nodes, p.answer.registered, p.stir
	ask.Password, ask.Audit, ask.Believed = p.secrets.password, p.store, p.guard.Believed
	mux := &doors{ServeMux: http.NewServeMux()}
	ask.Register(mux)
	ask.RegisterFlow(mux, p.answer.calls)
	ask.RegisterQueues(mux, p.answer.queues)
	ask.RegisterTransfers(mux, p.answer.transfers)
	ask.RegisterTrunks(mux, trunks{p.live.presence})
	ask.RegisterMedia(mux, p.answer.store)
	ask.RegisterContent(mux, content{p.answer.store, p.answer.library, p.store})
	ask.RegisterSecrets(mux, p.secrets)
	ask.RegisterBalance(mux, p.money.wallets, p.money.rates)
	ask.Prices = p.money.rates.AtHand
	ask.RegisterSecurity(mux, p.guard, p.store)
	mux.Handle(v1.Prefix+"/", newV1(p.cfg, p.store, p.secrets.box, ask.Credential))
	handler := endpoint.Unproxied(p.cfg.TrustedProxies, withPeer(mux))
	if p.cfg.registered != nil {
		p.cfg.registered(mux.patterns, handler)
	}
	return handler
}

// openState opens the configuration and the journal that holds its change log and the live state.
func openState(ctx context.Context, cfg Config, log *slog.Logger) (store *config.Store, l *live, err error) {
	where := journalConfig(cfg, log)
	if where.NodeTLS, err = nodeBusTLS(cfg, log); err != nil {
		return nil, nil, err
	}
	bus, err := journal.Open(ctx, where)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, bus.Close())
		}
	}()
	if store, err = openStore(ctx, filepath.Join(cfg.DataDir, databaseFile), bus); err != nil {
		return nil, nil, fmt.Errorf("open configuration: %w", err)
	}
	if len(cfg.BusURLs) > 0 {
		if err := keepSnapshot(ctx, bus, store); err != nil {
			log.Warn("no snapshot of the configuration is kept: a new brain may not be able to join", "err", err)
		}
	}
	if l, err = openLive(bus, store, log, len(cfg.BusURLs) > 0); err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, l, nil
}

// openStore opens the configuration and brings it level with the change log, from a snapshot when the log no
// longer reaches back far enough.
func openStore(ctx context.Context, path string, bus *journal.Bus) (*config.Store, error) {
	store, err := replicate(ctx, path, bus)
	if !errors.Is(err, config.ErrBehind) {
		return store, err
	}
	_, snapshot, err := bus.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("the change log begins after this configuration, and there is no snapshot: %w", err)
	}
	defer snapshot.Close()
	if _, err := config.LoadSnapshot(ctx, path, snapshot); err != nil {
		return nil, err
	}
	return replicate(ctx, path, bus)
}

func replicate(ctx context.Context, path string, bus *journal.Bus) (*config.Store, error) {
	store, err := config.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	store.PINs = config.PINs{Seal: pin.Seal, Check: pin.Check}
	first := store.Directory().Version() + 1
	changes, err := bus.ChangeLog(ctx, first)
	if err == nil {
		err = store.Replicate(ctx, changeLog{changes})
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// changeLog is the journal's change log in the configuration's words.
type changeLog struct{ *journal.ChangeLog }

// Read is journal.ChangeLog.Read; a log that begins later is config.ErrBehind.
func (c changeLog) Read(ctx context.Context, from, to int64, fn func(int64, []byte) error) error {
	return behind(c.ChangeLog.Read(ctx, from, to, fn))
}

// Follow is journal.ChangeLog.Follow; a log that begins later is config.ErrBehind.
func (c changeLog) Follow(ctx context.Context, from int64, fn func(int64, []byte) error) error {
	return behind(c.ChangeLog.Follow(ctx, from, fn))
}

func behind(err error) error {
	if errors.Is(err, journal.ErrTrimmed) {
		return fmt.Errorf("%w: %w", config.ErrBehind, err)
	}
	return err
}

// follow applies what other brains change, until ctx ends.
func follow(ctx context.Context, store *config.Store, log *slog.Logger) {
	for ctx.Err() == nil {
		if err := store.Follow(ctx); err != nil && ctx.Err() == nil {
			log.Error("the configuration does not follow its change log", "err", err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// keyStore is what the first start needs of the configuration.
type keyStore interface {
	List(ctx context.Context, kind brain.Kind, accountID, after string, limit int) ([]brain.Resource, error)
	NewKey(ctx context.Context, actor, accountID, name string, scopes []brain.Scope) (token string, key brain.APIKey, err error)
	Change(ctx context.Context, actor string, changes ...brain.Change) (version int64, err error)
}

// ensureAdminKey makes the key "admin" with every scope when the platform has no key yet, and leaves
// it in a file that only the process's own user can read. The key itself is never logged.
func ensureAdminKey(ctx context.Context, store keyStore, path string, log *slog.Logger) error {
	exists, err := hasPlatformKey(ctx, store)
	if err != nil || exists {
		return err
	}
	// The file first: a key that could not be written down would lock everybody out.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chmod(0o600); err != nil { // the file may have been there
		return err
	}
	const who = "first start"
	token, key, err := store.NewKey(ctx, who, "", "admin", brain.Scopes)
	if brain.CodeOf(err) == brain.EConflict { // another brain of the cluster was first
		return os.Remove(path)
	}
	if err != nil {
		return err
	}
	if _, err = f.WriteString(token + "\n"); err == nil {
		err = f.Sync()
	}
	if err != nil {
		_, undo := store.Change(ctx, who, brain.Change{Op: brain.OpDelete, Resource: &key})
		return errors.Join(fmt.Errorf("write %s: %w", path, err), undo)
	}
	log.Info("made the first API key, admin, with every scope", "file", path)
	return nil
}

func hasPlatformKey(ctx context.Context, store keyStore) (bool, error) {
	const pageSize = 500
	for after := ""; ; {
		page, err := store.List(ctx, brain.KindAPIKey, "", after, pageSize)
		if err != nil {
			return false, err
		}
		for _, r := range page {
			if r.OwnerID() == "" {
				return true, nil
			}
		}
		if len(page) < pageSize {
			return false, nil
		}
		after = page[len(page)-1].ResourceID()
	}
}
