package flow

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Pauses between two questions to brains that do not answer, and between two commands of the same seq.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 2 * time.Second
	maxRepeats = 20 // of one command, which the brain gave again and again
)

// result is what became of a command.
type result struct {
	outcome string
	data    map[string]string
}

func failed(reason string) result {
	return result{api.OutcomeFailed, map[string]string{"reason": reason}}
}

// serve asks the brain, does what it says, reports, and so on to the end of the call.
func (k *call) serve(ctx context.Context) {
	req := k.request(0, "")
	start := k.start
	req.Start = &start
	if k.closed { // before it began: the brain ends the session, if there is one, for want of a word about it
		k.lost(ctx)
		return
	}
	var last int64
	for repeats, reports := 0, 0; ; {
		reply, ok := k.ask(ctx, req)
		if !ok {
			return
		}
		k.begun = k.begun || reply.Seq > 0 // 0: every brain refuses it
		if isEnd(req.Outcome) {
			if reports++; reply.Command == api.CommandNoop || reply.Command == api.CommandHangup || reports >= maxReports {
				return
			}
		}
		if reply.Command == api.CommandNoop {
			k.finish(ctx)
			return
		}
		if repeats++; reply.Seq != last {
			last, repeats = reply.Seq, 0
		}
		if repeats > 0 && !k.pause(ctx, repeats) {
			return
		}
		var done result
		if !k.gone {
			done = k.perform(ctx, reply)
		}
		if k.stopping {
			k.partNow(ctx, reply.Seq, done)
			return
		}
		if k.closed && k.cause == "" && !k.lost(ctx) {
			return
		}
		req = k.report(ctx, reply.Seq, done)
	}
}

// maxReports is how often the end of a call is told to a brain that each time names another command.
const maxReports = 5

func isEnd(outcome string) bool { return outcome == api.OutcomeHangup || outcome == api.OutcomeLost }

// report is what a command came to, without an outcome the question what comes now; that of a call that has ended tells
// of everything it leaves.
func (k *call) report(ctx context.Context, seq int64, done result) api.FlowRequest {
	if done.outcome == "" && !k.gone {
		seq = 0
	}
	req := k.request(seq, done.outcome)
	req.Data = done.data
	if k.gone {
		if req.Data == nil {
			req.Data = map[string]string{}
		}
		k.keepRecording(ctx, req.Data)
		k.ending(&req)
	}
	return req
}

// ending turns a report into that of a call that has ended, and leaves what it says of recordings.
func (k *call) ending(req *api.FlowRequest) {
	req.Outcome = api.OutcomeHangup
	delete(req.Data, "reason")
	if k.cause == causeLost {
		req.Outcome = api.OutcomeLost
		req.Data["reason"] = "the media server lost the call"
		return
	}
	req.Data["cause"] = k.cause
}

func (k *call) request(seq int64, outcome string) api.FlowRequest {
	return api.FlowRequest{AccountID: k.account, Token: k.token, CallID: k.callID, Node: k.of.cfg.Node, Seq: seq, Outcome: outcome}
}

// pause keeps a brain that gives the same command for ever from wearing the node out.
func (k *call) pause(ctx context.Context, repeats int) bool {
	if repeats > maxRepeats {
		k.log.Error("the brain repeats a command: the call is ended", "times", repeats)
		k.kill(ctx, "NORMAL_TEMPORARY_FAILURE")
		return false
	}
	timer := time.NewTimer(min(retryFirst<<repeats, retryMost))
	defer timer.Stop()
	for {
		if _, why := k.next(ctx, timer.C); why != wakeEvent {
			return !k.stopping
		}
	}
}

