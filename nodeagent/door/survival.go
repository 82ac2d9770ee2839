package door

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Survival is what the door answers with while no brain decides: what it last heard of the accounts whose
// phones use this node.
type Survival struct {
	// Fetch posts an api.SurvivalRequest to a brain and returns its api.SurvivalReply; nil switches survival off.
	Fetch   func(ctx context.Context, body []byte) ([]byte, error)
	Node    string        // name of this node
	File    string        // where the accounts are kept, encrypted; "" keeps them in memory alone
	Refresh time.Duration // between questions to the brain
	MaxAge  time.Duration // since a brain last confirmed the accounts; older ones are not used
}

// SurvivalStats are the counters of survival since the door's start, and what it is ready for.
type SurvivalStats struct {
	Accounts       int   `json:"accounts"`        // that can be answered for
	ConfirmedMS    int64 `json:"confirmed_ms"`    // epoch milliseconds when a brain last confirmed them, 0 = never
	Answers        int64 `json:"answers"`         // decisions of the door itself
	ReportsWaiting int   `json:"reports_waiting"` // of such decisions, not yet in the spool
	ReportsDropped int64 `json:"reports_dropped"` // decisions that no event tells of
}

// Times of refreshing and of forgetting.
const (
	firstRefresh = time.Second        // after a realm was seen for the first time: others often follow at once
	retryRefresh = 5 * time.Second    // after a failed refresh; doubled up to Survival.Refresh
	realmKeep    = 7 * 24 * time.Hour // a realm whose phones have not been seen for so long is given up
	realmGrain   = time.Minute        // how exactly it is known when a realm was last seen
	maxPages     = 64                 // replies of one refresh
)

// survival is the part of a Door that decides without a brain. A nil one never does.
type survival struct {
	cfg  Survival
	key  string
	log  *slog.Logger
	told reports

	bundle  atomic.Pointer[bundle]                   // never nil
	realms  atomic.Pointer[map[string]*atomic.Int64] // lower case → epoch ms when last seen; copied to add
	adding  sync.Mutex                               // taken to replace realms
	wake    chan struct{}                            // holds a token when a realm is new
	savedMS int64                                    // confirmation that the file holds; of refresh alone
	answers atomic.Int64
	useLog  logLimit
}

// newSurvival reads what is kept from earlier. With survival switched off that is removed: it is good for
// nothing else.
func newSurvival(cfg Survival, key string, spool Spool, log *slog.Logger) *survival {
	if cfg.Fetch == nil {
		removeBundle(cfg.File, log)
		return nil
	}
	s := &survival{cfg: cfg, key: key, log: log, wake: make(chan struct{}, 1)}
	s.told = newReports(cfg.Node, spool, log, time.Now())
	s.bundle.Store(&bundle{})
	s.realms.Store(&map[string]*atomic.Int64{})
	if cfg.File == "" {
		return s
	}
	kept, err := readBundle(cfg.File, key)
	if err != nil {
		log.Warn("kept survival answers cannot be used: starting without", "file", cfg.File, "error", err)
		return s
	}
	if kept != nil {
		s.restore(kept)
	}
	return s
}

func (s *survival) restore(kept *keptBundle) {
	b, err := newBundle(kept.ConfirmedMS, kept.Accounts)
	if err != nil {
		s.log.Warn("kept survival answers cannot be used: starting without", "file", s.cfg.File, "error", err)
		return
	}
	realms := map[string]*atomic.Int64{}
	for realm, ms := range kept.Realms {
		if len(realms) < api.MaxSurvivalRealms {
			seen := &atomic.Int64{}
			seen.Store(ms)
			realms[realm] = seen
		}
	}
	s.realms.Store(&realms)
	s.bundle.Store(b)
	s.savedMS = kept.ConfirmedMS
	s.log.Info("survival answers read", "accounts", len(b.accounts), "confirmed", time.UnixMilli(b.confirmedMS).UTC())
}

// fresh returns the bundle when it may still be used: confirmed at most MaxAge ago, by a clock that has not
// been turned back by more than that either.
func (s *survival) fresh(now time.Time) *bundle {
	b := s.bundle.Load()
	if b.confirmedMS == 0 || now.Sub(time.UnixMilli(b.confirmedMS)).Abs() > s.cfg.MaxAge {
		return nil
	}
	return b
}

var (
	verdictAccept = []byte(`"action":"` + api.ActionAccept + `"`)
	verdictProxy  = []byte(`"action":"` + api.ActionProxy + `"`)
)

// maxVerdict is how far into an answer its action is looked for.
const maxVerdict = 64

// saw notes the realm of a question that a brain answered well: from now on it is asked for. This is on the
// path of every decision, so it looks at bytes and allocates nothing once the realm is known.
func (s *survival) saw(q *question, answered []byte) {
	if s == nil {
		return
	}
	head := answered[:min(len(answered), maxVerdict)]
	if !bytes.Contains(head, verdictAccept) && !bytes.Contains(head, verdictProxy) {
		return
	}
	raw := formValue(q.body, "auth_realm")
	now := time.Now().UnixMilli()
	if seen := (*s.realms.Load())[string(raw)]; seen != nil {
		if now-seen.Load() > realmGrain.Milliseconds() {
			seen.Store(now)
		}
		return
	}
	realm, err := url.QueryUnescape(string(raw))
	realm = strings.ToLower(realm)
	if err != nil || realm == "" || len(realm) > 255 {
		return
	}
	s.addRealm(realm, now)
}

