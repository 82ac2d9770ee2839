package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// One brain with calls up becomes three, while a node goes on: the brain is stopped, its journal moved into a new cluster, and three
// brains start on it. The configuration has the same version and digest, every slot is there, the journals go on behind their
// last sequence under higher epochs, and what the node was told meanwhile is delivered. The old folder is never opened again.
func TestGrow_FromOneBrainToThree(t *testing.T) {
	ctx := within(t, 5*time.Minute)
	g := startSolo(t, ctx)
	for n := range 5 {
		g.tokens = append(g.tokens, admit(t, ctx, g.cluster, g.solo, g.account, growCall(n)))
	}
	for n := range 3 {
		g.tell(t, ctx, api.EventDialogStart, n)
	}
	eventually(t, ctx, "three calls up", func() error { return g.up(ctx, g.tokens[:3]...) })
	before := g.state(t, ctx)

	g.edge.Brain.Stop()
	g.tell(t, ctx, api.EventDialogEnd, 0) // the node keeps both for whoever comes
	g.tell(t, ctx, api.EventDialogStart, 3)
	moved := time.Now()
	g.migrate(t, ctx)
	if err := g.edge.StartBrain(ctx); err == nil || !strings.Contains(err.Error(), "migrated") {
		t.Fatalf("the old folder is opened again: %v", err)
	}
	if err := g.cluster.StartBrains(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.cluster.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("migrated, and three brains serve, after %v", time.Since(moved).Round(time.Millisecond))

	eventually(t, ctx, "what the node was told meanwhile", func() error { return g.up(ctx, g.tokens[1:4]...) })
	after := g.state(t, ctx)
	if after.config != before.config {
		t.Errorf("configuration %s, before it was %s", after.config, before.config)
	}
	if want := slices.Sorted(slices.Values(g.tokens[1:])); !slices.Equal(after.slots, want) {
		t.Errorf("slots %v, want %v: those before %v, less the one that ended", after.slots, want, before.slots)
	}
	for i, was := range before.journal {
		if now := after.journal[i]; now.Last < was.Last || now.Epoch <= was.Epoch || now.Damage != "" {
			t.Errorf("shard %d ends with sequence %d, epoch %d %s; before it was %d, %d", i, now.Last, now.Epoch, now.Damage, was.Last, was.Epoch)
		}
	}
	admit(t, ctx, g.cluster, g.cluster.Brains[2], g.account, "grow-last")
}

// growing is an installation of one brain and one node, and the cluster that it becomes. The first brain of the cluster
// takes the address and the folder of the one before it, so that the node needs no other setting.
type growing struct {
	edge    *edge.Edge
	solo    *Brain
	cluster *Cluster
	account account
	tokens  []string
	seq     int
}

func startSolo(t *testing.T, ctx context.Context) *growing {
	t.Helper()
	dir := t.TempDir()
	port := portsInARow(t, Size)
	a := account{name: "grow", closed: true, limit: 50}
	var doc strings.Builder
	a.write(&doc)
	e, err := edge.Start(ctx, edge.Options{Dir: dir, NoPhones: true, BrainPort: port, Config: doc.String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	c, err := New(Options{Dir: dir, BrainPort: port, BrainDirs: [Size]string{filepath.Join(dir, "brain")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	told(t, c)
	c.Key = e.AdminKey
	g := &growing{edge: e, solo: c.Brains[0], cluster: c, account: a}
	g.account.id = accountID(t, ctx, c, a.name)
	return g
}

func portsInARow(t *testing.T, n int) int {
	t.Helper()
	for range 50 {
		list, err := edge.FreePorts(1)
		if err != nil {
			t.Fatal(err)
		}
		free := 0
		for i := range n {
			if portFree(list[0] + i) {
				free++
			}
		}
		if free == n {
			return list[0]
		}
	}
	t.Fatal("no free ports in a row")
	return 0
}

// growCall is the Call-ID of a call.
func growCall(n int) string { return fmt.Sprintf("grow-%d", n) }

// tell posts an event of a call to the node's door, as Kamailio does. The door has it on disk when it answers.
func (g *growing) tell(t *testing.T, ctx context.Context, typ string, n int) {
	t.Helper()
	g.seq++
	body := fmt.Sprintf("node=node-1&boot=boot-1\nseq=%d&time_ms=%d&type=%s&account_id=%s&call_id=%s&token=%s&from=1001&to=1002\n",
		g.seq, time.Now().UnixMilli(), typ, g.account.id, growCall(n), g.tokens[n])
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.edge.DoorAddr+api.PathPresenceEvent, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	resp, err := edgeClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the door takes no event: %s", resp.Status)
	}
}

// up says which answered calls there are, when they are others than wanted.
func (g *growing) up(ctx context.Context, want ...string) error {
	state, err := g.cluster.Client(g.solo).CAC(ctx, g.account.id)
	if err != nil {
		return err
	}
	var have []string
	for _, s := range state.Slots {
		if s.AnsweredMS > 0 {
			have = append(have, s.Token)
		}
	}
	slices.Sort(have)
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(have, want) {
		return fmt.Errorf("calls %v are up, want %v", have, want)
	}
	return nil
}

// grown is what must not change but to go on.
type grown struct {
	config  string
	slots   []string
	journal []api.ShardJournal
}

func (g *growing) state(t *testing.T, ctx context.Context) grown {
	t.Helper()
	cl := g.cluster.Client(g.solo)
	var state api.ClusterState
	var j api.JournalState
	eventually(t, ctx, "a brain that tells how it stands", func() (err error) {
		if state, err = cl.Cluster(ctx); err == nil {
			j, err = cl.Journal(ctx)
		}
		return err
	})
	return grown{
		config:  strconv.FormatInt(state.ConfigVersion, 10) + " " + state.ConfigDigest,
		slots:   tokens(slots(t, ctx, g.cluster, g.solo, g.account.id)),
		journal: j.Shards,
	}
}

// migrate starts the buses and runs the command.
func (g *growing) migrate(t *testing.T, ctx context.Context) {
	t.Helper()
	if err := g.cluster.StartBuses(ctx); err != nil {
		t.Fatal(err)
	}
	bin, err := edge.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	var urls, leaves []string
	for _, b := range g.cluster.Buses {
		urls, leaves = append(urls, b.Client), append(leaves, b.Leaf)
	}
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "sipio"), "cluster", "migrate", "--data-dir="+g.solo.Dir,
		"--bus-urls="+strings.Join(urls, ","), "--leaf-urls="+strings.Join(leaves, ",")).CombinedOutput()
	if err != nil {
		t.Fatalf("sipio cluster migrate: %v\n%s", err, out)
	}
	t.Logf("sipio cluster migrate:\n%s", out)
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
