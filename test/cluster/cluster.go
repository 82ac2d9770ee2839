// Package cluster starts several brains as an installation past one machine has them: three buses, three brains, each a
// process of its own, all on loopback. Tests and the demo kill and freeze them.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
	"github.com/sipio/sipio/controller/journal/own"
	"github.com/sipio/sipio/test/edge"
)

// Size is how many buses and how many brains a cluster has.
const Size = 3

// Options of New; the zero value is a cluster on free loopback ports.
type Options struct {
	Dir        string                  // folder for data and logs; it must exist
	BrainPort  int                     // of brain-1; the others follow; 0 = free ports
	BrainFlags []string                // more flags for each brain
	BrainDirs  [Size]string            // data folders of the brains; "" = one of its own in Dir
	Tee        func(proc, line string) // sees every line of every process
}

// Cluster is three buses and three brains.
type Cluster struct {
	Dir    string
	Key    string // platform key with every scope
	Buses  []*Bus
	Brains []*Brain

	opt Options
}

// Bus is a member of the NATS cluster.
type Bus struct {
	*edge.Proc
	Name   string
	Client string // URL for brains
	Leaf   string // URL for `sipio cluster migrate`
}

// Brain is one of the brains.
type Brain struct {
	*edge.Proc
	Name string
	URL  string
	Dir  string // its data folder
}

// Start starts everything and returns once every shard is served by the brain that should. The caller must Stop.
func Start(ctx context.Context, opt Options) (*Cluster, error) {
	c, err := New(opt)
	if err != nil {
		return nil, err
	}
	if err = c.StartBuses(ctx); err == nil {
		err = c.StartBrains(ctx)
	}
	if err == nil {
		err = c.Settle(ctx)
	}
	if err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// New prepares the processes and starts none.
func New(opt Options) (*Cluster, error) {
	bin, err := edge.Binaries()
	if err != nil {
		return nil, err
	}
	ports, err := edge.FreePorts(4 * Size)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: opt.Dir, opt: opt}
	var routes, urls, names []string
	for i := range Size {
		routes = append(routes, fmt.Sprintf("127.0.0.1:%d", ports[4*i]))
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[4*i+1]))
		names = append(names, fmt.Sprintf("brain-%d", i+1))
	}
	for i := range Size {
		c.addBus(bin, i, routes, urls[i], ports[4*i+2])
		port := ports[4*i+3]
		if opt.BrainPort > 0 {
			port = opt.BrainPort + i
		}
		c.addBrain(bin, i, names, urls, port)
	}
	return c, nil
}

func (c *Cluster) addBus(bin string, i int, routes []string, client string, leaf int) {
	b := &Bus{Name: fmt.Sprintf("bus-%d", i+1), Client: client, Leaf: fmt.Sprintf("nats-leaf://127.0.0.1:%d", leaf)}
	b.Proc = edge.NewProc(c.Dir, b.Name, bin+"/sipio-brain", "bus", "--name="+b.Name, "--data-dir="+filepath.Join(c.Dir, b.Name),
		"--client-listen="+strings.TrimPrefix(client, "nats://"), "--cluster-listen="+routes[i], "--routes="+strings.Join(routes, ","),
		"--leaf-listen="+strings.TrimPrefix(b.Leaf, "nats-leaf://"))
	c.Buses = append(c.Buses, b)
}

func (c *Cluster) addBrain(bin string, i int, names, buses []string, port int) {
	b := &Brain{Name: names[i], URL: fmt.Sprintf("http://127.0.0.1:%d", port), Dir: c.opt.BrainDirs[i]}
	if b.Dir == "" {
		b.Dir = filepath.Join(c.Dir, b.Name)
	}
	b.Proc = edge.NewProc(c.Dir, b.Name, append([]string{bin + "/sipio-brain", "--name=" + b.Name, "--peers=" + strings.Join(names, ","),
		"--data-dir=" + b.Dir, "--listen=" + strings.TrimPrefix(b.URL, "http://"), "--bus-urls=" + strings.Join(buses, ","), "--v1-rate=10000"}, c.opt.BrainFlags...)...)
	c.Brains = append(c.Brains, b)
}

