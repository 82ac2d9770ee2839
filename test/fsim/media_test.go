package fsim

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

// dialFrom calls a switch from another one, which plays the phone that test/phone is not: in-band digits, INFO.
func dialFrom(t *testing.T, s, to *Server, vars, app string) (*channel, *client) {
	t.Helper()
	in := dialIn(t, s)
	id := newUUID()
	in.must(t, "bgapi originate {origination_uuid="+id+vars+"}sofia/sipio/sip:8084@"+to.SIP+" &"+app, "+OK Job-UUID")
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if c := s.channel(id); c != nil {
			return c, in
		}
	}
	t.Fatal("the other switch made no leg")
	return nil, nil
}

func TestDTMF_InBandAndByINFO(t *testing.T) {
	// Proves the two ways of digits besides RFC 4733, with a second switch as the phone: tones in the audio that start_dtmf
	// hears, from a caller whose SDP has no telephone-event (dtmf_type=info tells), and SIP INFO in both notations.
	a := newApp(t)
	s, other := start(t, Options{Outbound: []string{a.addr()}}), start(t, Options{})
	leg, in := dialFrom(t, other, s, ",dtmf_type=none,ignore_early_media=true", "park()")
	c := a.take(t)
	if e := c.perform(t, "answer", ""); e["variable_dtmf_type"] != "info" {
		t.Errorf("dtmf_type is %q", e["variable_dtmf_type"])
	}
	c.perform(t, "start_dtmf", "")
	in.must(t, "api uuid_broadcast "+leg.id+" tone_stream://%(200,100,697,1209);%(200,100,852,1477) aleg", "+OK")
	c.event(t, "DTMF", "DTMF-Digit", "1", "DTMF-Source", "INBAND_AUDIO")
	c.event(t, "DTMF", "DTMF-Digit", "9", "DTMF-Source", "INBAND_AUDIO")
	for _, info := range []struct{ kind, body, digit string }{
		{"application/dtmf-relay", "Signal=7\r\nDuration=100\r\n", "7"}, {"application/dtmf-relay", "Signal= 11\r\n", "#"}, {"application/dtmf", "*", "*"},
	} {
		req := leg.leg.dialog.request(other, sip.INFO, 0)
		req.AppendHeader(sip.NewHeader("Content-Type", info.kind))
		req.SetBody([]byte(info.body))
		if res, err := other.transact(t.Context(), req, exchange{}); err != nil || res.StatusCode != 200 {
			t.Fatalf("INFO: %v %v", res, err)
		}
		c.event(t, "DTMF", "DTMF-Digit", info.digit, "DTMF-Source", "ENDPOINT")
	}
}

func TestDTMF_AStallMakesNoSecondDigit(t *testing.T) {
	// Proves that a tone whose packets come late in its middle is one digit, and that a pause which was sent parts two.
	ear, key := &earDTMF{pressed: make(chan byte, 9)}, tone.NewGenerator(697, 1209)
	for _, row := range []struct {
		came, loud bool
		digits     int
	}{{true, true, 0}, {true, true, 1}, {false, false, 1}, {true, true, 1}, {true, true, 1}, {true, false, 1}, {true, true, 1}, {true, true, 2}} {
		k := track{came: row.came}
		if row.loud {
			copy(k.in[:], key.Next(frameSamples))
		}
		if ear.hear(&k); len(ear.pressed) != row.digits {
			t.Fatalf("%d digits, want %d", len(ear.pressed), row.digits)
		}
	}
}

func TestRecord_EndsWithSilenceAndByKey(t *testing.T) {
	// Proves application record: the message is what the caller said, as long as he spoke plus the silence; a terminator ends it.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}})
	call, c := answered(ctx, t, s, a, "1001")
	c.perform(t, "set", "playback_terminators=#")
	call.SendTone(500)
	file := filepath.Join(t.TempDir(), "vm", "m.wav")
	began := time.Now()
	c.execute(t, "record", file+" 20 200 1", "Event-UUID: r")
	c.event(t, "RECORD_START", "Record-File-Path", file)
	for sent := call.Stats().PacketsSent; call.Stats().PacketsSent < sent+50 && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) { // sleep: the pace of a poll that ctx bounds
	}
	call.SendTone(0)
	end := c.event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", "r")
	spoke := time.Since(began)
	if end["variable_silence_hits_exhausted"] != "true" {
		t.Error("silence_hits_exhausted is not set")
	}
	said := wavChannels(t, file)[0]
	length := time.Duration(len(said)) * time.Second / 8000
	if !holds(said, 500) || length < 1500*time.Millisecond || length > spoke+300*time.Millisecond {
		t.Errorf("recorded %v in %v, 500 Hz: %v", length, spoke, holds(said, 500))
	}
	c.execute(t, "record", file+" 20", "Event-UUID: k")
	c.event(t, "RECORD_START")
	if err := call.SendDigits("#"); err != nil {
		t.Fatal(err)
	}
	if end := c.event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", "k"); end["variable_playback_terminator_used"] != "#" {
		t.Errorf("playback_terminator_used is %q", end["variable_playback_terminator_used"])
	}
}

