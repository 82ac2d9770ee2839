package cluster

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// edgeClient asks as a node agent does: connections are kept, and an answer is not waited for without end.
var edgeClient = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// A verdict is how a question to /route ended.
type verdict uint8

const (
	admitted verdict = iota + 1
	full             // refused for a limit: somebody who counts has answered
	away             // 503: nobody can tell now
	silent           // no answer at all
)

// outcome is one answer of /route.
type outcome struct {
	verdict verdict
	token   string
	why     string
	took    time.Duration
}

func md5hex(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

// askedAgo is how long ago each call was asked for, by the edge's clock: long enough for the edge's reports to judge it.
const askedAgo = 30 * time.Second

// question is 1001 calling 1002 of an account, as Kamailio asks it.
func question(a account, callID string) url.Values {
	const nonce = "abcdefgh"
	realm := a.name + ".test"
	uri := "sip:1002@" + realm
	ha1 := md5hex("1001:" + realm + ":" + password)
	return url.Values{
		"auth_username": {"1001"}, "auth_realm": {realm}, "auth_nonce": {nonce}, "auth_uri": {uri},
		"auth_response": {md5hex(ha1 + ":" + nonce + ":" + md5hex("INVITE:"+uri))},
		"method":        {"INVITE"}, "from_user": {"1001"}, "from_domain": {realm}, "node": {"node-1"},
		"source_ip": {"192.0.2.7"}, "source_port": {"5060"}, "transport": {"udp"}, "cseq": {"1"}, "branch": {"z9hG4bK-cluster"},
		"time_ms": {fmt.Sprint(time.Now().Add(-askedAgo).UnixMilli())}, "call_id": {callID}, "to_user": {"1002"}, "to_domain": {realm},
		"ruri": {uri}, "ruri_user": {"1002"}, "ruri_domain": {realm},
	}
}

// invite asks a brain to route a call.
func invite(ctx context.Context, c *Cluster, b *Brain, a account, callID string) outcome {
	began := time.Now()
	body, err := post(ctx, c, b, api.PathRoute, "application/x-www-form-urlencoded", []byte(question(a, callID).Encode()))
	out := outcome{verdict: silent, took: time.Since(began)}
	var reply api.RouteReply
	if err == nil {
		err = json.Unmarshal(body, &reply)
	}
	if err != nil {
		out.why = err.Error()
		return out
	}
	d := &reply.RTJSON
	out.why = fmt.Sprintf("%s %d %s", d.Action, d.SIPCode, d.Why)
	switch {
	case d.Action == api.ActionProxy && d.Call != nil:
		out.verdict, out.token = admitted, d.Call.Token
	case d.SIPCode == http.StatusServiceUnavailable:
		out.verdict = away
	case strings.Contains(d.Why, "internal"):
		out.verdict = full
	}
	return out
}

func post(ctx context.Context, c *Cluster, b *Brain, path, contentType string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	req.Header.Set("Content-Type", contentType)
	resp, err := edgeClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %.200s", path, resp.Status, text)
	}
	return text, nil
}

// node tells of events as one boot of an edge node does: numbered, each again until it is taken.
type node struct {
	boot string
	seq  int64
}

// tell posts the next event; the brain has it in the journal when tell returns nil. Otherwise it is the next one still.
func (n *node) tell(ctx context.Context, c *Cluster, b *Brain, ev api.Event) error {
	ev.Seq, ev.TimeMS = n.seq+1, time.Now().UnixMilli()
	err := postJSON(ctx, c, b, api.PathPresenceEvent, api.EventBatch{Node: "node-1", Boot: n.boot, Events: []api.Event{ev}})
	if err == nil {
		n.seq++
	}
	return err
}

// callEvent is an event of a call of an account.
func callEvent(typ string, a account, token string) api.Event {
	return api.Event{Type: typ, AccountID: a.id, CallID: "call-" + token, Token: token, From: "1001", To: "1002"}
}

func postJSON(ctx context.Context, c *Cluster, b *Brain, path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = post(ctx, c, b, path, "application/json", body)
	return err
}

// counts sums up one total of the health pages of brains.
func counts(t *testing.T, ctx context.Context, c *Cluster, of []*Brain, name string) (sum int64) {
	t.Helper()
	for _, b := range of {
		var h struct{ Counts map[string]int64 }
		eventually(t, ctx, "the health page of "+b.Name, func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+api.PathHealth, nil)
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "Bearer "+c.Key) // without it the page has no counts
			resp, err := edgeClient.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return json.NewDecoder(resp.Body).Decode(&h)
		})
		count, known := h.Counts[name]
		if !known {
			t.Fatalf("the health page of %s has no %s", b.Name, name)
		}
		sum += count
	}
	return sum
}
