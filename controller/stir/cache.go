package stir

import (
	"crypto/x509"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/stir"
)

// How long the outcome of a fetch holds.
const (
	maxTTL     = 24 * time.Hour
	defaultTTL = 5 * time.Minute // of a server that does not say
	failureTTL = 30 * time.Second
	staleTTL   = time.Hour // how much longer a certificate serves calls that cannot wait for it to be fetched again
	maxEntries = 1024
)

// entry is one URL's outcome, or the wait for it.
type entry struct {
	done    chan struct{} // closed when chain and refusal stand
	settled bool
	until   time.Time // of a settled one
	chain   []*x509.Certificate
	refusal *stir.Refusal
	before  []*x509.Certificate // what was there before, for at most staleTTL; nil = nothing
}

// cache keeps outcomes by URL.
type cache struct {
	now     func() time.Time
	mu      sync.Mutex
	entries map[string]*entry
}

func newCache(now func() time.Time) *cache {
	if now == nil {
		now = time.Now
	}
	return &cache{now: now, entries: map[string]*entry{}}
}

// get returns the entry of a URL. mine tells that there was none that holds, and that the caller has to settle it.
func (c *cache) get(key string) (e *entry, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.entries[key]
	if old != nil && (!old.settled || c.now().Before(old.until)) {
		return old, false
	}
	delete(c.entries, key)
	if len(c.entries) >= maxEntries {
		c.evict()
	}
	e = &entry{done: make(chan struct{})}
	if old != nil && c.now().Before(old.until.Add(staleTTL)) {
		e.before = old.chain
	}
	c.entries[key] = e
	return e, true
}

// settle lets everybody who waits have the outcome, and keeps it for a while; 0 = not at all.
func (c *cache) settle(key string, e *entry, keep time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.settled, e.until = true, c.now().Add(keep)
	if keep <= 0 && c.entries[key] == e {
		delete(c.entries, key)
	}
	close(e.done)
}

// evict forgets what holds no longer, or else the entry that would be the first to go, which a failure is before a
// certificate. Entries that somebody waits for stay: there are no more of them than fetches at once, and one.
func (c *cache) evict() {
	now := c.now()
	first := ""
	for key, e := range c.entries {
		switch {
		case !e.settled:
		case !now.Before(e.until):
			delete(c.entries, key)
		case first == "" || e.until.Before(c.entries[first].until):
			first = key
		}
	}
	if len(c.entries) >= maxEntries && first != "" {
		delete(c.entries, first)
	}
}

// lifetime is how long an answer holds by its Cache-Control (RFC 9111 section 5.2.2), at most maxTTL.
func lifetime(header http.Header) time.Duration {
	keep := defaultTTL
	for part := range strings.SplitSeq(strings.ToLower(strings.Join(header.Values("Cache-Control"), ",")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 32)
			if err != nil {
				return 0 // nonsense counts as stale
			}
			keep = min(time.Duration(seconds)*time.Second, maxTTL)
		}
	}
	return keep
}