func TestRecord_ShortOneIsThrownAway(t *testing.T) {
	// Proves that a recording of less than RECORD_MIN_SEC removes its file, as on the real one.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}})
	_, c := answered(ctx, t, s, a, "1001")
	c.perform(t, "set", "RECORD_MIN_SEC=2")
	file := filepath.Join(t.TempDir(), "short.wav")
	c.must(t, "api uuid_record "+c.uuid+" start "+file, "+OK")
	c.must(t, "api uuid_record "+c.uuid+" stop "+file, "+OK")
	if e := c.event(t, "RECORD_STOP"); e["variable_RECORD_DISCARDED"] != "true" {
		t.Error("RECORD_DISCARDED is not set")
	}
	if found, _ := filepath.Glob(file); len(found) != 0 {
		t.Error("the file is still there")
	}
}

func TestMusic_AnnouncementsQueueAndTheMusicGoesOn(t *testing.T) {
	// Proves facts section 4: announcements with event-lock play one after the other over the music, which goes on by itself;
	// uuid_break ends the announcement and the music; a missing file leaves the music alone.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}, Streams: map[string]string{"acme": filepath.Dir(toneFile(t, 450, 3*time.Second))}})
	call, c := answered(ctx, t, s, a, "1001")
	c.execute(t, "playback", "local_stream://acme", "Event-UUID: music")
	hears(ctx, t, call, 450)
	c.execute(t, "playback", toneFile(t, 1000, 600*time.Millisecond), "event-lock: true", "Event-UUID: one")
	c.execute(t, "playback", toneFile(t, 1300, 600*time.Millisecond), "event-lock: true", "Event-UUID: two")
	hears(ctx, t, call, 1000)
	hears(ctx, t, call, 1300)
	first, second := c.event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", "one"), c.event(t, "CHANNEL_EXECUTE", "Application-UUID", "two")
	if first["Event-Sequence"] >= second["Event-Sequence"] && len(first["Event-Sequence"]) == len(second["Event-Sequence"]) {
		t.Error("the second announcement began before the end of the first")
	}
	hears(ctx, t, call, 450)
	if e := c.perform(t, "playback", "/nowhere.wav"); e["Application-Response"] != "FILE NOT FOUND" {
		t.Errorf("missing file: %q", e["Application-Response"])
	}
	hears(ctx, t, call, 450)
	c.execute(t, "playback", toneFile(t, 1600, 5*time.Second), "Event-UUID: three")
	hears(ctx, t, call, 1600)
	c.must(t, "api uuid_break "+c.uuid+" all", "+OK")
	if e := c.event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", "three"); e["Application-Response"] != "FILE PLAYED" {
		t.Errorf("broken announcement: %q", e["Application-Response"])
	}
	c.event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", "music")
	if err := call.HearSilence(ctx, 500*time.Millisecond); err != nil {
		t.Error(err)
	}
}

func TestPlayback_AStallTakesNothingFromASound(t *testing.T) {
	// Proves that a short sound is heard without a break when the machine stands still in its middle.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}})
	call, c := answered(ctx, t, s, a, "1001")
	limit, stop := context.WithTimeout(ctx, patience)
	defer stop()
	heard := make(chan error, 1)
	go func() {
		_, err := call.HearTone(limit, 800)
		heard <- err
	}()
	c.execute(t, "playback", "tone_stream://%(300,0,800)", "Event-UUID: beep")
	track := s.channel(c.uuid).track
	for stalled := false; !stalled && ctx.Err() == nil; time.Sleep(time.Millisecond) { // sleep: the pace of a poll that ctx bounds
		s.studio.mu.Lock()
		if n := len(track.stack); n > 0 {
			if p, ok := track.stack[n-1].(*player); ok && p.count >= 7 {
				time.Sleep(600 * time.Millisecond) // sleep: the stall
				stalled = true
			}
		}
		s.studio.mu.Unlock()
	}
	if err := <-heard; err != nil {
		t.Error(err)
	}
}

