package freeswitch

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

// loudness is how long a tone is in samples.
func loudness(samples []int16, hz float64) time.Duration {
	const frame = tone.Rate / 50
	var sum time.Duration
	for ; len(samples) >= frame; samples = samples[frame:] {
		if tone.LevelAt(samples[:frame], hz) > -20 {
			sum += 20 * time.Millisecond
		}
	}
	return sum
}

// release has the phones send to each other and waits for the event that ends it.
func (k *talk) release(t *testing.T) {
	t.Helper()
	if got := k.inbound(t, "uuid_media off "+k.uuid); got != "+OK Success" {
		t.Errorf("uuid_media off: %q", got)
	}
	k.named(t, "CHANNEL_UNBRIDGE")
	if e := k.named(t, "CHANNEL_BRIDGE"); e.Get("Channel-State") != "CS_HIBERNATE" || e.Get("Bridge-B-Unique-ID") != k.leg.uuid {
		t.Errorf("released in state %q, to %q", e.Get("Channel-State"), e.Get("Bridge-B-Unique-ID"))
	}
	k.direct(t, true)
	k.heard(t)
}

// retake brings the media back.
func (k *talk) retake(t *testing.T) {
	t.Helper()
	if got := k.inbound(t, "uuid_media "+k.uuid); got != "+OK Success" {
		t.Errorf("uuid_media: %q", got)
	}
	k.named(t, "CHANNEL_UNBRIDGE")
	k.named(t, "CHANNEL_BRIDGE")
	k.direct(t, false)
	k.heard(t)
}

// direct waits until the packets of both phones come from the other phone itself, or no longer.
func (k *talk) direct(t *testing.T, want bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for (k.ear.Stats().RemoteSource == mediaOf(t, k.other)) != want || (k.other.Stats().RemoteSource == mediaOf(t, k.ear)) != want {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("direct is not %v: the caller %s hears %s, the leg %s hears %s", want, mediaOf(t, k.ear), k.ear.Stats().RemoteSource,
				mediaOf(t, k.other), k.other.Stats().RemoteSource)
		}
	}
}

// mediaOf is the address in a phone's own SDP.
func mediaOf(t *testing.T, c *phone.Call) string {
	t.Helper()
	m := mediaAddress.FindStringSubmatch(c.SentSDP())
	if m == nil {
		t.Fatalf("no address in %q", c.SentSDP())
	}
	return m[1] + ":" + m[2]
}

// failures are what both legs say of a re-INVITE that was refused, "" where none was.
func (k *talk) failures(t *testing.T) (caller, leg string) {
	t.Helper()
	value := func(uuid string) string {
		if v := k.inbound(t, "uuid_getvar "+uuid+" sip_invite_failure_status"); v != "_undef_" {
			return v
		}
		return ""
	}
	return value(k.uuid), value(k.leg.uuid)
}

// Proves the release of a talk's media and the way back, twice: each phone is offered the other's address and its own
// codec, hears the other itself without a gap that is heard, and the caller's channel tells it in this order, which is
// not the end of the talk.
func TestRelease_MediaGoesFromPhoneToPhoneAndBack(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		k := s.connects(t, "a=1", "a=1")
		for range 2 {
			k.seen = nil
			k.release(t)
			if want := []string{"CHANNEL_UNBRIDGE", "CHANNEL_PARK", "CHANNEL_EXECUTE signal_bridge", "CHANNEL_UNPARK", "CHANNEL_BRIDGE"}; !slices.Equal(k.told(), want) {
				t.Errorf("released: %q, want %q", k.told(), want)
			}
			for _, one := range []struct{ c, other *phone.Call }{{k.ear, k.other}, {k.other, k.ear}} {
				if got := one.c.Stats(); got.RemoteSDP != mediaOf(t, one.other) || got.Codec != "PCMA" {
					t.Errorf("offered %s %s, the other is %s PCMA", got.RemoteSDP, got.Codec, mediaOf(t, one.other))
				}
			}
			if a, b := k.failures(t); a != "" || b != "" {
				t.Errorf("refused: %q, %q", a, b)
			}
			k.seen = nil
			k.retake(t)
			if want := []string{"CHANNEL_UNBRIDGE", "CHANNEL_EXECUTE uuid_bridge", "CHANNEL_BRIDGE"}; !slices.Equal(k.told(), want) {
				t.Errorf("taken back: %q, want %q", k.told(), want)
			}
		}
	})
}

// told are the events since seen was emptied, without changes of state.
func (a *agent) told() []string {
	var list []string
	for _, line := range a.seen {
		if line = strings.Join(strings.Fields(line), " "); !strings.HasPrefix(line, "CHANNEL_STATE") && !strings.HasPrefix(line, "CHANNEL_CALLSTATE") {
			list = append(list, line)
		}
	}
	return list
}

