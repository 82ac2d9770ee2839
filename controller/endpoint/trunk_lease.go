package endpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
)

// maxTrunkText is how many bytes are kept of what a carrier, or an error, says of a trunk.
const maxTrunkText = 200

// Bounds of asking for leases.
const (
	leasesAtOnce = 64 // accounts asked side by side
	// leaseWait is for all accounts of a request: less than the 500 ms that a node gives each of its brains at least, so
	// that one account that does not answer costs nobody else his lease.
	leaseWait = 400 * time.Millisecond
)

// trunkLease answers POST /trunk/lease. The trunks of an account whose live state does not answer in time are left out:
// what they have they keep by their node's own clock.
func (s *Server) trunkLease(r *http.Request, key brain.APIKey) (any, error) {
	var req api.TrunkLeaseRequest
	if err := readLong(r, &req); err != nil {
		return nil, err
	}
	if err := checkAsks(&req); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &req.Node); err != nil {
		return nil, err
	}
	reply := &api.TrunkLeaseReply{Leases: []api.TrunkLease{}}
	asks := map[string][]presence.LeaseAsk{}
	for i := range req.Asks {
		a := &req.Asks[i]
		if !s.leasable(a) {
			reply.Leases = append(reply.Leases, api.TrunkLease{TrunkID: a.TrunkID})
			continue
		}
		asks[a.AccountID] = append(asks[a.AccountID], presence.LeaseAsk{TrunkID: a.TrunkID, Contact: a.Contact, Fence: a.Fence, Target: a.Target,
			ExpiresMS: a.ExpiresMS, LastError: a.LastError, Release: a.Release, Forget: a.Forget})
	}
	reply.Leases = append(reply.Leases, s.askLeases(r.Context(), req.Node, asks)...)
	return reply, nil
}

// askLeases asks for the leases of each account, side by side, and returns what is there within leaseWait, by account.
func (s *Server) askLeases(ctx context.Context, node string, asks map[string][]presence.LeaseAsk) (all []api.TrunkLease) {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	type answer struct {
		account string
		leases  []api.TrunkLease
		err     error
	}
	answers := make(chan answer, len(asks)) // who comes late waits for nobody
	slots := make(chan struct{}, leasesAtOnce)
	for id, list := range asks {
		go func() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-slots }()
			leases, err := s.trunks.of.Lease(ctx, id, node, list)
			answers <- answer{id, leases, err}
		}()
	}
	got := map[string][]api.TrunkLease{}
	var failed error
	for range asks {
		select {
		case a := <-answers:
			if a.err == nil {
				got[a.account] = a.leases
			} else {
				failed = fmt.Errorf("account %s: %w", a.account, a.err)
			}
		case <-ctx.Done():
			failed = ctx.Err()
		}
	}
	if failed != nil {
		s.Log.Warn("leases of trunks: accounts do not answer", "accounts", len(asks)-len(got), "node", node, "err", failed)
	}
	for _, id := range slices.Sorted(maps.Keys(got)) {
		all = append(all, got[id]...)
	}
	return all
}

// leasable tells whether a lease can be asked for: the trunk is in use and registered at. One that is not any more can
// still be given back, also when its account is gone.
func (s *Server) leasable(a *api.TrunkAsk) bool {
	if a.Release {
		return true
	}
	acct := s.Config.Directory().ByAccount(a.AccountID)
	if acct == nil {
		return false
	}
	t := acct.Trunks[a.TrunkID]
	return t != nil && t.DoRegister && t.Status == brain.StatusActive
}

func checkAsks(req *api.TrunkLeaseRequest) error {
	if err := checkName(req.Node); err != nil {
		return err
	}
	if len(req.Asks) > api.MaxNodeTrunks {
		return badField(countBadTooLong, "asks", "at most %d", api.MaxNodeTrunks)
	}
	for i := range req.Asks {
		a := &req.Asks[i]
		for name, v := range map[string]string{"trunk_id": a.TrunkID, "account_id": a.AccountID, "contact": a.Contact} {
			if v == "" {
				return badField(countBadType, "asks."+name, "is missing")
			}
		}
		a.LastError = clipped(a.LastError)
		for _, v := range [...]string{a.TrunkID, a.AccountID, a.Contact, a.Target} {
			if err := checkText("asks", v, maxID); err != nil {
				return err
			}
		}
		if a.ExpiresMS < 0 || a.Fence < 0 || strings.Contains(a.AccountID, "/") || strings.ContainsAny(a.Contact, " <>\",") {
			return badField(countBadType, "asks", "%d: a number below 0, no account, or a contact that is no URI", i)
		}
	}
	return nil
}

// clipped is what is kept of a text that only people read: a carrier's words, that must not cost the node its request.
func clipped(text string) string { return clippedTo(text, maxTrunkText) }

