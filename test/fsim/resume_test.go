package fsim

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

func TestResume_DeadAgentsCallComesToTheNext(t *testing.T) {
	// Proves the dialplan behind `socket`: the agent's connection dies while a file plays; what plays is cut, and the same
	// call comes again with sipio_resumed, its guard deletable.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}, ResumePause: 50 * time.Millisecond})
	call, c := answered(ctx, t, s, a, "1001")
	c.execute(t, "playback", toneFile(t, 800, 20*time.Second))
	hears(ctx, t, call, 800)
	c.conn.Close()
	again := a.bare(t)
	again.connect(t)
	if again.uuid != c.uuid || !hasFold(again.data, "variable_sipio_resumed", "true") || !hasFold(again.data, "variable_endpoint_disposition", "ANSWER") {
		t.Errorf("the call that came again: %v", again.data)
	}
	if got := again.send(t, "api sched_del "+again.uuid); got != "+OK Deleted: 1\n" {
		t.Errorf("sched_del answered %q", got)
	}
	again.execute(t, "playback", toneFile(t, 1200, 5*time.Second))
	hears(ctx, t, call, 1200)
}

func TestResume_NobodyComes(t *testing.T) {
	// Proves the guard of an answered call without an agent: it is retried, then ended with its reason.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}, ResumePause: 20 * time.Millisecond, ResumeGuard: 300 * time.Millisecond})
	call, c := answered(ctx, t, s, a, "1001")
	a.listener.Close()
	began := time.Now()
	c.conn.Close()
	select {
	case <-call.Done():
	case <-ctx.Done():
		t.Fatal("the call was left alone")
	}
	if d := time.Since(began); d < 250*time.Millisecond {
		t.Errorf("ended after %v, before the guard", d)
	}
}

func TestResume_BridgeGoesOnWhenTheAgentSaidSo(t *testing.T) {
	// Proves what socket_resume=false before bridge is for: the agent dies, the two phones go on, and when the callee hangs
	// up the caller comes to the next agent.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}, ResumePause: 20 * time.Millisecond})
	callee := newPhone(t, s.SIP, "1002")
	call, c := answered(ctx, t, s, a, "1001")
	c.execute(t, "set", "socket_resume=false")
	c.execute(t, "bridge", "sofia/sipio/sip:1002@"+address(callee))
	other, err := incoming(ctx, t, callee).Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c.event(t, "CHANNEL_BRIDGE")
	c.conn.Close()
	call.SendTone(600)
	hears(ctx, t, other, 600)
	select {
	case <-a.calls:
		t.Fatal("the bridged caller came to an agent")
	default:
	}
	if err := other.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	again := a.bare(t)
	again.connect(t)
	if again.uuid != c.uuid || !hasFold(again.data, "variable_last_bridge_hangup_cause", "NORMAL_CLEARING") {
		t.Errorf("the call that came again: %v", again.data)
	}
}

func TestGuard_EndsWhatNoAgentTakes(t *testing.T) {
	// Proves the guards of an unanswered call, each a 503: nobody listens, an agent closes at once, one stays silent.
	ctx := testContext(t)
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	a := newApp(t)
	for _, row := range []struct {
		name, at string
		do       func(*client)
	}{
		{"refused", refused.Addr().String(), nil},
		{"closes", a.addr(), func(c *client) { c.conn.Close() }},
		{"silent", a.addr(), func(*client) {}},
	} {
		s := start(t, Options{Outbound: []string{row.at}, Guard: 300 * time.Millisecond})
		call, err := newPhone(t, s.SIP, "1001").Dial(ctx, "8084")
		if err != nil {
			t.Fatal(err)
		}
		if row.do != nil {
			row.do(a.bare(t))
		}
		var failed *phone.StatusError
		if err := call.Wait(ctx); !errors.As(err, &failed) || failed.Code != 503 {
			t.Errorf("%s: %v, want 503", row.name, err)
		} else if got := failed.Headers["Reason"]; len(got) != 1 || got[0] != `Q.850;cause=41;text="NORMAL_TEMPORARY_FAILURE"` {
			t.Errorf("%s: Reason %v", row.name, got)
		}
	}
}

func TestZombie_WithoutResumeNobodyLooksAfterTheCall(t *testing.T) {
	// Proves the misbehaviour that socket_resume avoids: an application that closes before `connect` leaves the call parked.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Dialplan: []Action{{"socket", a.addr() + " async full"}, {"answer", ""}}})
	call, err := newPhone(t, s.SIP, "1001").Dial(ctx, "8084")
	if err != nil {
		t.Fatal(err)
	}
	a.bare(t).conn.Close()
	in := dialIn(t, s)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if s.all()[0].row().App == "socket" && s.all()[0].socketless() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the application's end was not seen")
		}
	}
	in.must(t, "api uuid_kill "+s.all()[0].id+" USER_BUSY", "+OK")
	var failed *phone.StatusError
	if err := call.Wait(ctx); !errors.As(err, &failed) || failed.Code != 486 {
		t.Errorf("%v, want 486 of the kill", err)
	}
}

func (c *channel) socketless() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.socket == nil
}
