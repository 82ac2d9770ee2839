package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	ops "github.com/sipio/sipio/controller/node"
	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/edge"
)

const (
	password  = "bench"
	readyTime = 30 * time.Second // until all callers wait
)

// node is a brain, a node agent and two media servers: the node's own, reached through the relay, and one that plays
// callers and agents' phones.
type node struct {
	edge          *edge.Edge
	relay         *relay
	media, phones *edge.Proc
	account       string
	agents        []string // ids of users
	entries       []api.QueueCaller
	ops           ops.Ops
	self          brain.Node
	trips         int
	stops         []func()
}

func newNode(ctx context.Context, dir string, s size) (_ *node, err error) {
	bin, err := edge.Binaries()
	if err != nil {
		return nil, err
	}
	at, err := edge.Addresses(3) // SIP, event socket and agents of the phones
	if err != nil {
		return nil, err
	}
	n := &node{}
	defer func() {
		if err != nil {
			n.stop()
		}
	}()
	if n.relay, err = newRelay(); err != nil {
		return nil, err
	}
	if err = os.WriteFile(filepath.Join(dir, "media.key"), []byte(password), 0o600); err != nil {
		return nil, err
	}
	n.edge, err = edge.Start(ctx, edge.Options{Dir: dir, NoPhones: true, Media: true, Config: configuration(s.agents),
		NodeFlags: []string{"--media-esl=" + n.relay.ln.Addr().String(), "--media-proxy=" + at[0], "--survival=false", "--log-level=error"}})
	if err != nil {
		return nil, err
	}
	n.relay.lead(n.edge.MediaESL)
	n.media = edge.NewProc(dir, "media", bin+"/fsim", "-sip", n.edge.MediaSIP, "-esl", n.edge.MediaESL, "-password", password, "-agents", n.edge.MediaListen, "-rtp-min", "30000", "-rtp-max", "34998")
	n.phones = edge.NewProc(dir, "phones", bin+"/fsim", "-sip", at[0], "-esl", at[1], "-password", password, "-agents", at[2], "-rtp-min", "35000", "-rtp-max", "39998")
	for _, step := range []func() error{
		func() error { return n.media.Start(nil) }, func() error { return n.letRing(ctx, at[2]) }, func() error { return n.phones.Start(nil) },
		func() error { return n.readKeys(dir) }, func() error { return n.register(ctx) }, func() error { return n.call(ctx, at[1], s.callers) },
	} {
		if err = step(); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, n.tails())
		}
	}
	return n, nil
}

// configuration is one account with a queue and its agents.
func configuration(agents int) string {
	var b strings.Builder
	one := func(kind, name, spec string) {
		fmt.Fprintf(&b, "---\nkind: %s\naccount: bench\nname: %q\nspec: {%s}\n", kind, name, spec)
	}
	b.WriteString("kind: account\nname: bench\nspec: {language: en}\n---\nkind: node\nname: phones\nspec: {}\n")
	one("sip_domain", "bench.test", "is_primary: true")
	one("queue", "line", "agent_ring_timeout_sec: 60")
	for i := range agents {
		user := strconv.Itoa(1000 + i)
		one("sip_user", user, "is_agent: true, auto_ready_on_login: true, auto_queue_login: true")
		one("sip_device", user+"@bench.test", fmt.Sprintf("user_id: %q, password: secret-%s", user, user))
		one("agent_queue_assignment", "line/"+user, fmt.Sprintf("queue_id: line, user_id: %q", user))
	}
	return b.String()
}

// letRing has the agents' phones ring, and nobody answer.
func (n *node) letRing(ctx context.Context, addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	n.stops = append(n.stops, stop)
	go func() {
		_ = esl.Serve(ctx, ln, esl.Options{}, func(_ context.Context, c *esl.Conn, _ *esl.Event) { <-c.Done() })
	}()
	return nil
}

func (n *node) readKeys(dir string) error {
	key, err := os.ReadFile(filepath.Join(dir, "op.key"))
	n.ops.Key = strings.TrimSpace(string(key))
	n.self = brain.Node{Name: "node-1", AgentURL: strings.TrimSuffix(n.edge.NodeHealth, "/health")}
	return err
}

// register brings up a phone of each agent.
func (n *node) register(ctx context.Context) (err error) {
	if n.account, err = n.edge.AccountID(ctx, "bench"); err != nil {
		return err
	}
	up := api.EventBatch{Node: "phones", Boot: "1"}
	users, err := n.list(ctx, "sip_users")
	if err != nil {
		return err
	}
	for i, u := range users {
		n.agents = append(n.agents, u.ID)
		up.Events = append(up.Events, api.Event{Seq: int64(i + 1), TimeMS: time.Now().UnixMilli(), Type: api.EventContactSaved, AccountID: n.account,
			AOR: "sip:" + u.Username + "@bench.test", Contact: "sip:" + u.Username + "@192.0.2.7", ExpiresS: 86_400})
	}
	text, err := json.Marshal(up)
	if err == nil {
		_, err = n.edge.Request(ctx, http.MethodPost, api.PathPresenceEvent, "application/json", text)
	}
	return err
}

