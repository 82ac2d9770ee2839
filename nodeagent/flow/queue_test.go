package flow

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// moments are where an agent's leg can be; each takes a caller who has waited a second there.
var moments = []struct {
	name string
	to   func(n *queueNode)
}{
	{"waiting", func(*queueNode) {}},
	{"ringing", func(n *queueNode) { n.rings(dispatch("r1")) }},
	{"whisper", func(n *queueNode) { // of a minute
		n.rings(dispatch("r1", func(d *api.Dispatch) { d.Whisper = refs("sales") }))
		n.agent("r1").answers()
		time.Sleep(time.Second)
	}},
	{"key", func(n *queueNode) { // that the agent does not press
		n.rings(dispatch("r1", func(d *api.Dispatch) { d.Confirm = true }))
		n.agent("r1").answers()
		time.Sleep(time.Second)
	}},
	{"claiming", func(n *queueNode) { // of three seconds
		n.desk.set("", 2500*time.Millisecond)
		n.rings(dispatch("r1"))
		n.agent("r1").answers()
		time.Sleep(time.Second)
	}},
	{"bridging", func(n *queueNode) {
		n.rings(dispatch("r1"))
		n.agent("r1").answers()
		time.Sleep(20 * time.Millisecond)
	}},
	{"talking", func(n *queueNode) {
		n.rings(dispatch("r1"))
		n.agent("r1").answers()
		time.Sleep(2 * time.Second)
	}},
}

// happenings are what can come at each of them. The caller hangs up 40 seconds later, if he is still there.
var happenings = []struct {
	name string
	do   func(n *queueNode)
}{
	{"nothing", func(*queueNode) {}},
	{"caller hangs up", func(n *queueNode) { n.hangsUpNow() }},
	{"agent ends", func(n *queueNode) {
		switch a := n.agents["r1"]; {
		case a == nil:
		case a.up:
			a.hangsUp()
		default:
			a.refuses("CALL_REJECTED")
		}
	}},
	{"rescind", func(n *queueNode) {
		if err := n.op(api.OpRescind, api.Op{Dispatch: &api.Dispatch{ReservationID: "r1", Fence: 7}, Why: "lost"}); err != nil {
			n.t.Error(err)
		}
	}},
	{"exit", func(n *queueNode) {
		if err := n.op(api.OpExit, api.Op{Outcome: "timeout"}); err != nil && !errors.Is(err, errServed) {
			n.t.Error(err)
		}
	}},
	{"key", func(n *queueNode) { n.caller().press("59") }},
	{"events lost", func(n *queueNode) { n.caller().emit("", map[string]string{"lost": "7", "Unique-ID": ""}) }},
	{"again", func(n *queueNode) { // the same order
		d := dispatch("r1")
		if err := n.op(api.OpDispatch, api.Op{Dispatch: &d}); err != nil {
			n.t.Error(err)
		}
	}},
}

