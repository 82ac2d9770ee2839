package controller

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/secret"
	"github.com/sipio/sipio/internal/keyfile"
)

const (
	secretKeyFile       = "secret.key"       // in the data-dir
	secretKeyCredential = "sipio-secret-key" // of systemd
)

const (
	maxSecretsNamed = 20 // in one line of the log
	tellEvery       = 60 // seconds between two lines about a secret that cannot be opened
)

// secretStore is what the configuration has of secrets.
type secretStore interface {
	Directory() brain.Directory
	List(ctx context.Context, kind brain.Kind, accountID, after string, limit int) ([]brain.Resource, error)
	Change(ctx context.Context, actor string, changes ...brain.Change) (version int64, err error)
}

// secrets opens the secrets of accounts.
type secrets struct {
	box   *secret.Box
	store secretStore
	log   *slog.Logger
	told  atomic.Int64 // Unix seconds of the last line about one that cannot be opened
}

// openSecrets opens the key file and has the configuration seal with it. The file is the one that the settings name, else
// systemd's credential, else one in the data folder. That one is made when this brain is alone: several brains need
// the same one, so there its operator puts it, and until he has nothing can be sealed or opened.
func openSecrets(ctx context.Context, cfg Config, store *config.Store, log *slog.Logger) (*secrets, error) {
	path, own := secretKeyPath(cfg)
	alone := len(cfg.BusURLs) == 0
	box, err := secret.Open(path, own && alone)
	if err == nil && !own && box.KeyID() == "" {
		_, err = os.Stat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("secret-key-file: %w", err)
	}
	s := &secrets{box: box, store: store, log: log}
	store.Secrets = config.Sealer{Seal: box.Seal, Open: box.Open}
	if box.KeyID() == "" {
		log.Warn("there is no secret key: secrets can neither be set nor used until the file that the other brains have is there", "file", path)
	}
	return s, s.warn(ctx)
}

// secretKeyPath is the key file, and whether it is the brain's own to make.
func secretKeyPath(cfg Config) (path string, own bool) {
	if cfg.SecretKeyFile != "" {
		return cfg.SecretKeyFile, false
	}
	if path := keyfile.Credential(secretKeyCredential); path != "" {
		return path, false
	}
	return filepath.Join(cfg.DataDir, secretKeyFile), true
}

// warn says in the log which secrets cannot be opened.
func (s *secrets) warn(ctx context.Context) error {
	count, missing := 0, map[string]int{}
	var names []string
	err := s.each(ctx, func(row *brain.Secret) {
		if _, err := s.box.Open(row.AccountID, row.Name, row.Sealed); err == nil {
			return
		}
		count++
		missing[cmp.Or(secret.SealedWith(row.Sealed), "none")]++
		if len(names) < maxSecretsNamed {
			names = append(names, row.AccountID+"/"+row.Name)
		}
	})
	if err == nil {
		var ofNodes, with []string
		ofNodes, with, err = s.missingOfNodes(ctx)
		for i, name := range ofNodes {
			count++
			missing[cmp.Or(with[i], "none")]++
			names = append(names, name)
		}
		names = names[:min(len(names), maxSecretsNamed)]
	}
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	if count > 0 {
		s.log.Error("secrets cannot be opened: put the keys that they are sealed with into the key file, or set them anew; what needs them fails",
			"count", count, "secrets", names, "sealed_with", missing, "file", s.box.Path(), "key", s.box.KeyID())
	}
	return nil
}

// each gives fn every secret of every account.
func (s *secrets) each(ctx context.Context, fn func(*brain.Secret)) error {
	for after := ""; ; {
		page, err := s.store.List(ctx, brain.KindSecret, "", after, config.MaxList)
		if err != nil {
			return err
		}
		for _, r := range page {
			fn(r.(*brain.Secret))
		}
		if len(page) < config.MaxList {
			return nil
		}
		after = page[len(page)-1].ResourceID()
	}
}

