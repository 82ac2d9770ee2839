package flow

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

const ms = time.Millisecond

func TestRun_BeginsByTakingTheCallOver(t *testing.T) {
	// Proves the order of the first orders, and what the brain is told of the call, by the log of a fake FreeSWITCH.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandPlay, api.CommandParams{Files: refs("a.wav")}))
		n.run(nil)
		n.wantOrders("api sched_del chan-1", "linger 5", "myevents", "event plain RECORD_STOP", "api uuid_setvar_multi chan-1 socket_resume=true",
			"api uuid_break chan-1 all", "answer", "playback /cache/a.wav", "api uuid_kill chan-1 NORMAL_CLEARING")
		first := n.brain.told[0]
		if s := first.Start; first.Token != "tok" || first.AccountID != "acc" || first.CallID != "call@phone" || first.Outcome != "" || first.Seq != 0 ||
			s.TargetKind != "flow" || s.TargetID != "flow_1" || s.Vars["did_label"] != "a b" || s.Channel != "chan-1" {
			t.Errorf("start: %+v %+v", first, first.Start)
		}
		n.wantOutcomes("done")
	})
}

func TestRun_RefusesACallOfNobody(t *testing.T) {
	// Proves that a call without the edge's headers ends at once and that no brain is asked.
	inBubble(t, func(t *testing.T) {
		n := newNode(t)
		n.run(map[string]string{"variable_sip_h_X-Sipio-Call": ""})
		n.wantOrders("api uuid_kill chan-1 CALL_REJECTED")
		if n.brain.asked != 0 || n.Count() != 0 {
			t.Errorf("asked %d, %d calls", n.brain.asked, n.Count())
		}
	})
}

func TestCommands_ComeToTheirOutcomes(t *testing.T) {
	// Proves each command's outcomes, by what a caller does meanwhile (press, hang up, stay silent) against a fake FreeSWITCH.
	menu := api.CommandParams{Files: refs("menu.wav"), BargeIn: "0123456789*#", MinDigits: 2, MaxDigits: 4, Terminators: "#", TimeoutMS: 3000, InterDigitMS: 1000}
	closed := menu
	closed.BargeIn = ""
	for name, row := range map[string]struct {
		command api.FlowReply
		at      map[time.Duration]func(*fakeSwitch)
		want    string
	}{
		"play ends":           {command(api.CommandPlay, api.CommandParams{Files: refs("a", "b")}), nil, "done"},
		"play leaves out":     {command(api.CommandPlay, api.CommandParams{Files: refs("none", "b")}), nil, "done missing=none"},
		"play digit":          {command(api.CommandPlay, api.CommandParams{Files: refs("a"), BargeIn: "5"}), pressed(500*ms, "5"), "digit digit=5"},
		"play other digit":    {command(api.CommandPlay, api.CommandParams{Files: refs("a"), BargeIn: "5"}), pressed(500*ms, "4"), "done"},
		"play for ever":       {command(api.CommandPlay, api.CommandParams{Files: refs("a"), Loops: -1, BargeIn: "*"}), pressed(99*time.Second, "*"), "digit digit=*"},
		"play nothing":        {command(api.CommandPlay, api.CommandParams{Files: refs("none"), Loops: -1}), nil, "done missing=none"},
		"play hangup":         {command(api.CommandPlay, api.CommandParams{Files: refs("a"), Loops: -1}), hangsUp(3 * time.Second), "hangup cause=USER_BUSY"},
		"gather terminator":   {command(api.CommandGather, menu), pressed(500*ms, "42#"), "digits digits=42 terminator=#"},
		"gather max":          {command(api.CommandGather, menu), pressed(500*ms, "42345"), "digits digits=4234"},
		"gather pause":        {command(api.CommandGather, menu), pressed(500*ms, "42"), "digits digits=42"},
		"gather too few":      {command(api.CommandGather, menu), pressed(500*ms, "4"), "timeout digits=4"},
		"gather nothing":      {command(api.CommandGather, menu), nil, "timeout"},
		"gather early end":    {command(api.CommandGather, menu), pressed(500*ms, "#"), "timeout terminator=#"},
		"gather late":         {command(api.CommandGather, menu), pressed(3900*ms, "77#"), "digits digits=77 terminator=#"},
		"gather too late":     {command(api.CommandGather, menu), pressed(4100*ms, "77#"), "timeout"},
		"gather no barge-in":  {command(api.CommandGather, closed), pressed(500*ms, "42#"), "digits digits=42 terminator=#"},
		"gather hangup":       {command(api.CommandGather, menu), hangsUp(2 * time.Second), "hangup cause=USER_BUSY"},
		"unknown":             {command("dance", api.CommandParams{}), nil, `failed reason=this node knows no command "dance"`},
		"enqueue":             {command(api.CommandEnqueue, api.CommandParams{}), nil, "failed reason=this node has no queues"},
		"dial nobody":         {command(api.CommandDial, api.CommandParams{}), nil, "failed reason=no destination"},
		"conference nowhere":  {command(api.CommandConference, api.CommandParams{Room: "a b"}), nil, "failed reason=no room"},
		"hangup":              {command(api.CommandHangup, api.CommandParams{Cause: "USER_BUSY"}), nil, "hangup cause=USER_BUSY"},
		"record terminator":   {command(api.CommandRecord, api.CommandParams{Key: "k", MaxMS: 9000, Terminators: "#", Beep: true}), pressed(3*time.Second, "1#"), "recorded ended_by=digit key=k duration_ms=1000"},
		"record max":          {command(api.CommandRecord, api.CommandParams{Key: "k", MaxMS: 9000, Terminators: "#"}), nil, "recorded ended_by=max key=k duration_ms=1000"},
		"record hangup":       {command(api.CommandRecord, api.CommandParams{Key: "k", MaxMS: 9000}), hangsUp(2 * time.Second), "hangup cause=USER_BUSY ended_by=hangup key=k duration_ms=1000"},
		"hangup in the beep":  {command(api.CommandRecord, api.CommandParams{Key: "k", Beep: true}), hangsUp(500 * ms), "hangup cause=USER_BUSY"},
		"hangup at the start": {command(api.CommandPlay, api.CommandParams{Files: refs("a")}), hangsUp(0), "hangup cause=USER_BUSY"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := newNode(t, row.command)
				for at, do := range row.at {
					during(at, func() { do(n.fs) })
				}
				n.run(nil)
				n.wantOutcomes(row.want)
				if left, _ := filepath.Glob(n.cfg.Dir + "/*"); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
				if n.Count() != 0 {
					t.Error("the call is still served")
				}
			})
		})
	}
}