// outcomes of moment/happening: what the desk heard | how the agent's leg ended | what the brain was told.
var outcomes = map[string]string{
	"waiting/nothing":         " | not rung | hangup cause=NORMAL_CLEARING",
	"waiting/caller hangs up": " | not rung | hangup cause=NORMAL_CLEARING",
	"waiting/agent ends":      " | not rung | hangup cause=NORMAL_CLEARING",
	"waiting/rescind":         " | not rung | hangup cause=NORMAL_CLEARING",
	"waiting/exit":            " | not rung | exit",
	"waiting/key":             " | not rung | digit digit=9",
	"waiting/events lost":     " | not rung | hangup cause=NORMAL_CLEARING",
	"waiting/again":           "miss r1 no_answer | killed NO_ANSWER | hangup cause=NORMAL_CLEARING",

	"ringing/nothing":         "miss r1 no_answer | killed NO_ANSWER | hangup cause=NORMAL_CLEARING",
	"ringing/caller hangs up": " | killed ORIGINATOR_CANCEL | hangup cause=NORMAL_CLEARING",
	"ringing/agent ends":      "miss r1 declined | CALL_REJECTED | hangup cause=NORMAL_CLEARING",
	"ringing/rescind":         " | killed LOSE_RACE | hangup cause=NORMAL_CLEARING",
	"ringing/exit":            "miss r1 failed | killed NORMAL_CLEARING | exit",
	"ringing/key":             "miss r1 failed | killed NORMAL_CLEARING | digit digit=9",
	"ringing/events lost":     "miss r1 no_answer | killed NO_ANSWER | hangup cause=NORMAL_CLEARING",
	"ringing/again":           "miss r1 no_answer | killed NO_ANSWER | hangup cause=NORMAL_CLEARING",

	"whisper/nothing":         "miss r1 no_answer | killed NO_ANSWER | hangup cause=NORMAL_CLEARING",
	"whisper/caller hangs up": " | killed ORIGINATOR_CANCEL | hangup cause=NORMAL_CLEARING",
	"whisper/agent ends":      "miss r1 declined | NORMAL_CLEARING | hangup cause=NORMAL_CLEARING",
	"whisper/rescind":         " | killed LOSE_RACE | hangup cause=NORMAL_CLEARING",
	"whisper/exit":            "miss r1 failed | killed NORMAL_CLEARING | exit",
	"whisper/key":             "miss r1 failed | killed NORMAL_CLEARING | digit digit=9",
	"whisper/events lost":     "miss r1 no_answer | killed NO_ANSWER | hangup cause=NORMAL_CLEARING",
	"whisper/again":           "miss r1 no_answer | killed NO_ANSWER | hangup cause=NORMAL_CLEARING",

	"key/nothing":         "miss r1 no_answer | killed NO_ANSWER | hangup cause=NORMAL_CLEARING",
	"key/caller hangs up": " | killed ORIGINATOR_CANCEL | hangup cause=NORMAL_CLEARING",
	"key/agent ends":      "miss r1 declined | NORMAL_CLEARING | hangup cause=NORMAL_CLEARING",
	"key/rescind":         " | killed LOSE_RACE | hangup cause=NORMAL_CLEARING",
	"key/exit":            "miss r1 failed | killed NORMAL_CLEARING | exit",
	"key/key":             "miss r1 failed | killed NORMAL_CLEARING | digit digit=9",
	"key/events lost":     "miss r1 no_answer | killed NO_ANSWER | hangup cause=NORMAL_CLEARING",
	"key/again":           "miss r1 no_answer | killed NO_ANSWER | hangup cause=NORMAL_CLEARING",

	"claiming/nothing":         "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=38460",
	"claiming/caller hangs up": " | killed ORIGINATOR_CANCEL | hangup cause=NORMAL_CLEARING",
	"claiming/agent ends":      "miss r1 declined | NORMAL_CLEARING | hangup cause=NORMAL_CLEARING",
	"claiming/rescind":         " | killed LOSE_RACE | hangup cause=NORMAL_CLEARING",
	"claiming/exit":            "miss r1 failed | killed NORMAL_CLEARING | exit",
	"claiming/key":             "miss r1 failed | killed NORMAL_CLEARING | digit digit=9",
	"claiming/events lost":     "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=38460",
	"claiming/again":           "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=38460",

	"bridging/nothing":         "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=39980",
	"bridging/caller hangs up": "claim r1 | with the caller | hangup cause=NORMAL_CLEARING",
	"bridging/agent ends":      "claim r1, miss r1 failed | NORMAL_CLEARING | hangup cause=NORMAL_CLEARING",
	"bridging/rescind":         "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=39980",
	"bridging/exit":            "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=39980",
	"bridging/key":             "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=39980",
	"bridging/events lost":     "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=39980",
	"bridging/again":           "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=39980",

	"talking/nothing":         "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=41960",
	"talking/caller hangs up": "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=1960",
	"talking/agent ends":      "claim r1, confirm r1 | NORMAL_CLEARING | answered talk_ms=2000",
	"talking/rescind":         "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=41960",
	"talking/exit":            "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=41960",
	"talking/key":             "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=41960",
	"talking/events lost":     "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=41960",
	"talking/again":           "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=41960",
}

func TestEnqueue_EveryMomentAndEveryEvent(t *testing.T) {
	// Proves, for each moment of an agent's leg and each thing that can happen then, what the desk hears, how the leg ends and what the
	// brain is told; and that nothing is left of the place, the leg or the call afterwards.
	for _, m := range moments {
		for _, h := range happenings {
			name := m.name + "/" + h.name
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					n := newQueueNode(t, api.CommandParams{BargeIn: "9"})
					n.during(time.Second, func() {
						m.to(n)
						h.do(n)
						time.Sleep(40 * time.Second)
						if strings.Contains(n.brain.outcomes(), "hangup") {
							return
						}
						n.hangsUpNow()
					})
					n.call(t.Context())
					if got := n.told(); got != outcomes[name] {
						t.Errorf("%s\nwant\n%s\norders\n%s", got, outcomes[name], n.fs.orders())
					}
					if len(n.entries) != 0 || len(n.legs) != 0 || n.Count() != 0 {
						t.Errorf("left: %d places, %d legs, %d calls", len(n.entries), len(n.legs), n.Count())
					}
				})
			})
		}
	}
}

