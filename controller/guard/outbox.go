package guard

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

const (
	// maxQueued bounds the orders that wait for one node. What finds no room is corrected with the node's next complete report.
	maxQueued = 1000
	// pushTime bounds one of them, confirmTime all that somebody waits for.
	pushTime    = 2 * time.Second
	confirmTime = 2 * time.Second
	// reporting is how long after its last complete report a node counts as one that reports: they come every 30 s.
	reporting = 2 * time.Minute
	// maxAsked bounds the nodes that are asked at once.
	maxAsked = 64
)

func opID() string { return "ban-" + rand.Text() }

// outbox is the orders on their way, for each node in their order, one at a time.
type outbox struct {
	push func(ctx context.Context, n *brain.Node, o api.GuardOrder) error

	mu     sync.Mutex // guards queues
	queues map[string][]api.GuardOrder
}

// add sends orders to a node. It does not wait.
func (b *outbox) add(n *brain.Node, orders []api.GuardOrder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queues == nil {
		b.queues = map[string][]api.GuardOrder{}
	}
	queue, busy := b.queues[n.Name]
	b.queues[n.Name] = append(queue, orders[:min(len(orders), maxQueued-len(queue))]...)
	if !busy {
		go b.drain(n)
	}
}

// drain sends what there is. A node that does not answer loses the rest: it would be old by then.
func (b *outbox) drain(n *brain.Node) {
	for {
		b.mu.Lock()
		queue := b.queues[n.Name]
		if len(queue) == 0 {
			delete(b.queues, n.Name)
			b.mu.Unlock()
			return
		}
		b.queues[n.Name] = queue[1:]
		b.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), pushTime)
		err := b.push(ctx, n, queue[0])
		cancel()
		if err != nil {
			b.mu.Lock()
			b.queues[n.Name] = nil
			b.mu.Unlock()
		}
	}
}

// forget takes what waits about an address out of all queues: there is something newer.
func (b *outbox) forget(addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, queue := range b.queues {
		b.queues[name] = slices.DeleteFunc(slices.Clone(queue), func(o api.GuardOrder) bool { return o.Addr == addr })
	}
}

// confirm has every node carry out an order and says which have, by name, after confirmTime at the latest. Nodes that report and cannot be told,
// since the configuration does not have them, have not.
func (g *Guard) confirm(ctx context.Context, o api.GuardOrder) []api.BanNode {
	g.out.forget(o.Addr)
	nodes := g.nodes()
	list := make([]api.BanNode, len(nodes))
	ctx, cancel := context.WithTimeout(ctx, confirmTime)
	defer cancel()
	slots := make(chan struct{}, maxAsked)
	var all sync.WaitGroup
	for i, n := range nodes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			list[i] = api.BanNode{Node: n.Name, OK: true}
			if err := g.push(ctx, n, o); err != nil {
				list[i].OK, list[i].Error = false, err.Error()
			}
		})
	}
	all.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, t := range g.seen {
		if time.Since(t.at) < reporting && !slices.ContainsFunc(nodes, func(n *brain.Node) bool { return n.Name == name }) {
			list = append(list, api.BanNode{Node: name, Error: "it reports, but is not in the configuration (kind node): it hears of it with its next complete report"})
		}
	}
	slices.SortFunc(list, func(a, b api.BanNode) int { return strings.Compare(a.Node, b.Node) })
	return list
}