func TestConference_EachHearsTheOthers(t *testing.T) {
	// Proves mixing and the commands: three phones, each hears the two other tones and not its own; mute, lock, kick and the
	// recording of the room work and are told.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}})
	tones := []float64{500, 700, 1100}
	var calls []*phone.Call
	var clients []*client
	for i, hz := range tones {
		call, c := answered(ctx, t, s, a, "100"+string(rune('1'+i)))
		call.SendTone(hz)
		c.execute(t, "conference", "acc-room@sipio+flags{moderator}", "Event-UUID: conf")
		c.event(t, "CUSTOM", "Action", "add-member")
		calls, clients = append(calls, call), append(clients, c)
	}
	in := dialIn(t, s)
	calls[2].SendTone(0)
	hears(ctx, t, calls[0], 700)
	hears(ctx, t, calls[1], 500)
	if list := in.send(t, "api conference acc-room json_list"); !strings.Contains(list, `"member_count":3`) {
		t.Errorf("json_list: %s", list)
	}
	file := filepath.Join(t.TempDir(), "room.wav")
	in.must(t, "api conference acc-room recording start "+file, "+OK Record file")
	in.must(t, "api conference acc-room mute 1", "+OK mute 1")
	clients[0].event(t, "CUSTOM", "Action", "mute-member", "Member-ID", "1")
	hears(ctx, t, calls[2], 700)
	in.must(t, "api conference acc-room unmute 1", "+OK unmute 1")
	in.must(t, "api conference acc-room lock", "+OK acc-room locked")
	_, late := answered(ctx, t, s, a, "1009")
	late.perform(t, "conference", "acc-room@sipio")
	in.must(t, "api conference acc-room kick 2", "+OK kicked 2")
	clients[1].event(t, "CUSTOM", "Action", "kick-member")
	clients[1].event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", "conf")
	hears(ctx, t, calls[2], 500)
	in.must(t, "api conference acc-room recording stop all", "+OK Stopped recording 1 file")
	if room := wavChannels(t, file)[0]; !holds(room, 700) || !holds(room, 500) {
		t.Error("the recording of the room lacks what was said")
	}
	in.must(t, "api conference acc-room hup all", "+OK hup")
	clients[0].event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", "conf")
	clients[2].event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", "conf")
	for deadline := time.Now().Add(patience); !strings.Contains(in.send(t, "api conference acc-room list"), "not found"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the empty room is still there")
		}
	}
}

func TestRelease_MediaGoesFromPhoneToPhoneAndBack(t *testing.T) {
	// Proves uuid_media off and on: each phone is offered the other's address, hears it directly, a recording does not grow
	// though it is answered with success; taken back, both hear each other through the switch.
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
	c.event(t, "CHANNEL_BRIDGE")
	call.SendTone(500)
	other.SendTone(700)
	hears(ctx, t, other, 500)
	c.must(t, "api uuid_media off "+c.uuid, "+OK Success")
	c.event(t, "CHANNEL_UNBRIDGE")
	c.event(t, "CHANNEL_BRIDGE", "Channel-State", "CS_HIBERNATE")
	direct(ctx, t, call, other, true)
	hears(ctx, t, call, 700)
	hears(ctx, t, other, 500)
	c.must(t, "api uuid_media "+c.uuid, "+OK Success")
	direct(ctx, t, call, other, false)
	hears(ctx, t, call, 700)
	hears(ctx, t, other, 500)
}

// direct waits until the RTP of a call comes from the other phone itself, or no longer.
func direct(ctx context.Context, t *testing.T, a, b *phone.Call, want bool) {
	t.Helper()
	own := localRTP(b)
	for ; ; time.Sleep(10 * time.Millisecond) { // sleep: the pace of a poll that ctx bounds
		if (a.Stats().RemoteSource == own) == want {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("RTP comes from %s, the other phone is %s", a.Stats().RemoteSource, own)
		}
	}
}

// localRTP is the address in a phone's own SDP.
func localRTP(c *phone.Call) string {
	host, port := "", ""
	for line := range strings.SplitSeq(c.SentSDP(), "\r\n") {
		if v, ok := strings.CutPrefix(line, "c=IN IP4 "); ok {
			host = v
		}
		if v, ok := strings.CutPrefix(line, "m=audio "); ok {
			port, _, _ = strings.Cut(v, " ")
		}
	}
	return host + ":" + port
}
