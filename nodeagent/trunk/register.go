package trunk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Times and bounds of a registration.
const (
	leaseMargin  = 500 * time.Millisecond // a holder stops before its lease is over by its own clock
	minBackoff   = time.Second
	maxBackoff   = 30 * time.Second
	refreshSpare = 30 * time.Second // before the end a refresh is due at the latest
	minRefresh   = 5 * time.Second  // between two REGISTERs, however little a registrar grants
	maxAnswers   = 2                // challenges answered for one REGISTER: the second when the nonce was stale
	maxExpires   = 86400            // seconds, also when a registrar wants more
)

// registration is ours at one trunk. Keeper.mu guards it.
type registration struct {
	call    string // Call-ID of all its REGISTERs
	cseq    uint32
	busy    bool // one is under way
	wait    bool // what an earlier setting of this trunk has registered is being removed
	fence   int64
	until   time.Time // of the lease, by our clock
	contact string    // recorded with the lease, before anything is sent
	old     []string  // Contacts to be removed
	target  string    // where the registration stands, whoever holds it
	mine    string    // the same while it is ours
	expires time.Time
	next    time.Time
	backoff time.Duration
	askSec  int // wanted by the registrar (423)
	failure string
}

// sameRegistration tells whether nothing has changed that a registrar would see.
func (t *trunk) sameRegistration(w *api.TrunkWatch) bool {
	return t.AOR == w.AOR && t.User == w.User && t.URI == w.URI && t.Proxy == w.Proxy && t.Transport == w.Transport
}

// holds tells whether the lease is ours now.
func (r *registration) holds(now time.Time) bool { return r.fence != 0 && now.Before(r.until) }

// due tells whether a REGISTER is to be sent.
func (t *trunk) due(now time.Time) bool {
	return t.AOR != "" && !t.reg.busy && t.reg.holds(now) && !now.Before(t.reg.next)
}

