package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.c != nil {
		shared.c.Stop()
		_ = os.RemoveAll(shared.c.Dir)
	}
	edge.RemoveBinaries()
	os.Exit(code)
}

// shared is the cluster that most tests use, one after the other; each leaves it whole.
var shared struct {
	once     sync.Once
	c        *Cluster
	accounts []account
	err      error
}

// account is one account of the fixture.
type account struct {
	name, id string
	shard    int
	closed   bool // its policy; else local_share
	limit    int  // of simultaneous internal calls
}

// brains returns the shared cluster, settled, and its accounts: of each shard one that is closed and one that takes its
// local share.
func brains(t *testing.T, ctx context.Context) (*Cluster, []account) {
	t.Helper()
	shared.once.Do(func() {
		dir, err := os.MkdirTemp("", "sipio-cluster-")
		if err != nil {
			shared.err = err
			return
		}
		if shared.c, shared.err = Start(ctx, Options{Dir: dir}); shared.err == nil {
			shared.accounts, shared.err = configure(ctx, shared.c)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	if err := shared.c.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	told(t, shared.c)
	return shared.c, shared.accounts
}

// told shows the last words of all processes when the test fails.
func told(t *testing.T, c *Cluster) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("last lines:\n" + c.Tails(12))
		}
	})
}

// closedLimit is small: what a test fills it with is soon refused, so that one call too many shows.
const (
	closedLimit = 3
	shareLimit  = 100_000
	password    = "secret"
)

// configure makes accounts until each shard has two, and gives those a caller 1001 and a callee 1002.
func configure(ctx context.Context, c *Cluster) ([]account, error) {
	cl := c.Client(c.Brains[0])
	chosen := map[int][]account{}
	for round := 0; len(chosen) < brain.Shards || fewest(chosen) < 2; round++ {
		if round == 20 {
			return nil, fmt.Errorf("accounts cover %d shards", len(chosen))
		}
		var doc strings.Builder
		for i := range 400 {
			fmt.Fprintf(&doc, "- {kind: account, name: a%d-%d}\n", round, i)
		}
		if _, _, err := cl.Apply(ctx, []byte(doc.String()), brain.ApplyOptions{}); err != nil {
			return nil, err
		}
		list, err := cl.List(ctx, brain.KindAccount, "")
		if err != nil {
			return nil, err
		}
		clear(chosen)
		for _, r := range list {
			a := r.(*brain.Account)
			if shard := brain.ShardOf(a.ID); len(chosen[shard]) < 2 {
				chosen[shard] = append(chosen[shard], account{name: a.Name, id: a.ID, shard: shard})
			}
		}
	}
	var accounts []account
	var doc strings.Builder
	for shard := range brain.Shards {
		for i, a := range chosen[shard] {
			if a.limit = shareLimit; i == 0 {
				a.closed, a.limit = true, closedLimit
			}
			a.write(&doc)
			accounts = append(accounts, a)
		}
	}
	_, _, err := cl.Apply(ctx, []byte(doc.String()), brain.ApplyOptions{})
	return accounts, err
}

func fewest(chosen map[int][]account) int {
	n := 2
	for _, list := range chosen {
		n = min(n, len(list))
	}
	return n
}

// write declares the account with its phones.
func (a account) write(doc *strings.Builder) {
	policy := "local_share"
	if a.closed {
		policy = "closed"
	}
	fmt.Fprintf(doc, "- {kind: account, name: %s, spec: {max_internal: %d, admission_policy: %s}}\n", a.name, a.limit, policy)
	fmt.Fprintf(doc, "- {kind: sip_domain, account: %s, name: %s.test, spec: {is_primary: true}}\n", a.name, a.name)
	for _, user := range []string{"1001", "1002"} {
		fmt.Fprintf(doc, "- {kind: sip_user, account: %s, name: %q}\n", a.name, user)
		fmt.Fprintf(doc, "- {kind: sip_device, account: %s, name: %s@%s.test, spec: {user_id: %q, password: %s}}\n", a.name, user, a.name, user, password)
	}
}

// owned lists the accounts whose shard a brain owns, as the brain that is asked sees it.
func owned(t *testing.T, ctx context.Context, c *Cluster, by string, accounts []account) []account {
	t.Helper()
	var state api.ClusterState
	eventually(t, ctx, "the owners of the shards", func() (err error) {
		state, err = c.Client(c.Brains[0]).Cluster(ctx)
		return err
	})
	var list []account
	for _, a := range accounts {
		if state.Shards[a.shard].Owner == by {
			list = append(list, a)
		}
	}
	return list
}

// within is the time a test may take. Where a claim took long, as on a slow machine, another brain than the first in rank has a shard for a
// minute, and the cluster is not settled before.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until it hears nil or ctx ends.
func eventually(t *testing.T, ctx context.Context, what string, ask func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// runs is how often a test that measures does so: a few times to prove, SIPIO_CLUSTER_RUNS times for figures.
func runs(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("SIPIO_CLUSTER_RUNS")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SIPIO_CLUSTER_RUNS=%s is no number of runs", text)
	}
	return n
}

// slots asks a brain what an account holds, until it can tell.
func slots(t *testing.T, ctx context.Context, c *Cluster, b *Brain, id string) api.CACState {
	t.Helper()
	var state api.CACState
	eventually(t, ctx, "the slots of "+id, func() (err error) {
		state, err = c.Client(b).CAC(ctx, id)
		return err
	})
	return state
}

// accountID finds an account by its name.
func accountID(t *testing.T, ctx context.Context, c *Cluster, name string) string {
	t.Helper()
	id := ""
	eventually(t, ctx, "account "+name, func() error {
		list, err := c.Client(c.Brains[0]).List(ctx, brain.KindAccount, "")
		if err != nil {
			return err
		}
		for _, r := range list {
			if a := r.(*brain.Account); a.Name == name {
				id = a.ID
				return nil
			}
		}
		return errors.New("no account is called so")
	})
	return id
}

// admit has a call admitted, asking until somebody can tell: the same call again has the same place.
func admit(t *testing.T, ctx context.Context, c *Cluster, b *Brain, a account, callID string) (token string) {
	t.Helper()
	eventually(t, ctx, "the admission of "+callID+" of "+a.name, func() error {
		got := invite(ctx, c, b, a, callID)
		if got.verdict != admitted {
			return errors.New(got.why)
		}
		token = got.token
		return nil
	})
	return token
}

// thisRun makes names that an earlier run of the same test, which used the same cluster, did not use.
func thisRun() string { return strconv.FormatInt(time.Now().UnixNano(), 36) }
