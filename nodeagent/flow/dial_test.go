package flow

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

func TestDial_CausesAndOutcomes(t *testing.T) {
	// Proves the table of causes, a row each, by a bridge of a fake FreeSWITCH that ends with them.
	for cause, want := range map[string]string{
		"USER_BUSY": "busy reason=USER_BUSY sip_code=486", "CALL_REJECTED": "busy reason=CALL_REJECTED sip_code=603",
		"NO_ANSWER": "no_answer reason=NO_ANSWER", "NO_USER_RESPONSE": "no_answer reason=NO_USER_RESPONSE sip_code=480",
		"ALLOTTED_TIMEOUT": "no_answer reason=ALLOTTED_TIMEOUT", "ORIGINATOR_CANCEL": "no_answer reason=ORIGINATOR_CANCEL sip_code=487",
		"PROGRESS_TIMEOUT": "no_answer reason=PROGRESS_TIMEOUT", "RECOVERY_ON_TIMER_EXPIRE": "no_answer reason=RECOVERY_ON_TIMER_EXPIRE sip_code=408",
		"USER_NOT_REGISTERED": "no_answer reason=USER_NOT_REGISTERED", "UNALLOCATED_NUMBER": "failed reason=UNALLOCATED_NUMBER sip_code=404",
		"NORMAL_TEMPORARY_FAILURE": "failed reason=NORMAL_TEMPORARY_FAILURE sip_code=503", "": "failed",
	} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, command(api.CommandDial, api.CommandParams{DestKind: "user", DestID: "u_1", TimeoutMS: 2500, Key: "k"}))
			n.fs.lasts["bridge"] = 2 * time.Second
			ends := map[string]string{"variable_originate_disposition": cause}
			if _, code, ok := strings.Cut(want, "sip_code="); ok {
				ends["variable_last_bridge_proto_specific_hangup_cause"] = "sip:" + code
			}
			n.fs.ends["bridge"] = ends
			n.run(nil)
			n.wantOutcomes(want)
			n.wantOrders("uuid_setvar_multi chan-1 sipio_begun=1;socket_resume=false", "ringback=%(1000,4000,425)",
				"bridge {originate_timeout=4,sip_invite_call_id=", "sip_h_X-Sipio-Dial=user/u_1,sip_h_X-Sipio-Call=tok,sip_h_X-Sipio-Account=acc,origination_caller_id_number=123,origination_caller_id_name=Al ice}sofia/sipio/sip:u_1@127.0.0.1:5060",
				"uuid_setvar_multi chan-1 socket_resume=true")
			if o := n.fs.orders(); strings.Contains(o, "\nanswer") || strings.Contains(o, "uuid_record") {
				t.Errorf("%s: answered or recorded:\n%s", cause, o)
			}
		})
	}
}

// answersBridge has the bridge of a dial answered after a second.
func (f *fakeSwitch) answersBridge() {
	f.onStart = func(app, _ string) {
		if app == "bridge" {
			time.AfterFunc(time.Second, func() { f.emit("CHANNEL_ANSWER", nil); f.emit("CHANNEL_BRIDGE", nil) })
		}
	}
}

func TestDial_AnsweredIsRecordedAndStored(t *testing.T) {
	// Proves that the recording begins with the conversation, in stereo, is paused and resumed by ops, and is stored before the outcome
	// is told, whoever hangs up.
	for who, want := range map[string]string{"callee": "answered key=k duration_ms=9000", "caller": "hangup cause=NORMAL_CLEARING key=k duration_ms=9000"} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, command(api.CommandDial, api.CommandParams{DestKind: "user", DestID: "u_1", Key: "k"}))
			n.fs.answersBridge()
			during(3*time.Second, func() { n.recordingOp(t, "pause") })
			during(5*time.Second, func() { n.recordingOp(t, "resume") })
			during(10*time.Second, func() {
				if who == "callee" {
					n.fs.stop()
				} else {
					n.fs.hangup("NORMAL_CLEARING")
				}
			})
			n.run(nil)
			n.wantOutcomes(want)
			n.wantOrders("RECORD_STEREO=true", "uuid_record chan-1 start "+n.cfg.Dir, "uuid_record chan-1 mask ", "uuid_record chan-1 unmask ")
			if n.media.stored["k"] == 0 {
				t.Errorf("%s: not stored", who)
			}
		})
	}
}

// recordingOp gives an order about the recording.
func (n *node) recordingOp(t *testing.T, action string) {
	if _, err := n.Recording(t.Context(), api.Op{Token: "tok", Action: action}); err != nil {
		t.Errorf("%s: %v", action, err)
	}
}

func TestRecording_StoppedIsNotPausedAndBeginsAnew(t *testing.T) {
	// Proves that a recording which an operator has stopped can be neither stopped again nor paused, that another one may be
	// begun in the same conversation and is reported, and that the first one keeps its note, by which the sweep stores it.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandDial, api.CommandParams{DestKind: "user", DestID: "u_1", Key: "k"}))
		n.fs.answersBridge()
		during(3*time.Second, func() {
			n.recordingOp(t, "stop")
			for _, action := range []string{"stop", "pause", "resume"} {
				if _, err := n.Recording(t.Context(), api.Op{Token: "tok", Action: action}); !errors.Is(err, errNotRecorded) {
					t.Errorf("%s of what was stopped: %v", action, err)
				}
			}
			if _, err := n.Recording(t.Context(), api.Op{Token: "tok", Action: "start", Key: "k2"}); err != nil {
				t.Errorf("start after stop: %v", err)
			}
			if _, err := n.Recording(t.Context(), api.Op{Token: "tok", Action: "start", Key: "k3"}); err == nil {
				t.Error("two recordings at once")
			}
		})
		during(4*time.Second, func() { n.fs.stop() })
		n.run(nil)
		if n.media.stored["k2"] == 0 || n.media.stored["k"] != 0 {
			t.Errorf("stored %v", n.media.stored)
		}
		notes, err := filepath.Glob(filepath.Join(n.cfg.Dir, "*"+keySuffix))
		if err != nil || len(notes) != 1 {
			t.Fatalf("notes %v, %v", notes, err)
		}
		if key, err := os.ReadFile(notes[0]); err != nil || string(key) != "k" {
			t.Errorf("note %q, %v", key, err)
		}
	})
}

