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

// Ops pushes ops. Key is the secret that node agents want as a bearer token; the zero Client has the usual one.
type Ops struct {
	Key    string
	Client *http.Client
}

// Push has a node carry out an op. The op's id makes it safe to push again after an error: it is done once.
// brain.EUnavailable: the node cannot be reached or has not answered; brain.EInvalid: it cannot be asked at all.
func (o *Ops) Push(ctx context.Context, n *brain.Node, op api.Op) (reply api.OpReply, err error) {
	if n.AgentURL == "" {
		return reply, brain.Errorf(brain.EInvalid, "node %s has no agent_url: nobody can tell it anything", n.Name)
	}
	body, err := json.Marshal(op)
	if err != nil {
		return reply, fmt.Errorf("encode op: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(n.AgentURL, "/")+api.PathOp, bytes.NewReader(body))
	if err != nil {
		return reply, brain.Errorf(brain.EInvalid, "agent_url of node %s: %s", n.Name, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+o.Key)
	resp, err := o.client().Do(req)
	if err != nil {
		return reply, brain.Errorf(brain.EUnavailable, "node %s: %s", n.Name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return reply, brain.Errorf(brain.EUnavailable, "node %s: %s", n.Name, err)
	}
	if resp.StatusCode != http.StatusOK {
		return reply, brain.Errorf(brain.EUnavailable, "node %s answered %d: %.200s", n.Name, resp.StatusCode, raw)
	}
	if err := json.Unmarshal(raw, &reply); err != nil || reply.ID != op.ID {
		return reply, brain.Errorf(brain.EUnavailable, "node %s answered what is no answer to the op", n.Name)
	}
	return reply, nil
}

// noRedirects is the usual client. An op goes where the configuration says and nowhere else.
var noRedirects = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (o *Ops) client() *http.Client {
	if o.Client != nil {
		return o.Client
	}
	return noRedirects
}
