package freeswitch

import (
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/phone"
)

// talk is a caller who waited in music and was then connected with a parked leg by uuid_bridge.
type talk struct {
	*call
	leg   *leg
	other *phone.Call // the leg's side
}

// waits makes a caller who waits in music, and returns the id of the music.
func (s *site) waits(t *testing.T) (*call, string) {
	t.Helper()
	c := s.answered(t)
	music := c.begins(t, "playback", "local_stream://moh", false)
	hears(t, c.ear, musicHz)
	return c, music
}

// connects makes a talk the way the node agent does. variables are set on the caller's channel before; those of the leg
// are in its dial string.
func (s *site) connects(t *testing.T, variables, ofLeg string) *talk {
	t.Helper()
	c, _ := s.waits(t)
	l := s.originate(t, "absolute_codec_string=PCMA,rtp_rewrite_timestamps=true,"+ofLeg)
	k := &talk{call: c, leg: l, other: l.parked(t)}
	c.api(t, "uuid_setvar_multi "+c.uuid+" rtp_rewrite_timestamps=true;"+variables)
	c.api(t, "uuid_break "+c.uuid+" all")
	k.bridge(t)
	c.ear.SendTone(440)
	k.other.SendTone(600)
	k.heard(t)
	return k
}

// bridge connects the two and waits for the event that says so.
func (k *talk) bridge(t *testing.T) {
	t.Helper()
	if got := k.api(t, "uuid_bridge "+k.uuid+" "+k.leg.uuid); got != "+OK "+k.leg.uuid {
		t.Errorf("uuid_bridge: %q", got)
	}
	if e := k.named(t, "CHANNEL_BRIDGE"); e.Get("Bridge-A-Unique-ID") != k.uuid || e.Get("Bridge-B-Unique-ID") != k.leg.uuid {
		t.Errorf("bridged %s with %s", e.Get("Bridge-A-Unique-ID"), e.Get("Bridge-B-Unique-ID"))
	}
}

// heard wants each to hear the other.
func (k *talk) heard(t *testing.T) {
	t.Helper()
	hears(t, k.other, 440)
	hears(t, k.ear, 600)
}

// inbound runs an api command on the leg's inbound connection, which stays when the call's own has gone.
func (k *talk) inbound(t *testing.T, command string) string {
	t.Helper()
	return apiOf(t, k.leg.Conn, command)
}

// back waits until the caller is with an agent again and takes him over.
func (k *talk) back(t *testing.T, s *site) {
	t.Helper()
	before := k.uuid
	k.agent = s.agents.wait(t, k.token)
	if k.uuid != before || k.start.Variable("sipio_resumed") != "true" {
		t.Errorf("came back as %s (was %s) with sipio_resumed=%q", k.uuid, before, k.start.Variable("sipio_resumed"))
	}
	k.begin(t)
	k.begins(t, "playback", toneFile(t, 900, 3*time.Second), false)
	hears(t, k.ear, 900)
}

// Proves the moment of connecting a caller who waits, by events and by ear: uuid_break all takes away what plays and what
// is queued, uuid_bridge ends the music and the socket application, the connection stays and goes on telling, and no
// queued announcement is heard in the talk. Each execution that was cut is told.
func TestTalk_BeginsOutOfMusicAndAnnouncements(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, music := s.waits(t)
		first := c.begins(t, "playback", toneFile(t, 900, 4*time.Second), true)
		c.begins(t, "playback", toneFile(t, 1100, 4*time.Second), true)
		hears(t, c.ear, 900)
		l := s.originate(t, "absolute_codec_string=PCMA,rtp_rewrite_timestamps=true")
		k := &talk{call: c, leg: l, other: l.parked(t)}
		c.api(t, "uuid_break "+c.uuid+" all")
		if got := c.api(t, "uuid_bridge "+c.uuid+" "+l.uuid); got != "+OK "+l.uuid {
			t.Errorf("uuid_bridge: %q", got)
		}
		c.completed(t, first)
		c.completed(t, music)
		c.named(t, "CHANNEL_UNPARK")
		c.next(t, "the end of the socket application", func(e *esl.Event) bool {
			return e.Name() == "CHANNEL_EXECUTE_COMPLETE" && e.Get("Application") == "socket"
		})
		c.next(t, "uuid_bridge", func(e *esl.Event) bool { return e.Name() == "CHANNEL_EXECUTE" && e.Get("Application") == "uuid_bridge" })
		c.named(t, "CHANNEL_BRIDGE")
		l.next(t, "the leg's uuid_bridge", func(e *esl.Event) bool { return e.Name() == "CHANNEL_EXECUTE" && e.Get("Application") == "uuid_bridge" })
		k.other.SendTone(600)
		hears(t, c.ear, 600)
		samples, err := c.ear.Listen(t.Context(), 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if loud := loudness(samples, 1100); loud > 0 {
			t.Errorf("the queued announcement was heard for %v in the talk", loud)
		}
		c.ear.SendTone(440)
		k.heard(t)
		if got := c.variable(t, "last_bridge_to"); got != l.uuid {
			t.Errorf("last_bridge_to is %q", got)
		}
	})
}

