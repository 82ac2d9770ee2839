package trunk

import (
	"context"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// releaseTime bounds what is done for leases that are given back.
const releaseTime = 2 * time.Second

// giveBack gives every lease back that is ours, so that another node need not wait for its end. What is registered
// stays registered: calls go on arriving here until then.
func (k *Keeper) giveBack(ctx context.Context) {
	k.mu.Lock()
	req := api.TrunkLeaseRequest{Node: k.cfg.Node}
	for _, t := range k.trunks {
		if t.reg.fence != 0 {
			req.Asks = append(req.Asks, t.release())
		}
	}
	k.mu.Unlock()
	if len(req.Asks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	if _, err := k.cfg.Brain.Lease(ctx, req); err != nil {
		k.cfg.Log.Info("leases of trunks are not given back: they run out", "error", err)
	}
}

func (t *trunk) release() api.TrunkAsk {
	return api.TrunkAsk{TrunkID: t.ID, AccountID: t.AccountID, Contact: t.reg.contact, Fence: t.reg.fence, Release: true}
}

// retire ends a registration whose trunk is gone, was changed, or is not registered at any more: it is removed at the
// registrar once, as well as that goes. next, the same trunk as it is now, waits for it. Caller holds k.mu.
func (k *Keeper) retire(ctx context.Context, old, next *trunk) {
	held := old.reg.holds(time.Now())
	reg := *old.reg // a REGISTER that is under way finds its lease gone, and sends nothing more
	old.reg.fence, old.reg.mine, old.reg.target = 0, "", ""
	if !held {
		return
	}
	reg.until = time.Now().Add(releaseTime)
	if next != nil {
		next.reg.wait = true
	}
	k.work.Go(func() {
		k.unregister(ctx, &trunk{TrunkWatch: old.TrunkWatch, reg: &reg})
		if next != nil {
			k.mu.Lock()
			next.reg.wait = false
			k.mu.Unlock()
		}
	})
}

// unregister removes our Contact and those of former holders, and gives the lease back. It is forgotten when nothing may
// be left at the registrar, not even by a REGISTER that was under way.
func (k *Keeper) unregister(ctx context.Context, t *trunk) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	k.mu.Lock()
	at, lines, ask := t.reg.mine, contactLines(t.reg.contact, 0, t.reg.old), t.release()
	if at == "" && len(t.reg.old) > 0 {
		at = t.reg.target // where a former holder has registered
	}
	ask.Forget = !t.reg.busy && (at != "" || len(t.reg.old) == 0)
	k.mu.Unlock()
	if at != "" {
		if got, err := k.exchange(ctx, t, at, ask.Fence, lines); err != nil || got.Code >= 300 {
			ask.Forget = false
			k.cfg.Log.Info("a trunk that was changed or removed may stay registered until that runs out", "trunk", t.ID, "answer", whyNot(got, err))
		}
	}
	if _, err := k.cfg.Brain.Lease(ctx, api.TrunkLeaseRequest{Node: k.cfg.Node, Asks: []api.TrunkAsk{ask}}); err != nil {
		k.cfg.Log.Info("the lease of a trunk is not given back: it runs out", "trunk", t.ID, "error", err)
	}
}