func TestEnqueue_LegsThatNobodyTakes(t *testing.T) {
	// Proves the cause of the miss for each way in which FreeSWITCH gives up a leg.
	for cause, want := range map[string]string{"USER_BUSY": "busy", "CALL_REJECTED": "declined", "NO_ANSWER": "no_answer", "RECOVERY_ON_TIMER_EXPIRE": "no_answer",
		"NO_USER_RESPONSE": "unreachable", "UNALLOCATED_NUMBER": "unreachable", "INCOMPATIBLE_DESTINATION": "unreachable", "NORMAL_TEMPORARY_FAILURE": "failed", "SWITCH_CONGESTION": "failed"} {
		inBubble(t, func(t *testing.T) {
			n := newQueueNode(t, api.CommandParams{})
			n.during(time.Second, func() {
				n.rings(dispatch("r1"))
				n.agent("r1").refuses(cause)
				time.Sleep(time.Second)
				n.hangsUpNow()
			})
			n.call(t.Context())
			if got := n.desk.heard(); got != "miss r1 "+want {
				t.Errorf("%s: %q, want %s", cause, got, want)
			}
		})
	}
}

func TestEnqueue_OrdersToFreeSWITCH(t *testing.T) {
	// Proves the whole path of one call: what FreeSWITCH is told, in which order; music goes on while the agent rings, an announcement
	// neither stops nor restarts it, and what is still to be said is swept away before the two are bridged.
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{})
		d := dispatch("r1", func(d *api.Dispatch) {
			d.CallerNumber, d.CallerName, d.Confirm, d.Whisper = "+4930", "Al; {ice}", true, refs("sales", "queue")
		})
		n.during(time.Second, func() {
			n.rings(d)
			if err := n.op(api.OpPosition, api.Op{Files: refs("you-are", "third")}); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			a := n.agent("r1")
			a.answers()
			time.Sleep(time.Second)
			if got := a.fs.orders(); !strings.Contains(got, "myevents\nplayback file_string:///cache/sales!/cache/queue") {
				t.Errorf("the agent's leg: %s", got)
			}
			a.fs.press("21")
			time.Sleep(time.Second)
			a.hangsUp()
			time.Sleep(time.Second)
		})
		n.call(t.Context())
		n.wantOrders("answer", "playback local_stream://moh",
			"job originate {^^;origination_uuid=leg-r1-", ";originate_timeout=23;ignore_early_media=true;sip_invite_call_id=", "@sipio.invalid;absolute_codec_string=PCMU,PCMA;",
			"sip_h_X-Sipio-Dial='agent/us_1';sip_h_X-Sipio-Call='tok';sip_h_X-Sipio-Account='acc';origination_caller_id_number='+4930';origination_caller_id_name='Al ice'}sofia/sipio/sip:us_1@127.0.0.1:5060 '&socket(127.0.0.1:8484 async full)'",
			"follow playback file_string:///cache/you-are!/cache/third", "api uuid_break leg-r1-",
			"uuid_setvar_multi chan-1 sipio_begun=1;socket_resume=false", "uuid_setvar chan-1 last_bridge_to", "transfer_after_bridge=away:XML:away;sipio_service=1|r1|7|leg-r1-",
			"uuid_break chan-1 all", "uuid_bridge chan-1 leg-r1-", "sipio_service 1|r1|7|leg-r1-", "|confirmed", "noevents")
		if got := countOf(n.fs.orders(), "playback local_stream://moh"); got != 1 {
			t.Errorf("the music began %d times", got)
		}
		if got := n.told(); got != "claim r1, confirm r1 | NORMAL_CLEARING | answered talk_ms=1000" {
			t.Error(got)
		}
		for name, value := range n.variables() {
			if (name == noAfterTalk || name == serviceVariable) && value != "" || name == "socket_resume" && value != "true" {
				t.Errorf("%s=%s stays", name, value)
			}
		}
	})
}

