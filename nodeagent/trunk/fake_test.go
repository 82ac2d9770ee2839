package trunk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/api"
)

// world is a carrier, a brain and the DNS for keepers within a synctest bubble.
type world struct {
	mu     sync.Mutex
	broken string           // the node whose Kamailio is away
	away   bool             // the brain
	list   []api.TrunkWatch // what it names
	told   map[string]api.NodeTrunks
	lease  api.TrunkLease // of the one trunk; what brain/presence does, in short
	until  int64
	silent map[string]bool // targets that do not answer
	shut   map[string]bool // targets that cannot be sent to
	deaf   bool            // Kamailio takes no orders
	self   string          // what nodes are told to be; "" = NODE.test:5060
	slow   chan struct{}   // the first accepted REGISTER is answered when it is closed; nil = at once
	code   int             // of OPTIONS
	seen   []string        // method and target, in order
	reg    registrar
}

// registrar keeps what is registered. It challenges what carries no Authorization.
type registrar struct {
	least    int // Min-Expires
	open     bool
	refuse   int            // code it answers instead
	reason   string         // its words then
	grants   string         // seconds, of Expires; "" = it does not say
	contacts map[string]int // until which second
	most     int            // Contacts there ever were at a time
	requests []Request      // that it has accepted
}

func newWorld(list ...api.TrunkWatch) *world {
	return &world{list: list, told: map[string]api.NodeTrunks{}, silent: map[string]bool{}, shut: map[string]bool{}, code: 200,
		reg: registrar{contacts: map[string]int{}}}
}

func (w *world) set(change func(w *world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// now is how many seconds the bubble has lived.
func now() int { return int(time.Now().Unix()) }

func (w *world) Trunks(_ context.Context, found api.NodeTrunks) (api.NodeTrunksReply, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return api.NodeTrunksReply{}, errors.New("away")
	}
	for _, s := range found.Trunks {
		if err := bounds(s.ID, s.Target, s.LastError); err != nil {
			return api.NodeTrunksReply{}, err
		}
	}
	w.told[found.Node] = found
	self := found.Node + ".test:5060"
	if w.self != "" {
		self = w.self
	}
	digest := fmt.Sprint(w.list)
	return api.NodeTrunksReply{Digest: digest, Same: digest == found.Digest, Trunks: w.list, SIP: self}, nil
}

// bounds refuses what controller/endpoint refuses, and texts that it would cut.
func bounds(words ...string) error {
	for _, s := range words {
		if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return fmt.Errorf("400: %q", s)
		}
	}
	return nil
}

// watched is a trunk as the configuration has it, nil when it is gone.
func (w *world) watched(id string) *api.TrunkWatch {
	for i := range w.list {
		if w.list[i].ID == id {
			return &w.list[i]
		}
	}
	return nil
}

func (w *world) Lease(_ context.Context, req api.TrunkLeaseRequest) (reply api.TrunkLeaseReply, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return reply, errors.New("away")
	}
	for _, a := range req.Asks {
		if err := bounds(a.TrunkID, a.AccountID, a.Contact, a.Target, a.LastError); err != nil || a.Contact == "" {
			return api.TrunkLeaseReply{}, fmt.Errorf("400: %+v, %w", a, err)
		}
	}
	for _, a := range req.Asks {
		if t := w.watched(a.TrunkID); !a.Release && (t == nil || t.AOR == "") {
			reply.Leases = append(reply.Leases, api.TrunkLease{TrunkID: a.TrunkID})
			continue
		}
		l, now := &w.lease, time.Now().UnixMilli()
		mine := l.Node == req.Node && l.Fence == a.Fence && a.Fence != 0
		switch {
		case a.Release && mine && a.Forget && len(l.Old) == 0:
			*l = api.TrunkLease{Fence: l.Fence}
		case a.Release && mine:
			l.Old, l.Node, l.Contact, w.until = append(l.Old, l.Contact), "", "", 0
		case a.Release:
		case mine || l.Node == req.Node || l.Node == "" || w.until <= now:
			if l.Contact != "" && l.Contact != a.Contact {
				l.Old = append(l.Old, l.Contact)
			}
			l.Old = slices.DeleteFunc(slices.Clone(l.Old), func(c string) bool { return c == a.Contact })
			if !mine {
				l.Fence++
			} else if a.Target != "" || a.LastError != "" {
				l.Target, l.ExpiresMS, l.LastError = a.Target, a.ExpiresMS, a.LastError
				if a.Target != "" {
					l.Old = nil
				}
			}
			l.Node, l.Contact, w.until = req.Node, a.Contact, now+leaseMS
		}
		said := *l
		said.TrunkID, said.LeaseMS = a.TrunkID, leaseMS
		reply.Leases = append(reply.Leases, said)
	}
	return reply, nil
}