func TestDial_ThatWentOnWithoutAnAgentIsOver(t *testing.T) {
	// Proves that the agent to which a caller comes after a conversation does not ring the callee again, and that it stores the recording
	// that the dead agent began; a mark of another command does not count.
	for mark, want := range map[string]string{"1": "answered key=k", "7": "busy reason=USER_BUSY"} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, command(api.CommandDial, api.CommandParams{DestKind: "user", DestID: "u_1"}))
			file, err := n.newNotedFile("k")
			if err != nil {
				t.Fatal(err)
			}
			sound(t, file, 320)
			n.fs.lasts["bridge"] = time.Second
			n.fs.ends["bridge"] = map[string]string{"variable_originate_disposition": "USER_BUSY"}
			more := map[string]string{"Answer-State": "answered", "variable_sipio_begun": mark, "variable_originate_disposition": "SUCCESS"}
			if mark == "1" {
				more["variable_sipio_recording"] = file + "|k"
			}
			n.run(more)
			if got := n.brain.outcomes(); !strings.HasPrefix(got, want) {
				t.Errorf("mark %s: %q, want %q", mark, got, want)
			}
			if rang := strings.Contains(n.fs.orders(), "bridge {"); rang != (mark == "7") {
				t.Errorf("mark %s: rang %v", mark, rang)
			}
		})
	}
}

func TestDialString_NothingGetsOutOfItsValue(t *testing.T) {
	// Proves that no name, number or id can add a variable, a leg or an address to a dial string.
	k := &call{of: New(Config{Proxy: "127.0.0.1:5060"}), token: "t", account: "a", leg: "l"}
	evil := "x,sip_h_X-Evil=1}sofia/sipio/sip:evil@h{'\"[]<>|\r\n${y}:_:^^"
	got := k.dialString(api.CommandParams{DestKind: evil, DestID: evil, CallerNumber: evil, CallerName: evil})
	if strings.Count(got, "{") != 1 || strings.Count(got, "}") != 1 || strings.Count(got, "sofia/sipio/sip:") != 1+4 && strings.ContainsAny(got, "'\"[]<>|\r\n$^") {
		t.Error(got)
	}
	if strings.Count(got, ",") != 7 || !strings.HasSuffix(got, "}sofia/sipio/sip:xsip_h_X-Evil1sofiasipiosipevilhy_@127.0.0.1:5060") {
		t.Error(got)
	}
}

func FuzzPlain(f *testing.F) {
	// Proves the same for any text, by the characters that FreeSWITCH reads in a dial string.
	f.Add("Al, ice")
	f.Add("${x}")
	f.Fuzz(func(t *testing.T, text string) {
		if got := plain(text); strings.ContainsAny(got, "{}[]<>,'\"\\|$:;^`\r\n\x00") {
			t.Errorf("%q became %q", text, got)
		}
		_ = formVars(text)
	})
}

func TestDial_WhoAnswersIsAskedForAKey(t *testing.T) {
	// Proves what FreeSWITCH is told of a callee who must press a key, with the question and, when that cannot be had, with a tone; that
	// the leg says whose call it is, for what number, and how often it was sent on; and that a callee who hangs up at the question did
	// not take the call.
	for key, file := range map[string]string{"sys/confirm.wav": ",group_confirm_file=/cache/sys/confirm.wav,", "": ",group_confirm_file='tone_stream://%(200,0,800)',"} {
		inBubble(t, func(t *testing.T) {
			p := api.CommandParams{DestKind: "forward", DestID: "fwd_1", TimeoutMS: 2500, ConfirmKey: "1"}
			if key != "" {
				p.Files = []api.MediaRef{{Key: key}}
			}
			n := newNode(t, command(api.CommandDial, p))
			n.fs.lasts["bridge"] = 2 * time.Second
			n.fs.ends["bridge"] = map[string]string{"variable_originate_disposition": "NORMAL_CLEARING"}
			n.run(map[string]string{"variable_sip_h_X-Sipio-Vars": base64.RawURLEncoding.EncodeToString([]byte("caller_user_id=us_1&called_number=4930100&caller_diverted=2"))})
			n.wantOutcomes("no_answer reason=NORMAL_CLEARING")
			n.wantOrders("bridge {originate_timeout=14,")
			for _, want := range []string{"sip_h_X-Sipio-Dial=forward/fwd_1,", "sip_h_X-Sipio-Caller=us_1,", "sip_h_X-Sipio-Called=4930100,", "sip_h_X-Sipio-Sent-On=2,",
				",ignore_early_media=true,instant_ringback=true,group_confirm_key=1", file, "group_confirm_timeout=10}"} {
				if o := n.fs.orders(); !strings.Contains(o, want) {
					t.Errorf("%s is missing in\n%s", want, o)
				}
			}
		})
	}
}
