package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sipio/sipio/test/cluster"
	"github.com/sipio/sipio/test/edge"
)

// clusterTime bounds the start of the cluster: its buses elect a leader first, which takes some seconds.
const clusterTime = 2 * time.Minute

// startCluster starts three buses and three brains, and has the node of opt ask those.
func startCluster(ctx context.Context, opt *edge.Options, out io.Writer) (*cluster.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterTime)
	defer cancel()
	fmt.Fprintln(out, "building, then starting three buses and three brains; their election takes some seconds …")
	c, err := cluster.Start(ctx, cluster.Options{Dir: opt.Dir, BrainPort: opt.BrainPort, BrainFlags: []string{"--log-decisions"}, Tee: opt.Tee})
	if err != nil {
		return nil, err
	}
	for _, b := range c.Brains {
		opt.BrainURLs = append(opt.BrainURLs, b.URL)
	}
	opt.BrainKey = c.Key
	return c, nil
}

// stayCluster says what can be tried with the cluster.
func stayCluster(out io.Writer, c *cluster.Cluster) {
	var b strings.Builder
	for _, brain := range c.Brains {
		fmt.Fprintf(&b, "  %s  pid %-7d %s\n", brain.Name, brain.PID(), brain.URL)
	}
	for _, bus := range c.Buses {
		fmt.Fprintf(&b, "  %s    pid %-7d %s\n", bus.Name, bus.PID(), bus.Client)
	}
	fmt.Fprintf(out, `
Three brains share the work, and the node asks them all:
%sTo see who owns what, with the two variables above set:
  bin/sipio cluster status
Kill the first brain, ask another; in two seconds its shards have new owners, and calls go on:
  kill -9 %d; bin/sipio --server %s cluster status
Kill a bus: admission goes on; what must be durable waits some seconds for the election.
  kill -9 %d
Stop this with Ctrl-C and start it again to have all of them back.
`, b.String(), c.Brains[0].PID(), c.Brains[1].URL, c.Buses[0].PID())
}