// password opens a secret of an account by its name. One that is not there takes as long as one that is.
func (s *secrets) password(acct *brain.AccountConfig, ref string) (string, error) {
	row := acct.Secrets[ref]
	if row == nil {
		s.box.Decoy()
		return "", fmt.Errorf("account %s has no secret %q", acct.Account.ID, ref)
	}
	value, err := s.box.Open(acct.Account.ID, row.Name, row.Sealed)
	if now, last := time.Now().Unix(), s.told.Load(); err != nil && now-last >= tellEvery && s.told.CompareAndSwap(last, now) {
		s.log.Error("a secret cannot be opened", "account", acct.Account.ID, "err", err)
	}
	return string(value), err
}

// forFlow is the password that a flow of an account sends to a server. What a trunk or the signer of calls uses is not for
// flows: whoever writes flows may name any server, and trunks are given by the platform.
func (s *secrets) forFlow(accountID, ref string) (string, error) {
	acct := s.store.Directory().ByAccount(accountID)
	switch {
	case acct == nil:
		return "", fmt.Errorf("there is no account %s", accountID)
	case ref == acct.Account.StirSecretRef:
		return "", fmt.Errorf("the secret %q signs calls and is not for flows", ref)
	}
	for _, t := range acct.Trunks {
		if ref == t.AuthSecretRef {
			return "", fmt.Errorf("the secret %q is that of trunk %s and not for flows", ref, t.Name)
		}
	}
	return s.password(acct, ref)
}

// Bounds of one step of a rotation.
const (
	rotateAtOnce = 50 // secrets of one change: 50 of the longest are well below what a change may hold
	rotateTries  = 5  // when they are changed meanwhile
)

// Rotate seals every secret anew that the first key of the file has not sealed. One that cannot be opened stays as it is.
func (s *secrets) Rotate(ctx context.Context, actor string) (done api.SecretRotation, err error) {
	if err := s.box.Refresh(); err != nil {
		return done, err
	}
	done.Key = s.box.KeyID()
	for after := ""; ; {
		page, last, err := s.rotatePage(ctx, actor, after)
		if err != nil {
			return done, fmt.Errorf("after %d secrets: %w", done.Resealed, err)
		}
		done.Resealed += page.Resealed
		done.Already += page.Already
		done.Failed += page.Failed
		done.Which = append(done.Which, page.Which...)
		done.Which = done.Which[:min(len(done.Which), api.MaxSecretsFailed)]
		if last == "" {
			return done, s.rotateNodes(ctx, actor, &done)
		}
		after = last
	}
}

// rotatePage rotates the secrets after an id, and returns the last one's id, "" when there are no more.
func (s *secrets) rotatePage(ctx context.Context, actor, after string) (done api.SecretRotation, last string, err error) {
	for range rotateTries {
		var page []brain.Resource
		if page, err = s.store.List(ctx, brain.KindSecret, "", after, rotateAtOnce); err != nil {
			return done, "", err
		}
		var changes []brain.Change
		if changes, done, err = s.reseal(page); err != nil {
			return done, "", err
		}
		if len(page) == rotateAtOnce {
			last = page[len(page)-1].ResourceID()
		}
		if len(changes) == 0 {
			return done, last, nil
		}
		if _, err = s.store.Change(ctx, actor, changes...); brain.CodeOf(err) != brain.EConflict {
			return done, last, err
		}
	}
	return done, "", err
}

// reseal makes the changes of one page.
func (s *secrets) reseal(page []brain.Resource) (changes []brain.Change, done api.SecretRotation, err error) {
	for _, r := range page {
		row := r.(*brain.Secret)
		if secret.SealedWith(row.Sealed) == s.box.KeyID() {
			done.Already++
			continue
		}
		value, err := s.box.Open(row.AccountID, row.Name, row.Sealed)
		if err != nil {
			done.Failed++
			done.Which = append(done.Which, api.SecretFailed{AccountID: row.AccountID, Name: row.Name, Why: err.Error()})
			continue
		}
		fresh := *row
		if fresh.Sealed, err = s.box.Seal(row.AccountID, row.Name, value); err != nil {
			return nil, done, err
		}
		changes = append(changes, brain.Change{Op: brain.OpUpdate, Resource: &fresh, Before: row})
		done.Resealed++
	}
	return changes, done, nil
}
