package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/media"
)

// maxFlowReply has room for two playlists of 200 files.
const maxFlowReply = 1 << 20

// Flow asks a brain what to do next with a call.
func (r *reporter) Flow(ctx context.Context, req api.FlowRequest) (reply api.FlowReply, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return reply, fmt.Errorf("encode question: %w", err)
	}
	err = r.postLong(ctx, api.PathFlow, body, &reply, maxFlowReply)
	if refused := refusedByAll(err, len(r.urls)); refused != nil {
		// The brains are there and have no such call: nobody will ever command it.
		return api.FlowReply{Seq: req.Seq, Command: api.CommandHangup, Params: api.CommandParams{Cause: "NORMAL_TEMPORARY_FAILURE", Reason: refused.Error()}}, nil
	}
	return reply, err
}

// refusedByAll returns a brain's refusal for good when every brain that counts gave one, nil otherwise. A body that
// cannot be read ends the asking, so it stands alone.
func refusedByAll(err error, brains int) *statusError {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	var last *statusError
	for _, e := range list {
		refused, ok := errors.AsType[*statusError](e)
		if !ok || !refused.malformed() && refused.status != http.StatusNotFound && refused.status != http.StatusForbidden {
			return nil
		}
		last = refused
	}
	if last == nil || !last.malformed() && len(list) < brains {
		return nil
	}
	return last
}

// Alive names the calls that live on this node.
func (r *reporter) Alive(ctx context.Context, alive api.FlowAlive) error {
	body, err := json.Marshal(alive)
	if err != nil {
		return fmt.Errorf("encode list of calls: %w", err)
	}
	var reply struct{}
	return r.post(ctx, api.PathFlowAlive, body, &reply)
}

// Claim asks whether an agent who answered may talk to his caller.
func (r *reporter) Claim(ctx context.Context, c api.Claim) (api.ClaimReply, error) {
	return r.desk(ctx, api.PathAgentClaim, c)
}

// Confirm tells that they talk.
func (r *reporter) Confirm(ctx context.Context, c api.Claim) (api.ClaimReply, error) {
	return r.desk(ctx, api.PathAgentConfirm, c)
}

// Miss tells that an agent was not reached.
func (r *reporter) Miss(ctx context.Context, c api.Claim) (api.ClaimReply, error) {
	return r.desk(ctx, api.PathAgentMiss, c)
}

// desk posts what concerns a reservation. One that all brains refuse for good is one that they do not know.
func (r *reporter) desk(ctx context.Context, path string, c api.Claim) (reply api.ClaimReply, err error) {
	body, err := json.Marshal(c)
	if err != nil {
		return reply, fmt.Errorf("encode %s: %w", path, err)
	}
	err = r.post(ctx, path, body, &reply)
	if refusedByAll(err, len(r.urls)) != nil {
		return api.ClaimReply{Why: "unknown"}, nil
	}
	return reply, err
}

// Get opens an object of the brain's media store. media.ErrRefused: it has none.
func (r *reporter) Get(ctx context.Context, key string) (io.ReadCloser, api.MediaRef, error) {
	var errs []error
	for _, i := range r.order() {
		resp, err := r.object(ctx, http.MethodGet, r.urls[i], key, nil, 0, "")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if resp.StatusCode == http.StatusOK {
			return resp.Body, api.MediaRef{Key: key, SHA256: resp.Header.Get(api.HeaderSHA256), Bytes: resp.ContentLength}, nil
		}
		errs = append(errs, objectError(resp))
	}
	return nil, api.MediaRef{}, errors.Join(errs...)
}

// Put stores an object. media.ErrRefused: the brain will never take it.
func (r *reporter) Put(ctx context.Context, key string, body io.Reader, size int64, sum string) error {
	var last error
	for n, i := range r.order() {
		resp, err := r.object(ctx, http.MethodPut, r.urls[i], key, body, size, sum)
		switch {
		case err != nil:
			last = err
		case resp.StatusCode < 300:
			_ = resp.Body.Close()
			return nil
		case resp.StatusCode < 500:
			return objectError(resp)
		default:
			last = objectError(resp)
		}
		if n == len(r.urls)-1 {
			break
		}
		if seeker, ok := body.(io.Seeker); !ok {
			return last
		} else if _, err := seeker.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	return last
}

func (r *reporter) object(ctx context.Context, method, base, key string, body io.Reader, size int64, sum string) (*http.Response, error) {
	path := (&url.URL{Path: api.PathMedia + key}).EscapedPath()
	if body != nil {
		body = io.NopCloser(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	r.sign(req)
	if method == http.MethodPut {
		req.ContentLength = size
		req.Header.Set(api.HeaderSHA256, sum)
	}
	return r.objects.Do(req)
}

// objectError is an answer other than the one hoped for.
func objectError(resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	err := error(&statusError{resp.StatusCode, strings.TrimSpace(string(text))})
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return fmt.Errorf("%w: %w", media.ErrRefused, err)
	}
	return err
}
