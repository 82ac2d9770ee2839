package door

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Why an exchange was cut before its answer.
var (
	errDeadline = errors.New("no decision in time")
	errOpen     = errors.New("circuit breaker is open")
	errLost     = errors.New("another brain answered first")
	errStopping = errors.New("node agent is stopping")
)

// question is what Kamailio asked, byte for byte.
type question struct {
	path        string
	contentType string
	body        []byte
	deadline    time.Time
	reached     *atomic.Bool // set when a brain may have got it, nil when nobody asks
}

// answer is what a brain said: any HTTP status with its body, which belongs to the caller.
type answer struct {
	status int
	body   []byte
}

// cutter ends the wait of whoever carries an exchange, from another goroutine and at once.
type cutter interface{ cut() }

// exchange is one question under way at one brain. The carrier attaches what can be cut while it
// waits; the watchdog, the breaker or a faster brain aborts.
type exchange struct {
	question
	place int // index in brain.flights, kept by brain

	mu     sync.Mutex
	cutter cutter
	cause  error // why it was aborted, nil while it runs
}

// attach names what abort has to cut from now on; nil detaches. It returns the cause when the
// exchange was aborted already, and nothing is attached then.
func (x *exchange) attach(c cutter) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause != nil {
		x.cutter = nil
		return x.cause
	}
	x.cutter = c
	return nil
}

// abort ends the exchange with cause; the first cause stays.
func (x *exchange) abort(cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause != nil {
		return
	}
	x.cause = cause
	if x.cutter != nil {
		x.cutter.cut()
	}
}

// aborted returns the cause of an abort, nil when there was none.
func (x *exchange) aborted() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cause
}