// contactOf is the Contact that this node registers.
func contactOf(w *api.TrunkWatch, self string) string {
	host, port, err := net.SplitHostPort(self)
	if err != nil {
		host, port = trimBrackets(self), ""
	}
	if w.Transport == "tls" { // the node's address names the port of udp and tcp
		port = "5061"
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	uri := "sip:" + w.User + "@" + host
	if port != "" {
		uri += ":" + port
	}
	if w.Transport != "udp" {
		uri += ";transport=" + w.Transport
	}
	return uri
}

// lease asks for, and renews, the leases of all trunks that are registered at.
func (k *Keeper) lease(ctx context.Context) {
	sent := time.Now()
	req := k.asks(sent)
	if len(req.Asks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	reply, err := k.cfg.Brain.Lease(ctx, req)
	if err != nil {
		return // the leases run out by our own clock
	}
	contacts := map[string]string{}
	for _, a := range req.Asks {
		contacts[a.TrunkID] = a.Contact
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range reply.Leases {
		t := k.trunks[l.TrunkID]
		switch {
		case t == nil || contacts[l.TrunkID] == "" || t.reg.wait:
		case l.Node == "" && l.Fence == 0: // it is not registered at any more: the list will say so
			k.retire(ctx, t, t)
		default:
			t.reg.granted(k.cfg.Node, &l, contacts[l.TrunkID], sent)
		}
	}
	k.hint()
}

// asks is what is asked for now.
func (k *Keeper) asks(now time.Time) api.TrunkLeaseRequest {
	able := k.cfg.Able == nil || k.cfg.Able()
	k.mu.Lock()
	defer k.mu.Unlock()
	req := api.TrunkLeaseRequest{Node: k.cfg.Node}
	for _, t := range k.trunks {
		switch {
		case t.AOR == "" || t.reg.wait:
			continue
		case !able && t.reg.fence != 0:
			t.reg.until = time.Time{}
			req.Asks = append(req.Asks, t.release())
			continue
		case !able:
			continue
		case k.self == "":
			t.seen.LastError = "the node has no sip_addresses: it cannot register"
			continue
		}
		a := api.TrunkAsk{TrunkID: t.ID, AccountID: t.AccountID, Contact: contactOf(&t.TrunkWatch, k.self), Fence: t.reg.fence}
		if t.reg.fence != 0 && t.reg.mine != "" && now.Before(t.reg.expires) && t.reg.contact == a.Contact {
			a.Target, a.ExpiresMS = t.reg.mine, t.reg.expires.UnixMilli()
		}
		if t.reg.fence != 0 {
			a.LastError = t.reg.failure
		}
		req.Asks = append(req.Asks, a)
	}
	return req
}

// granted takes what the brain said of a lease that was asked for at a time.
func (r *registration) granted(node string, l *api.TrunkLease, contact string, asked time.Time) {
	r.target = l.Target
	if l.Node != node || l.Fence == 0 {
		r.fence, r.mine = 0, ""
		return
	}
	if l.Fence != r.fence || contact != r.contact {
		r.mine, r.next, r.backoff, r.failure = "", asked, 0, ""
	}
	r.fence, r.contact, r.old = l.Fence, contact, l.Old
	r.until = asked.Add(time.Duration(l.LeaseMS)*time.Millisecond - leaseMargin)
}

// register sends a REGISTER and plans the next.
func (k *Keeper) register(ctx context.Context, t *trunk) {
	list, err := targets(ctx, k.cfg.Resolver, t.Proxy, t.Transport)
	r := t.reg
	k.mu.Lock()
	fence, contact := r.fence, r.contact
	if r.mine != "" { // a refresh goes where the registration stands, first
		list = append([]string{r.mine}, without(list, r.mine)...)
	}
	k.mu.Unlock()
	var granted int
	var at string
	for _, at = range list {
		var again bool
		if granted, again, err = k.registerAt(ctx, t, at, fence, contact); err == nil || !again {
			break
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	r.busy = false
	if r.fence != fence || r.contact != contact { // what came of it is nothing to the lease that there is now
		return
	}
	if err != nil {
		if r.failure != clean(err.Error()) {
			k.cfg.Log.Warn("a trunk is not registered", "trunk", t.ID, "name", t.Name, "error", err)
		}
		r.backoff = min(max(2*r.backoff, minBackoff), maxBackoff)
		r.failure, r.next = clean(err.Error()), now.Add(r.backoff)
		return
	}
	if r.failure != "" || r.mine == "" {
		k.cfg.Log.Info("a trunk is registered", "trunk", t.ID, "name", t.Name, "at", at, "expires_sec", granted)
	}
	lasts := time.Duration(granted) * time.Second
	r.mine, r.failure, r.backoff, r.expires, r.next = at, "", 0, now.Add(lasts), now.Add(refreshAfter(lasts))
	r.target = at
	k.hint()
}

func without(list []string, s string) (rest []string) {
	for _, l := range list {
		if l != s {
			rest = append(rest, l)
		}
	}
	return rest
}

// refreshAfter is when a registration is refreshed: at half its time, and refreshSpare before its end if that is sooner;
// one that lasts shorter than that, at a quarter, and never sooner than minRefresh.
func refreshAfter(lasts time.Duration) time.Duration {
	return max(min(lasts/2, lasts-refreshSpare), lasts/4, minRefresh)
}

// Why no other target is tried: the lease was lost meanwhile, or the brain gives no answer to a challenge.
var (
	errNotOurs   = errors.New("another node registers there now")
	errNotSigned = errors.New("the challenge is not answered")
)

// registerAt registers a Contact under a lease at one target and returns for how many seconds. again: another target may
// do better.
func (k *Keeper) registerAt(ctx context.Context, t *trunk, at string, fence int64, contact string) (granted int, again bool, err error) {
	k.mu.Lock()
	r := t.reg
	old, asked := r.old, max(t.ExpireSec, r.askSec)
	k.mu.Unlock()
	for range 2 { // once more with the registrar's own idea of an interval
		var got Response
		if got, err = k.exchange(ctx, t, at, fence, contactLines(contact, asked, old)); err != nil {
			return 0, !errors.Is(err, errNotOurs) && !errors.Is(err, errNotSigned), err
		}
		if got.Code < 300 {
			if granted = grantedBy(&got, contact, asked); granted <= 0 {
				err = fmt.Errorf("%d, for no time at all", got.Code)
			}
			return granted, false, err
		}
		err = fmt.Errorf("%d %.80s", got.Code, got.Reason)
		least, failed := strconv.Atoi(got.Get("Min-Expires"))
		if got.Code != 423 || failed != nil || least <= asked || least > maxExpires {
			return 0, got.Code == 408 || got.Code >= 500 && got.Code < 600, err
		}
		asked = least
		k.mu.Lock()
		r.askSec = least
		k.mu.Unlock()
	}
	return 0, false, err
}

// contactLines registers a Contact for some seconds, 0 = removes it, and removes those of former holders.
func contactLines(contact string, seconds int, old []string) string {
	lines := fmt.Sprintf("Contact: <%s>;expires=%d\r\n", contact, seconds)
	for _, o := range old {
		lines += fmt.Sprintf("Contact: <%s>;expires=0\r\n", o)
	}
	return lines + fmt.Sprintf("Expires: %d\r\n", seconds)
}

// exchange sends a REGISTER and answers challenges, as long as the lease of that fence is ours.
func (k *Keeper) exchange(ctx context.Context, t *trunk, at string, fence int64, headers string) (got Response, err error) {
	answer := ""
	for n := 0; ; n++ {
		k.mu.Lock()
		r := t.reg
		if r.fence != fence || !r.holds(time.Now()) {
			k.mu.Unlock()
			return got, errNotOurs
		}
		r.cseq++
		req := Request{Method: "REGISTER", URI: t.URI, NextHop: nextHop(at, t.Transport), From: t.AOR, To: t.AOR, CallID: r.call, CSeq: r.cseq, Headers: headers + answer}
		k.mu.Unlock()
		sending, cancel := context.WithTimeout(ctx, pingWait)
		got, err = k.cfg.Sender.Send(sending, req)
		cancel()
		if err != nil || got.Code != 401 && got.Code != 407 || !t.Auth || n == maxAnswers {
			return got, err
		}
		reply, err := k.cfg.Brain.Answer(ctx, api.TrunkAnswerRequest{Node: k.cfg.Node, TrunkID: t.ID, AccountID: t.AccountID, Fence: fence,
			Method: "REGISTER", URI: t.URI, Challenges: challenges(&got)})
		if err != nil {
			return got, fmt.Errorf("%w: %w", errNotSigned, err)
		}
		answer = reply.Line
	}
}

// challenges are the challenges of a response, each with its header's name.
func challenges(got *Response) (list []string) {
	for _, name := range [...]string{"WWW-Authenticate", "Proxy-Authenticate"} {
		for _, value := range got.All(name) {
			list = append(list, name+": "+value)
		}
	}
	return list
}
