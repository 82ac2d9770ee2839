package flow

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// toCall is an order to call somebody back.
func toCall(reservation string) api.Op {
	return api.Op{ID: "callback-" + reservation, Kind: api.OpCallback, Token: "cb" + reservation, EntryID: "tok-1", Callback: &api.CallbackCall{AccountID: "acc",
		ReservationID: reservation, Fence: 7, QueueID: "q_1", Number: "1002", RingMS: 30_000, AcceptMS: 20_000, Label: "vip & more", CallerName: "Zoe", FromNumber: "3490", FromName: "Sales"}}
}

// newBackNode is a node that calls people back: what becomes of a call is told by jobs.
func newBackNode(t *testing.T, job func(command string) (string, error)) (*node, *fakeDesk) {
	n, desk := newNode(t), &fakeDesk{}
	n.cfg.Desk, n.fs.jobs = desk, job
	return n, desk
}

func (n *node) callBack(op api.Op) error {
	_, err := n.Callback(n.t.Context(), op)
	return err
}

func TestCallback_IsDialedOnce(t *testing.T) {
	// Proves what FreeSWITCH is told, that the order given again while it rings and after its end dials nobody again, also when the brain
	// that gave it has another id for it, and that the channel is named by the account too.
	inBubble(t, func(t *testing.T) {
		end := make(chan error)
		n, desk := newBackNode(t, func(string) (string, error) { return "", <-end })
		again := toCall("r1")
		again.ID = "other"
		for _, op := range []api.Op{toCall("r1"), toCall("r1"), again} {
			if err := n.callBack(op); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		other := toCall("r1")
		other.Callback.AccountID = "acc2"
		if err := n.callBack(other); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 2 {
			end <- nil
		}
		synctest.Wait()
		if err := n.callBack(toCall("r1")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := strings.Count(n.fs.orders(), "job originate"); got != 2 || desk.heard() != "" || len(n.callbacks) != 0 {
			t.Errorf("%d calls, the desk heard %q, %d go on:\n%s", got, desk.heard(), len(n.callbacks), n.fs.orders())
		}
		n.wantOrders("job originate {^^;origination_uuid=cb-r1-", ";originate_timeout=31;ignore_early_media=true;sip_invite_call_id=", "@sipio.invalid;absolute_codec_string=PCMA,PCMU;",
			"sip_h_X-Sipio-App='queue/q_1';sip_h_X-Sipio-Vars=", ";sip_h_X-Sipio-Dial='number/1002';sip_h_X-Sipio-Call='cbr1';sip_h_X-Sipio-Account='acc'",
			";origination_caller_id_number='3490';origination_caller_id_name='Sales'}sofia/sipio/sip:1002@127.0.0.1:5060 call XML sipio")
		_, coded, _ := strings.Cut(n.fs.orders(), "sip_h_X-Sipio-Vars=")
		coded, _, _ = strings.Cut(coded, ";")
		form, err := base64.RawURLEncoding.DecodeString(coded)
		vars, bad := url.ParseQuery(string(form))
		if err != nil || bad != nil || vars.Get("callback_entry") != "tok-1" || vars.Get("callback_fence") != "7" || vars.Get("callback_reservation") != "r1" ||
			vars.Get("label") != "vip & more" || vars.Get("caller_number") != "1002" || vars.Get("caller_name") != "Zoe" {
			t.Errorf("it knows %v, %v %v", vars, err, bad)
		}
	})
}

func TestCallback_TheDeskHearsWhyNobodyTookIt(t *testing.T) {
	// Proves which causes are the caller's and which the platform's, that an answer is no miss, and that a brain which is away hears it later.
	for cause, want := range map[string]string{
		"USER_BUSY": missCaller, "CALL_REJECTED": missCaller, "NO_ANSWER": missCaller, "NO_USER_RESPONSE": missCaller, "UNALLOCATED_NUMBER": missCaller,
		"NORMAL_TEMPORARY_FAILURE": missFailed, "INVALID_PROFILE": missFailed, "": "",
	} {
		inBubble(t, func(t *testing.T) {
			n, desk := newBackNode(t, func(string) (string, error) {
				if cause == "" {
					return "+OK", nil
				}
				return "", refusal{cause}
			})
			desk.awayFor(5 * time.Second)
			if err := n.callBack(toCall("r1")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second) // the bubble's clock
			synctest.Wait()
			if got := strings.TrimPrefix(desk.heard(), "miss r1 "); got != want {
				t.Errorf("%s: the desk heard %q, want %q", cause, got, want)
			}
		})
	}
}

func TestCallback_OneThatAnotherProcessMadeIsWatched(t *testing.T) {
	// Proves that a call which FreeSWITCH has already is not made again: when it ends unanswered that is told, when it was answered nothing
	// is, and when nothing is there it has failed; so with a connection that breaks while it rings.
	for name, c := range map[string]struct {
		err error
		there, later,
		how, want string
	}{
		"rings and ends":        {refusal{"DESTINATION_OUT_OF_ORDER"}, "true", "false", "", "miss r1 caller"},
		"is answered":           {refusal{"DESTINATION_OUT_OF_ORDER"}, "true", "false", "ANSWER", ""},
		"is gone already":       {refusal{"DESTINATION_OUT_OF_ORDER"}, "false", "false", "", "miss r1 failed"},
		"the connection breaks": {errors.New("EOF"), "true", "false", "", "miss r1 caller"},
		"rings for too long":    {errors.New("EOF"), "true", "true", "", ""},
	} {
		inBubble(t, func(t *testing.T) {
			n, desk := newBackNode(t, func(string) (string, error) { return "", c.err })
			n.fs.set("uuid_exists cb-r1", c.there)
			n.fs.set("uuid_getvar cb-r1", c.how)
			if err := n.callBack(toCall("r1")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			n.fs.set("uuid_exists cb-r1", c.later)
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := desk.heard(); got != c.want || strings.Count(n.fs.orders(), "job originate") != 1 || len(n.callbacks) != 0 {
				t.Errorf("%s: the desk heard %q, want %q; %d go on", name, got, c.want, len(n.callbacks))
			}
		})
	}
}

func TestCallback_OneThatIsBeingMadeIsWaitedFor(t *testing.T) {
	// Proves that a call which FreeSWITCH is only about to make when the connection to it breaks has not failed.
	inBubble(t, func(t *testing.T) {
		n, desk := newBackNode(t, func(string) (string, error) { return "", errors.New("EOF") })
		n.fs.set("uuid_exists cb-r1", "false")
		n.fs.set("uuid_getvar cb-r1", "")
		if err := n.callBack(toCall("r1")); err != nil {
			t.Fatal(err)
		}
		for _, there := range []string{"true", "false"} {
			time.Sleep(lookEvery * 3 / 4)
			n.fs.set("uuid_exists cb-r1", there)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := desk.heard(); got != "miss r1 caller" {
			t.Errorf("the desk heard %q", got)
		}
	})
}

func TestCallback_RefusesWhatIsNotWhole(t *testing.T) {
	// Proves that nothing is dialed for an order with something missing, or with what would be words of FreeSWITCH's, nor above the bound.
	inBubble(t, func(t *testing.T) {
		end := make(chan error)
		n, _ := newBackNode(t, func(string) (string, error) { return "", <-end })
		for name, spoil := range map[string]func(*api.Op){
			"nothing": func(op *api.Op) { op.Callback = nil }, "no token": func(op *api.Op) { op.Token = "" }, "no place": func(op *api.Op) { op.EntryID = "" },
			"no account": func(op *api.Op) { op.Callback.AccountID = "" }, "no queue": func(op *api.Op) { op.Callback.QueueID = "" },
			"no number": func(op *api.Op) { op.Callback.Number = "" }, "a command": func(op *api.Op) { op.Callback.Number = "1 &system(x)" },
			"no fence": func(op *api.Op) { op.Callback.Fence = 0 }, "no time": func(op *api.Op) { op.Callback.RingMS = 0 },
			"no reservation": func(op *api.Op) { op.Callback.ReservationID = "a;b" },
		} {
			op := toCall("r1")
			if spoil(&op); n.callBack(op) == nil {
				t.Errorf("%s is taken", name)
			}
		}
		if n.fs.orders() != "" {
			t.Errorf("orders %s", n.fs.orders())
		}
		for i := range maxCallbacks {
			if err := n.callBack(toCall(fmt.Sprint("r", i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.callBack(toCall("more")); !errors.Is(err, errBusyHere) {
			t.Errorf("one more: %v", err)
		}
		for range maxCallbacks {
			end <- nil
		}
		synctest.Wait()
		if err := n.callBack(toCall("more")); err != nil {
			t.Errorf("when there is room: %v", err)
		}
		end <- nil
	})
	if _, err := newNode(t).Callback(t.Context(), toCall("r1")); err == nil {
		t.Error("a node without queues takes it")
	}
}

func TestCallback_WhoAnswersIsACall(t *testing.T) {
	// Proves that the channel of somebody who was called and has answered is served as any call, with what the callback is about.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandHangup, api.CommandParams{}))
		n.fs.uuid = "cb-r1-x"
		n.run(map[string]string{"Unique-ID": "cb-r1-x", "Answer-State": "answered", "variable_sip_h_X-Sipio-Call": "cbr1", "variable_sip_h_X-Sipio-App": "queue/q_1",
			"variable_sip_h_X-Sipio-Vars": base64.RawURLEncoding.EncodeToString([]byte("callback_entry=tok-1&callback_fence=7&callback_reservation=r1"))})
		first := n.brain.told[0]
		want := map[string]string{"callback_entry": "tok-1", "callback_fence": "7", "callback_reservation": "r1"}
		if s := first.Start; first.Token != "cbr1" || s == nil || s.TargetKind != "queue" || s.TargetID != "q_1" || s.Channel != "cb-r1-x" || !maps.Equal(s.Vars, want) {
			t.Errorf("it began with %+v %+v", first, first.Start)
		}
	})
}

// backVars are what a callback is about, as its channel tells.
const backVars = "callback_entry=tok-1&callback_fence=7&callback_reservation=r1&caller_number=1002&caller_name=Zoe"

// cutLine is a connection that has ended.
type cutLine struct{ *fakeSwitch }

func (cutLine) Send(context.Context, string) error { return io.EOF }

// answersBack serves somebody who was called back and has answered, over a cutLine or after a talk if his channel is named so.
func (n *node) answersBack(ctx context.Context, uuid, vars string) {
	n.fs.uuid = uuid
	var line Channel = n.fs
	begun := ""
	switch {
	case strings.HasSuffix(uuid, "-cut"):
		line = cutLine{n.fs}
	case strings.HasSuffix(uuid, "-talked"):
		begun = "3"
	}
	n.Run(ctx, line, connect(map[string]string{"variable_" + markVariable: begun, "Unique-ID": uuid, "Answer-State": "answered", "variable_sip_h_X-Sipio-Call": "cbr1", "variable_sip_h_X-Sipio-App": "queue/q_1",
		"Caller-Caller-ID-Number": "3490", "Caller-Caller-ID-Name": "Sales", "variable_sip_h_X-Sipio-Vars": base64.RawURLEncoding.EncodeToString([]byte(vars))}))
}

// refusingBrain has no such call, as the agent makes an answer of it.
type refusingBrain struct{ *fakeBrain }

func (refusingBrain) Flow(_ context.Context, req api.FlowRequest) (api.FlowReply, error) {
	return api.FlowReply{Seq: req.Seq, Command: api.CommandHangup, Params: api.CommandParams{Cause: "NORMAL_TEMPORARY_FAILURE"}}, nil
}

func TestCallback_WhoGetsNoSessionIsAFailure(t *testing.T) {
	// Proves that the desk hears at once of somebody who answered and got no session, that it is the platform's fault, also when it hears it
	// late; and nothing of one who has a session, whom the next agent takes, whose channel lives, or who was not called back.
	for name, c := range map[string]struct {
		spoil      func(n *node, stop func())
		uuid, vars string
		want       string
	}{
		"the node is full":       {func(n *node, _ func()) { n.cfg.MaxCalls = -1 }, "", "", "miss r1 failed"},
		"the node is full, late": {func(n *node, _ func()) { n.cfg.MaxCalls = -1; n.cfg.Desk.(*fakeDesk).awayFor(9 * time.Second) }, "", "", "miss r1 failed"},
		"the brain refuses":      {func(n *node, _ func()) { n.cfg.Brain = refusingBrain{n.brain} }, "", "", "miss r1 failed"},
		"no brain answers":       {func(n *node, _ func()) { n.brain.awayFor(time.Hour) }, "", "", "miss r1 failed"},
		"it has ended before":    {func(n *node, _ func()) { n.fs.set("uuid_exists", "false") }, "cb-r1-cut", "", "miss r1 failed"},
		"FreeSWITCH has died":    {func(n *node, _ func()) { n.fs.die() }, "cb-r1-cut", "", "miss r1 failed"},
		"its connection broke":   {func(n *node, _ func()) { n.fs.set("uuid_exists", "true") }, "cb-r1-cut", "", ""},
		"the agent stops":        {func(n *node, stop func()) { n.brain.awayFor(time.Hour); during(time.Second, stop) }, "", "", ""},
		"a session":              {func(*node, func()) {}, "", "", ""},
		"a session is over":      {func(n *node, _ func()) { n.brain.commands = nil }, "", "", ""},
		"he was in a talk":       {func(n *node, _ func()) { n.cfg.MaxCalls = -1 }, "cb-r1-talked", "", ""},
		"not called back":        {func(n *node, _ func()) { n.cfg.MaxCalls = -1 }, "chan-1", "", ""},
		"not whole":              {func(n *node, _ func()) { n.cfg.MaxCalls = -1 }, "", "callback_reservation=r1", ""},
		"a node without queues":  {func(n *node, _ func()) { n.cfg.MaxCalls, n.cfg.Desk = -1, nil }, "", "", ""},
	} {
		inBubble(t, func(t *testing.T) {
			n, desk := newNode(t, command(api.CommandPlay, api.CommandParams{Files: refs("a")})), &fakeDesk{}
			n.cfg.Desk = desk
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			c.spoil(n, stop)
			n.answersBack(ctx, cmp.Or(c.uuid, "cb-r1-x"), cmp.Or(c.vars, backVars))
			time.Sleep(missPatience)
			synctest.Wait()
			if got := desk.heard(); got != c.want {
				t.Errorf("%s: the desk heard %q, want %q", name, got, c.want)
			}
		})
	}
}

func TestCallback_HisLegsShowHim(t *testing.T) {
	// Proves that whom he is transferred to sees his number and name, and not those that he was called from.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandDial, api.CommandParams{DestKind: "user", DestID: "u_1"}))
		during(3*time.Second, func() { n.fs.hangup("NORMAL_CLEARING") })
		n.answersBack(t.Context(), "cb-r1-x", backVars)
		n.wantOrders("bridge {", "origination_caller_id_number=1002,origination_caller_id_name=Zoe}")
	})
}

func TestKeep_WhoIsCalledBackIsACallOnceHeHasAnswered(t *testing.T) {
	// Proves that the sweep leaves a channel alone that rings for somebody who is called back, however long, and that one which he has
	// answered is told as alive when nobody serves it, and hung up like any other that nobody comes for.
	for state, served := range map[string]bool{"CS_CONSUME_MEDIA": false, "CS_EXECUTE": true} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t)
			n.fs.set("show channels", `{"row_count":1,"rows":[{"uuid":"cb-r1-x","direction":"outbound","state":"`+state+`","application":""}]}`)
			n.fs.set("uuid_getvar cb-r1-x sip_h_X-Sipio-Call", "cbr1")
			n.fs.set("uuid_getvar cb-r1-x sip_h_X-Sipio-Account", "acc")
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); n.Keep(ctx) }()
			time.Sleep(25 * time.Second)
			synctest.Wait()
			if got := len(n.Alive()) == 1; got != served {
				t.Errorf("%s: alive %v", state, n.Alive())
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if got := strings.Contains(n.fs.orders(), "uuid_kill cb-r1-x"); got != served {
				t.Errorf("%s: hung up %v", state, got)
			}
			stop()
			<-done
		})
	}
}
