package nodeagent

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/spool"
)

// reportTimeout bounds one post that is not a decision.
const reportTimeout = 10 * time.Second

const (
	connectTimeout = 2 * time.Second // to a brain
	shareTimeout   = 3 * time.Second // of one brain's answer while there are others to ask, at most

	minShare = 500 * time.Millisecond // of the same at least: a brain that is well needs up to 400 ms for leases
)

// reporter posts what is not a decision, events and heartbeats, to the first brain that takes it.
type reporter struct {
	urls   []string
	key    string
	client *http.Client

	objects *http.Client // for what takes as long as it takes
	first   atomic.Int32 // of urls: who answered last
}

func newReporter(urls []string, key string, tlsConfig *tls.Config) *reporter {
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext, TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute,
		MaxIdleConnsPerHost: 64, ResponseHeaderTimeout: 2 * reportTimeout}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &reporter{urls: urls, key: key,
		client:  &http.Client{Timeout: reportTimeout, Transport: transport, CheckRedirect: stay},
		objects: &http.Client{Transport: transport, CheckRedirect: stay},
	}
}

// sign puts the node's key on a question. A node without one is known by its certificate.
func (r *reporter) sign(req *http.Request) {
	if r.key != "" {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
}

// statusError is an answer other than 200.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("brain answered %d: %.200s", e.status, e.text)
}

// malformed reports whether the brain will say the same again: it cannot read what was sent.
func (e *statusError) malformed() bool {
	switch e.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// post sends JSON and decodes the answer into out. A brain that is away makes it try the next; one
// that says the body is malformed ends it.
func (r *reporter) post(ctx context.Context, path string, body []byte, out any) error {
	return r.postLong(ctx, path, body, out, api.MaxBody)
}

// postLong is post with a bound of its own for the answer, in bytes.
func (r *reporter) postLong(ctx context.Context, path string, body []byte, out any, most int64) error {
	var errs []error
	for n, i := range r.order() {
		asking, cancel := r.share(ctx, n)
		err := r.postOne(asking, strings.TrimSuffix(r.urls[i], "/")+path, body, out, most)
		cancel()
		if err == nil {
			r.first.Store(int32(i))
			return nil
		}
		if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() { // the next question begins with another
			r.first.CompareAndSwap(int32(i), int32((i+1)%len(r.urls)))
		}
		if refused, ok := errors.AsType[*statusError](err); ok && refused.malformed() {
			return err
		}
		errs = append(errs, err)
		if ctx.Err() != nil { // no time is left for the others
			break
		}
	}
	return errors.Join(errs...)
}

// order lists the brains, the one that answered last before the others, which follow it in turn.
func (r *reporter) order() []int {
	first := int(r.first.Load())
	var list []int
	for i := range r.urls {
		list = append(list, (first+i)%len(r.urls))
	}
	return list
}

// share bounds the n-th try, so that a silent brain leaves time for the others: each has the same part of what is left.
// The last has all of it.
func (r *reporter) share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	others := len(r.urls) - 1 - n
	if others == 0 {
		return context.WithCancel(ctx)
	}
	part := shareTimeout
	if end, ok := ctx.Deadline(); ok {
		part = min(part, max(minShare, time.Until(end)/time.Duration(others+1)))
	}
	return context.WithTimeout(ctx, part)
}

func (r *reporter) postOne(ctx context.Context, url string, body []byte, out any, most int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	r.sign(req)
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return &statusError{resp.StatusCode, string(raw)}
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("decode answer of %s: %w", url, err)
	}
	return nil
}

// postEvents delivers one batch for the spool.
func (r *reporter) postEvents(ctx context.Context, batch []byte) (api.EventReply, error) {
	var reply api.EventReply
	err := r.post(ctx, api.PathPresenceEvent, batch, &reply)
	if refused, ok := errors.AsType[*statusError](err); ok && refused.malformed() {
		return reply, fmt.Errorf("%w: %w", spool.ErrRefused, err)
	}
	return reply, err
}

// survival asks for what survival answers need. The answer holds HA1 digests.
func (r *reporter) survival(ctx context.Context, body []byte) ([]byte, error) {
	var reply json.RawMessage
	err := r.postLong(ctx, api.PathSurvival, body, &reply, api.MaxSurvivalReply)
	return reply, err
}

// postHeartbeat tells the brain of this node. The reply has the protocol version that the brain speaks.
func (r *reporter) postHeartbeat(ctx context.Context, beat api.Heartbeat) (reply api.HeartbeatReply, err error) {
	body, err := json.Marshal(beat)
	if err != nil {
		return reply, fmt.Errorf("encode heartbeat: %w", err)
	}
	err = r.postLong(ctx, api.PathHeartbeat, body, &reply, maxHeartbeatReply)
	return reply, err
}

// maxHeartbeatReply has room for the addresses of 100,000 trunks.
const maxHeartbeatReply = 4 << 20

// postDialogs delivers one report of the live dialogs.
func (r *reporter) postDialogs(ctx context.Context, report api.DialogReport) error {
	body, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	if len(body) > api.MaxReport {
		return fmt.Errorf("report of %d dialogs has %d bytes, limit %d", report.Count, len(body), api.MaxReport)
	}
	var reply api.DialogReportReply
	return r.post(ctx, api.PathDialogs, body, &reply)
}
