package wallet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
)

// Objects is the part of the media store that rates are kept in.
type Objects interface {
	Put(ctx context.Context, key string, r io.Reader, limit int64) (api.MediaRef, error)
	Get(ctx context.Context, key string) (io.ReadSeekCloser, api.MediaRef, error)
}

// Plans keeps the price lists of this brain. A list is read once for each content, and shared by all calls. While the one that its row
// names cannot be read, calls pay by the last that could.
type Plans struct {
	Row     func(ownerID, name string) *brain.RatePlan // nil = there is none
	Objects Objects
	Log     *slog.Logger

	mu     sync.Mutex
	loaded map[string]*load // by id of the row
}

// load is a price list that is there, or on its way.
type load struct {
	owner, name   string // as the row was asked for last
	sum, currency string
	old           *balance.Plan // what calls pay by until it can be read; nil = they wait
	told          bool          // that it cannot be read
	done          chan struct{}
	plan          *balance.Plan // when done
	err           error
	failedAt      time.Time
}

const (
	loadTime   = time.Minute     // within which a price list is read, or given up
	retryPause = 5 * time.Second // until one that could not be read is tried again
)

// Plan gives a price list for a call. Until a new one can be read, mostly a second at most, that is the one before; a call waits for the
// first until ctx ends. brain.EUnavailable: it cannot be read, and there is none before it.
func (p *Plans) Plan(ctx context.Context, ownerID, name string) (*balance.Plan, error) {
	return p.plan(ctx, ownerID, name, true)
}

// AtHand gives a price list without waiting for it: while a new one is read the one before it, nil when there is none that could be read.
func (p *Plans) AtHand(ownerID, name string) *balance.Plan {
	row := p.Row(ownerID, name)
	if row == nil {
		return nil
	}
	l := p.load(row)
	if l.ready() && l.err == nil {
		return l.plan
	}
	return l.old
}

// plan gives a price list as its row says it is now, or the one before it when that will do.
func (p *Plans) plan(ctx context.Context, ownerID, name string, before bool) (*balance.Plan, error) {
	row := p.Row(ownerID, name)
	if row == nil {
		return nil, brain.Errorf(brain.EUnavailable, "there is no rate plan %s", name)
	}
	l := p.load(row)
	if before && l.old != nil && (!l.ready() || l.err != nil) {
		return l.old, nil
	}
	select {
	case <-l.done:
	case <-ctx.Done():
		return nil, brain.Errorf(brain.EUnavailable, "rate plan %s is still being read", name)
	}
	if l.err != nil {
		return nil, brain.Errorf(brain.EUnavailable, "rate plan %s: %s", name, l.err)
	}
	return l.plan, nil
}

// load returns what is there of a row's content, and begins to read it when that is nothing.
func (p *Plans) load(row *brain.RatePlan) *load {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.loaded[row.ID]
	if l != nil && l.sum == row.SHA256 && l.currency == row.Currency && !l.again() {
		l.owner, l.name = row.AccountID, row.Name
		return l
	}
	if p.loaded == nil {
		p.loaded = map[string]*load{}
	}
	next := &load{owner: row.AccountID, name: row.Name, sum: row.SHA256, currency: row.Currency, done: make(chan struct{})}
	if l != nil && l.currency == row.Currency {
		next.old = l.good()
		next.told = l.told && l.sum == row.SHA256
	}
	p.loaded[row.ID] = next
	go p.fetch(next, row)
	return next
}

// fetch reads a price list, and tells once when it cannot be read.
func (p *Plans) fetch(l *load, row *brain.RatePlan) {
	ctx, cancel := context.WithTimeout(context.Background(), loadTime)
	defer cancel()
	l.plan, l.err = p.read(ctx, row)
	l.failedAt = time.Now()
	switch log := p.Log.With("plan", row.Name, "owner", row.AccountID, "object", row.ObjectKey); {
	case l.err != nil && !l.told:
		l.told = true
		log.Error("the rates of a plan cannot be read", "calls_pay_by_those_before", l.old != nil, "err", l.err)
	case l.err == nil && l.told:
		log.Info("the rates of a plan can be read again")
	}
	close(l.done)
}

// good is the last price list that could be read, nil when there is none or it has no rate.
func (l *load) good() *balance.Plan {
	if l.ready() && l.err == nil && l.plan.Len() > 0 {
		return l.plan
	}
	return l.old
}

// Prune forgets the price lists of rows that are there no more.
func (p *Plans) Prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.loaded, func(id string, l *load) bool {
		row := p.Row(l.owner, l.name)
		return row == nil || row.ID != id
	})
}

// again tells whether a price list could not be read, some time ago.
func (l *load) again() bool { return l.ready() && l.err != nil && time.Since(l.failedAt) > retryPause }

// ready tells whether a price list is there, or could not be read.
func (l *load) ready() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Preload reads the price list of a row ahead of the first call that needs it.
func (p *Plans) Preload(row *brain.RatePlan) { p.load(row) }

func (p *Plans) read(ctx context.Context, row *brain.RatePlan) (*balance.Plan, error) {
	if row.ObjectKey == "" {
		return balance.NewPlan(row.Currency, nil)
	}
	body, _, err := p.Objects.Get(ctx, row.ObjectKey)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	text, err := io.ReadAll(io.LimitReader(body, balance.MaxCSV+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", row.ObjectKey, err)
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != row.SHA256 {
		return nil, fmt.Errorf("%s is not the object that the plan names", row.ObjectKey)
	}
	rates, err := balance.ReadCSV(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", row.ObjectKey, err)
	}
	return balance.NewPlan(row.Currency, rates)
}