func TestEnqueue_RingAllTheFirstTalks(t *testing.T) {
	// Proves that of several agents the one whom the desk grants talks, that the others are told that somebody else was faster, and that
	// an agent whose claim is lost is released while the caller hears music on.
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{Dispatches: []api.Dispatch{dispatch("r1"), dispatch("r2"), dispatch("r3")}})
		n.during(time.Second, func() {
			n.desk.set("lost", 0)
			n.agent("r3").answers()
			time.Sleep(time.Second)
			n.desk.set("", 0)
			n.agent("r2").answers()
			time.Sleep(100 * time.Millisecond)
			if err := n.op(api.OpRescind, api.Op{Dispatch: &api.Dispatch{ReservationID: "r1", Fence: 7}, Why: "lost"}); err != nil {
				t.Error(err)
			}
			d := dispatch("r4")
			if err := n.op(api.OpDispatch, api.Op{Dispatch: &d}); !errors.Is(err, errServed) {
				t.Errorf("an agent is rung for a caller who talks: %v", err)
			}
			time.Sleep(time.Second)
			n.hangsUpNow()
		})
		n.call(t.Context())
		if got := n.told(); got != "claim r3 lost, claim r2, confirm r2 | killed LOSE_RACE | hangup cause=NORMAL_CLEARING talk_ms=1060" {
			t.Error(got)
		}
		if r2, r3 := n.agents["r2"].ended, n.agents["r3"].ended; r2 != "with the caller" || r3 != "killed LOSE_RACE" {
			t.Errorf("r2 %s, r3 %s", r2, r3)
		}
		n.wantOrders("playback "+ringTone, "uuid_bridge")
	})
}

func TestEnqueue_RingToneBecomesMusic(t *testing.T) {
	// Proves that a caller for whom an agent is rung at once hears a ring tone, and music as soon as nobody is rung any more.
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{Files: refs("a", "none", "b"), Dispatches: []api.Dispatch{dispatch("r1")}})
		n.fs.lasts["playback /cache/a"], n.fs.lasts["playback /cache/b"] = 3*time.Second, 3*time.Second
		n.during(time.Second, func() { n.agent("r1").refuses("USER_BUSY") })
		n.during(9*time.Second, func() { n.hangsUpNow() })
		n.call(t.Context())
		n.wantOrders("playback "+ringTone, "uuid_break chan-1 all", "playback /cache/a", "playback /cache/b", "playback /cache/a")
	})
}

func TestEnqueue_MusicThatIsNotThere(t *testing.T) {
	// Proves that a file which FreeSWITCH cannot read gives way to the platform's music, and that this is tried again now and then, not all
	// the time, until it is there.
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{MusicKey: "bad"})
		n.fs.lasts["playback"] = 0
		n.fs.ends["playback"] = map[string]string{"Application-Response": "FILE NOT FOUND"}
		n.during(11*time.Second, func() { n.hangsUpNow() })
		n.call(t.Context())
		n.wantOrders("playback /cache/bad", "playback local_stream://moh")
		if got := countOf(n.fs.orders(), "playback local_stream://moh"); got != 6 {
			t.Errorf("tried %d times in 11 s", got)
		}
	})
}

func TestEnqueue_BrainSilent(t *testing.T) {
	// Proves that a claim is asked on while the lease lasts and then given up, with the agent released; that a talk is confirmed as soon as
	// a brain answers; and that a talk which no brain had heard of is told before the caller's end.
	for name, c := range map[string]struct {
		away time.Duration
		talk time.Duration
		want string
	}{
		"claim, for a while": {6 * time.Second, 30 * time.Second, "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=24260"},
		"claim, too long":    {26 * time.Second, 40 * time.Second, "miss r1 failed | killed NORMAL_CLEARING | hangup cause=NORMAL_CLEARING"},
	} {
		inBubble(t, func(t *testing.T) {
			n := newQueueNode(t, api.CommandParams{})
			n.during(time.Second, func() {
				n.rings(dispatch("r1"))
				n.desk.awayFor(c.away)
				n.agent("r1").answers()
				time.Sleep(c.talk)
				n.hangsUpNow()
			})
			n.call(t.Context())
			if got := n.told(); !strings.HasPrefix(got, strings.Split(c.want, "talk_ms")[0]) {
				t.Errorf("%s: %s\nwant %s", name, got, c.want)
			}
		})
	}
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{})
		n.during(time.Second, func() {
			n.rings(dispatch("r1"))
			n.agent("r1").answers()
			time.Sleep(20 * time.Millisecond) // granted, and about to be bridged
			n.desk.awayFor(10 * time.Second)
			time.Sleep(5 * time.Second)
			n.hangsUpNow()
		})
		n.call(t.Context())
		if got := n.told(); got != "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=4980" {
			t.Error(got)
		}
	})
}

