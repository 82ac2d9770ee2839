package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// answer is what became of one question of a load.
type answer struct {
	outcome
	account  int // index in the load's accounts
	callID   string
	began    time.Time
	finished time.Time
}

// load asks for calls of accounts, in turn, at brains, in turn, until it is stopped.
type load struct {
	c        *Cluster
	accounts []account
	asked    []*Brain
	stop     context.CancelFunc
	workers  sync.WaitGroup
	next     atomic.Int64

	mu      sync.Mutex
	answers []answer
}

// pace is the pause of each of a load's workers between two questions.
const (
	pace    = 4 * time.Millisecond
	few     = 4                    // askers of a load whose answers come at once
	many    = 48                   // and of one where they may take their time
	callFor = "load-%d-%d@cluster" // Call-ID: when it was asked, and which account
)

func startLoad(ctx context.Context, c *Cluster, accounts []account, asked []*Brain, askers int) *load {
	l := &load{c: c, accounts: accounts, asked: asked}
	ctx, l.stop = context.WithCancel(ctx)
	for range askers {
		l.workers.Go(func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					l.one(ctx)
				}
			}
		})
	}
	return l
}

func (l *load) one(ctx context.Context) {
	n := int(l.next.Add(1))
	i := n % len(l.accounts)
	a := answer{account: i, began: time.Now()}
	a.callID = fmt.Sprintf(callFor, a.began.UnixNano(), i)
	// The end of the load cuts no question off: whether its call was admitted would not be known.
	a.outcome = invite(context.WithoutCancel(ctx), l.c, l.asked[(n/len(l.accounts)+n)%len(l.asked)], l.accounts[i], a.callID)
	a.finished = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, a)
}

// end stops the load and returns all answers, by the time of asking.
func (l *load) end() []answer {
	l.stop()
	l.workers.Wait()
	slices.SortFunc(l.answers, func(a, b answer) int { return a.began.Compare(b.began) })
	return l.answers
}

// ownersSince waits until each closed account was answered by an owner to a question asked after a moment, and returns
// when that was, by the index of the account.
func (l *load) ownersSince(t *testing.T, ctx context.Context, since time.Time) map[int]time.Time {
	t.Helper()
	found := map[int]time.Time{}
	eventually(t, ctx, "owners", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		missing := 0
		for i, a := range l.accounts {
			if !a.closed || !found[i].IsZero() {
				continue
			}
			missing++
			for _, got := range l.answers {
				if got.account == i && got.began.After(since) && got.owner() {
					found[i] = got.finished
					missing--
					break
				}
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d accounts have none", missing)
		}
		return nil
	})
	return found
}

// owner says whether whoever counts the account's calls has answered. It does so only for closed accounts.
func (o outcome) owner() bool { return o.verdict == admitted || o.verdict == full }

// held checks what must hold of a load at any time: closed accounts are never admitted beyond their limit, and those that
// take their share are always admitted. Brains that were asked are alive: each question has an answer.
func held(t *testing.T, accounts []account, answers []answer) {
	t.Helper()
	count := map[int]int{}
	for _, a := range answers {
		acct := accounts[a.account]
		if a.verdict == silent {
			t.Errorf("%s: no answer: %s", acct.name, a.why)
		}
		if a.verdict != admitted && !acct.closed {
			t.Errorf("%s, which takes its share, %v after the beginning: %s", acct.name, a.began.Sub(answers[0].began), a.why)
		}
		if a.verdict == admitted && acct.closed {
			count[a.account]++
		}
		if a.verdict == 0 {
			t.Errorf("%s: %s", acct.name, a.why)
		}
	}
	for i, n := range count {
		if n > accounts[i].limit {
			t.Errorf("%s: %d calls admitted, its limit is %d", accounts[i].name, n, accounts[i].limit)
		}
	}
}

// figures prints the spread of what was measured and returns the 95th percentile.
func figures(t *testing.T, what string, values []time.Duration) time.Duration {
	t.Helper()
	slices.Sort(values)
	at := func(p int) time.Duration {
		return values[min(len(values)-1, (len(values)*p+99)/100-1)].Round(time.Millisecond)
	}
	t.Logf("%s: n=%d p50 %v p95 %v max %v", what, len(values), at(50), at(95), at(100))
	return at(95)
}

// clearSlots gives back every place of the accounts.
func clearSlots(t *testing.T, ctx context.Context, c *Cluster, accounts []account) {
	t.Helper()
	for _, a := range accounts {
		eventually(t, ctx, "reset of "+a.name, func() error {
			_, err := c.Client(c.Brains[0]).ResetCAC(ctx, a.id, nil)
			return err
		})
	}
}
