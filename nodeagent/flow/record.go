package flow

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Of a recording that the caller speaks.
const (
	defaultMaxMS = 180_000
	beepTone     = "tone_stream://%(300,0,800)"
	bytesPerMS   = 16 // 8 kHz, 16 bit, mono
)

// record records what the caller says. A caller who hangs up ends it: what was said by then is kept.
func (k *call) record(ctx context.Context, p api.CommandParams) (result, error) {
	if err := k.pickUp(ctx, false); err != nil {
		return result{}, err
	}
	if p.Beep {
		if _, err := k.playFile(ctx, beepTone, func() bool { return false }); err != nil {
			return result{}, err
		}
	}
	if k.gone || k.stopping {
		return result{}, nil
	}
	k.keys.clear()
	file, err := k.of.newFile()
	if err != nil {
		return result{}, err
	}
	k.writeTo(file)
	defer k.writeTo("")
	// Should this agent die, FreeSWITCH would hang up a caller whose recording is cut: it goes on instead, until the next
	// agent breaks it off (sweep).
	if err := k.set(ctx, "socket_resume=false"); err != nil {
		return result{}, err
	}
	defer k.holdOn(ctx)
	began := time.Now()
	id, err := k.begin(ctx, "record", k.recordArgs(file, p))
	if err != nil {
		return result{}, err
	}
	by, last, err := k.recordUntil(ctx, id, p)
	if k.stopping && !k.gone { // has he hung up, and was not heard any more?
		if there, fault := k.of.exists(context.WithoutCancel(ctx), k.uuid); fault == nil && !there {
			k.gone, k.cause = true, "NORMAL_CLEARING"
		}
	}
	if !k.gone && (err != nil || k.stopping) {
		k.of.discard(file) // it begins anew
		return result{}, err
	}
	return k.keepMessage(ctx, p.Key, file, by, last, began)
}

// writeTo notes the file that FreeSWITCH writes a message into.
func (k *call) writeTo(file string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.message = file
}

// recordArgs are the arguments of FreeSWITCH's record. Its limits are whole seconds, and so only catch what ours miss.
func (k *call) recordArgs(file string, p api.CommandParams) string {
	args := fmt.Sprintf("%s %d", file, orDefault(p.MaxMS, defaultMaxMS)/1000+2)
	if p.SilenceMS > 0 {
		args += fmt.Sprintf(" %d %d", k.of.cfg.SilenceThreshold, max(1, (p.SilenceMS+999)/1000))
	}
	return args
}

// recordUntil waits for the end of a recording and says what ended it, with the application's last event.
func (k *call) recordUntil(ctx context.Context, id string, p api.CommandParams) (by string, last Event, err error) {
	limit := time.NewTimer(time.Duration(orDefault(p.MaxMS, defaultMaxMS)) * time.Millisecond)
	defer limit.Stop()
	over := func() bool { e, ok := k.over(id); last = e; return ok }
	for {
		_, why := k.next(ctx, limit.C)
		switch {
		case why == wakeGone:
			k.settle(ctx, over)
			return "hangup", last, nil
		case over():
			if last.Variable("silence_hits_exhausted") == "true" {
				return "silence", last, nil
			}
			return "max", last, nil
		case k.gap:
			return "", nil, errAgain
		case why == wakeTimer:
			by = "max"
		default:
			if d, ok := k.keys.popAny(p.Terminators); ok {
				by = "digit"
				k.from, k.fromKey = d.at, true
			}
		}
		if by != "" {
			if err := k.breakOff(ctx); err != nil && !k.gone {
				return "", nil, err
			}
			if !k.settle(ctx, over) && !k.gone {
				return "", nil, fmt.Errorf("FreeSWITCH does not end a recording within %s", settleTimeout)
			}
			k.keys.clear()
			return by, last, nil
		}
	}
}

// keepMessage stores what was said.
func (k *call) keepMessage(ctx context.Context, key, file, by string, last Event, began time.Time) (result, error) {
	size, err := audioBytes(file)
	if err != nil {
		return result{}, err
	}
	ms := size / bytesPerMS
	if last != nil {
		if n, err := strconv.ParseInt(last.Variable("record_ms"), 10, 64); err == nil && n > 0 && n <= time.Since(began).Milliseconds()+1000 {
			ms = n
		}
	}
	data := map[string]string{"ended_by": by, "duration_ms": strconv.FormatInt(ms, 10)}
	if err := k.store(ctx, key, file, data); err != nil {
		if !k.gone {
			return result{}, err
		}
		k.log.Warn("what a caller said could not be stored", "key", key, "error", err)
		return result{}, nil
	}
	return result{api.OutcomeRecorded, data}, nil
}