func TestEnqueue_BridgeThatDoesNotCome(t *testing.T) {
	// Proves that a talk whose first event was lost is found, and that a bridge of which nothing came is given up: the agent is released,
	// the caller hears music again and may be given to another.
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{})
		n.mute = true
		n.during(time.Second, func() {
			n.rings(dispatch("r1"))
			n.agent("r1").answers()
			time.Sleep(8 * time.Second)
			n.hangsUpNow()
		})
		n.call(t.Context())
		if got := n.told(); !strings.HasPrefix(got, "claim r1, confirm r1 | with the caller | hangup cause=NORMAL_CLEARING talk_ms=3000") {
			t.Error(got)
		}
	})
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{})
		n.noBond = true
		n.during(time.Second, func() {
			n.rings(dispatch("r1"))
			n.agent("r1").answers()
			time.Sleep(8 * time.Second)
			n.mu.Lock()
			n.noBond = false
			n.mu.Unlock()
			n.rings(dispatch("r2"))
			n.agent("r2").answers()
			time.Sleep(2 * time.Second)
			n.agent("r2").hangsUp()
		})
		n.call(t.Context())
		if got := n.told(); got != "claim r1, miss r1 failed, claim r2, confirm r2 | killed NORMAL_CLEARING | answered talk_ms=2000" {
			t.Error(got)
		}
		if got := countOf(n.fs.orders(), "playback local_stream://moh"); got != 2 {
			t.Errorf("the music began %d times", got)
		}
	})
}

func TestEnqueue_MediaRelease(t *testing.T) {
	// Proves that a talk that may leave the media server does, that it stays when the two phones speak different codecs or are recorded, and
	// that it comes back for good when either phone refuses, at once or late, or an operator begins a recording.
	for name, c := range map[string]struct {
		prepare func(n *queueNode, d *api.Dispatch)
		later   func(n *queueNode)
		want    []string
		never   string
	}{
		"goes":   {want: []string{"uuid_setvar chan-1 sip_invite_failure_status", "uuid_setvar leg-r1-", "uuid_media off leg-r1-"}, never: "uuid_media leg-r1-"},
		"codecs": {prepare: func(n *queueNode, _ *api.Dispatch) { n.fs.vars[readCodec] = "PCMU" }, never: "uuid_media"},
		"record": {prepare: func(_ *queueNode, d *api.Dispatch) { d.RecordKey = "acc/rec/x.wav" }, want: []string{"uuid_record chan-1 start"}, never: "uuid_media"},
		"caller takes no offer": {prepare: func(n *queueNode, _ *api.Dispatch) { n.refusals = map[string]string{"chan": "488"} },
			want: []string{"uuid_media_reneg chan-1"}, never: "uuid_media off"},
		"agent takes no offer": {prepare: func(n *queueNode, _ *api.Dispatch) { n.refusals = map[string]string{"leg-": "491"} },
			want: []string{"uuid_media_reneg leg-r1-"}, never: "uuid_media off"},
		"caller refuses late": {later: func(n *queueNode) { n.caller().variable(statusOf, "488") },
			want: []string{"uuid_media off leg-r1-", "uuid_media leg-r1-"}},
		"agent refuses": {later: func(n *queueNode) { n.agent("r1").variable(statusOf, "491") },
			want: []string{"uuid_media off leg-r1-", "uuid_media leg-r1-"}},
		"recording": {later: func(n *queueNode) {
			if _, err := n.Recording(n.t.Context(), api.Op{Token: "tok", Action: "start", Key: "acc/rec/y.wav"}); err != nil {
				n.t.Error(err)
			}
		}, want: []string{"uuid_media off leg-r1-", "uuid_media leg-r1-", "uuid_record chan-1 start"}},
	} {
		inBubble(t, func(t *testing.T) {
			n := newQueueNode(t, api.CommandParams{})
			d := dispatch("r1", func(d *api.Dispatch) { d.Release = true })
			if c.prepare != nil {
				c.prepare(n, &d)
			}
			n.during(time.Second, func() {
				n.rings(d)
				n.agent("r1").answers()
				time.Sleep(600 * time.Millisecond)
				if c.later != nil {
					c.later(n)
				}
				time.Sleep(20 * time.Second)
				n.hangsUpNow()
			})
			n.call(t.Context())
			n.wantOrders(c.want...)
			if c.never != "" && strings.Contains(n.fs.orders(), c.never) {
				t.Errorf("%s: %s in\n%s", name, c.never, n.fs.orders())
			}
			if got := countOf(n.fs.orders(), "uuid_media leg-r1-"); got > 1 {
				t.Errorf("%s: taken back %d times", name, got)
			}
		})
	}
}

