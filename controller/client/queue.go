package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Period is what figures are about, epoch milliseconds. The zero value is the brain's own, the last 24 hours.
type Period struct{ FromMS, ToMS int64 }

func (p Period) query(accountID string) url.Values {
	query := forAccount(nil, accountID)
	if p.FromMS > 0 {
		query.Set("from_ms", strconv.FormatInt(p.FromMS, 10))
	}
	if p.ToMS > 0 {
		query.Set("to_ms", strconv.FormatInt(p.ToMS, 10))
	}
	return query
}

// QueueQuery says what is asked of the queues of an account. The zero value is all queues without their callers.
type QueueQuery struct {
	QueueID string // "" = all
	Entries bool   // with the callers
	Period
}

// Queues returns queues by name, and the brain's time, which waits are counted up to: the clock here may be another.
func (c *Client) Queues(ctx context.Context, accountID string, q QueueQuery) (list api.QueueList, at time.Time, err error) {
	query := q.query(accountID)
	if q.QueueID != "" {
		query.Set("queue_id", q.QueueID)
	}
	if q.Entries {
		query.Set("entries", "true")
	}
	at, err = c.getTimed(ctx, api.PathQueues, query, &list)
	slices.SortFunc(list.Queues, func(a, b api.QueueState) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.QueueID, b.QueueID))
	})
	return list, at, err
}

// Agents returns the agents of an account by username, and the brain's time.
func (c *Client) Agents(ctx context.Context, accountID string, p Period) (list api.AgentList, at time.Time, err error) {
	at, err = c.getTimed(ctx, api.PathAgents, p.query(accountID), &list)
	slices.SortFunc(list.Agents, func(a, b api.AgentState) int {
		return cmp.Or(strings.Compare(a.Username, b.Username), strings.Compare(a.UserID, b.UserID))
	})
	return list, at, err
}

// ChangeAgent changes what an agent wants, and returns the agent as it is then.
func (c *Client) ChangeAgent(ctx context.Context, accountID string, req api.AgentRequest) (state api.AgentState, err error) {
	return state, c.post(ctx, api.PathAgent, accountID, req, &state)
}

// getTimed is get with the time of the reply, to the second; without a date in the reply it is the time here.
func (c *Client) getTimed(ctx context.Context, path string, query url.Values, into any) (time.Time, error) {
	raw, header, err := c.do(ctx, http.MethodGet, path, query, "", nil)
	if err != nil {
		return time.Time{}, err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return time.Time{}, fmt.Errorf("read the reply of %s: %w", path, err)
	}
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Now(), nil
	}
	return at, nil
}
