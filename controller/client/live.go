package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sipio/sipio/brain/api"
)

// CAC returns the slots and the usage of an account; accountID "" is the key's own.
func (c *Client) CAC(ctx context.Context, accountID string) (state api.CACState, err error) {
	return state, c.get(ctx, api.PathCAC, forAccount(nil, accountID), &state)
}

// ResetCAC releases the slots of the tokens, or with none all slots of the account, and returns how many.
func (c *Client) ResetCAC(ctx context.Context, accountID string, tokens []string) (int, error) {
	body, err := json.Marshal(map[string]any{"tokens": tokens, "all": len(tokens) == 0})
	if err != nil {
		return 0, fmt.Errorf("write the request: %w", err)
	}
	reply, _, err := c.do(ctx, http.MethodPost, api.PathCACReset, forAccount(nil, accountID), "application/json", body)
	if err != nil {
		return 0, err
	}
	var done struct {
		Released int `json:"released"`
	}
	if err := json.Unmarshal(reply, &done); err != nil {
		return 0, fmt.Errorf("read the reply: %w", err)
	}
	return done.Released, nil
}

// Presence returns the devices, users and agents of an account.
func (c *Client) Presence(ctx context.Context, accountID string) (state api.PresenceState, err error) {
	return state, c.get(ctx, api.PathPresence, forAccount(nil, accountID), &state)
}

// Conference returns who is in a conference, named by id or name.
func (c *Client) Conference(ctx context.Context, accountID, conference string) (state api.ConferenceState, err error) {
	query := url.Values{"conference_id": {conference}}
	return state, c.get(ctx, api.PathConference, forAccount(query, accountID), &state)
}

// ChangeConference changes a conference and returns who is in it then.
func (c *Client) ChangeConference(ctx context.Context, accountID string, req api.ConferenceRequest) (state api.ConferenceState, err error) {
	return state, c.post(ctx, api.PathConference, accountID, req, &state)
}

// ChangeRecording changes the recording of a live call.
func (c *Client) ChangeRecording(ctx context.Context, accountID string, req api.RecordingRequest) (reply api.RecordingReply, err error) {
	return reply, c.post(ctx, api.PathRecording, accountID, req, &reply)
}

// post sends a question as JSON and reads the answer into out.
func (c *Client) post(ctx context.Context, path, accountID string, req, out any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	reply, _, err := c.do(ctx, http.MethodPost, path, forAccount(nil, accountID), "application/json", body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(reply, out); err != nil {
		return fmt.Errorf("read the reply: %w", err)
	}
	return nil
}

// Cluster returns what the brain that is asked knows of the others.
func (c *Client) Cluster(ctx context.Context) (state api.ClusterState, err error) {
	return state, c.get(ctx, api.PathCluster, nil, &state)
}

// Journal says what each shard's journal holds.
func (c *Client) Journal(ctx context.Context) (state api.JournalState, err error) {
	return state, c.get(ctx, api.PathJournal, nil, &state)
}

// maxLine bounds one line of a dump in bytes: a snapshot of a large account as base64.
const maxLine = 256 << 20

// DumpJournal copies every record of a shard's journal to w, one JSON document a line. A dump that broke off is
// an error.
func (c *Client) DumpJournal(ctx context.Context, shard int, w io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Server+api.PathJournalDump+"?"+url.Values{"shard": {strconv.Itoa(shard)}}.Encode(), nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.Server, err)
	}
	r.Header.Set("Authorization", "Bearer "+c.Key)
	reply, err := (&http.Client{}).Do(r) // as long as it takes: ctx ends it
	if err != nil {
		return fmt.Errorf("ask the brain at %s: %w", c.Server, err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		raw, err := io.ReadAll(io.LimitReader(reply.Body, 64<<10))
		return errors.Join(problem(reply, raw), err)
	}
	lines := bufio.NewScanner(reply.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	whole := false
	for lines.Scan() {
		if whole = string(lines.Bytes()) == `{"end":true}`; whole {
			break
		}
		if _, err := fmt.Fprintf(w, "%s\n", lines.Bytes()); err != nil {
			return fmt.Errorf("write the dump: %w", err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the dump of shard %d: %w", shard, err)
	}
	if !whole {
		return fmt.Errorf("the dump of shard %d broke off", shard)
	}
	return nil
}
