package freeswitch

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
)

// holdHz is the music of a caller whose agent asks somebody else; ringHz what the agent hears until that one answers.
const (
	holdHz = 1500
	ringHz = 800
)

// consultation is a talk whose agent asks somebody before that one gets the caller.
type consultation struct {
	*talk
	asked *spy
	file  string // what the caller hears
}

// holds has the caller hear a file over and over, and the agent nothing of him.
func (k *talk) holds(t *testing.T, file string) {
	t.Helper()
	if got := k.inbound(t, "uuid_displace "+k.uuid+" start "+file+" 0 fl"); got != "+OK Success" {
		t.Fatalf("uuid_displace start: %q", got)
	}
}

func (k *talk) unholds(t *testing.T, uuid, file string) {
	t.Helper()
	if got := k.inbound(t, "uuid_displace "+uuid+" stop "+file); got != "+OK Success" {
		t.Errorf("uuid_displace stop: %q", got)
	}
}

// between wants all three to hear who is said, and nobody else.
func (c *consultation) between(t *testing.T, held, joined bool) {
	t.Helper()
	mixed(t, "the caller", c.ear, map[float64]bool{holdHz: held, 440: false, 600: !held, spyHz: joined, ringHz: false})
	mixed(t, "the agent", c.other, map[float64]bool{holdHz: false, 440: !held, 600: false, spyHz: true, ringHz: false})
	mixed(t, "who is asked", c.asked.ear, map[float64]bool{holdHz: false, 440: !held, 600: true, spyHz: false, ringHz: false})
}

// asks rings somebody for the agent of a talk, who hears a tone until that one answers.
func (s *site) asks(t *testing.T, k *talk) *consultation {
	t.Helper()
	c := &consultation{talk: k, file: toneFile(t, holdHz, 700*time.Millisecond)}
	k.holds(t, c.file)
	const ring = "tone_stream://%(1000,0,800);loops=-1"
	if got := k.inbound(t, "uuid_displace "+k.leg.uuid+" start "+ring+" 30 l"); got != "+OK Success" {
		t.Fatalf("uuid_displace of the agent: %q", got)
	}
	c.asked = &spy{leg: s.originateWith(t, "park_timeout=3;eavesdrop_enable_dtmf=false;send_silence_when_idle=-1;"+heardByAgent, "eavesdrop:"+k.leg.uuid+",park inline")}
	in := c.asked.rings(t)
	mixed(t, "the caller", k.ear, map[float64]bool{holdHz: true, 440: false, 600: false, ringHz: false})
	mixed(t, "the agent", k.other, map[float64]bool{holdHz: false, 440: false, 600: false, ringHz: true})
	var err error
	if c.asked.ear, err = in.Answer(t.Context()); err != nil {
		t.Fatal(err)
	}
	leaves(t, c.asked.ear)
	c.asked.result(t)
	c.asked.ear.SendTone(spyHz)
	k.unholds(t, k.leg.uuid, ring)
	c.between(t, true, false)
	return c
}

// originateWith begins a leg that executes what is said when it is answered.
func (s *site) originateWith(t *testing.T, variables, then string) *leg {
	t.Helper()
	p := s.newPhone(t, "1004")
	l := &leg{callee: callee{Phone: p, dial: "sofia/sipio/" + p.Contact()}, agent: &agent{Conn: s.dialESL(t, esl.Options{}), uuid: strings.ToLower(rand.Text())}}
	l.send(t, "filter Unique-ID "+l.uuid)
	l.send(t, "filter Job-UUID "+l.uuid)
	l.send(t, "event plain "+legEvents)
	l.send(t, "bgapi originate {^^;origination_uuid="+l.uuid+";absolute_codec_string=PCMA,PCMU;rtp_rewrite_timestamps=true;"+variables+"}"+l.dial+" "+then,
		esl.Header{Name: "Job-UUID", Value: l.uuid})
	return l
}

// Proves by ear what the caller, the agent and whom he asks hear: the caller a file over and over and nobody, the two each other
// alone; then all three each other; then the caller and the agent as before. A recording of the caller's call goes on
// through all that.
func TestConsult_WhoHearsWhom(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		k := s.talks(t, "RECORD_STEREO=true")
		file, from := filepath.Join(s.dir, "records", strings.ToLower(rand.Text())+".wav"), time.Now()
		if got := k.inbound(t, "uuid_record "+k.uuid+" start "+file); got != "+OK Success" {
			t.Fatalf("uuid_record: %q", got)
		}
		c := s.asks(t, k)
		spoken(t, time.Second)
		k.unholds(t, k.uuid, c.file)
		c.asked.tells(t, k, heardByBoth)
		c.between(t, false, true)
		if err := c.asked.ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.vanishes(t, c.asked.uuid)
		k.heard(t)
		mixed(t, "the caller", k.ear, map[float64]bool{holdHz: false, 440: false, 600: true, spyHz: false})
		k.noted(t, file, from)
	})
}

