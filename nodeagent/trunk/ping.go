package trunk

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// probe sends OPTIONS to the trunk's targets in turn until one answers.
func (k *Keeper) probe(ctx context.Context, t *trunk) {
	list, err := k.targets(ctx, t)
	var got Response
	var target string
	var took time.Duration
	for _, target = range list {
		began := time.Now()
		if got, err = k.options(ctx, t, target); err == nil && alive(got.Code) {
			took = time.Since(began)
			break
		}
		if errors.Is(err, ErrUnsent) {
			break
		}
	}
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.hint()
	if len(list) > 0 && t.reg.target == "" {
		t.targets = list
	}
	if errors.Is(err, ErrUnsent) {
		t.seen.LastError = whyNot(got, err)
		return
	}
	was := t.health.state
	ok := err == nil && alive(got.Code)
	t.health.heard(time.Now().UnixMilli(), ok)
	t.seen.Pings++
	if ok {
		delete(t.failed, target)
		t.seen.Code, t.seen.RTTMS, t.seen.Target, t.seen.LastError = got.Code, int(took.Milliseconds()), target, ""
	} else {
		t.seen.Failed++
		t.seen.Code, t.seen.LastError = max(got.Code, 408), whyNot(got, err)
	}
	if t.health.state != was {
		k.cfg.Log.Info("trunk", "trunk", t.ID, "name", t.Name, "state", t.health.state, "code", t.seen.Code, "error", t.seen.LastError)
	}
}

// options sends one OPTIONS.
func (k *Keeper) options(ctx context.Context, t *trunk, target string) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, pingWait)
	defer cancel()
	from := t.AOR
	if from == "" {
		from = pingFrom
	}
	return k.cfg.Sender.Send(ctx, Request{Method: "OPTIONS", URI: t.URI, NextHop: nextHop(target, t.Transport), From: from, To: t.URI,
		CallID: k.cfg.Sender.NewCallID(), CSeq: 1, Headers: "Accept: application/sdp\r\n"})
}

// targets lists where a trunk's requests go, that of its registration alone when there is one.
func (k *Keeper) targets(ctx context.Context, t *trunk) ([]string, error) {
	k.mu.Lock()
	registered := t.reg.target
	k.mu.Unlock()
	if registered != "" {
		return []string{registered}, nil
	}
	return targets(ctx, k.cfg.Resolver, t.Proxy, t.Transport)
}

// whyNot says what was wrong, for operators.
func whyNot(got Response, err error) string {
	switch {
	case err == nil:
		return clean(fmt.Sprintf("%d %.80s", got.Code, got.Reason))
	case errors.Is(err, ErrNoAnswer):
		return "no answer"
	}
	return clean(err.Error())
}
