package flow

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// markVariable holds, on the caller's channel, the dial or conference that was begun: its seq.
const markVariable = "sipio_begun"

const (
	defaultRingMS = 60_000
	confirmEvery  = 15 * time.Second // FreeSWITCH is asked whether a conversation still goes on
)

// Who answers and is asked to press a key hears what he is asked again after a pause, until his time is over.
const (
	askTimeSec = 10 // from his answer
	askPauseMS = 2000
)

// dial calls somebody and, if he answers, lets the two talk until one hangs up. Kamailio asks the brain where the
// leg goes: it knows by the X-Sipio headers what it is for.
func (k *call) dial(ctx context.Context, seq int64, p api.CommandParams) (result, error) {
	if p.DestKind == "" {
		return failed("no destination"), nil
	}
	if p.Join != "" {
		return k.join(ctx, seq, p)
	}
	if done, ok := k.dialedBefore(ctx, seq); ok {
		return done, nil
	}
	if err := k.bringBack(ctx); err != nil {
		return result{}, err
	}
	k.keys.clear()
	k.bridged = time.Time{}
	k.mu.Lock()
	k.rec.want = p.Key
	k.mu.Unlock()
	if err := k.letGo(ctx, seq, "originate_disposition", "last_bridge_to", "last_bridge_proto_specific_hangup_cause"); err != nil {
		return result{}, err
	}
	defer k.holdOn(ctx)
	if err := k.ringback(ctx, p.MusicKey); err != nil {
		return result{}, err
	}
	k.leg = newID() + "@sipio.invalid"
	id, err := k.begin(ctx, "bridge", k.dialString(p, k.asks(ctx, p)...))
	if err != nil {
		return result{}, err
	}
	end := k.besideTalk(ctx)
	last := k.dialEnd(ctx, id)
	end()
	if k.stopping {
		return result{}, nil
	}
	talked := time.Duration(0)
	if !k.bridged.IsZero() {
		talked = time.Since(k.bridged)
	}
	k.keys.clear()
	done := dialResult(last, !k.bridged.IsZero(), talked)
	k.tellConsulted(seq, done)
	k.keepRecording(ctx, done.data)
	if !k.closed {
		k.leg = ""
	}
	return done, nil
}

// letGo has what comes now go on should this agent die, and marks it with its seq, so that the agent to which the
// call comes afterwards knows that it was done. The variables by which it ends are cleared.
func (k *call) letGo(ctx context.Context, seq int64, cleared ...string) error {
	if err := k.set(ctx, markVariable+"="+strconv.FormatInt(seq, 10), "socket_resume=false"); err != nil {
		return err
	}
	for _, name := range cleared {
		if _, err := k.api(ctx, "uuid_setvar "+k.uuid+" "+name); err != nil {
			return err
		}
	}
	return nil
}

// holdOn is the end of letGo: from now on the call comes back at once when this agent dies.
func (k *call) holdOn(ctx context.Context) {
	if k.gone || k.stopping {
		return
	}
	if err := k.set(ctx, "socket_resume=true"); err != nil {
		k.log.Warn("the call would not come back from a dead agent", "error", err)
	}
}

// dialedBefore says what became of the same dial when the agent before this one began it: it went on by itself and
// is over. One of which nothing is known begins anew.
func (k *call) dialedBefore(ctx context.Context, seq int64) (result, bool) {
	before := k.before
	k.before = nil
	if before == nil || before.Variable(markVariable) != strconv.FormatInt(seq, 10) || before.Variable("originate_disposition") == "" {
		return result{}, false
	}
	done := dialResult(before, false, 0)
	k.tellConsulted(seq, done)
	k.keepRecording(ctx, done.data)
	return done, true
}

// ringback says what the caller hears while it rings.
func (k *call) ringback(ctx context.Context, music string) error {
	sound := "%(1000,4000,425)"
	if music != "" {
		if paths, _ := k.fetch(ctx, []api.MediaRef{{Key: music}}); len(paths) == 1 {
			sound = paths[0]
		}
	}
	return k.set(ctx, "ringback="+sound, "transfer_ringback="+sound)
}

// asks are the variables of a leg whose callee must press a key before he is connected: the caller hears ringing until then,
// from the first moment on, and nothing of what comes before the answer. Without its file a tone asks.
func (k *call) asks(ctx context.Context, p api.CommandParams) []string {
	if p.ConfirmKey == "" {
		return nil
	}
	file := "'" + keyTone + "'"
	if paths, _ := k.fetch(ctx, p.Files); len(paths) > 0 {
		file = paths[0]
	}
	return []string{"ignore_early_media=true", "instant_ringback=true", "group_confirm_key=" + plain(p.ConfirmKey), "group_confirm_file=" + file,
		"group_confirm_read_timeout=" + strconv.Itoa(askPauseMS), "group_confirm_timeout=" + strconv.Itoa(askTimeSec)}
}

