package v1

import (
	"hash/maphash"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxLimiters bounds a table of limiters. While it is full, those that are full again are dropped, once a second: who has not
// asked for a while loses nothing by beginning anew. New ones share limiters
// meanwhile, as chance has it.
const maxLimiters = 10_000

// sharedLimiters is how many limiters those share for whom there is no place. Each lets through what one of them may, so that a full
// table gives nobody more tries.
const sharedLimiters = 256

// limiters holds one token bucket for each key, address or whatever is limited.
type limiters struct {
	mu     sync.Mutex
	byKey  map[string]*rate.Limiter
	shared [sharedLimiters]*rate.Limiter
	seed   maphash.Seed // nobody can choose whom he shares with
	shrunk time.Time
}

// take spends one request of the key; above the rate it spends nothing and says how long to wait.
func (l *limiters) take(key string, perSecond rate.Limit, burst int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byKey == nil {
		l.byKey = map[string]*rate.Limiter{}
		l.seed = maphash.MakeSeed()
		for i := range l.shared {
			l.shared[i] = rate.NewLimiter(perSecond, burst)
		}
	}
	limiter, ok := l.byKey[key]
	if !ok {
		l.shrink()
		limiter = l.shared[maphash.String(l.seed, key)%sharedLimiters]
		if len(l.byKey) < maxLimiters {
			limiter = rate.NewLimiter(perSecond, burst)
			l.byKey[key] = limiter
		}
	}
	reservation := limiter.Reserve()
	wait := reservation.Delay()
	if wait > 0 {
		reservation.Cancel()
	}
	return wait
}

func (l *limiters) shrink() {
	if len(l.byKey) < maxLimiters || time.Since(l.shrunk) < time.Second {
		return
	}
	l.shrunk = time.Now()
	for key, limiter := range l.byKey {
		if limiter.Tokens() >= float64(limiter.Burst()) {
			delete(l.byKey, key)
		}
	}
}

// seconds writes a wait for Retry-After: whole seconds, at least one.
func seconds(wait time.Duration) string {
	return strconv.Itoa(max(1, int((wait+time.Second-1)/time.Second)))
}

// sourceBits is what of an IPv6 address tells one customer from another.
const sourceBits = 64

// source is where a request comes from, as limits count it: the address at the other end of the connection, of IPv6 its /64.
// X-Forwarded-For is not read here: who is before /v1 has put into RemoteAddr what is to be believed of it.
func source(r *http.Request) string {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	net, err := addr.Prefix(sourceBits)
	if err != nil {
		return ""
	}
	return net.String()
}
