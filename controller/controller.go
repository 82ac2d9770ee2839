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

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/endpoint"
	"github.com/sipio/sipio/controller/v1"
)

const (
	databaseFile = "config.db"
	adminKeyFile = "admin.key"
)

// Run is the brain from start to end: it returns nil after a graceful stop by ctx, or the error that
// kept it from answering.
func Run(ctx context.Context, cfg Config) error {
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	if err := cfg.Check(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data-dir: %w", err)
	}
	store, err := config.Open(ctx, filepath.Join(cfg.DataDir, databaseFile))
	if err != nil {
		return fmt.Errorf("open configuration: %w", err)
	}
	defer store.Close()
	if err := ensureAdminKey(ctx, store, filepath.Join(cfg.DataDir, adminKeyFile), log); err != nil {
		return fmt.Errorf("first key: %w", err)
	}
	presence := actor.NewPresence()
	defer presence.Close()
	background, stop := context.WithCancel(ctx)
	defer stop()
	go presence.Expire(background)

	ask := endpoint.New(store, presence)
	ask.Allow, ask.Version, ask.LogDecisions, ask.Log = cfg.AllowPeers, cfg.Version, cfg.LogDecisions, log
	mux := http.NewServeMux()
	ask.Register(mux)
	mux.Handle(v1.Prefix+"/", v1.New(store))
	return serve(ctx, cfg, log, mux)
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