func TestEnqueue_AgentProcessDies(t *testing.T) {
	// Proves for each moment that the process may end: the caller and the agent are left alone; the next process rings nobody twice, takes
	// over the leg that rings, does not ring one who talks, and reports a talk that ended meanwhile; and that a talk which never came
	// about is told to the desk, with the caller waiting on.
	for _, c := range []struct {
		moment string
		then   func(n *queueNode)
		want   string
	}{
		{"ringing", func(n *queueNode) {
			n.comeBack()
			time.Sleep(time.Second)
			n.agent("r1").answers()
			time.Sleep(time.Second)
			n.agent("r1").hangsUp()
		},
			"claim r1, confirm r1 | NORMAL_CLEARING | answered talk_ms=1000"},
		{"ringing", func(n *queueNode) {
			n.agent("r1").answers()
			n.comeBack()
			time.Sleep(time.Second)
			n.agent("r1").hangsUp()
		},
			"claim r1, confirm r1 | NORMAL_CLEARING | answered talk_ms="},
		{"whisper", func(n *queueNode) { // he is rung once more: nobody brings the leg that he has answered
			n.comeBack()
			time.Sleep(2 * time.Second)
			n.agent("r1").answers()
			time.Sleep(time.Second)
			n.agent("r1").hangsUp()
		}, "claim r1, confirm r1 | NORMAL_CLEARING | answered talk_ms=1000"},
		{"talking", func(n *queueNode) { n.agent("r1").goes(); time.Sleep(3 * time.Second); n.comeBack() },
			"claim r1, confirm r1 | NORMAL_CLEARING | answered talk_ms=5000"},
		{"bridging", func(n *queueNode) {
			n.agent("r1").ended = "NORMAL_CLEARING"
			n.comeBack()
			time.Sleep(time.Second)
			n.hangsUpNow()
		},
			"claim r1, miss r1 failed | NORMAL_CLEARING | hangup cause=NORMAL_CLEARING"},
	} {
		inBubble(t, func(t *testing.T) {
			n := newQueueNode(t, api.CommandParams{})
			first, die := context.WithCancel(t.Context())
			n.ctx = first
			gone := make(chan struct{})
			go func() { defer close(gone); n.Run(first, n.fs, connect(nil)) }()
			time.Sleep(time.Second)
			for _, m := range moments {
				if m.name == c.moment {
					m.to(n)
				}
			}
			die()
			<-gone
			if strings.Contains(n.fs.orders(), "uuid_kill") || n.brain.outcomes() != "" {
				t.Errorf("%s: told %q, orders\n%s", c.moment, n.brain.outcomes(), n.fs.orders())
			}
			n.mu.Lock()
			n.ctx = t.Context()
			n.mu.Unlock()
			if c.moment == "ringing" || c.moment == "whisper" {
				n.brain.commands[0].Params.Dispatches = []api.Dispatch{dispatch("r1")}
			}
			c.then(n)
			n.served.Wait()
			if got := n.told(); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s\nwant %s", c.moment, got, c.want)
			}
		})
	}
}

func TestEnqueue_BrainIsBack(t *testing.T) {
	// Proves that callers in queues ask what is to be done once a brain answers again: orders given meanwhile are carried out, without the
	// music being touched; and that a place which is gone ends the waiting.
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{})
		flaky := &flakyBrain{fakeBrain: n.brain}
		n.cfg.Brain = flaky
		ctx, stop := context.WithCancel(t.Context())
		kept := make(chan struct{})
		go func() { defer close(kept); n.Keep(ctx) }()
		n.during(5*time.Second, func() { flaky.away(true) })
		n.during(25*time.Second, func() {
			flaky.away(false)
			n.brain.mu.Lock()
			n.brain.commands[0].Params.Dispatches = []api.Dispatch{dispatch("r1")}
			n.brain.mu.Unlock()
		})
		n.during(35*time.Second, func() {
			n.agent("r1").refuses("USER_BUSY")
			time.Sleep(time.Second)
			n.hangsUpNow()
		})
		n.call(t.Context())
		stop()
		<-kept
		if got := n.told(); got != "miss r1 busy | USER_BUSY | hangup cause=NORMAL_CLEARING" {
			t.Error(got)
		}
		if got := countOf(n.fs.orders(), "playback local_stream://moh"); got != 1 {
			t.Errorf("the music began %d times", got)
		}
	})
}

// flakyBrain does not take lists of calls while it is away.
type flakyBrain struct {
	*fakeBrain
	gone bool
}

func (b *flakyBrain) away(gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = gone
}

func (b *flakyBrain) Alive(ctx context.Context, alive api.FlowAlive) error {
	b.mu.Lock()
	gone := b.gone
	b.mu.Unlock()
	if gone {
		return errAway
	}
	return b.fakeBrain.Alive(ctx, alive)
}

const talkingChannels = `{"row_count":3,"rows":[{"uuid":"chan-9","direction":"inbound","state":"CS_SOFT_EXECUTE","context":"sipio"},
{"uuid":"leg-r1-x","direction":"outbound","state":"CS_EXCHANGE_MEDIA"},{"uuid":"leg-r2-x","direction":"outbound","state":"CS_CONSUME_MEDIA"}]}`

