package v1

import (
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxLimiters bounds the table of limiters. Past it those that are full again are dropped: a key
// that has not been used for a while loses nothing by beginning anew.
const maxLimiters = 10_000

// limiters holds one token bucket an API key.
type limiters struct {
	mu    sync.Mutex
	byKey map[string]*rate.Limiter
}

// take spends one request of the key; above the rate it spends nothing and says how long to wait.
func (l *limiters) take(key string, perSecond rate.Limit, burst int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byKey == nil {
		l.byKey = map[string]*rate.Limiter{}
	}
	limiter, ok := l.byKey[key]
	if !ok {
		l.shrink()
		limiter = rate.NewLimiter(perSecond, burst)
		l.byKey[key] = limiter
	}
	reservation := limiter.Reserve()
	wait := reservation.Delay()
	if wait > 0 {
		reservation.Cancel()
	}
	return wait
}

func (l *limiters) shrink() {
	if len(l.byKey) < maxLimiters {
		return
	}
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
