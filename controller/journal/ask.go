package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sipio/sipio/brain"
)

// Bounds of what one brain does for others.
const (
	maxServed  = 256              // questions to a shard under way; above it they are refused
	servedFor  = 30 * time.Second // a question is given up
	askedFor   = 10 * time.Second // Ask waits at most, when its context waits longer
	maxPending = 4096             // news that a listener has not read yet; above it they are dropped
)

// What the header of a reply says instead of an answer.
const (
	replyHeader  = "Sipio-Error"
	replyBusy    = "busy"
	replyNoOwner = "no-owner"
	replyTooBig  = "too-big"
)

// doSubject names the owner of a shard by its epoch: one that was replaced, and does not know it, is not asked any more.
func doSubject(shard int, epoch uint64) string {
	return "do." + strconv.Itoa(shard) + "." + strconv.FormatUint(epoch, 10)
}

func errBusy(shard int) error {
	return brain.Errorf(brain.EUnavailable, "the owner of shard %d is busy: %d questions under way", shard, maxServed)
}

// posts is the part of a Bus that carries questions and news.
type posts struct {
	nc   *nats.Conn
	log  *slog.Logger
	life context.Context // ends with the Bus
}

func newPosts(life context.Context, nc *nats.Conn, log *slog.Logger) posts {
	return posts{nc: nc, log: log, life: life}
}

// Serve answers the questions to the owner of a shard under an epoch with fn until stop. Questions run at the same time, at most 256; fn's context
// ends after 30 s or with the Bus. When fn returns nil who asks hears ErrNoOwner. After stop no question is taken: who asks hears ErrNoOwner. What is under way still answers.
func (p *posts) Serve(shard int, epoch uint64, fn func(ctx context.Context, data []byte) []byte) (stop func(), err error) {
	if err := checkShard(shard); err != nil {
		return nil, err
	}
	slots := make(chan struct{}, maxServed)
	var stopped atomic.Bool
	sub, err := p.nc.QueueSubscribe(doSubject(shard, epoch), "owner", func(m *nats.Msg) {
		if stopped.Load() {
			p.refuse(m, replyNoOwner)
			return
		}
		select {
		case slots <- struct{}{}:
			go func() {
				defer func() { <-slots }()
				p.answer(m, fn)
			}()
		default:
			p.refuse(m, replyBusy)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("serve shard %d: %w", shard, err)
	}
	// Who asks after Serve returned must find it: the server has it once it has answered.
	if err := p.nc.FlushTimeout(apiTimeout); err != nil {
		return nil, errors.Join(fmt.Errorf("serve shard %d: %w", shard, err), sub.Unsubscribe())
	}
	return func() {
		if !stopped.Swap(true) {
			_ = sub.Drain() // fails only when the connection is gone, and the subscription with it
		}
	}, nil
}

func (p *posts) answer(m *nats.Msg, fn func(ctx context.Context, data []byte) []byte) {
	ctx, cancel := context.WithTimeout(p.life, servedFor)
	defer cancel()
	reply := fn(ctx, m.Data)
	if reply == nil {
		p.refuse(m, replyNoOwner)
		return
	}
	if len(reply) > MaxRecord {
		p.log.Error("answer to another brain is too big", "subject", m.Subject, "bytes", len(reply))
		p.refuse(m, replyTooBig)
		return
	}
	if err := m.Respond(reply); err != nil && p.life.Err() == nil {
		p.log.Warn("answer to another brain not sent", "subject", m.Subject, "err", err)
	}
}

func (p *posts) refuse(m *nats.Msg, why string) {
	r := nats.NewMsg(m.Reply)
	r.Header.Set(replyHeader, why)
	if err := m.RespondMsg(r); err != nil && p.life.Err() == nil {
		p.log.Warn("refusal to another brain not sent", "subject", m.Subject, "err", err)
	}
}

// Ask asks the owner of a shard under an epoch and waits for its answer until ctx ends, at most 10 s. ErrNoOwner: nobody
// serves the shard under that epoch, told at once. ErrCutOff: this brain cannot ask now, told at once.
// brain.EUnavailable: its owner is busy, or this Bus is closed. After the end of the context it is unknown whether the
// question was taken.
func (p *posts) Ask(ctx context.Context, shard int, epoch uint64, data []byte) ([]byte, error) {
	if err := checkShard(shard); err != nil {
		return nil, err
	}
	if len(data) > MaxRecord {
		return nil, brain.Errorf(brain.EInvalid, "a question of %d bytes is too big", len(data))
	}
	ctx, cancel := context.WithTimeout(ctx, askedFor)
	defer cancel()
	m, err := p.nc.RequestWithContext(ctx, doSubject(shard, epoch), data)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("ask shard %d: %w", shard, ErrNoOwner)
	case errors.Is(err, nats.ErrReconnectBufExceeded): // there is no buffer: it is not sent
		return nil, fmt.Errorf("ask the owner of shard %d: %w", shard, ErrCutOff)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrDisconnected):
		return nil, brain.Errorf(brain.EUnavailable, "ask the owner of shard %d: %v", shard, err)
	case err != nil:
		return nil, fmt.Errorf("ask the owner of shard %d: %w", shard, err)
	}
	switch m.Header.Get(replyHeader) {
	case "":
		return m.Data, nil
	case replyNoOwner:
		return nil, fmt.Errorf("ask shard %d: %w", shard, ErrNoOwner)
	case replyBusy:
		return nil, errBusy(shard)
	}
	return nil, brain.Errorf(brain.EInternal, "the owner of shard %d: %s", shard, m.Header.Get(replyHeader))
}

// Publish tells every brain that listens. Nothing is kept: who does not listen, or reads too slowly, misses it.
func (p *posts) Publish(subject string, data []byte) error {
	if err := p.nc.Publish(subject, data); err != nil {
		return brain.Errorf(brain.EUnavailable, "publish %s: %v", subject, err)
	}
	return nil
}

// Subscribe calls fn with each message to a subject (a wildcard: * for one word, > for all that follow), one after the
// other, until stop. What was published before it returned is not heard.
func (p *posts) Subscribe(subject string, fn func(data []byte)) (stop func(), err error) {
	sub, err := p.nc.Subscribe(subject, func(m *nats.Msg) { fn(m.Data) })
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	err = sub.SetPendingLimits(maxPending, 4*MaxPayload)
	if err = errors.Join(err, p.nc.FlushTimeout(apiTimeout)); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to %s: %w", subject, err), sub.Unsubscribe())
	}
	var once sync.Once
	return func() { once.Do(func() { _ = sub.Unsubscribe() }) }, nil
}
