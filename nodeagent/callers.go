package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/nodeagent/keepalive"
	"github.com/sipio/sipio/nodeagent/ng"
)

// newCallers makes what ends the calls of callers who are gone; nil when nothing is to. It has sockets of its own to both daemons: it looks at
// every call.
func (a *agent) newCallers() (*keepalive.Watcher, error) {
	if a.cfg.CallerGoneAfter == 0 {
		return nil, nil
	}
	kamailio, err := kam.Open(a.cfg.KamailioSocket, a.cfg.KamailioClient+".callers", probeTimeout)
	if err != nil {
		return nil, err
	}
	a.opened = append(a.opened, kamailio.Close)
	media, err := ng.Dial(a.cfg.RTPEngineNG, probeTimeout)
	if err != nil {
		return nil, err
	}
	a.opened = append(a.opened, media.Close)
	return keepalive.New(keepalive.Config{
		After: a.cfg.CallerGoneAfter, Log: a.log, Heard: media.Heard,
		Calls: func() (list []keepalive.Call) {
			for _, d := range a.lists.Calls() {
				list = append(list, keepalive.Call{Token: d.Token, CallID: d.CallID, Since: time.UnixMilli(d.SinceMS)})
			}
			return list
		},
		Caller: func(ctx context.Context, c keepalive.Call) (keepalive.Caller, error) {
			leg, ok, err := kamailio.Caller(ctx, c.CallID, c.Token)
			if err != nil || !ok {
				return nil, err
			}
			return caller{leg, kamailio, a.uac}, nil
		},
	}), nil
}

// caller is the caller of a call as the watcher asks him.
type caller struct {
	leg    kam.Caller
	client *kam.Client
	uac    *kam.UAC
}

func (c caller) Tag() string                   { return c.leg.Tag }
func (c caller) Trunk() bool                   { return c.leg.Trunk }
func (c caller) End(ctx context.Context) error { return c.client.EndCall(ctx, c.leg) }

func (c caller) Ask(ctx context.Context) (int, error) {
	code, err := c.uac.AskCaller(ctx, c.leg)
	if errors.Is(err, kam.ErrNoAnswer) {
		err = fmt.Errorf("%w: %w", keepalive.ErrNoAnswer, err)
	}
	return code, err
}
