package trunk

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/api"
)

// Times and bounds of the keeper.
const (
	tick      = 100 * time.Millisecond // between two looks at what is due
	pingWait  = 4 * time.Second        // for an answer to OPTIONS, each target
	atOnce    = 32                     // pings and registrations under way
	askEvery  = time.Second            // for leases
	askWait   = 1500 * time.Millisecond
	firstPing = 2 * time.Second // a trunk that is new here is pinged within it
	maxHints  = 200             // trunks named in a question of each kind

	maxHintText = 8 << 10 // bytes of them
	maxText     = 200     // bytes told of what was wrong
)

// pingFrom is who OPTIONS come from when the trunk knows nobody of ours.
const pingFrom = "sip:keepalive@sipio.invalid"

// Brain is what the keeper tells and asks.
type Brain interface {
	Trunks(ctx context.Context, found api.NodeTrunks) (api.NodeTrunksReply, error)
	Lease(ctx context.Context, asks api.TrunkLeaseRequest) (api.TrunkLeaseReply, error)
	Answer(ctx context.Context, req api.TrunkAnswerRequest) (api.TrunkAnswerReply, error)
}

// Config is what a Keeper needs.
type Config struct {
	Node     string
	Every    time.Duration // between two reports to the brain
	Sender   Sender
	Brain    Brain
	Resolver Resolver    // nil: the system's
	Able     func() bool // Kamailio answers its probe: without it no lease is asked for, or kept; nil: it always does
	Log      *slog.Logger
}

// Keeper looks after the trunks that the brain names. What it was told last it keeps doing while no brain answers,
// except for registering.
type Keeper struct {
	cfg   Config
	hints atomic.Pointer[Hints]
	slots chan struct{}
	work  sync.WaitGroup

	mu     sync.Mutex
	trunks map[string]*trunk
	digest string
	self   string // our SIP address, of Contacts
	looks  int    // under way
	away   bool   // the last report did not reach a brain
}

// Hints is what a question about a call is told besides: comma-separated ids of trunks that are down, and ID=HOST:PORT|HOST:PORT… of
// where others are reached; ID= alone: its name leads nowhere.
type Hints struct{ Down, Via string }

// trunk is one trunk looked after. Keeper.mu guards it.
type trunk struct {
	api.TrunkWatch
	health health
	seen   api.TrunkSeen // code, round trip, counters

	targets []string         // of its proxy's name, as found last
	failed  map[string]int64 // those at which a call has failed, until when they are called last; epoch milliseconds
	looking bool             // a look-up is under way
	nowhere bool             // the last one found nothing
	lookMS  int64

	busy   bool // a ping is under way
	nextMS int64
	reg    *registration
}

// New makes a Keeper that knows no trunk yet.
func New(cfg Config) *Keeper {
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	k := &Keeper{cfg: cfg, slots: make(chan struct{}, atOnce), trunks: map[string]*trunk{}}
	k.hints.Store(&Hints{})
	return k
}

// Hints returns what questions are told now.
func (k *Keeper) Hints() (down, via string) {
	h := k.hints.Load()
	return h.Down, h.Via
}

// Run looks after trunks until ctx ends, then gives its leases back.
func (k *Keeper) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { every(ctx, k.cfg.Every, func() { k.report(ctx) }) })
	loops.Go(func() { every(ctx, askEvery, func() { k.lease(ctx) }) })
	loops.Go(func() { every(ctx, tick, func() { k.look(ctx) }) })
	loops.Wait()
	k.work.Wait()
	k.giveBack(context.WithoutCancel(ctx))
}