// Proves that a release which does not wait for CHANNEL_BRIDGE says success and releases nothing, by both commands in one
// write.
func TestRelease_TooEarlyIsNone(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, _ := s.waits(t)
		l := s.originate(t, "absolute_codec_string=PCMA,rtp_rewrite_timestamps=true")
		k := &talk{call: c, leg: l, other: l.parked(t)}
		if got := s.commands(t, "uuid_bridge "+c.uuid+" "+l.uuid, "uuid_media off "+c.uuid); !slices.Equal(got, []string{"+OK " + l.uuid, "+OK Success"}) {
			t.Errorf("answers %q", got)
		}
		c.named(t, "CHANNEL_BRIDGE")
		c.ear.SendTone(440)
		k.other.SendTone(600)
		k.heard(t)
		k.direct(t, false)
	})
}

// commands sends api commands in one write and returns their answers.
func (s *site) commands(t *testing.T, list ...string) []string {
	t.Helper()
	w, answers := s.wire(t), []string{}
	w.write(t, "auth "+s.password+"\n\napi "+strings.Join(list, "\n\napi ")+"\n\n")
	w.reply(t)
	for range list {
		answers = append(answers, strings.TrimSpace(w.body(t, w.read(t))))
	}
	return answers
}

// Proves the lie of a release that one phone refuses: it says success and tells the events of one, the other side hears
// nothing, and sip_invite_failure_status alone tells: surely on the leg that did not refuse, on the other perhaps (an
// answer that comes later clears it there). Taking the media back cures it at once and clears both.
func TestRelease_RefusedIsToldByAVariableOnly(t *testing.T) {
	leg := func(k *talk) (stubborn, other *phone.Call) { return k.other, k.ear }
	caller := func(k *talk) (stubborn, other *phone.Call) { return k.ear, k.other }
	each(t, func(t *testing.T, s *site) {
		for _, row := range []struct {
			name, code string
			who        func(k *talk) (stubborn, other *phone.Call)
		}{{"the leg", "488", leg}, {"the leg, for now", "491", leg}, {"the caller", "488", caller}} {
			t.Run(row.name, func(t *testing.T) {
				k := s.connects(t, "a=1", "a=1")
				stubborn, other := row.who(k)
				code, _ := strconv.Atoi(row.code)
				stubborn.RefuseOffers(code)
				from := time.Now()
				if got := k.inbound(t, "uuid_media off "+k.uuid); got != "+OK Success" {
					t.Errorf("uuid_media off: %q", got)
				}
				t.Logf("uuid_media off took %v", time.Since(from).Round(time.Millisecond))
				k.named(t, "CHANNEL_UNBRIDGE")
				k.named(t, "CHANNEL_BRIDGE")
				silent(t, other)
				if stubborn == k.other {
					k.becomes(t, k.uuid, row.code)
				} else {
					k.becomes(t, k.leg.uuid, row.code)
				}
				refuser, taker := k.failures(t)
				if stubborn == k.other {
					refuser, taker = taker, refuser
				}
				if taker != row.code || refuser != row.code && refuser != "" {
					t.Errorf("who refused says %q, the other %q; want %q", refuser, taker, row.code)
				}
				stubborn.TakeOffers()
				k.retake(t)
				if a, b := k.failures(t); a != "" || b != "" {
					t.Errorf("taken back: %q, %q", a, b)
				}
				k.release(t)
				if a, b := k.failures(t); a != "" || b != "" {
					t.Errorf("after a release that succeeded: %q, %q", a, b)
				}
			})
		}
	})
}

// Proves the trap behind that: a phone that refuses the way back too leaves the talk one-way for good. The command takes
// ten seconds, and another one is refused, even when the phone would take offers again.
func TestRelease_RefusedForGoodIsATrap(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, who := range []string{"leg", "caller"} {
			t.Run(who, func(t *testing.T) {
				k := s.connects(t, "a=1", "a=1")
				stubborn, other, hz := k.other, k.ear, 440.0
				if who == "caller" {
					stubborn, other, hz = k.ear, k.other, 600
				}
				stubborn.RefuseOffers(488)
				k.inbound(t, "uuid_media off "+k.uuid)
				from := time.Now()
				if got := k.inbound(t, "uuid_media "+k.uuid); got != "+OK Success" || time.Since(from) < 8*time.Second {
					t.Errorf("uuid_media: %q after %v", got, time.Since(from))
				}
				stubborn.TakeOffers()
				if _, err := k.leg.API(t.Context(), "uuid_media "+k.uuid); err == nil || !strings.Contains(err.Error(), "-ERR Operation failed") {
					t.Errorf("uuid_media again: %v", err)
				}
				silent(t, other)
				hears(t, stubborn, hz)
			})
		}
	})
}