// leaseMS is how long a lease lasts (presence.TrunkLeaseMS).
const leaseMS = 3000

func (w *world) Answer(_ context.Context, req api.TrunkAnswerRequest) (reply api.TrunkAnswerReply, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.watched(req.TrunkID)
	if l := w.lease; !w.away && t != nil && t.URI == req.URI && time.Now().UnixMilli() < w.until && l.Node == req.Node && l.Fence == req.Fence && len(req.Challenges) == 1 {
		return api.TrunkAnswerReply{Line: "Authorization: Digest good\r\n"}, nil
	}
	return reply, errors.New("it is not yours")
}

func (w *world) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if name != "srv.test" || service+proto != "sipudp" {
		return "", nil, errors.New("no such name")
	}
	return "", []*net.SRV{{Target: "one.test", Port: 5061}, {Target: "two.test", Port: 5062}}, nil
}

func (w *world) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	addr := map[string]string{"one.test": "192.0.2.1", "two.test": "192.0.2.2"}[host]
	if addr == "" {
		return nil, errors.New("no such host")
	}
	return []netip.Addr{netip.MustParseAddr(addr)}, nil
}

func (w *world) NewCallID() string { return "tr-" + rand.Text() }

func (w *world) Send(ctx context.Context, r Request) (Response, error) {
	target, _, _ := strings.Cut(strings.TrimPrefix(r.NextHop, "sip:"), ";")
	w.mu.Lock()
	w.seen = append(w.seen, r.Method+" "+target)
	silent, shut, deaf := w.silent[target], w.shut[target], w.deaf
	w.mu.Unlock()
	if deaf {
		return Response{}, ErrUnsent
	}
	if shut {
		return Response{}, errors.New("500 no corresponding sending socket")
	}
	if silent {
		<-ctx.Done()
		return Response{}, ErrNoAnswer
	}
	time.Sleep(20 * time.Millisecond) // sleep: the way there and back
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Method != "REGISTER" {
		return Response{Code: w.code}, nil
	}
	got := w.reg.register(r)
	if slow := w.slow; slow != nil && got.Code == 200 {
		w.slow = nil
		w.mu.Unlock()
		select {
		case <-slow:
		case <-ctx.Done():
		}
		w.mu.Lock()
	}
	return got, nil
}

// register does what a registrar does (RFC 3261 section 10.3).
func (g *registrar) register(r Request) Response {
	expires := 0
	for line := range strings.SplitSeq(r.Headers, "\r\n") {
		_, _ = fmt.Sscanf(line, "Expires: %d", &expires)
	}
	switch {
	case g.refuse != 0:
		return Response{Code: g.refuse, Reason: g.reason}
	case !g.open && !strings.Contains(r.Headers, "Authorization: Digest good\r\n"):
		return Response{Code: 401, Fields: []HeaderField{{Name: "WWW-Authenticate", Value: `Digest realm="x", nonce="1"`}}}
	case expires > 0 && expires < g.least:
		return Response{Code: 423, Fields: []HeaderField{{Name: "Min-Expires", Value: fmt.Sprint(g.least)}}}
	}
	for line := range strings.SplitSeq(r.Headers, "\r\n") {
		rest, ok := strings.CutPrefix(line, "Contact: <")
		uri, params, _ := strings.Cut(rest, ">")
		n := 0
		if _, err := fmt.Sscanf(params, ";expires=%d", &n); !ok || err != nil {
			continue
		}
		if g.contacts[uri] = now() + n; n == 0 {
			delete(g.contacts, uri)
		}
	}
	g.requests = append(g.requests, r)
	g.most = max(g.most, len(g.live()))
	if g.grants != "" {
		return Response{Code: 200, Fields: []HeaderField{{Name: "Expires", Value: g.grants}}}
	}
	return Response{Code: 200}
}

// live lists what is registered now.
func (g *registrar) live() (list []string) {
	for uri, until := range g.contacts {
		if until > now() {
			list = append(list, uri)
		}
	}
	return list
}

// startKeeper runs a keeper until stop.
func startKeeper(t *testing.T, w *world, node string) (k *Keeper, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	k = New(Config{Node: node, Every: 5 * time.Second, Sender: w, Brain: w, Resolver: w, Able: func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.broken != node }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return k, stop
}