type row struct{ ID, Name, Username string }

func (n *node) list(ctx context.Context, plural string) ([]row, error) {
	body, err := n.edge.Request(ctx, http.MethodGet, "/v1/"+plural+"?limit=500&account_id="+n.account, "", nil)
	if err != nil {
		return nil, err
	}
	var page struct{ Items []row }
	return page.Items, json.Unmarshal(body, &page)
}

// call has callers call the queue, and returns when all of them wait.
func (n *node) call(ctx context.Context, esl string, callers int) error {
	queues, err := n.list(ctx, "queues")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	c, err := n.dial(ctx, esl)
	if err != nil {
		return err
	}
	for i := range callers {
		command := fmt.Sprintf("originate {origination_uuid=caller-%d,sip_h_%s=tok%d,sip_h_%s=%s,sip_h_%s=queue/%s}sofia/sipio/sip:call@%s &park",
			i, api.HeaderCall, i, api.HeaderAccount, n.account, api.HeaderApp, queues[0].ID, n.edge.MediaSIP)
		if _, err := c.BgAPI(ctx, command); err != nil {
			return fmt.Errorf("call %d: %w", i, err)
		}
	}
	return n.phones.WaitFor(ctx, "all callers in the queue", func() error {
		body, err := n.edge.Request(ctx, http.MethodGet, api.PathQueues+"?entries=true&account_id="+n.account, "", nil)
		if err != nil {
			return err
		}
		var list api.QueueList
		if err := json.Unmarshal(body, &list); err != nil {
			return err
		}
		if len(list.Queues) == 1 && len(list.Queues[0].Entries) == callers {
			n.entries = list.Queues[0].Entries
			return nil
		}
		return fmt.Errorf("%s", body)
	})
}

// dial opens the event socket of the phones.
func (n *node) dial(ctx context.Context, addr string) (*esl.Conn, error) {
	client := esl.NewClient(addr, password, esl.Options{})
	running, stop := context.WithCancel(context.Background())
	n.stops = append(n.stops, stop)
	go client.Run(running)
	return client.Wait(ctx)
}

// free lets an agent become free: he says that he is available. It returns the time until the order to ring him came by,
// and until he was answered; then he is gone again.
func (n *node) free(ctx context.Context, agent string) (took, answered time.Duration, err error) {
	rings := n.relay.expect("ring", agent)
	began := time.Now()
	if err := n.act(ctx, agent, acd.ActionAvailable); err != nil {
		return 0, 0, err
	}
	answered = time.Since(began)
	when, err := await(ctx, rings, "ring "+agent)
	if err != nil {
		return 0, 0, err
	}
	gone := n.relay.expect("kill", agent)
	if err := n.act(ctx, agent, acd.ActionLogout); err != nil {
		return 0, 0, err
	}
	_, err = await(ctx, gone, "let "+agent+" go")
	return when.Sub(began), answered, err
}

// act does what an agent's desktop does, again while the brain cannot say: a journal that stands still counts as time.
func (n *node) act(ctx context.Context, agent, action string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		_, err := n.edge.Request(ctx, http.MethodPost, api.PathAgent+"?account_id="+n.account, "application/json", fmt.Appendf(nil, `{"user_id":%q,"action":%q}`, agent, action))
		if err == nil || !strings.Contains(err.Error(), http.StatusText(http.StatusServiceUnavailable)) {
			return err
		}
	}
}

// push gives the node agent an order as the brain does.
func (n *node) push(ctx context.Context, op api.Op) error {
	reply, err := n.ops.Push(ctx, &n.self, op)
	if err == nil && !reply.OK {
		err = fmt.Errorf("op %s: %s", op.ID, reply.Error)
	}
	return err
}

// roundTrips measures an op that does nothing and the health page, each there and back.
func (n *node) roundTrips(ctx context.Context) (empty, health time.Duration, err error) {
	n.trips++
	began := time.Now()
	if _, err = n.ops.Push(ctx, &n.self, api.Op{ID: "nothing-" + strconv.Itoa(n.trips), Kind: "nothing"}); err != nil {
		return 0, 0, err
	}
	empty = time.Since(began)
	began = time.Now()
	resp, err := http.Get(n.edge.NodeHealth)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(new(bytes.Buffer), resp.Body)
	return empty, time.Since(began), err
}

func (n *node) tails() string {
	var text strings.Builder
	if n.edge != nil {
		text.WriteString(n.edge.Tails(8))
	}
	for _, p := range []*edge.Proc{n.media, n.phones} {
		if p != nil {
			text.WriteString(p.Tail(8))
		}
	}
	return text.String()
}

func (n *node) stop() {
	for _, stop := range n.stops {
		stop()
	}
	for _, p := range []*edge.Proc{n.phones, n.media} {
		if p != nil {
			p.Stop()
		}
	}
	if n.edge != nil {
		n.edge.Stop()
	}
	if n.relay != nil {
		n.relay.close()
	}
}
