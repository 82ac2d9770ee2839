package trunk

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

const (
	// lookEvery is how often the name of a trunk's proxy is looked up: what the DNS has changed is called within it.
	lookEvery = 30 * time.Second
	// looksAtOnce leaves most of atOnce to pings and registrations when the DNS does not answer.
	looksAtOnce = 4
)

// named tells whether the proxy is a name, which may lead to several targets.
func (t *trunk) named() bool {
	host := t.Proxy
	if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:at]
	}
	_, err := netip.ParseAddr(trimBrackets(host))
	return err != nil && host != ""
}

// lookUp finds a trunk's targets. While the DNS does not answer those that were found stay.
func (k *Keeper) lookUp(ctx context.Context, t *trunk) {
	list, err := targets(ctx, k.cfg.Resolver, t.Proxy, t.Transport)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looks--
	t.looking, t.lookMS = false, time.Now().Add(lookEvery*9/10+rand.N(lookEvery/5)).UnixMilli()
	if err == nil && !slices.Equal(slices.Sorted(slices.Values(list)), slices.Sorted(slices.Values(t.targets))) {
		k.cfg.Log.Info("targets of a trunk", "trunk", t.ID, "name", t.Name, "targets", list)
	}
	if t.nowhere = err != nil && ctx.Err() == nil; err == nil {
		t.targets = list
	}
	k.hint()
}

// order is how calls try a trunk's targets: first the one that has answered the last ping, last those at which a call has failed
// lately.
func (t *trunk) order() []string {
	list := slices.Clone(t.targets)
	rank := func(at string) int {
		switch _, failed := t.failed[at]; {
		case failed:
			return 2
		case at == t.seen.Target:
			return 0
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b string) int { return rank(a) - rank(b) })
	return list
}

// forgive forgets the targets whose time is over and tells whether there was one.
func (t *trunk) forgive(nowMS int64) (some bool) {
	for at, until := range t.failed {
		if nowMS >= until {
			delete(t.failed, at)
			some = true
		}
	}
	return some
}

// TargetsFailed takes what became of the targets that a call has tried, as the edge tells it: URI=CODE, separated by commas. For half a
// minute those that did not answer are called last.
func (k *Keeper) TargetsFailed(id, list string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.trunks[id]
	if t == nil || list == "" {
		return
	}
	until := time.Now().Add(downFor).UnixMilli()
	for _, at := range t.targets { // nothing else is kept, whatever is told
		if !strings.Contains(","+list, ",sip:"+at+";") && !strings.Contains(","+list, ",sip:"+at+"=") {
			continue
		}
		if t.failed == nil {
			t.failed = map[string]int64{}
		}
		t.failed[at] = until
		t.seen.Failed++
	}
	k.cfg.Log.Info("targets of a trunk did not take a call", "trunk", id, "name", t.Name, "targets", clean(list))
	k.hint()
}

// Note takes what events of calls tell of targets.
func (k *Keeper) Note(events []api.Event) {
	for i := range events {
		if e := &events[i]; e.Targets != "" && e.Type != api.EventDialogEnd { // which tells it once more
			k.TargetsFailed(e.Trunk, e.Targets)
		}
	}
}