func TestKeep_TalksWithoutARunner(t *testing.T) {
	// Proves that a talk which an agent that died had begun is told as alive and to the desk, until that has heard; that it is left alone;
	// and that the leg of nobody is hung up, but not at once.
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{})
		n.fs.agents = nil
		n.fs.set("show channels", talkingChannels)
		for name, value := range map[string]string{"sip_h_X-Sipio-Call": "tok9", "sip_h_X-Sipio-Account": "acc", "sip_call_id": "a@phone",
			serviceVariable: "1|r1|7|leg-r1-x|1000", lastBridgeTo: "leg-r1-x"} {
			n.fs.set("uuid_getvar chan-9 "+name, value)
		}
		n.desk.awayFor(8 * time.Second)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); n.Keep(ctx) }()
		time.Sleep(9 * time.Second) // the bubble's clock
		synctest.Wait()
		if strings.Contains(n.fs.orders(), "uuid_kill") {
			t.Error("ended too early")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := n.desk.heard(); got != "confirm r1" {
			t.Errorf("the desk heard %q", got)
		}
		if o := n.fs.orders(); !strings.Contains(o, "uuid_kill leg-r2-x NORMAL_CLEARING") || strings.Contains(o, "uuid_kill leg-r1") || strings.Contains(o, "uuid_kill chan") {
			t.Errorf("orders\n%s", o)
		}
		if alive := n.Alive(); len(alive) != 1 || alive[0].Token != "tok9" {
			t.Errorf("alive %v", alive)
		}
		stop()
		<-done
	})
}

func TestOrders_OfCallersWhoAreNotHere(t *testing.T) {
	// Proves that orders about a place that this node does not have, or of another call, are refused in the words of the contract, and
	// that one which is not whole changes nothing.
	n := newNode(t)
	d := dispatch("r1")
	op := api.Op{Token: "tok", EntryID: "e1", Dispatch: &d, Outcome: "timeout"}
	for name, do := range map[string]func(context.Context, api.Op) (api.OpReply, error){"dispatch": n.Dispatch, "rescind": n.Rescind, "position": n.Position, "exit": n.Exit} {
		if _, err := do(t.Context(), op); err == nil || err.Error() != "no such caller" {
			t.Errorf("%s: %v", name, err)
		}
	}
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{})
		n.during(time.Second, func() {
			for _, bad := range []api.Dispatch{{}, {ReservationID: "r 1", UserID: "us_1"}, {ReservationID: "r1"}} {
				if err := n.op(api.OpDispatch, api.Op{Dispatch: &bad}); !errors.Is(err, errNotWhole) {
					t.Errorf("%+v: %v", bad, err)
				}
			}
			for _, kind := range []string{api.OpDispatch, api.OpRescind, api.OpExit} {
				if err := n.op(kind, api.Op{}); !errors.Is(err, errNotWhole) {
					t.Errorf("%s: %v", kind, err)
				}
			}
			if _, err := n.Exit(t.Context(), api.Op{Token: "other", EntryID: "e1", Outcome: "timeout"}); !errors.Is(err, errNoCaller) {
				t.Error(err)
			}
			n.hangsUpNow()
		})
		n.call(t.Context())
		if strings.Contains(n.fs.orders(), "originate") {
			t.Error("somebody was rung")
		}
	})
}

func TestDialString_OfAnAgentStaysInItsValue(t *testing.T) {
	// Proves that no name, number or id can add a variable, a leg or an application to the order that rings an agent.
	evil := "x;sip_h_X-Evil=1}sofia/sipio/sip:evil@h{'\"[]<>|\r\n${y}:_:^^ '&system(x)'"
	k := &call{of: New(Config{Proxy: "127.0.0.1:5060", Listen: "127.0.0.1:8484"}), token: evil, account: evil, laws: callersLaw("")}
	k.log = k.of.log
	l := newLeg(&entry{of: k.of, k: k, laws: k.laws}, api.Dispatch{ReservationID: "r1", UserID: evil, CallerNumber: evil, CallerName: evil})
	got := l.outgoing().dialString(k.of.cfg.Proxy)
	if strings.Count(got, ";") != 13 || strings.Count(got, "{") != 1 || strings.Count(got, "}") != 1 || strings.Count(got, "'") != 12 || strings.ContainsAny(got, "\r\n$|\"<>[]") {
		t.Error(got)
	}
}

func TestCallersLaw_IsTheFirstOfHisOffer(t *testing.T) {
	// Proves that agents are offered the caller's law first, so that the media can be released, by offers in both orders.
	for sdp, want := range map[string]string{"": "PCMA,PCMU", "v=0\r\nm=audio 4 RTP/AVP 9 0 8 101\r\n": "PCMU,PCMA", "v=0\r\nm=audio 4 RTP/AVP 8 0\r\n": "PCMA,PCMU"} {
		if got := callersLaw(sdp); got != want {
			t.Errorf("%q: %s", sdp, got)
		}
	}
}