// ask puts one question until it is answered. After brainPatience a caller who is still there is hung up; what nobody
// else can tell is asked on.
func (k *call) ask(ctx context.Context, req api.FlowRequest) (api.FlowReply, bool) {
	patience := k.of.newPatience()
	defer patience.close()
	for tries := 1; ; tries++ {
		asked := time.Now()
		reply, err := k.question(ctx, req)
		if err == nil {
			k.of.cfg.Observe("brain", time.Since(asked))
			if tries > 1 {
				k.log.Info("a brain answers again", "tries", tries)
			}
			if k.from.IsZero() {
				k.from = time.Now()
			}
			return reply, true
		}
		if ctx.Err() != nil {
			return k.unanswered(ctx, req)
		}
		late, held := patience.late(), patience.held
		wait, ok := patience.again(k.worth(req))
		if late && (!held || !ok) {
			k.log.Error("no brain answers for a call", "outcome", req.Outcome, "seq", req.Seq, "key", req.Data["key"], "asked_on", ok, "error", err)
		}
		if late && !k.gone {
			k.kill(ctx, "NORMAL_TEMPORARY_FAILURE")
		}
		if !ok {
			return api.FlowReply{}, false
		}
		if !k.linger(ctx, wait) {
			return k.unanswered(ctx, req)
		}
	}
}

// unanswered leaves a question that an agent which stops has no answer to. One that the next agent cannot ask is put
// once more.
func (k *call) unanswered(ctx context.Context, req api.FlowRequest) (api.FlowReply, bool) {
	k.stopping = true
	if isEnd(req.Outcome) || req.Data["key"] != "" {
		k.of.farewell(ctx, req, k.log)
	}
	return api.FlowReply{}, false
}

func (k *call) question(ctx context.Context, req api.FlowRequest) (api.FlowReply, error) {
	ctx, cancel := context.WithTimeout(ctx, brainTimeout)
	defer cancel()
	return k.of.cfg.Brain.Flow(ctx, req)
}

// linger waits while events are taken in. False when this process ends.
func (k *call) linger(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		if k.closed { // no more events will come
			select {
			case <-timer.C:
				return true
			case <-ctx.Done():
				k.stopping = true
			}
		}
		switch _, why := k.listen(ctx, timer.C); {
		case k.stopping:
			return false
		case why == wakeTimer:
			return true
		}
	}
}

// errAgain says that events were lost in the middle of a command: it begins anew.
var errAgain = errors.New("events were lost")

// perform carries one command out.
func (k *call) perform(ctx context.Context, reply api.FlowReply) result {
	for range maxRepeats {
		k.gap = false
		k.clearTheLine(ctx)
		done, err := k.command(ctx, reply)
		switch {
		case errors.Is(err, errAgain) && !k.gone:
			continue
		case err != nil && !k.gone && !k.stopping:
			k.log.Warn("a command could not be carried out", "command", reply.Command, "seq", reply.Seq, "error", err)
			return failed(err.Error())
		}
		return done
	}
	return failed("too many events were lost")
}

// clearTheLine ends what an earlier try, of this agent or the one before, left behind.
func (k *call) clearTheLine(ctx context.Context) {
	if len(k.ended) == 0 && !k.fresh() {
		return
	}
	clear(k.ended)
	if err := k.breakOff(ctx); err != nil {
		k.log.Debug("nothing to break off", "error", err)
	}
}

// fresh says, once, that nothing is known of what the channel does.
func (k *call) fresh() bool {
	known := k.known
	k.known = true
	return !known
}

func (k *call) command(ctx context.Context, reply api.FlowReply) (result, error) {
	p := reply.Params
	switch reply.Command {
	case api.CommandPlay:
		return k.play(ctx, p)
	case api.CommandGather:
		return k.gather(ctx, p)
	case api.CommandDial:
		return k.dial(ctx, reply.Seq, p)
	case api.CommandRecord:
		return k.record(ctx, p)
	case api.CommandConference:
		return k.conference(ctx, reply.Seq, p)
	case api.CommandHangup:
		return k.hangup(ctx, p)
	case api.CommandEnqueue:
		return k.enqueue(ctx, reply.Seq, p)
	}
	return failed("this node knows no command " + strconv.Quote(reply.Command)), nil
}

// finish ends a call of which the brain wants nothing more.
func (k *call) finish(ctx context.Context) {
	if !k.gone && !k.closed {
		k.log.Info("the brain knows nothing more to do: the call is ended")
		k.kill(ctx, "NORMAL_CLEARING")
	}
}
