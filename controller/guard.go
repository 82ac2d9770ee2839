package controller

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	bans "github.com/sipio/sipio/brain/guard"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/guard"
)

// maxSignatureFile bounds the file of signatures in bytes.
const maxSignatureFile = 1 << 20

// openGuard makes the guard of the platform. Its bans are a live object; what it protects is in the configuration and in settings.
func openGuard(cfg Config, store *config.Store, l *live, a *answering, log *slog.Logger) (*guard.Guard, error) {
	g := guard.New(&actor.Guard{Live: l.presence.Live}, a.nodes, store.Directory, config.ActiveTrunks, log)
	g.Operators, g.Share, g.Audit = cfg.OperatorNets, cfg.GuardShare, store
	if cfg.GuardSignaturesFile == "" {
		return g, nil
	}
	f, err := os.Open(cfg.GuardSignaturesFile)
	if err != nil {
		return nil, fmt.Errorf("guard-signatures-file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSignatureFile+1))
	if err == nil && len(text) > maxSignatureFile {
		err = errors.New("it is too large")
	}
	if err == nil {
		g.Signatures, err = bans.ReadSignatures(string(text))
	}
	if err != nil {
		return nil, fmt.Errorf("guard-signatures-file %s: %w", cfg.GuardSignaturesFile, err)
	}
	return g, nil
}
