package actor

import (
	"context"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
)

var askLeases = []byte(`{"what":"leases"}`)

// Lease asks for leases of an account's trunks. brain.EUnavailable: nobody can tell, or the journal does not have it yet;
// no lease is held by that.
func (p *Presence) Lease(ctx context.Context, accountID, node string, asks []presence.LeaseAsk) ([]api.TrunkLease, error) {
	reply, err := p.Live.Do(ctx, accountID, ClassStep, presence.AppendLease(nil, node, asks))
	if err != nil {
		return nil, err
	}
	if reply.Unlogged {
		return nil, brain.Errorf(brain.EUnavailable, "the journal does not have the lease yet")
	}
	return presence.ReadLeases(reply.Data)
}

// Leases lists who registers us at which trunk of an account.
func (p *Presence) Leases(ctx context.Context, accountID string) ([]api.TrunkLease, error) {
	return query[[]api.TrunkLease](ctx, p, accountID, askLeases)
}