// clippedTo is a text without control characters, of at most so many bytes.
func clippedTo(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	n := min(len(text), most)
	for n > 0 && n < len(text) && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// watchList is the list of trunks that nodes look after, of one version of the configuration.
type watchList struct {
	made    bool
	version int64
	digest  string
	trunks  []api.TrunkWatch
}

// watched is that list now. More trunks than a node looks after are left out, and said once for each version.
func (s *Server) watched(dir brain.Directory) watchList {
	s.trunks.mu.Lock()
	defer s.trunks.mu.Unlock()
	w := &s.trunks.watch
	if w.made && w.version == dir.Version() {
		return *w
	}
	list := []api.TrunkWatch{}
	left := 0
	for _, t := range s.trunks.of.Active(dir) {
		switch {
		case t.Proxy == "" || t.OptionsPingSec == 0 && !t.DoRegister && !t.Out():
		case len(list) == api.MaxNodeTrunks:
			left++
		default:
			list = append(list, watchOf(t))
		}
	}
	if left > 0 {
		s.Log.Error("trunks that no node looks after: they are neither pinged nor registered at", "trunks", left, "most", api.MaxNodeTrunks)
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(fmt.Sprintf("encode trunks: %v", err)) // our own type
	}
	sum := sha256.Sum256(text)
	*w = watchList{true, dir.Version(), hex.EncodeToString(sum[:8]), list}
	return *w
}

// watchOf is what a node has to know of a trunk.
func watchOf(t *brain.SIPTrunk) api.TrunkWatch {
	domain := t.FromDomain
	if domain == "" {
		domain = proxyHost(t.Proxy)
	}
	w := api.TrunkWatch{ID: t.ID, AccountID: t.AccountID, Name: t.Name, URI: "sip:" + domain, Proxy: t.Proxy, Transport: string(t.Transport), PingSec: t.OptionsPingSec}
	if w.Transport == "" {
		w.Transport = "udp"
	}
	if t.DoRegister {
		w.User = registeredUser(t)
		w.AOR, w.ExpireSec, w.Auth = "sip:"+w.User+"@"+domain, t.ExpireSec, t.AuthSecretRef != ""
	}
	return w
}

// registeredUser is the user part of what we register, in the form of a URI.
func registeredUser(t *brain.SIPTrunk) string {
	var b strings.Builder
	for _, c := range []byte(t.RegisteredUser()) { // RFC 3261 section 25.1: unreserved and user-unreserved
		if c < 0x80 && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-_.!~*'()&=+$,;?/", c) >= 0) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// proxyHost is the host of a proxy, IPv6 in brackets.
func proxyHost(proxy string) string {
	if i := strings.LastIndexByte(proxy, ':'); i >= 0 && !strings.HasSuffix(proxy, "]") {
		return proxy[:i]
	}
	return proxy
}

// listTrunks answers GET /trunks.
func (s *Server) listTrunks(r *http.Request, key brain.APIKey) (any, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	leases, err := s.trunks.of.Leases(r.Context(), id)
	if err != nil {
		return nil, err
	}
	list := &api.TrunkList{AccountID: id, Trunks: []api.TrunkState{}}
	acct := s.Config.Directory().ByAccount(id)
	if acct == nil {
		return list, nil
	}
	peers, err := s.peers(r.Context(), acct)
	if err != nil {
		return nil, err
	}
	for _, t := range byName(acct) {
		st := api.TrunkState{ID: t.ID, Name: t.Name, Status: string(t.Status), Direction: string(t.Direction), Proxy: t.Proxy, Register: t.DoRegister,
			Nodes: s.trunks.nodes(s.Now().UnixMilli(), t.ID), InboundAuth: string(t.InboundAuth), Peer: peers[t.ID]}
		for i := range leases {
			if leases[i].TrunkID == t.ID && t.DoRegister {
				st.Registration = &leases[i]
			}
		}
		list.Trunks = append(list.Trunks, st)
	}
	return list, nil
}

// peers finds where the trunks of an account that register here have registered, by trunk.
func (s *Server) peers(ctx context.Context, acct *brain.AccountConfig) (map[string]*api.DevicePresence, error) {
	waited := map[string]string{} // trunk by AOR
	for _, t := range acct.Trunks {
		if aor := acct.TrunkAOR(t); aor != "" {
			waited[aor] = t.ID
		}
	}
	if len(waited) == 0 {
		return nil, nil
	}
	state, err := s.Presence.State(ctx, acct.Account.ID)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*api.DevicePresence, len(waited))
	for i := range state.Devices {
		if id, ok := waited[state.Devices[i].AOR]; ok {
			found[id] = &state.Devices[i]
		}
	}
	return found, nil
}

// pingTrunk answers POST /trunks/{id}/ping: every node that takes orders pings it.
func (s *Server) pingTrunk(r *http.Request, key brain.APIKey) (any, error) {
	account, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	dir := s.Config.Directory()
	id := r.PathValue("id")
	if acct := dir.ByAccount(account); acct == nil || acct.Trunks[id] == nil {
		return nil, badBody(http.StatusNotFound, countBadType, "account %s has no trunk %s", quote(account), quote(id))
	}
	if s.Nodes == nil {
		return nil, brain.Errorf(brain.EUnavailable, "nodes take no orders of this brain")
	}
	return &api.TrunkPinged{TrunkID: id, Nodes: s.pingAll(r.Context(), dir.Nodes(), id)}, nil
}

// byName lists the trunks of an account by name.
func byName(acct *brain.AccountConfig) []*brain.SIPTrunk {
	return slices.SortedFunc(maps.Values(acct.Trunks), func(a, b *brain.SIPTrunk) int { return strings.Compare(a.Name, b.Name) })
}

// maxPinged bounds the nodes that are asked for one ping.
const maxPinged = 64

// pingAll has nodes ping a trunk, all at the same time.
func (s *Server) pingAll(ctx context.Context, nodes []*brain.Node, id string) []api.TrunkPonged {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n *brain.Node) bool { return !n.TakesOrders() })
	nodes = nodes[:min(len(nodes), maxPinged)]
	found := make([]api.TrunkPonged, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			found[i].Node = n.Name
			reply, err := s.Nodes.Push(ctx, n, api.Op{ID: opID(), Kind: api.OpTrunkPing, TrunkID: id})
			switch {
			case err != nil:
				found[i].Error = err.Error()
			case !reply.OK:
				found[i].Error = reply.Error
			default:
				found[i].Seen = reply.Trunk
			}
		})
	}
	all.Wait()
	return found
}
