// Package guard carries the guard out on this node: it hears from Kamailio and the kernel who offends, tells a brain at
// once, and does in both what the brain orders. Between brains it goes on by the last policy: floods, request floods and
// scanners are banned here without anybody being asked.
package guard

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Paces of the guard.
const (
	lookEvery     = time.Second            // for floods that the kernel has caught, and a Kamailio that has forgotten
	completeEvery = 30 * time.Second       // between complete reports
	askEvery      = 5 * time.Second        // between reports at least: the reply to one brings a policy that has changed
	reportPause   = 300 * time.Millisecond // between two reports, so that an attack makes few
	retryPause    = 2 * time.Second        // after a report that no brain took
	reportTimeout = 10 * time.Second
	orderTimeout  = 5 * time.Second
)

// maxWaiting bounds the lines of Kamailio that are not looked at yet; more are dropped, and its table of bans tells the rest.
const maxWaiting = 2000

// Kamailio is its tables (module htable).
type Kamailio interface {
	TableSet(ctx context.Context, table, key, value string, life time.Duration) error // life 0 = the table's own
	TableSetInt(ctx context.Context, table, key string, value int) error
	TableDelete(ctx context.Context, table, key string) error // one that is not there is well
	TableHas(ctx context.Context, table, key string) (bool, error)
	TableDump(ctx context.Context, table string) (map[string]string, error)
}

// Config is what a Guard needs.
type Config struct {
	Node       string
	File       string                                         // keeps the policy for a start without a brain; "" = nowhere
	Of         func(netip.Addr) netip.Prefix                  // what is banned for an address
	KernelTerm time.Duration                                  // that the kernel bans a flood for by itself
	KnownTerm  time.Duration                                  // that an address is known for, in kernel and Kamailio alike
	Kernel     Kernel                                         // nil: bans are Kamailio's alone
	Kamailio   Kamailio                                       //
	Protect    func(ctx context.Context, nets []string) error // tells Kamailio who is protected; nil = nobody is told
	Post       func(ctx context.Context, report api.GuardReport) (api.GuardReply, error)
	Log        *slog.Logger
}

// Guard is the guard of one node.
type Guard struct {
	cfg     Config
	lines   chan line
	dropped atomic.Int64  // lines
	wake    chan struct{} // to report
	more    chan struct{} // to restore

	acting sync.Mutex // one at a time changes kernel and Kamailio
	mu     sync.Mutex // the fields below
	policy *api.GuardPolicy
	nets   []netip.Prefix // of the policy
	bans   map[netip.Prefix]kept
	grace  map[netip.Prefix]time.Time
	known  map[netip.Prefix]time.Time // until when
	told   []api.Offence              // not yet told to a brain

	inKernel [2]int // bans of IPv4 and IPv6
	netsDue  bool   // the kernel lacks nets
	shielded networks
	conns    Connections
	connTold map[netip.Prefix]time.Time // when it was logged that it has too many; of watch alone

	// What Kamailio lacks: see restore.
	bansDue, policyDue, shieldDue bool
	owed                          map[netip.Prefix]struct{} // lifts
	knownDue                      []netip.Prefix
	marks                         int // signatures that it has; 0 = not known

	// Of restore alone.
	learnt                   bool
	kamailioPace, shieldPace pace

	kernelFault, kamailioFault, shieldFault, postFault, fullFault, connFault, closeFault fault
}

// New makes a Guard that knows the bans of the kernel and the last policy.
func New(cfg Config) *Guard {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	g := &Guard{cfg: cfg, lines: make(chan line, maxWaiting), wake: make(chan struct{}, 1), more: make(chan struct{}, 1),
		bans: map[netip.Prefix]kept{}, grace: map[netip.Prefix]time.Time{}, known: map[netip.Prefix]time.Time{}, owed: map[netip.Prefix]struct{}{}, connTold: map[netip.Prefix]time.Time{}}
	if cfg.Kernel == nil {
		g.cfg.Kernel = noKernel{}
	}
	g.readPolicy()
	bans, err := g.cfg.Kernel.List()
	g.kernelFault.note(cfg.Log, "the bans of the kernel are not known", err)
	for _, b := range bans {
		g.put(b.Addr, kept{tier: b.Tier, until: time.Now().Add(b.Left), kernel: true})
	}
	return g
}

// Take takes what Kamailio has posted. It never waits; the error is that of a post that is none.
func (g *Guard) Take(body []byte) error {
	lines, bad, err := parse(body)
	if err != nil {
		return err
	}
	if len(bad) > 0 {
		g.cfg.Log.Warn("malformed lines of the guard dropped", "count", len(bad), "first", bad[0])
	}
	for _, l := range lines {
		select {
		case g.lines <- l:
		default:
			g.dropped.Add(1)
		}
	}
	return nil
}

// Run serves until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	var reporting sync.WaitGroup
	reporting.Go(func() { g.report(ctx) })
	defer reporting.Wait()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	g.look(ctx)
	g.restore(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-g.lines:
			g.heard(ctx, append([]line{l}, g.waiting()...))
		case <-look.C:
			g.look(ctx)
			g.restore(ctx)
		case <-g.more:
			g.restore(ctx)
		}
	}
}

// waiting takes the lines that wait already.
func (g *Guard) waiting() (lines []line) {
	for range maxLines {
		select {
		case l := <-g.lines:
			lines = append(lines, l)
		default:
			return lines
		}
	}
	return lines
}

// heard acts on lines of Kamailio: known addresses and bans go to the kernel, each kind in one transaction.
func (g *Guard) heard(ctx context.Context, lines []line) {
	g.acting.Lock()
	defer g.acting.Unlock()
	known := map[netip.Prefix]time.Time{}
	var bans []Ban
	var offences []api.Offence
	now := time.Now()
	for _, l := range lines {
		addr := g.cfg.Of(l.addr)
		if l.offence == nil {
			known[addr] = now
			continue
		}
		o := *l.offence
		if o.TimeMS == 0 {
			o.TimeMS = now.UnixMilli()
		}
		o.Known = o.Known || g.knows(addr, now)
		if l.term > 0 && !g.spared(ctx, addr, now) {
			o.UntilMS = now.Add(l.term).UnixMilli()
			bans = append(bans, Ban{Addr: addr, Tier: o.Tier, Left: l.term})
		}
		offences = append(offences, o)
	}
	g.know(known)
	g.enforce(now, bans, false)
	g.tell(offences)
}

// look takes what the kernel has caught to Kamailio and to the brain, forgets what is over, counts connections, and gives a kernel whose table was
// removed everything anew.
func (g *Guard) look(ctx context.Context) {
	g.acting.Lock()
	defer g.acting.Unlock()
	now := time.Now()
	caught, err := g.cfg.Kernel.Caught()
	g.kernelFault.note(g.cfg.Log, "floods that the kernel catches are not known", err)
	g.tell(g.caught(ctx, now, caught))
	g.forget(now)
	if errors.Is(err, fs.ErrNotExist) {
		g.remake(now)
	} else {
		g.repair(now)
	}
	g.watch()
}

// floodTerm is how long a flood is banned at first.
func (g *Guard) floodTerm() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.policy != nil && g.policy.NftTermSec > 0 {
		return time.Duration(g.policy.NftTermSec) * time.Second
	}
	return time.Hour
}