func (c *Cluster) tee(name string) func(string) {
	if c.opt.Tee == nil {
		return nil
	}
	return func(line string) { c.opt.Tee(name, line) }
}

// StartBuses starts the buses. Their cluster may not have a leader yet when it returns.
func (c *Cluster) StartBuses(ctx context.Context) error {
	for _, b := range c.Buses {
		if err := c.StartBus(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// StartBus starts a bus (again) and waits until it takes connections.
func (c *Cluster) StartBus(ctx context.Context, b *Bus) error {
	if err := b.Start(c.tee(b.Name)); err != nil {
		return err
	}
	return b.WaitFor(ctx, "its port", func() error {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(b.Client, "nats://"), time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// StartBrains starts all brains at once, waits until each answers, and reads the first key where one of them left it.
func (c *Cluster) StartBrains(ctx context.Context) error {
	for _, b := range c.Brains {
		if err := b.Start(c.tee(b.Name)); err != nil {
			return err
		}
	}
	for _, b := range c.Brains {
		if err := b.untilAnswers(ctx); err != nil {
			return err
		}
	}
	for _, b := range c.Brains {
		key, err := os.ReadFile(filepath.Join(b.Dir, "admin.key"))
		if err == nil && c.Key == "" {
			c.Key = strings.TrimSpace(string(key))
		}
	}
	if c.Key == "" {
		return errors.New("no brain has left the first key")
	}
	return nil
}

// StartBrain starts a brain (again) and waits until it answers.
func (c *Cluster) StartBrain(ctx context.Context, b *Brain) error {
	if err := b.Start(c.tee(b.Name)); err != nil {
		return err
	}
	return b.untilAnswers(ctx)
}

func (b *Brain) untilAnswers(ctx context.Context) error {
	asker := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return b.WaitFor(ctx, "its health page", func() error {
		resp, err := asker.Get(b.URL + api.PathHealth)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// Client asks one brain as an operator does.
func (c *Cluster) Client(b *Brain) *client.Client {
	cl, err := client.New(b.URL, c.Key)
	if err != nil {
		panic(err) // only for a URL that is none
	}
	return cl
}

// Settle waits until every brain says the same: all shards are served, each by the brain that comes first for it, and
// the configuration is equal.
func (c *Cluster) Settle(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.settled(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster does not settle: %w\n%s", err, c.Tails(10))
		case <-tick.C:
		}
	}
}

func (c *Cluster) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	names := make([]string, len(c.Brains))
	for i, b := range c.Brains {
		names[i] = b.Name
	}
	version, digest := int64(0), ""
	for i, b := range c.Brains {
		state, err := c.Client(b).Cluster(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", b.Name, err)
		}
		if i > 0 && (state.ConfigVersion != version || state.ConfigDigest != digest) {
			return fmt.Errorf("%s has configuration %d, %s has %d", b.Name, state.ConfigVersion, c.Brains[0].Name, version)
		}
		version, digest = state.ConfigVersion, state.ConfigDigest
		if len(state.Shards) != brain.Shards {
			return fmt.Errorf("%s lists %d shards", b.Name, len(state.Shards))
		}
		for _, s := range state.Shards {
			if first := own.Rank(s.Shard, names)[0]; s.Owner != first {
				return fmt.Errorf("%s: shard %d is owned by %q, not yet by %s", b.Name, s.Shard, s.Owner, first)
			}
		}
	}
	return nil
}

// Stop ends all processes, the brains first.
func (c *Cluster) Stop() {
	var brains, buses sync.WaitGroup
	for _, b := range c.Brains {
		brains.Go(b.Proc.Stop)
	}
	brains.Wait()
	for _, b := range c.Buses {
		buses.Go(b.Proc.Stop)
	}
	buses.Wait()
}

// Tails returns the last lines of every process, for the message of a failed test.
func (c *Cluster) Tails(n int) string {
	var b strings.Builder
	for _, p := range c.Brains {
		b.WriteString(p.Tail(n))
	}
	for _, p := range c.Buses {
		b.WriteString(p.Tail(n))
	}
	return b.String()
}