// dialString is the argument of bridge: one leg to Kamailio, which knows where it rings.
func (k *call) dialString(p api.CommandParams, more ...string) string {
	number, name := p.CallerNumber, p.CallerName
	if number == "" {
		number, name = k.number, k.name
	}
	seconds := (orDefault(p.TimeoutMS, defaultRingMS)+999)/1000 + 1 // it may fire a second early
	if p.ConfirmKey != "" {
		seconds += askTimeSec
	}
	vars := []string{
		"originate_timeout=" + strconv.Itoa(seconds),
		"sip_invite_call_id=" + k.leg,
		"rtp_rewrite_timestamps=true",
		"sip_h_" + api.HeaderDial + "=" + plain(p.DestKind+"/"+p.DestID),
		"sip_h_" + api.HeaderCall + "=" + plain(k.token),
		"sip_h_" + api.HeaderAccount + "=" + plain(k.account),
		"origination_caller_id_number=" + plain(number),
		"origination_caller_id_name=" + plain(name),
	}
	for _, of := range [...]struct{ header, name string }{{api.HeaderCaller, "caller_user_id"}, {api.HeaderCalled, "called_number"}, {api.HeaderSentOn, "caller_diverted"}} {
		if known := plain(k.start.Vars[of.name]); known != "" {
			vars = append(vars, "sip_h_"+of.header+"="+known)
		}
	}
	if k.start.Vars[brain.VarWithheld] != "" { // From is for the account's own phones
		vars = append(vars, "sip_h_Privacy=id")
	}
	vars = append(vars, more...)
	return "{" + strings.Join(vars, ",") + "}sofia/sipio/sip:" + userPart(p) + "@" + k.of.cfg.Proxy
}

// userPart is what stands before the @ of the leg's address. The brain goes by the header; this is for people.
func userPart(p api.CommandParams) string {
	user := strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-.+", r)) {
			return r
		}
		return -1
	}, p.DestID)
	if user == "" {
		return "call"
	}
	return user
}

// plain makes text harmless within a dial string: what separates, quotes or expands there becomes a space.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || strings.ContainsRune("{}[]<>,'\"\\|$:;^`", r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// dialEnd waits for the end of a bridge, and now and then asks FreeSWITCH whether it has not ended. Nil when the
// last event was lost, or the caller has gone.
func (k *call) dialEnd(ctx context.Context, id string) Event {
	check := time.NewTicker(confirmEvery)
	defer check.Stop()
	over := func() (Event, bool) { return k.over(id) }
	for {
		_, why := k.next(ctx, check.C)
		if e, ok := over(); ok {
			return e
		}
		switch {
		case why == wakeGone:
			var last Event
			k.settle(ctx, func() bool { e, ok := over(); last = e; return ok })
			return last
		case why == wakeTimer || k.gap:
			k.gap = false
			if k.bridgeIsOver(ctx) {
				return nil
			}
		}
	}
}

// bridgeIsOver asks FreeSWITCH: the leg that answered is not there any more.
func (k *call) bridgeIsOver(ctx context.Context) bool {
	leg, err := k.api(ctx, "uuid_getvar "+k.uuid+" last_bridge_to")
	if err != nil || leg == "" || leg == notGiven {
		return false
	}
	there, err := k.api(ctx, "uuid_exists "+leg)
	return err == nil && there == "false"
}

// dialOutcomes maps the causes with which FreeSWITCH gives up a leg. As at the edge, 486, 600 and 603 are busy;
// any other cause is a failure.
var dialOutcomes = map[string]string{
	"USER_BUSY":                api.OutcomeBusy,
	"CALL_REJECTED":            api.OutcomeBusy,
	"NO_ANSWER":                api.OutcomeNoAnswer,
	"NORMAL_CLEARING":          api.OutcomeNoAnswer, // answered, and hung up before he took the call
	"NO_USER_RESPONSE":         api.OutcomeNoAnswer, // 480: nobody is there
	"ALLOTTED_TIMEOUT":         api.OutcomeNoAnswer,
	"ORIGINATOR_CANCEL":        api.OutcomeNoAnswer,
	"PROGRESS_TIMEOUT":         api.OutcomeNoAnswer,
	"RECOVERY_ON_TIMER_EXPIRE": api.OutcomeNoAnswer, // 408
	"USER_NOT_REGISTERED":      api.OutcomeNoAnswer,
}

// dialResult says what became of a dial by the last event of the bridge (nil: it was lost).
func dialResult(last Event, bridged bool, talked time.Duration) result {
	var cause, sip string
	if last != nil {
		cause = last.Variable("originate_disposition")
		sip = last.Variable("last_bridge_proto_specific_hangup_cause")
	}
	if bridged || cause == "SUCCESS" {
		return result{api.OutcomeAnswered, map[string]string{"duration_ms": fmt.Sprint(talked.Milliseconds())}}
	}
	outcome, known := dialOutcomes[cause]
	if !known {
		outcome = api.OutcomeFailed
	}
	data := map[string]string{"reason": cause}
	if code, ok := strings.CutPrefix(sip, "sip:"); ok {
		data["sip_code"] = code
	}
	return result{outcome, data}
}