// Proves that the caller is with an agent again when the other side hangs up, whichever way the media runs and whether
// the first agent lives or died in the talk; by transfer_after_bridge, and also without it: he goes on in the dialplan
// behind the socket application.
func TestTalk_CallerComesBack(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, row := range []struct {
			name           string
			released, dead bool
		}{{"in the media", false, false}, {"released", true, false}, {"agent died", false, true}, {"released, agent died", true, true}} {
			for how, variable := range map[string]string{"by transfer": "transfer_after_bridge=away:XML:away", "by the dialplan": "a=1"} {
				t.Run(row.name+", "+how, func(t *testing.T) {
					k := s.connects(t, "socket_resume=false;"+variable, "a=1")
					if row.released {
						k.release(t)
					}
					if row.dead {
						k.Close()
						spoken(t, time.Second)
						k.heard(t)
					}
					select {
					case <-s.agents.of(k.token):
						t.Fatal("the caller came back in the talk")
					default:
					}
					if err := k.other.Bye(t.Context()); err != nil {
						t.Fatal(err)
					}
					old := k.agent
					k.back(t, s)
					if got := k.start.Variable("last_bridge_to"); got != k.leg.uuid {
						t.Errorf("last_bridge_to is %q", got)
					}
					old.Close() // the connection of before the talk is of no consequence any more
					silent(t, k.ear)
					k.begins(t, "playback", toneFile(t, 1100, 3*time.Second), false)
					hears(t, k.ear, 1100)
				})
			}
		}
	})
}

// Proves that the agent's death cuts a talk made by uuid_bridge too, unless socket_resume=false was said before: the leg
// is hung up and the caller is with the next agent at once.
func TestTalk_DeathCutsItWithResume(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		k := s.connects(t, "transfer_after_bridge=away:XML:away", "a=1")
		k.Close()
		over(t, k.other, patience)
		k.back(t, s)
	})
}

// Proves that the caller's hangup ends the leg, whichever way the media runs, and that uuid_kill of the leg gives the
// caller back as its hangup does.
func TestTalk_CallerEndsIt(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, released := range []bool{false, true} {
			k := s.connects(t, "transfer_after_bridge=away:XML:away", "a=1")
			if released {
				k.release(t)
			}
			if err := k.ear.Bye(t.Context()); err != nil {
				t.Fatal(err)
			}
			over(t, k.other, patience)
			if e := k.leg.named(t, "CHANNEL_HANGUP_COMPLETE"); e.Get("Hangup-Cause") != "NORMAL_CLEARING" {
				t.Errorf("the leg ended by %q", e.Get("Hangup-Cause"))
			}
		}
		k := s.connects(t, "transfer_after_bridge=away:XML:away", "a=1")
		k.inbound(t, "uuid_kill "+k.leg.uuid)
		k.back(t, s)
	})
}

// Proves what becomes of the caller when the leg goes in the moment of the connection: gone before, uuid_bridge is refused
// and the music plays on; killed behind it, in one write with it, the caller is with an agent again.
func TestTalk_LegGoneInTheMoment(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, _ := s.waits(t)
		c.api(t, "uuid_setvar_multi "+c.uuid+" transfer_after_bridge=away:XML:away;socket_resume=false")
		l := s.originate(t, "absolute_codec_string=PCMA")
		ear := l.parked(t)
		if got := s.commands(t, "uuid_kill "+l.uuid, "uuid_bridge "+c.uuid+" "+l.uuid); got[1] != "-ERR Invalid uuid" {
			t.Errorf("bridged with a dead leg: %q", got)
		}
		over(t, ear, patience)
		hears(t, c.ear, musicHz)
		l = s.originate(t, "absolute_codec_string=PCMA")
		k := &talk{call: c, leg: l, other: l.parked(t)}
		s.commands(t, "uuid_bridge "+c.uuid+" "+l.uuid, "uuid_kill "+l.uuid)
		over(t, k.other, patience)
		k.back(t, s)
	})
}

// Proves park_after_bridge on either leg: who has it stays when the other hangs up, in park, and hears what is played to
// him then; it counts before transfer_after_bridge.
func TestTalk_ParkKeepsWhoHasIt(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, released := range []bool{false, true} {
			k := s.connects(t, "park_after_bridge=true;transfer_after_bridge=away:XML:away", "a=1")
			if released {
				k.release(t)
			}
			if err := k.other.Bye(t.Context()); err != nil {
				t.Fatal(err)
			}
			k.named(t, "CHANNEL_UNBRIDGE")
			k.named(t, "CHANNEL_PARK")
			k.begins(t, "playback", toneFile(t, 900, 3*time.Second), false)
			hears(t, k.ear, 900)
		}
		k := s.connects(t, "a=1", "park_after_bridge=true")
		if err := k.ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.leg.named(t, "CHANNEL_PARK")
		if got := k.inbound(t, "uuid_exists "+k.leg.uuid); got != "true" {
			t.Errorf("uuid_exists: %q", got)
		}
	})
}
