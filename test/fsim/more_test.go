package fsim

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRelease_ARefusedOfferLooksLikeSuccess(t *testing.T) {
	// Proves the lie of facts section 3: the callee refuses the offer (491 here), the answer is +OK Success all the same, the
	// caller hears nothing, and only sip_invite_failure_status tells, on the caller's channel; taking the media back cures it.
	ctx := testContext(t)
	a := newApp(t)
	s, other := start(t, Options{Outbound: []string{a.addr()}}), start(t, Options{Dialplan: []Action{{"answer", ""}, {"playback", "tone_stream://%(1000,0,700);loops=-1"}}})
	call, c := answered(ctx, t, s, a, "1001")
	c.execute(t, "bridge", "sofia/sipio/sip:1002@"+other.SIP)
	c.event(t, "CHANNEL_BRIDGE")
	call.SendTone(500)
	hears(ctx, t, call, 700)
	busy := func(on bool) {
		l := other.all()[0].leg
		l.mu.Lock()
		l.reinvite = on
		l.mu.Unlock()
	}
	busy(true)
	c.must(t, "api uuid_media off "+c.uuid, "+OK Success")
	for deadline := time.Now().Add(patience); c.send(t, "api uuid_getvar "+c.uuid+" sip_invite_failure_status") != "491"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the refusal left no trace")
		}
	}
	if err := call.HearSilence(ctx, 300*time.Millisecond); err != nil {
		t.Error(err)
	}
	busy(false)
	c.must(t, "api uuid_media "+c.uuid, "+OK Success")
	hears(ctx, t, call, 700)
}

func TestHold_TheOtherSideHearsMusic(t *testing.T) {
	// Proves hold inside a bridge: the callee's re-INVITE is answered, the caller hears moh, and the callee again afterwards.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}})
	callee := newPhone(t, s.SIP, "1002")
	call, c := answered(ctx, t, s, a, "1001")
	c.execute(t, "bridge", "sofia/sipio/sip:1002@"+address(callee))
	other, err := incoming(ctx, t, callee).Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other.SendTone(700)
	hears(ctx, t, call, 700)
	if err := other.Hold(ctx); err != nil {
		t.Fatal(err)
	}
	hears(ctx, t, call, 330) // the built-in moh
	if err := other.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	hears(ctx, t, call, 700)
}

func TestOriginate_ParksBridgesAndIsKilled(t *testing.T) {
	// Proves originate with uuid_bridge: two legs of ours, parked, are connected by uuid; a kill of one ends the other; a
	// second leg of the same origination_uuid is refused; a leg that rings is cancelled by uuid_kill.
	ctx := testContext(t)
	s := start(t, Options{Dialplan: []Action{{"answer", ""}, {"park", ""}}})
	one, two := newPhone(t, s.SIP, "1001"), newPhone(t, s.SIP, "1002")
	in := dialIn(t, s)
	in.must(t, "event plain BACKGROUND_JOB CHANNEL_BRIDGE CHANNEL_HANGUP_COMPLETE CHANNEL_PROGRESS", "+OK")
	idA, idB := newUUID(), newUUID()
	in.must(t, "bgapi originate {origination_uuid="+idA+"}sofia/sipio/sip:1001@"+address(one)+" &park\nJob-UUID: a", "+OK Job-UUID: a")
	first, err := incoming(ctx, t, one).Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if e := in.event(t, "BACKGROUND_JOB", "Job-UUID", "a"); e["_body"] != "+OK "+idA+"\n" {
		t.Errorf("originate ended with %q", e["_body"])
	}
	in.must(t, "api originate {origination_uuid="+idA+"}sofia/sipio/sip:1001@"+address(one)+" &park", "-ERR DESTINATION_OUT_OF_ORDER")
	in.must(t, "bgapi originate {origination_uuid="+idB+"}sofia/sipio/sip:1002@"+address(two)+" &park", "+OK")
	second, err := incoming(ctx, t, two).Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	in.event(t, "BACKGROUND_JOB")
	in.must(t, "api uuid_bridge "+idA+" "+idB, "+OK "+idB)
	in.event(t, "CHANNEL_BRIDGE", "Unique-ID", idA)
	first.SendTone(600)
	hears(ctx, t, second, 600)
	in.must(t, "api uuid_kill "+idB+" USER_BUSY", "+OK")
	in.event(t, "CHANNEL_HANGUP_COMPLETE", "Unique-ID", idA)
	ringing := newUUID()
	in.must(t, "bgapi originate {origination_uuid="+ringing+"}sofia/sipio/sip:1002@"+address(two)+" &park", "+OK")
	third := incoming(ctx, t, two)
	if err := third.Ring(); err != nil {
		t.Fatal(err)
	}
	in.event(t, "CHANNEL_PROGRESS", "Unique-ID", ringing)
	in.must(t, "api uuid_kill "+ringing, "+OK")
	if e := in.event(t, "BACKGROUND_JOB"); e["_body"] != "-ERR NORMAL_CLEARING\n" {
		t.Errorf("killed originate ended with %q", e["_body"])
	}
	select {
	case <-third.Cancelled():
	case <-ctx.Done():
		t.Error("no CANCEL")
	}
}