// noted ends a recording of both sides of about that length: while the caller was held he said nothing in it, and heard what
// he heard; what the two others said to each other is not in it.
func (k *talk) noted(t *testing.T, file string, from time.Time) {
	t.Helper()
	asked := time.Since(from)
	if got := k.inbound(t, "uuid_record "+k.uuid+" stop "+file); got != "+OK Success" {
		t.Errorf("uuid_record stop: %q", got)
	}
	took := time.Since(from)
	for deadline := time.Now().Add(patience); !canRead(file); spoken(t, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is recorded")
		}
	}
	r := readRecording(t, file)
	if got := r.length(); got < asked-2*time.Second || got > took+time.Second {
		t.Errorf("%v are recorded of %v", got, took)
	}
	const held = time.Second // at least
	for _, row := range []struct {
		channel int
		hz      float64
		least   time.Duration
		most    time.Duration
	}{{0, 440, 200 * time.Millisecond, took - held}, {0, holdHz, 0, 0}, {1, holdHz, held, took}, {1, 600, 200 * time.Millisecond, took - held}} {
		if got := r.has(row.channel, row.hz); got < row.least || got > row.most {
			t.Errorf("channel %d has %v of %v Hz in %v, want %v to %v", row.channel, got, row.hz, took, row.least, row.most)
		}
	}
}

// tells changes who hears whom the agent asks.
func (p *spy) tells(t *testing.T, k *talk, variables string) {
	t.Helper()
	k.inbound(t, "uuid_setvar_multi "+p.uuid+" "+variables)
	if got := k.inbound(t, "uuid_transfer "+p.uuid+" eavesdrop:"+k.leg.uuid+",park inline"); got != "+OK" {
		t.Errorf("uuid_transfer: %q", got)
	}
}

// Proves what becomes of who was asked when the agent's leg is hung up: he is parked, can be connected with the caller, who has come
// back and is off hold, and both hear each other; his hangup gives the caller back once more.
func TestConsult_CallerGetsWhoWasAsked(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, joined := range []bool{false, true} {
			k := s.talks(t, "transfer_after_bridge=away:XML:away")
			c := s.asks(t, k)
			if joined {
				k.unholds(t, k.uuid, c.file)
				c.asked.tells(t, k, heardByBoth)
				c.between(t, false, true)
			}
			k.inbound(t, "uuid_kill "+k.leg.uuid+" NORMAL_CLEARING")
			over(t, k.other, patience)
			c.asked.named(t, "CHANNEL_PARK")
			k.agent = s.agents.wait(t, k.token)
			k.begin(t)
			if !joined {
				k.unholds(t, k.uuid, c.file)
			}
			k.leg, k.other = c.asked.leg, c.asked.ear
			k.runs(t, "playback", "silence_stream://20")
			k.api(t, "uuid_setvar_multi "+k.uuid+" transfer_after_bridge=away:XML:away")
			k.bridge(t)
			mixed(t, "the caller", k.ear, map[float64]bool{holdHz: false, 600: false, spyHz: true})
			mixed(t, "who was asked", k.other, map[float64]bool{holdHz: false, 440: true, 600: false})
			spoken(t, 3500*time.Millisecond) // longer than the park might last
			mixed(t, "who was asked", k.other, map[float64]bool{holdHz: false, 440: true, 600: false})
			if err := k.other.Bye(t.Context()); err != nil {
				t.Fatal(err)
			}
			k.back(t, s)
		}
	})
}

// Proves that who was asked does not wait for ever when nobody takes him: he is let go after the time of the park, also when he
// answers when the agent has gone already; and that a caller on hold hears what is played to him only off hold.
func TestConsult_NobodyTakesHim(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		k := s.talks(t, "transfer_after_bridge=away:XML:away")
		c := s.asks(t, k)
		k.inbound(t, "uuid_kill "+k.leg.uuid+" NORMAL_CLEARING")
		c.asked.named(t, "CHANNEL_PARK")
		if took := over(t, c.asked.ear, patience); took < time.Second {
			t.Errorf("let go after %v", took)
		}
		k.agent = s.agents.wait(t, k.token)
		k.begin(t)
		k.begins(t, "playback", toneFile(t, 900, 3*time.Second), false)
		mixed(t, "the caller", k.ear, map[float64]bool{holdHz: true, 900: false})
		k.unholds(t, k.uuid, c.file)
		mixed(t, "the caller", k.ear, map[float64]bool{holdHz: false, 900: true})

		late := s.originateWith(t, "park_timeout=2;"+heardByAgent, "eavesdrop:"+c.talk.leg.uuid+",park inline")
		_, ear := late.answers(t)
		over(t, ear, patience)
	})
}

// Proves what is said to a hold of nobody, one that is there already, and an end of one that is not there.
func TestConsult_HoldOnceAndOff(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		k := s.talks(t, "a=1")
		k.holds(t, "local_stream://moh")
		mixed(t, "the caller", k.ear, map[float64]bool{musicHz: true, 600: false})
		for command, want := range map[string]string{
			"uuid_displace " + k.uuid + " start local_stream://moh 0 l": "-ERR Cannot displace session!",
			"uuid_displace " + k.uuid + " stop /nothing.wav":            "-ERR Cannot stop displace session!",
			"uuid_displace " + k.uuid + " start /nothing.wav 0 l":       "-ERR Cannot displace session!",
			"uuid_displace nobody stop /nothing.wav":                    "-ERR Cannot locate session!",
		} {
			if got := s.commands(t, command)[0]; got != want {
				t.Errorf("%s: %q, want %q", command, got, want)
			}
		}
		k.unholds(t, k.uuid, "local_stream://moh")
		k.heard(t)
		mixed(t, "the caller", k.ear, map[float64]bool{musicHz: false, 600: true})
		mixed(t, "the agent", k.other, map[float64]bool{440: true})
	})
}