// every does something at once and then in steady pace until ctx ends.
func every(ctx context.Context, pace time.Duration, do func()) {
	t := time.NewTicker(pace)
	defer t.Stop()
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// report tells the brain what was found and takes its list.
func (k *Keeper) report(ctx context.Context) {
	reply, err := k.cfg.Brain.Trunks(ctx, k.found())
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil && !k.away {
		k.cfg.Log.Warn("the states of trunks do not reach a brain", "error", err)
	}
	if k.away = err != nil; k.away {
		return
	}
	k.self = reply.SIP
	if !reply.Same {
		k.take(ctx, reply)
	}
}

// found is what was found of every trunk, by id.
func (k *Keeper) found() api.NodeTrunks {
	k.mu.Lock()
	defer k.mu.Unlock()
	told := api.NodeTrunks{Node: k.cfg.Node, Digest: k.digest, Trunks: []api.TrunkSeen{}}
	for _, t := range k.trunks {
		told.Trunks = append(told.Trunks, t.shown())
	}
	slices.SortFunc(told.Trunks, func(a, b api.TrunkSeen) int { return strings.Compare(a.ID, b.ID) })
	return told
}

// shown is what is said of a trunk.
func (t *trunk) shown() api.TrunkSeen {
	s := t.seen
	s.ID, s.State, s.SinceMS = t.ID, t.health.state, t.health.sinceMS
	return s
}

// take makes the brain's list ours. A trunk that stays as it is keeps what is known of it.
func (k *Keeper) take(ctx context.Context, reply api.NodeTrunksReply) {
	now := time.Now().UnixMilli()
	list := reply.Trunks
	if len(list) > api.MaxNodeTrunks {
		k.cfg.Log.Error("more trunks than a node looks after", "trunks", len(list), "most", api.MaxNodeTrunks)
		list = list[:api.MaxNodeTrunks]
	}
	next := make(map[string]*trunk, len(list))
	for _, w := range list {
		old := k.trunks[w.ID]
		if old != nil && old.TrunkWatch == w {
			next[w.ID] = old
			continue
		}
		t := &trunk{TrunkWatch: w, health: newHealth(now), nextMS: now + rand.Int64N(firstPing.Milliseconds()), reg: &registration{call: k.cfg.Sender.NewCallID()}}
		if old != nil && old.Proxy == w.Proxy && old.Transport == w.Transport {
			t.health, t.seen, t.targets, t.failed, t.nowhere = old.health, old.seen, old.targets, old.failed, old.nowhere
		}
		if old != nil && old.sameRegistration(&w) {
			t.reg = old.reg
		}
		next[w.ID] = t
	}
	for id, old := range k.trunks {
		if t := next[id]; t == nil || t.reg != old.reg {
			k.retire(ctx, old, t)
		}
	}
	k.trunks, k.digest = next, reply.Digest
	k.hint()
}

// look starts what is due.
func (k *Keeper) look(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for _, t := range k.trunks {
		if was := t.health.state; was == api.TrunkDown {
			if t.health.expire(now.UnixMilli(), t.PingSec > 0); t.health.state != was {
				k.hint()
			}
		}
		if t.forgive(now.UnixMilli()) {
			k.hint()
		}
		if k.looks < looksAtOnce && !t.looking && now.UnixMilli() >= t.lookMS && t.named() {
			if t.looking = k.start(func() { k.lookUp(ctx, t) }); t.looking {
				k.looks++
			}
		}
		if t.PingSec > 0 && !t.busy && now.UnixMilli() >= t.nextMS {
			t.busy = k.start(func() { k.ping(ctx, t) })
		}
		if t.due(now) {
			t.reg.busy = k.start(func() { k.register(ctx, t) })
		}
	}
}

// start does something if there is room for it.
func (k *Keeper) start(do func()) bool {
	select {
	case k.slots <- struct{}{}:
	default:
		return false
	}
	k.work.Go(func() {
		defer func() { <-k.slots }()
		do()
	})
	return true
}

// ping asks a trunk whether it is there and plans the next time, a little off the pace so that the pings of many nodes
// and trunks spread.
func (k *Keeper) ping(ctx context.Context, t *trunk) {
	k.probe(ctx, t)
	k.mu.Lock()
	defer k.mu.Unlock()
	pace := time.Duration(t.PingSec) * time.Second
	t.busy, t.nextMS = false, time.Now().Add(pace*9/10+rand.N(pace/5+1)).UnixMilli()
}

// Ping pings a trunk now and returns what is known of it then. An error: it is not looked after here, or not yet, see Every of Config.
func (k *Keeper) Ping(ctx context.Context, id string) (api.TrunkSeen, error) {
	k.mu.Lock()
	t := k.trunks[id]
	k.mu.Unlock()
	if t == nil {
		return api.TrunkSeen{}, errors.New("does not know it yet (at most 5 s)")
	}
	k.probe(ctx, t)
	k.mu.Lock()
	defer k.mu.Unlock()
	return t.shown(), nil
}

// CallFailed takes that a call to a trunk got 408 or 503, as the edge tells it.
func (k *Keeper) CallFailed(id string, code int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.trunks[id]
	if t == nil || alive(code) {
		return
	}
	now := time.Now().UnixMilli()
	t.seen.Failed++
	if t.PingSec > 0 {
		t.health.heard(now, false)
	} else {
		t.health.failed(now)
	}
	k.hint()
}

// hint makes what questions are told. Caller holds k.mu.
func (k *Keeper) hint() {
	var down, via, plain []string
	for id, t := range k.trunks {
		if t.health.state == api.TrunkDown {
			down = append(down, id)
		}
		switch {
		case t.reg.target != "":
			via = append(via, id+"="+t.reg.target)
		case len(t.targets) > 1, t.nowhere && len(t.targets) == 0:
			via = append(via, id+"="+strings.Join(t.order(), "|"))
		case len(t.targets) == 1 && t.named():
			plain = append(plain, id+"="+t.targets[0])
		}
	}
	slices.Sort(down)
	slices.Sort(via)
	slices.Sort(plain)
	h := &Hints{bounded(down), bounded(append(via, plain...))} // plain last: Kamailio finds the same, if it asks
	if old := k.hints.Load(); *old != *h {
		k.hints.Store(h)
		level := slog.LevelInfo
		if old.Down == h.Down {
			level = slog.LevelDebug // the DNS shuffles targets by their weights
		}
		k.cfg.Log.Log(context.Background(), level, "trunks", "down", h.Down, "via", h.Via)
	}
}

// bounded joins as many of a list as a question has room for.
func bounded(list []string) string {
	text := strings.Join(list[:min(len(list), maxHints)], ",")
	if len(text) > maxHintText {
		text = text[:strings.LastIndexByte(text[:maxHintText+1], ',')]
	}
	return text
}

// nextHop is a target as a SIP URI.
func nextHop(target, transport string) string { return "sip:" + target + ";transport=" + transport }

// clean makes what a carrier or an error says fit to be told: one line of valid UTF-8, maxText bytes at most.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	n := min(len(text), maxText)
	for n > 0 && n < len(text) && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