func TestOriginate_KilledInTheInstantOfItsAnswer(t *testing.T) {
	// Proves that a phone whose answer crosses the end of its leg gets a BYE: the leg has the ACK behind it when it is killed, and
	// waits for the lock under which its answer is read.
	ctx := testContext(t)
	s := start(t, Options{})
	one := newPhone(t, s.SIP, "1001")
	in := dialIn(t, s)
	in.must(t, "event plain CHANNEL_HANGUP_COMPLETE", "+OK")
	id := newUUID()
	in.must(t, "bgapi originate {origination_uuid="+id+"}sofia/sipio/sip:1001@"+address(one)+" &park", "+OK")
	ringing := incoming(ctx, t, one)
	leg := s.channel(id).leg
	s.studio.mu.Lock()
	call, err := ringing.Answer(ctx)
	in.must(t, "api uuid_kill "+id+" LOSE_RACE", "+OK")
	select {
	case <-leg.cancelling:
	case <-ctx.Done():
	}
	s.studio.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	in.event(t, "CHANNEL_HANGUP_COMPLETE", "Unique-ID", id)
	select {
	case <-call.Done():
	case <-ctx.Done():
		t.Error("no BYE")
	}
}

func TestPause_NewCallsAreRefused(t *testing.T) {
	// Proves fsctl pause and resume by the answers to INVITE.
	ctx := testContext(t)
	s := start(t, Options{Dialplan: []Action{{"answer", ""}, {"park", ""}}})
	in, p := dialIn(t, s), newPhone(t, s.SIP, "1001")
	in.must(t, "api fsctl pause inbound", "+OK")
	if _, err := p.Call(ctx, "1"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("while paused: %v", err)
	}
	in.must(t, "api fsctl resume inbound", "+OK")
	if _, err := p.Call(ctx, "1"); err != nil {
		t.Error(err)
	}
}

func BenchmarkHundredCalls(b *testing.B) {
	// Measures the CPU of 100 calls that hear music, both ends of them in this process: 200 legs.
	s, err := Start(b.Context(), Options{Dialplan: []Action{{"answer", ""}, {"playback", "local_stream://moh"}}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	phones, err := Start(b.Context(), Options{RTPMin: 33000, RTPMax: 40000})
	if err != nil {
		b.Fatal(err)
	}
	defer phones.Close()
	for range 100 {
		if c, why := phones.originate("sofia/sipio/sip:1@" + s.SIP); c == nil {
			b.Fatal(why)
		} else {
			c.divert(func() { c.execute("echo", "", "") })
		}
	}
	b.ResetTimer()
	for range b.N {
		before, from := cpu(b), time.Now()
		timer := time.NewTimer(5 * time.Second)
		<-timer.C
		used, took := cpu(b)-before, time.Since(from)
		b.ReportMetric(100*used.Seconds()/took.Seconds(), "%cpu")
		b.ReportMetric(used.Seconds()*1e6/took.Seconds()/200, "µs-cpu/s/leg")
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
