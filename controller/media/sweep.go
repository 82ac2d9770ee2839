package media

import (
	"context"
	"fmt"
	"time"

	"github.com/sipio/sipio/brain"
)

// Sweep deletes the recordings of an account that were made more than days before now, and says how many. before is
// called for each of them first: it writes that into the audit. When it fails nothing more is deleted. A crash between
// the two leaves an object that the next sweep tells of again, never one that is gone without a word. days ≤ 0
// keeps all of them.
func (l *Library) Sweep(ctx context.Context, accountID string, days int, before func(context.Context, Entry) error) (int, error) {
	if days <= 0 {
		return 0, nil
	}
	cutoff := l.now().UTC().AddDate(0, 0, -days)
	deleted := 0
	for e, err := range l.Store.List(ctx, recordings(accountID)) {
		if err != nil {
			return deleted, fmt.Errorf("sweep %s: %w", accountID, err)
		}
		if !recordedBy(e).Before(cutoff) {
			continue
		}
		if err := before(ctx, e); err != nil {
			return deleted, fmt.Errorf("sweep %s: %w", accountID, err)
		}
		if err := l.Store.Delete(ctx, e.Key); err != nil && brain.CodeOf(err) != brain.ENotFound {
			return deleted, fmt.Errorf("sweep %s: %w", accountID, err)
		}
		deleted++
	}
	return deleted, nil
}

// recordedBy is when a recording was made at the latest: the end of the day in its key, which is the account's own
// day, else when it was stored.
func recordedBy(e Entry) time.Time {
	if day, ok := recordingDay(e.Key); ok {
		return day.AddDate(0, 0, 2) // no zone is more than a day behind UTC
	}
	return e.Changed
}