func (s *survival) addRealm(realm string, nowMS int64) {
	s.adding.Lock()
	defer s.adding.Unlock()
	old := *s.realms.Load()
	if seen := old[realm]; seen != nil { // written otherwise than it is kept: in capitals, or escaped
		seen.Store(nowMS)
		return
	}
	if len(old) >= api.MaxSurvivalRealms {
		return
	}
	realms := maps.Clone(old)
	seen := &atomic.Int64{}
	seen.Store(nowMS)
	realms[realm] = seen
	s.realms.Store(&realms)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// wanted lists the realms to ask for, after giving up those that were not seen for long.
func (s *survival) wanted(nowMS int64) []string {
	s.adding.Lock()
	defer s.adding.Unlock()
	realms := maps.Clone(*s.realms.Load())
	maps.DeleteFunc(realms, func(_ string, seen *atomic.Int64) bool {
		return nowMS-seen.Load() > realmKeep.Milliseconds()
	})
	s.realms.Store(&realms)
	return slices.Sorted(maps.Keys(realms))
}

// formValue returns the value of a field of a form as it stands there, nil when it has none.
func formValue(form []byte, name string) []byte {
	for len(form) > 0 {
		var pair []byte
		pair, form, _ = bytes.Cut(form, []byte("&"))
		if value, ok := bytes.CutPrefix(pair, []byte(name)); ok && len(value) > 0 && value[0] == '=' {
			return value[1:]
		}
	}
	return nil
}

// run refreshes and reports until ctx ends.
func (s *survival) run(ctx context.Context) {
	var reporting sync.WaitGroup
	reporting.Go(func() { s.told.run(ctx) })
	s.keepFresh(ctx)
	reporting.Wait()
}

// keepFresh asks the brain at once, then every Refresh, and soon after a realm was seen for the first time.
func (s *survival) keepFresh(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := retryRefresh
	var complaint logLimit
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			timer.Reset(firstRefresh)
			continue
		case <-timer.C:
		}
		err := s.refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			complaint.warn(s.log, "survival answers not refreshed", "error", err)
			timer.Reset(min(retry, s.cfg.Refresh))
			retry = min(2*retry, s.cfg.Refresh)
			continue
		}
		retry = retryRefresh
		timer.Reset(s.cfg.Refresh)
	}
}

// refresh asks for the accounts of all realms and takes the whole answer or nothing of it.
func (s *survival) refresh(ctx context.Context) error {
	now := time.Now().UnixMilli()
	realms := s.wanted(now)
	old := s.bundle.Load()
	if len(realms) == 0 && len(old.accounts) == 0 {
		return nil
	}
	got, err := s.ask(ctx, realms, old)
	if err != nil {
		return err
	}
	b, err := newBundle(now, got)
	if err != nil {
		return err
	}
	err = s.save(b, old, got)
	s.bundle.Store(b) // saved first: what the counters show is there after a crash
	return err
}

// save writes the accounts to the file when they have changed, or what is there was confirmed long ago.
func (s *survival) save(b, old *bundle, accounts []json.RawMessage) error {
	now := b.confirmedMS
	if s.cfg.File == "" || slices.Equal(b.tags(), old.tags()) && now-s.savedMS < s.cfg.MaxAge.Milliseconds()/24 {
		return nil
	}
	kept := &keptBundle{ConfirmedMS: now, Realms: map[string]int64{}, Accounts: accounts}
	for realm, seen := range *s.realms.Load() {
		kept.Realms[realm] = seen.Load()
	}
	if err := writeBundle(s.cfg.File, s.key, kept); err != nil {
		return err
	}
	s.savedMS = now
	return nil
}

// ask collects the pages of an answer: accounts that are new or changed, and those that still hold.
func (s *survival) ask(ctx context.Context, realms []string, old *bundle) ([]json.RawMessage, error) {
	have := make(map[string]json.RawMessage, len(old.accounts))
	for _, a := range old.accounts {
		have[a.Tag] = a.raw
	}
	for range maxPages {
		body, err := json.Marshal(api.SurvivalRequest{Node: s.cfg.Node, Realms: realms, Have: slices.Sorted(maps.Keys(have))})
		if err != nil {
			return nil, fmt.Errorf("encode a question for survival answers: %w", err)
		}
		raw, err := s.cfg.Fetch(ctx, body)
		if err != nil {
			return nil, err
		}
		page, err := readPage(raw)
		if err != nil {
			return nil, err
		}
		next := make(map[string]json.RawMessage, len(page.Kept)+len(page.Accounts))
		for _, tag := range page.Kept {
			if have[tag] != nil {
				next[tag] = have[tag]
			}
		}
		for _, a := range page.accounts {
			next[a.Tag] = a.raw
		}
		if !page.More {
			return slices.Collect(valuesByKey(next)), nil
		}
		if len(next) <= len(page.Kept) {
			break // full of nothing: it would go on for ever
		}
		have = next
	}
	return nil, errors.New("brain does not come to an end with survival answers")
}

// valuesByKey walks a map in the order of its keys.
func valuesByKey(m map[string]json.RawMessage) func(func(json.RawMessage) bool) {
	return func(yield func(json.RawMessage) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(m[key]) {
				return
			}
		}
	}
}

// stats returns the counters; a nil survival has none.
func (s *survival) stats() *SurvivalStats {
	if s == nil {
		return nil
	}
	b := s.bundle.Load()
	st := &SurvivalStats{ConfirmedMS: b.confirmedMS, Answers: s.answers.Load()}
	if s.fresh(time.Now()) != nil {
		st.Accounts = len(b.accounts)
	}
	st.ReportsWaiting, st.ReportsDropped = s.told.counts()
	return st
}