func TestEnqueue_RescindBeforeTheDispatch(t *testing.T) {
	// Proves that an agent is not rung whose reservation was taken back before the order to ring him was here: it travels in the reply to a
	// question, the other one does not; also when it was taken back before the caller's place was here.
	for _, early := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			p := api.CommandParams{}
			if early {
				p.Dispatches = []api.Dispatch{dispatch("r1"), dispatch("r2")}
			}
			n := newQueueNode(t, p)
			rescind := func() error {
				return n.op(api.OpRescind, api.Op{Dispatch: &api.Dispatch{ReservationID: "r1", Fence: 7}, Why: "lost"})
			}
			if early {
				if err := rescind(); !errors.Is(err, errNoCaller) {
					t.Errorf("he is not here: %v", err)
				}
			}
			n.during(time.Second, func() {
				if !early {
					if err := rescind(); err != nil {
						t.Error(err)
					}
					n.rings(dispatch("r1"))
					n.rings(dispatch("r2"))
				}
				n.hangsUpNow()
			})
			n.call(t.Context())
			if n.agents["r1"] != nil || n.agents["r2"] == nil || len(n.rescinded) != 0 {
				t.Errorf("early %v: rung %v, noted %v", early, n.agents, n.rescinded)
			}
		})
	}
}

func TestEnqueue_RefusedDispatchIsNotRung(t *testing.T) {
	// Proves that an agent is not rung whose dispatch was refused because the caller's place was not here yet: the brain has given the agent
	// to somebody else by then, and the answer to the caller's question may still name him.
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{Dispatches: []api.Dispatch{dispatch("r1"), dispatch("r2")}})
		d := dispatch("r1")
		if err := n.op(api.OpDispatch, api.Op{Dispatch: &d}); !errors.Is(err, errNoCaller) {
			t.Errorf("he is not here: %v", err)
		}
		n.during(time.Second, n.hangsUpNow)
		n.call(t.Context())
		if n.agents["r1"] != nil || n.agents["r2"] == nil || len(n.rescinded) != 0 {
			t.Errorf("rung %v, noted %v", n.agents, n.rescinded)
		}
	})
}

func TestEnqueue_NobodyIsRungTooLate(t *testing.T) {
	// Proves that an agent whose reservation has no time left is not rung, and that one rings no longer than his reservation holds.
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{})
		n.during(time.Second, func() {
			d := dispatch("r1", func(d *api.Dispatch) { d.LeaseMS = 0 })
			if err := n.op(api.OpDispatch, api.Op{Dispatch: &d}); !errors.Is(err, errTooLate) {
				t.Errorf("too late: %v", err)
			}
			n.rings(dispatch("r2", func(d *api.Dispatch) { d.RingMS, d.LeaseMS = 0, 3000 }))
			time.Sleep(3500 * time.Millisecond)
			if n.agent("r2").ended != "killed NO_ANSWER" {
				t.Errorf("without a time to ring he rings on")
			}
			n.hangsUpNow()
		})
		n.call(t.Context())
		if n.agents["r1"] != nil {
			t.Error("he is rung")
		}
	})
}

func TestEnqueue_AWithheldNumberIsNotShown(t *testing.T) {
	// Proves that an agent sees the queue's label with a caller who withholds his number, and nothing of what the caller's channel tells.
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{})
		n.during(time.Second, func() {
			n.rings(dispatch("r1", func(d *api.Dispatch) { d.CallerName = "Sales" }))
			n.hangsUpNow()
		})
		n.call(t.Context())
		n.wantOrders("origination_caller_id_number='anonymous';origination_caller_id_name='Sales'}")
	})
}

func TestEnqueue_AnEndingLegLeavesTheNextOneOfItsName(t *testing.T) {
	// Proves that a leg which ends does not take a later one of the same channel off the list: its answer would find nobody.
	inBubble(t, func(t *testing.T) {
		n := newQueueNode(t, api.CommandParams{})
		next := &leg{}
		n.during(time.Second, func() {
			n.rings(dispatch("r1"))
			a := n.agent("r1")
			n.Calls.mu.Lock()
			n.legs[a.uuid] = next
			n.Calls.mu.Unlock()
			a.refuses("USER_BUSY")
			time.Sleep(time.Second)
			n.hangsUpNow()
		})
		n.call(t.Context())
		if n.legs[n.agents["r1"].uuid] != next {
			t.Error("it is gone")
		}
	})
}
