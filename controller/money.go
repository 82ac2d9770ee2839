package controller

import (
	"context"
	"log/slog"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/wallet"
)

// money is the wallets of the accounts and the price lists that they pay by.
type money struct {
	wallets *wallet.Wallets
	rates   *wallet.Rates
}

// openMoney gives the wallets somebody who does what they want done. It goes before the first shard is served.
func openMoney(ctx context.Context, store *config.Store, l *live, a *answering, log *slog.Logger) (money, error) {
	plans := &wallet.Plans{Row: store.RatePlan, Objects: a.store, Log: log}
	m := money{wallets: wallet.New(&actor.Wallets{Live: l.presence.Live}, store.Directory, plans, a.nodes, log)}
	m.rates = &wallet.Rates{Plans: plans, Config: store, Now: func() int64 { return time.Now().Unix() }}
	l.host.Tasks = m.wallets.Tasks
	before := store.Changed
	store.Changed = func(actor string, changes []brain.Change) {
		before(actor, changes)
		for _, c := range changes {
			if row, ok := c.Resource.(*brain.RatePlan); ok && c.Op != brain.OpDelete {
				plans.Preload(row)
			}
		}
		plans.Prune()
	}
	rows, err := store.List(ctx, brain.KindRatePlan, "", "", config.MaxList)
	if err != nil {
		return m, err
	}
	for _, r := range rows {
		plans.Preload(r.(*brain.RatePlan))
	}
	return m, nil
}
