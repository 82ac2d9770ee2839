package fsim

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

// answered makes a call that the application has answered.
func answered(ctx context.Context, t *testing.T, s *Server, a *app, user string) (*phone.Call, *client) {
	t.Helper()
	p := newPhone(t, s.SIP, user)
	call, err := p.Dial(ctx, "8084", phone.WithHeader("X-Sipio-Call", "tok-"+user))
	if err != nil {
		t.Fatal(err)
	}
	c := a.take(t)
	c.perform(t, "answer", "")
	if err := call.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return call, c
}

func incoming(ctx context.Context, t *testing.T, p *phone.Phone) *phone.Incoming {
	t.Helper()
	select {
	case in := <-p.Incoming():
		return in
	case <-ctx.Done():
		t.Fatal("no call came")
		return nil
	}
}

func TestBridge_ConnectsTwoPhonesAndRecordsEachInItsChannel(t *testing.T) {
	// Proves application bridge with a stereo recording: both phones hear each other's tone, the INVITE of the leg carries
	// the headers asked for, the recording has each side in its own channel and is silent while masked, and after the
	// callee's BYE the caller is back under the application.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}})
	callee := newPhone(t, s.SIP, "1002")
	call, c := answered(ctx, t, s, a, "1001")
	c.execute(t, "set", "RECORD_STEREO=true")
	c.execute(t, "bridge", "{sip_h_X-Sipio-Dial=user/usr_1,originate_timeout=10}sofia/sipio/sip:1002@"+address(callee), "Event-UUID: b")
	in := incoming(ctx, t, callee)
	if got := in.Header("X-Sipio-Dial"); got != "user/usr_1" {
		t.Errorf("X-Sipio-Dial is %q", got)
	}
	if got := in.Header("X-Sipio-Call"); got != "" {
		t.Errorf("the caller's header went to the leg: %q", got)
	}
	other, err := in.Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	bridged := c.event(t, "CHANNEL_BRIDGE")
	if bridged["Bridge-A-Unique-ID"] != c.uuid || bridged["Bridge-B-Unique-ID"] == "" {
		t.Errorf("CHANNEL_BRIDGE: %v", bridged)
	}
	file := filepath.Join(t.TempDir(), "call.wav")
	c.must(t, "api uuid_record "+c.uuid+" start "+file, "+OK Success")
	c.event(t, "RECORD_START", "Record-File-Path", file)
	call.SendTone(500)
	other.SendTone(700)
	hears(ctx, t, call, 700)
	hears(ctx, t, other, 500)
	c.must(t, "api uuid_record "+c.uuid+" mask "+file, "+OK Success")
	call.SendTone(1100)
	hears(ctx, t, other, 1100)
	call.SendTone(500)
	hears(ctx, t, other, 500)
	c.must(t, "api uuid_record "+c.uuid+" unmask "+file, "+OK Success")
	if err := call.SendDigits("5"); err != nil {
		t.Fatal(err)
	}
	if got, err := other.HearDigits(ctx, 1); err != nil || got != "5" {
		t.Errorf("digits passed on: %q, %v", got, err)
	}
	if err := other.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	c.event(t, "CHANNEL_UNBRIDGE")
	end := c.event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", "b")
	for name, want := range map[string]string{"originate_disposition": "SUCCESS", "DIALSTATUS": "SUCCESS", "bridge_hangup_cause": "NORMAL_CLEARING",
		"last_bridge_hangup_cause": "NORMAL_CLEARING", "last_bridge_proto_specific_hangup_cause": "sip:200"} {
		if got := end["variable_"+name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	c.must(t, "api uuid_record "+c.uuid+" stop "+file, "+OK Success")
	stop := c.event(t, "RECORD_STOP")
	if stop["variable_record_ms"] == "" {
		t.Error("RECORD_STOP has no record_ms")
	}
	sides := wavChannels(t, file)
	if len(sides) != 2 || !holds(sides[0], 500) || !holds(sides[1], 700) || holds(sides[0], 700) || holds(sides[1], 500) {
		t.Error("the recording does not have each side in its channel")
	}
	if holds(sides[0], 1100) {
		t.Error("the masked part is in the recording")
	}
	c.perform(t, "playback", toneFile(t, 900, 200*time.Millisecond))
}

func TestBridge_FailuresAreToldByVariables(t *testing.T) {
	// Proves what a dial that fails leaves behind, a row each: the callee refuses with a code, or rings until the time is over.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}})
	callee := newPhone(t, s.SIP, "1002")
	_, c := answered(ctx, t, s, a, "1001")
	for _, row := range []struct {
		code                        int
		disposition, status, detail string
	}{
		{486, "USER_BUSY", "BUSY", "sip:486"}, {603, "CALL_REJECTED", "DONTCALL", "sip:603"}, {404, "UNALLOCATED_NUMBER", "UNALLOCATED_NUMBER", "sip:404"},
		{503, "NORMAL_TEMPORARY_FAILURE", "NORMAL_TEMPORARY_FAILURE", "sip:503"}, {480, "NO_USER_RESPONSE", "NO_USER_RESPONSE", "sip:480"},
		{0, "NO_ANSWER", "NOANSWER", ""},
	} {
		id := newUUID()
		limit := "30"
		if row.code == 0 {
			limit = "1"
		}
		c.execute(t, "bridge", "{originate_timeout="+limit+"}sofia/sipio/sip:1002@"+address(callee), "Event-UUID: "+id)
		in := incoming(ctx, t, callee)
		var err error
		if row.code != 0 {
			err = in.Reject(row.code, "No")
		} else {
			err = in.Ring()
		}
		if err != nil {
			t.Fatal(err)
		}
		end := c.event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", id)
		got := []string{end["variable_originate_disposition"], end["variable_DIALSTATUS"], end["variable_last_bridge_proto_specific_hangup_cause"]}
		if want := []string{row.disposition, row.status, row.detail}; strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%d: %v, want %v", row.code, got, want)
		}
		if row.code == 0 {
			select {
			case <-in.Cancelled():
			case <-time.After(patience):
				t.Error("no CANCEL after the time was over")
			}
		}
	}
}

func TestBridge_CallerWhoGivesUpCancelsTheLeg(t *testing.T) {
	// Proves CANCEL both ways: an unanswered caller gets 180 while the callee rings, and his CANCEL reaches the callee.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}})
	callee := newPhone(t, s.SIP, "1002")
	p := newPhone(t, s.SIP, "1001")
	call, err := p.Dial(ctx, "8084")
	if err != nil {
		t.Fatal(err)
	}
	c := a.take(t)
	c.execute(t, "bridge", "sofia/sipio/sip:1002@"+address(callee))
	in := incoming(ctx, t, callee)
	if err := in.Ring(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-call.Ringing():
	case <-ctx.Done():
		t.Fatal("the caller got no 180")
	}
	call.Cancel()
	select {
	case <-in.Cancelled():
	case <-ctx.Done():
		t.Fatal("the callee got no CANCEL")
	}
	var refused *phone.StatusError
	if err := call.Wait(ctx); !errors.As(err, &refused) || refused.Code != 487 {
		t.Errorf("the caller's INVITE ended with %v, want 487", err)
	}
	c.event(t, "CHANNEL_HANGUP_COMPLETE", "Hangup-Cause", "ORIGINATOR_CANCEL")
}