func pressed(at time.Duration, digits string) map[time.Duration]func(*fakeSwitch) {
	return map[time.Duration]func(*fakeSwitch){at: func(f *fakeSwitch) { f.press(digits) }}
}

func hangsUp(at time.Duration) map[time.Duration]func(*fakeSwitch) {
	return map[time.Duration]func(*fakeSwitch){at: func(f *fakeSwitch) { f.hangup("USER_BUSY") }}
}

func TestGather_AKeyBeforeTheSoundBegan(t *testing.T) {
	// Proves that a key which comes before FreeSWITCH has begun the sound counts as any other: the order to stop sweeps the sound away, and nobody
	// tells its end.
	inBubble(t, func(t *testing.T) {
		menu := api.CommandParams{Files: refs("menu.wav"), BargeIn: "0123456789*#", MinDigits: 1, MaxDigits: 1, TimeoutMS: 3000}
		n := newNode(t, command(api.CommandGather, menu))
		n.fs.onStart = func(app, _ string) {
			if app == "playback" {
				n.fs.mu.Lock()
				n.fs.running = nil
				n.fs.mu.Unlock()
				n.fs.press("1")
			}
		}
		n.run(nil)
		n.wantOutcomes("digits digits=1")
	})
}

func TestRecord_SilenceEndsIt(t *testing.T) {
	// Proves that FreeSWITCH's own silence detection is asked for, in whole seconds, and that its end is told as such, with its length.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandRecord, api.CommandParams{Key: "k", MaxMS: 9000, SilenceMS: 1200}))
		n.fs.lasts["record"] = 4 * time.Second
		n.fs.ends["record"] = map[string]string{"variable_silence_hits_exhausted": "true", "variable_record_ms": "3980"}
		n.run(nil)
		n.wantOrders("record "+n.cfg.Dir, " 11 200 2")
		n.wantOutcomes("recorded ended_by=silence key=k duration_ms=3980")
		if n.media.stored["k"] == 0 {
			t.Error("nothing stored")
		}
	})
}

