package guard

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
)

// Audit is the audit log. It returns when the entry is stored for good.
type Audit interface {
	Audit(ctx context.Context, e brain.AuditEntry) error
}

// Bounds of what the guard writes into the audit log of itself.
const (
	maxEntries  = 20 // a minute, bans that begin and end each; of the rest their number is one entry
	maxFollowed = 10_000
	auditTime   = 2 * time.Second
)

// Actions of the audit log.
const (
	auditBegin = "ban.begin"
	auditEnd   = "ban.end"
)

// diary is what is to be written into the audit log about bans that the guard makes by itself.
type diary struct {
	inForce func(ctx context.Context, addr string) (untilMS int64, err error) // the end of an address's ban; 0 = there is none

	mu       sync.Mutex // guards what is below
	minute   time.Time
	written  map[string]int // in this minute, by action
	more     map[string]int // that found no room
	entries  []brain.AuditEntry
	followed map[string]int64 // bans whose beginning was noted, by address, and until when they are
}

// note takes decisions on a node's report. Of a ban that is prolonged the end alone is noted anew.
func (d *diary) note(now time.Time, node string, decisions []guard.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.followed == nil {
		d.followed, d.written, d.more = map[string]int64{}, map[string]int{}, map[string]int{}
	}
	for i := range decisions {
		v := &decisions[i]
		_, begun := d.followed[v.Addr]
		switch {
		case v.Only != nil || v.Tier == api.TierOperator:
		case v.Action == api.GuardBan:
			if !begun {
				d.add(now, auditBegin, v.Addr, node, fmt.Sprintf("tier %s, until %s, caught by %s: %s", v.Tier, utc(v.UntilMS), node, v.Why))
			}
			if begun || len(d.followed) < maxFollowed {
				d.followed[v.Addr] = v.UntilMS
			}
		case v.Action == api.GuardLift && begun && v.Everyone:
			delete(d.followed, v.Addr)
			d.add(now, auditEnd, v.Addr, node, "before its time: "+v.Why)
		}
	}
}

func utc(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// add notes an entry, or counts it when there are too many. d.mu is held.
func (d *diary) add(now time.Time, action, addr, node, detail string) {
	if d.written[action] >= maxEntries {
		d.more[action]++
		return
	}
	d.written[action]++
	actor := "guard"
	if node != "" {
		actor = "node:" + node
	}
	e := brain.AuditEntry{TimeMS: now.UnixMilli(), Actor: actor, Action: action, Object: addr, Detail: detail}
	d.entries = append(d.entries, e.Bounded())
}

// forget ends what is followed of an address: an operator has ended it, which has an entry of its own.
func (d *diary) forget(addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.followed, addr)
}

// write writes what there is. What cannot be written waits for the next time; then what comes is counted, not kept.
func (d *diary) write(ctx context.Context, to Audit, log *slog.Logger) {
	now := time.Now()
	d.ends(ctx, now)
	d.mu.Lock()
	if now.Sub(d.minute) >= time.Minute && len(d.entries) == 0 {
		d.minute = now
		for _, action := range [...]string{auditBegin, auditEnd} {
			if n := d.more[action]; n > 0 {
				d.entries = append(d.entries, brain.AuditEntry{TimeMS: now.UnixMilli(), Actor: "guard", Action: action, Detail: fmt.Sprintf("and %d more in about a minute", n)})
			}
		}
		clear(d.written)
		clear(d.more)
	}
	entries := slices.Clone(d.entries)
	d.mu.Unlock()
	done := 0
	for i := range entries {
		if to == nil {
			done = len(entries)
			break
		}
		ctx, cancel := context.WithTimeout(ctx, auditTime)
		err := to.Audit(ctx, entries[i])
		cancel()
		if err != nil {
			log.Debug("bans are not in the audit log yet", "waiting", len(entries)-i, "err", err)
			break
		}
		done++
	}
	d.mu.Lock()
	d.entries = d.entries[done:]
	d.mu.Unlock()
}

// ends notes the bans whose time is over.
func (d *diary) ends(ctx context.Context, now time.Time) {
	d.mu.Lock()
	var over []string
	for addr, untilMS := range d.followed {
		if untilMS <= now.UnixMilli() {
			over = append(over, addr)
		}
	}
	d.mu.Unlock()
	slices.SortFunc(over, strings.Compare)
	for _, addr := range over {
		d.mu.Lock()
		full := d.written[auditEnd] >= maxEntries
		if full { // it is only counted: nobody is asked for it
			delete(d.followed, addr)
			d.more[auditEnd]++
		}
		d.mu.Unlock()
		if full {
			continue
		}
		untilMS, err := d.inForce(ctx, addr)
		if err != nil {
			return // nobody can tell now
		}
		d.mu.Lock()
		if untilMS > now.UnixMilli() { // another brain has prolonged it
			d.followed[addr] = untilMS
		} else {
			delete(d.followed, addr)
			d.add(now, auditEnd, addr, "", "its time is over")
		}
		d.mu.Unlock()
	}
}

// inForce is when the ban of an address ends, 0 when there is none.
func (g *Guard) inForce(ctx context.Context, addr string) (untilMS int64, err error) {
	list, err := g.Bans.Bans(ctx, guard.Question{Addr: addr})
	if err != nil || len(list.Bans) == 0 {
		return 0, err
	}
	return list.Bans[0].UntilMS, nil
}
