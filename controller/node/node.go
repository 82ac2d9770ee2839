// Package node reaches the node agents: it pushes ops to them, and says what they answered.
package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

const (
	// opTimeout bounds one try of an op; a node agent answers when it has been carried out.
	opTimeout = 5 * time.Second
	// maxReply bounds the answer in bytes: the list of a conference of 1,000.
	maxReply = 1 << 20
)

// Ops pushes ops, each node's by the way that the registry says. The zero Client has the usual one.
type Ops struct {
	Key    string // bearer token that nodes without a token of their own want
	Client *http.Client

	// Secrets opens what a node's row has sealed; nil: no node has a token of its own, and none is behind an access token.
	Secrets func(n *brain.Node) (token, accessSecret string, err error)
	// Bus carries orders to nodes that keep a connection to this brain; nil: there are none.
	Bus Bus
	// TLS is what https addresses of nodes are held to. The zero value trusts the system's authorities.
	TLS TLS

	mu      sync.Mutex
	clients map[string]*http.Client // with TLS, by node: each is held to its own name
}

// Bus is the connections that nodes keep to this brain. Order is at once an error for a node that has none.
type Bus interface {
	Order(ctx context.Context, node string, head http.Header, body []byte) (status int, answer []byte, err error)
}

// Push has a node carry out an op. The op's id makes it safe to push again after an error: it is done once.
// brain.EUnavailable: the node cannot be reached or has not answered; brain.EInvalid: it cannot be asked at all.
func (o *Ops) Push(ctx context.Context, n *brain.Node, op api.Op) (reply api.OpReply, err error) {
	if !n.TakesOrders() {
		return reply, brain.Errorf(brain.EInvalid, "node %s has no agent_url: nobody can tell it anything", n.Name)
	}
	op.TimeMS = time.Now().UnixMilli() // of this try: a node takes nothing that is old
	body, err := json.Marshal(op)
	if err != nil {
		return reply, fmt.Errorf("encode op: %w", err)
	}
	head, err := o.head(n)
	if err != nil {
		return reply, err
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	status, raw, err := o.ask(ctx, n, head, body)
	switch {
	case brain.CodeOf(err) == brain.EInvalid:
		return reply, err
	case err != nil:
		return reply, brain.Errorf(brain.EUnavailable, "node %s: %s", n.Name, err)
	case status != http.StatusOK:
		return reply, brain.Errorf(brain.EUnavailable, "node %s refused the order: answered %d: %.200s", n.Name, status, quotable(raw, head))
	}
	if err := json.Unmarshal(raw, &reply); err != nil || reply.ID != op.ID {
		return reply, brain.Errorf(brain.EUnavailable, "node %s answered what is no answer to the op", n.Name)
	}
	return reply, nil
}

// head is what says that an op is the brain's: the node's own token, else the key of all, and what its tunnel wants.
func (o *Ops) head(n *brain.Node) (http.Header, error) {
	token, secret := "", ""
	if o.Secrets != nil && n.AgentTokenSealed+n.AccessSecretSealed != "" {
		var err error
		if token, secret, err = o.Secrets(n); err != nil {
			return nil, brain.Errorf(brain.EUnavailable, "secrets of node %s: %s", n.Name, err)
		}
	}
	if token == "" {
		token = o.Key
	}
	head := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}}
	if n.Reach == brain.ReachCloudflared {
		head.Set(api.HeaderAccessID, n.AccessClientID)
		head.Set(api.HeaderAccessSecret, secret)
	}
	return head, nil
}

// ask brings a question to a node.
func (o *Ops) ask(ctx context.Context, n *brain.Node, head http.Header, body []byte) (int, []byte, error) {
	if n.Reach == brain.ReachBus {
		return o.askBus(ctx, n, head, body)
	}
	client, err := o.client(n)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(n.AgentURL, "/")+api.PathOp, bytes.NewReader(body))
	if err != nil {
		return 0, nil, brain.Errorf(brain.EInvalid, "agent_url of node %s: %s", n.Name, err)
	}
	req.Header = head
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	return resp.StatusCode, raw, err
}

// askBus brings a question to a node over the connection that it keeps.
func (o *Ops) askBus(ctx context.Context, n *brain.Node, head http.Header, body []byte) (int, []byte, error) {
	if o.Bus == nil {
		return 0, nil, brain.Errorf(brain.EInvalid, "node %s is to be reached by the bus, and this brain has none for nodes (node-bus-listen)", n.Name)
	}
	status, raw, err := o.Bus.Order(ctx, n.Name, head, body)
	return status, raw[:min(len(raw), maxReply)], err
}
