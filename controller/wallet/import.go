package wallet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
)

// Changer changes the configuration.
type Changer interface {
	Change(ctx context.Context, actor string, changes ...brain.Change) (version int64, err error)
}

// Rates brings rates into plans and shows them.
type Rates struct {
	*Plans
	Config Changer
	Now    func() int64 // epoch seconds
}

// maxShown bounds the changes that an import lists one by one.
const maxShown = 1000

// Import makes a file of rates, a whole price list, that of a plan, or only says what that would change. The rates go into the media
// store under their sum first, then the row names them: a plan is the old one or the new one, never a part. brain.EConflict: somebody else
// has changed the plan meanwhile.
func (r *Rates) Import(ctx context.Context, actor, ownerID, name string, csv []byte, dryRun bool) (*api.RateImport, error) {
	row := r.Row(ownerID, name)
	if row == nil {
		return nil, brain.Errorf(brain.ENotFound, "there is no rate plan %s", name)
	}
	rates, err := balance.ReadCSV(csv)
	if err != nil {
		return nil, err
	}
	before, err := r.plan(ctx, ownerID, name, false)
	lost := err != nil && ctx.Err() == nil // it cannot be read any more, and is replaced: the last one that could counts, or an empty one
	if lost {
		before, err = r.Plan(ctx, ownerID, name)
	}
	if err != nil && !lost {
		return nil, err
	}
	in, err := balance.PlanImport(before, row.Currency, rates, r.Now())
	if err != nil {
		return nil, brain.Errorf(brain.EInvalid, "%s", err)
	}
	reply := &api.RateImport{Plan: name, DryRun: dryRun, Rates: in.Plan.Len(), Added: in.Added, Changed: in.Changed, Ended: in.Ended, Unchanged: in.Unchanged, Changes: []string{}}
	for _, c := range in.Changes[:min(len(in.Changes), maxShown)] {
		reply.Changes = append(reply.Changes, c.String())
	}
	if dryRun || len(in.Changes) == 0 && !lost {
		return reply, nil
	}
	return reply, r.put(ctx, actor, row, in.Plan)
}

// put stores the rates of a plan and names them in its row.
func (r *Rates) put(ctx context.Context, actor string, row *brain.RatePlan, plan *balance.Plan) error {
	text := balance.AppendCSV(nil, plan)
	sum := sha256.Sum256(text)
	after := *row
	after.SHA256, after.Rates = hex.EncodeToString(sum[:]), plan.Len()
	after.ObjectKey = objectKey(row, after.SHA256)
	if _, err := r.Objects.Put(ctx, after.ObjectKey, bytes.NewReader(text), balance.MaxCSV); err != nil {
		return err
	}
	_, err := r.Config.Change(ctx, actor, brain.Change{Op: brain.OpUpdate, Resource: &after, Before: row})
	return err
}

// objectKey is where the rates of a plan are kept: what two contents have in common is the plan alone, so that a brain that still
// reads the old one finds it.
func objectKey(row *brain.RatePlan, sum string) string {
	owner := row.AccountID
	if owner == "" {
		owner = "platform"
	}
	return owner + "/rates/" + row.ID + "/" + sum + ".csv"
}

// Show gives the rate of a number in a plan now, by which its calls pay; it says so when that is not the one that the row names. brain.ENotFound: it
// has none, or there is no such plan.
func (r *Rates) Show(ctx context.Context, ownerID, name, number string) (*api.RateShown, error) {
	row := r.Row(ownerID, name)
	if row == nil {
		return nil, brain.Errorf(brain.ENotFound, "there is no rate plan %s", name)
	}
	problem := ""
	plan, err := r.plan(ctx, ownerID, name, false)
	if brain.CodeOf(err) == brain.EUnavailable {
		problem = err.Error()
		plan, err = r.Plan(ctx, ownerID, name)
	}
	if err != nil {
		return nil, err
	}
	rate, ok := plan.Lookup(number, r.Now())
	if !ok {
		return nil, brain.Errorf(brain.ENotFound, "plan %s has no rate for %s: calls to it are refused", name, number)
	}
	return &api.RateShown{Plan: name, Currency: row.Currency, Number: number, Prefix: rate.Prefix, ConnectMicros: rate.ConnectMicros, PerMinuteMicros: rate.PerMinuteMicros,
		FirstSec: int(rate.FirstSec), NextSec: int(rate.NextSec), EffectiveFrom: rate.EffectiveFrom, Problem: problem}, nil
}