// Proves how the trap is seen before: uuid_media_reneg offers a phone the media as it runs. Refused, it changes nothing,
// and sip_invite_failure_status tells on both legs; taken, it clears what the other leg says. Afterwards the talk is
// heard, and can be released by phones that take it.
func TestRelease_CanBeTriedBefore(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, code := range []int{0, 488, 491} {
			for _, who := range []string{"leg", "caller"} {
				t.Run(who+" "+strconv.Itoa(code), func(t *testing.T) {
					k := s.connects(t, "a=1", "a=1")
					asked, id, other := k.other, k.leg.uuid, k.uuid
					if who == "caller" {
						asked, id, other = k.ear, k.uuid, k.leg.uuid
					}
					asked.RefuseOffers(code)
					want := "_undef_"
					if code != 0 {
						want = strconv.Itoa(code)
					}
					k.inbound(t, "uuid_setvar "+other+" sip_invite_failure_status asked")
					if got := k.inbound(t, "uuid_media_reneg "+id); got != "+OK Success" {
						t.Errorf("uuid_media_reneg: %q", got)
					}
					k.becomes(t, other, want)
					k.heard(t)
					asked.TakeOffers()
					k.release(t)
				})
			}
		}
	})
}

// becomes waits until sip_invite_failure_status of a channel has a value.
func (k *talk) becomes(t *testing.T, channel, want string) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		got := k.inbound(t, "uuid_getvar "+channel+" sip_invite_failure_status")
		if got == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("sip_invite_failure_status is %q, want %q", got, want)
		}
	}
}

// Proves that other refusals end the leg that gives them, tried before or released at once: 408 (a proxy gives it for a
// phone that stays silent), 481, 500. The leg's gives the caller back, the caller's ends both.
func TestRelease_OtherRefusalsEndTheTalk(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, code := range []int{408, 481, 500} {
			for _, command := range []string{"uuid_media off ", "uuid_media_reneg "} {
				t.Run(command+strconv.Itoa(code), func(t *testing.T) {
					k := s.connects(t, "a=1", "a=1")
					k.other.RefuseOffers(code)
					id := k.leg.uuid
					if command == "uuid_media off " {
						id = k.uuid
					}
					k.inbound(t, command+id)
					e := k.leg.named(t, "CHANNEL_HANGUP")
					t.Logf("the leg ended by %s", e.Get("Hangup-Cause"))
					over(t, k.other, patience)
					k.back(t, s)
					k = s.connects(t, "a=1", "a=1")
					k.ear.RefuseOffers(code)
					k.inbound(t, command+k.uuid)
					over(t, k.ear, patience)
					over(t, k.other, patience)
				})
			}
		}
	})
}

// Proves that a phone which does not answer its re-INVITE at all is hung up after 32 s, and that the caller, who heard
// nothing until then, is with an agent again.
func TestRelease_UnansweredEndsTheTalk(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		k, from := s.connects(t, "a=1", "a=1"), time.Now()
		k.other.IgnoreOffers()
		if got := k.inbound(t, "uuid_media off "+k.uuid); got != "+OK Success" {
			t.Errorf("uuid_media off: %q", got)
		}
		silent(t, k.ear)
		over(t, k.other, 40*time.Second)
		if took := time.Since(from); took < 28*time.Second {
			t.Errorf("ended after %v", took)
		}
		if e := k.leg.named(t, "CHANNEL_HANGUP"); e.Get("Hangup-Cause") != "MANDATORY_IE_MISSING" {
			t.Errorf("the leg ended by %q", e.Get("Hangup-Cause"))
		}
		k.back(t, s)
	})
}

// Proves what a released talk does not have, by a key and a recording: the key goes from phone to phone and no event
// tells of it, the recording begins with success and has nothing in it. Taken back, both are there again.
func TestRelease_NoKeysNoRecording(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		k := s.connects(t, "a=1", "a=1")
		k.release(t)
		path := s.dir + "/records/" + k.token + ".wav"
		if got := k.inbound(t, "uuid_record "+k.uuid+" start "+path); got != "+OK Success" {
			t.Errorf("uuid_record: %q", got)
		}
		if err := k.ear.SendDigits("5"); err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		if got, err := k.other.HearDigits(ctx, 1); err != nil || got != "5" {
			t.Errorf("keys at the other phone: %q, %v", got, err)
		}
		spoken(t, time.Second)
		k.retake(t)
		if err := k.ear.SendDigits("6"); err != nil {
			t.Fatal(err)
		}
		e := k.next(t, "a key", func(e *esl.Event) bool { return e.Name() == "DTMF" })
		if got := e.Get("DTMF-Digit"); got != "6" {
			t.Errorf("key %q, want only the one pressed when the media was back", got)
		}
	})
}

// Proves that a released talk can be held: the offer goes through to the other phone, without an event and without music.
func TestRelease_HoldPassesThrough(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		k := s.connects(t, "a=1", "a=1")
		k.send(t, "event plain CHANNEL_HOLD CHANNEL_UNHOLD")
		k.release(t)
		if err := k.other.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		silent(t, k.ear)
		if got := k.ear.ReceivedSDP(); !strings.Contains(got, "a=sendonly") {
			t.Errorf("the other phone was offered %q", got)
		}
		if err := k.other.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.heard(t)
		k.direct(t, true)
		for _, line := range k.told() {
			if strings.Contains(line, "HOLD") {
				t.Errorf("%s was told", line)
			}
		}
		k.retake(t)
	})
}
