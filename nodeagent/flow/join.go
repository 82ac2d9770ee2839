package flow

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// joinVariable tells, on the caller's channel, since when he talks to whom a dial joined: SEQ|MS since 1970.
const joinVariable = "sipio_join"

// askedChannel is what the channel of somebody who was asked may be called.
var askedChannel = regexp.MustCompile(`^` + askedPrefix + `[a-z0-9]{1,64}$`)

// askedGone is why a caller does not get whom somebody has asked to take him.
const askedGone = "who was to take the caller has gone"

// join is a dial that calls nobody: the caller is connected with somebody who was asked before and waits for him. As after a
// talk of a queue, he comes back by a connection of its own, and another runner tells the end.
func (k *call) join(ctx context.Context, seq int64, p api.CommandParams) (result, error) {
	if !askedChannel.MatchString(p.Join) {
		return failed("no leg is called " + strconv.Quote(p.Join)), nil
	}
	if done, ok := k.joinedBefore(ctx, seq, p.Join); ok {
		return done, nil
	}
	if there, err := k.of.exists(ctx, p.Join); err != nil || !there {
		return failed(askedGone), err
	}
	k.keys.clear()
	if err := k.bringBack(ctx); err != nil {
		return result{}, err
	}
	if err := k.bondTo(ctx, seq, p); err != nil || !k.awaitBridge(ctx, p.Join, func() bool { return false }) {
		if k.gone || k.stopping {
			return result{}, nil
		}
		k.log.Warn("a caller does not get whom somebody has asked", "channel", p.Join, "error", err)
		k.unconnect(ctx)
		k.of.hangUp(ctx, p.Join, "NORMAL_CLEARING", settledJob)
		return failed(askedGone), nil
	}
	k.leg, _ = k.of.variable(ctx, p.Join, "sip_call_id") // "": its end is told to nobody when FreeSWITCH dies
	end := k.besideTalk(ctx)
	for why := wakeEvent; why != wakeGone; {
		_, why = k.next(ctx, nil)
		k.keys.clear()
	}
	end()
	return result{}, nil
}

// bondTo has FreeSWITCH connect the caller. The talk goes on should this agent die.
func (k *call) bondTo(ctx context.Context, seq int64, p api.CommandParams) error {
	k.bridged = time.Time{}
	k.mu.Lock()
	k.rec.want = p.Key
	k.mu.Unlock()
	if err := k.letGo(ctx, seq, lastBridgeTo); err != nil {
		return err
	}
	since := strconv.FormatInt(seq, 10) + "|" + strconv.FormatInt(time.Now().UnixMilli(), 10)
	if err := k.set(ctx, afterTalk, joinVariable+"="+since); err != nil {
		return err
	}
	_, err := k.api(ctx, "uuid_bridge "+k.uuid+" "+p.Join)
	return err
}

// joinedBefore says what became of the same join after which the caller is back.
func (k *call) joinedBefore(ctx context.Context, seq int64, leg string) (result, bool) {
	before := k.before
	k.before = nil
	if before == nil || before.Variable(markVariable) != strconv.FormatInt(seq, 10) {
		return result{}, false
	}
	since, to, err := k.talkedBefore(ctx, joinVariable)
	begun, from, _ := strings.Cut(since, "|")
	if err != nil || begun != strconv.FormatInt(seq, 10) {
		return result{}, false
	}
	k.forgetService(ctx)
	if to != leg {
		return result{}, false
	}
	ms, _ := strconv.ParseInt(from, 10, 64)
	done := result{api.OutcomeAnswered, map[string]string{"duration_ms": fmt.Sprint(max(0, time.Now().UnixMilli()-ms))}}
	k.tellConsulted(seq, done)
	k.keepRecording(ctx, done.data)
	return done, true
}

// besideTalk lets things be begun beside a talk until what it returns is called: they have ended then, or were let go.
func (k *call) besideTalk(ctx context.Context) (end func()) {
	talking, hush := context.WithCancel(ctx)
	k.whileTalking(func(do func(context.Context)) { k.legs.Go(func() { do(talking) }) })
	return func() {
		k.whileTalking(nil)
		k.consultEnds(ctx)
		hush()
	}
}

// tellConsulted adds to the end of the talk of a command who was asked in it and waits for the caller.
func (k *call) tellConsulted(seq int64, done result) {
	if n := k.consulted; n != nil && n.seq == seq {
		maps.Copy(done.data, n.data())
	}
	k.consulted = nil
}