func TestRecord_StoredLaterIsRecorded(t *testing.T) {
	// Proves that a message is not lost on a caller when the store is slow: after storeTimeout he goes on, and it is told as recorded.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandRecord, api.CommandParams{Key: "k", MaxMS: 9000}))
		n.media.slow = true
		began := time.Now()
		n.run(nil)
		n.wantOutcomes("recorded ended_by=max key=k duration_ms=1000")
		if took := time.Since(began); took < storeTimeout || took > storeTimeout+15*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

func TestDigits_TypedAheadAreKept(t *testing.T) {
	// Proves that a caller who knows the menus need not wait: digits pressed during a play without barge-in answer the next two menus.
	inBubble(t, func(t *testing.T) {
		menu := command(api.CommandGather, api.CommandParams{Files: refs("menu"), BargeIn: "0123456789", MaxDigits: 1})
		n := newNode(t, command(api.CommandPlay, api.CommandParams{Files: refs("welcome")}), menu, menu, menu)
		during(100*ms, func() { n.fs.press("12") })
		n.run(nil)
		n.wantOutcomes("done\ndigits digits=1\ndigits digits=2\ntimeout")
	})
}

func TestDigits_OfAFullKeypadAreDropped(t *testing.T) {
	// Proves the bound of the digits typed ahead, and that garbage is no digit.
	var k keypad
	for range 3 * maxKeys {
		k.press("1", time.Time{})
		k.press("12", time.Time{})
		k.press("\n", time.Time{})
		k.press("", time.Time{})
	}
	if len(k.pressed) != maxKeys {
		t.Errorf("%d digits", len(k.pressed))
	}
}

func TestPickUp_InBandDigitsAreListenedFor(t *testing.T) {
	// Proves that tones are decoded for a phone whose SDP offers no telephone-event, once, and for no other.
	for sdp, want := range map[string]bool{"m=audio 4 RTP/AVP 0": true, "a=rtpmap:96 telephone-event/8000": false, "": false} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, command(api.CommandPlay, api.CommandParams{Files: refs("a")}), command(api.CommandPlay, api.CommandParams{Files: refs("b")}))
			n.run(map[string]string{"variable_switch_r_sdp": sdp})
			if got := countOf(n.fs.orders(), "start_dtmf"); (got == 1) != want || got > 1 {
				t.Errorf("start_dtmf %d times for %q", got, sdp)
			}
			if got := countOf(n.fs.orders(), "\nanswer"); got != 1 {
				t.Errorf("answered %d times", got)
			}
		})
	}
}

func TestHangup_OfAnUnansweredCallGivesTheCode(t *testing.T) {
	// Proves that respond comes before the hang-up when the call was not answered, and not when it was.
	for answered, want := range map[string]int{"ringing": 1, "answered": 0} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, command(api.CommandHangup, api.CommandParams{SIPCode: 486}))
			n.run(map[string]string{"Answer-State": answered})
			if got := countOf(n.fs.orders(), "respond 486"); got != want {
				t.Errorf("%s: respond %d times", answered, got)
			}
			n.wantOutcomes("hangup cause=NORMAL_CLEARING")
		})
	}
}

func TestEarlyMedia_DoesNotAnswer(t *testing.T) {
	// Proves that no_answer opens early media once and answers nobody.
	inBubble(t, func(t *testing.T) {
		p := api.CommandParams{Files: refs("a"), NoAnswer: true}
		n := newNode(t, command(api.CommandPlay, p), command(api.CommandPlay, p))
		n.run(nil)
		if o := n.fs.orders(); countOf(o, "pre_answer") != 1 || countOf(o, "\nanswer") != 0 {
			t.Error(o)
		}
	})
}

func TestRecord_KeepsWhatCannotBeStored(t *testing.T) {
	// Proves that a recording whose upload failed stays on disk with the note of its key, and that recovery stores it later;
	// one without a note is not stored but removed after a week.
	inBubble(t, func(t *testing.T) {
		n := newNode(t)
		file, err := n.newNotedFile("a/vm/1.wav")
		if err != nil {
			t.Fatal(err)
		}
		sound(t, file, 1000)
		lone := filepath.Join(n.cfg.Dir, "lone.wav") // an agent died while a caller spoke
		sound(t, lone, 1000)
		n.recoverRecordings(t.Context(), time.Now())
		if len(n.media.stored) != 0 {
			t.Error("a file just written was taken")
		}
		n.recoverRecordings(t.Context(), time.Now().Add(100*365*24*time.Hour)) // files have the time of the day, the bubble its own
		if n.media.stored["a/vm/1.wav"] == 0 {
			t.Error("not recovered")
		}
		for _, gone := range []string{file, file + keySuffix, lone} {
			if _, err := os.Stat(gone); !os.IsNotExist(err) {
				t.Errorf("%s is left behind: %v", gone, err)
			}
		}
		if len(n.media.stored) != 1 {
			t.Errorf("stored %v", n.media.stored)
		}
	})
}
