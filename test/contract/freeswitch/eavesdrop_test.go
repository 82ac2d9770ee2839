package freeswitch

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/phone"
)

// spyHz is what a supervisor says; the caller says 440, the agent 600.
const spyHz = 1000

// Variables of a supervisor's leg, by who hears him. Without the one for keys, his keys would change that, and * end it.
const (
	heardByNobody = "eavesdrop_whisper_aleg=false;eavesdrop_whisper_bleg=false"
	heardByAgent  = "eavesdrop_whisper_aleg=false;eavesdrop_whisper_bleg=true"
	heardByBoth   = "eavesdrop_whisper_aleg=true;eavesdrop_whisper_bleg=true"
)

// spy is a supervisor's leg to the agent of a talk.
type spy struct {
	*leg
	ear *phone.Call
}

// talks is connects for a caller whose timestamps are FreeSWITCH's own from the answer on, as the node agent has it. Set later it
// is of no effect: those of the agent's phone are passed on until somebody listens, and others then, which may be earlier ones; a phone
// takes what comes for very late and plays nothing.
func (s *site) talks(t *testing.T, variables string) *talk {
	t.Helper()
	c := s.ring(t)
	c.begin(t)
	c.runs(t, "set", "rtp_rewrite_timestamps=true")
	c.runs(t, "answer", "")
	c.up(t)
	l := s.originate(t, "absolute_codec_string=PCMA,rtp_rewrite_timestamps=true")
	k := &talk{call: c, leg: l, other: l.parked(t)}
	c.api(t, "uuid_setvar_multi "+c.uuid+" "+variables)
	k.bridge(t)
	c.ear.SendTone(440)
	k.other.SendTone(600)
	k.heard(t)
	return k
}

// spies begins the leg of a supervisor. It rings.
func (k *talk) spies(t *testing.T, s *site, variables string) *spy {
	t.Helper()
	return &spy{leg: s.spiesOn(t, k.leg.uuid, variables)}
}

func (s *site) spiesOn(t *testing.T, target, variables string) *leg {
	t.Helper()
	p := s.newPhone(t, "1003")
	l := &leg{callee: callee{Phone: p, dial: "sofia/sipio/" + p.Contact()}, agent: &agent{Conn: s.dialESL(t, esl.Options{}), uuid: strings.ToLower(rand.Text())}}
	l.send(t, "filter Unique-ID "+l.uuid)
	l.send(t, "filter Job-UUID "+l.uuid)
	l.send(t, "event plain "+legEvents)
	l.send(t, "bgapi originate {^^;origination_uuid="+l.uuid+";absolute_codec_string=PCMA,PCMU;rtp_rewrite_timestamps=true;eavesdrop_enable_dtmf=false;"+variables+"}"+l.dial+" &eavesdrop("+target+")",
		esl.Header{Name: "Job-UUID", Value: l.uuid})
	return l
}

// takes has the supervisor answer and speak.
func (p *spy) takes(t *testing.T) {
	t.Helper()
	_, p.ear = p.answers(t)
	if got := p.result(t); got != "+OK "+p.uuid {
		t.Errorf("originate: %q", got)
	}
	p.ear.SendTone(spyHz)
}

// becomes changes who hears him.
func (p *spy) becomes(t *testing.T, k *talk, variables string) {
	t.Helper()
	if got := k.inbound(t, "uuid_setvar_multi "+p.uuid+" "+variables); got != "+OK" {
		t.Errorf("uuid_setvar_multi: %q", got)
	}
	if got := k.inbound(t, "uuid_transfer "+p.uuid+" eavesdrop:"+k.leg.uuid+" inline"); got != "+OK" {
		t.Errorf("uuid_transfer: %q", got)
	}
}

// watched wants the supervisor to hear both, who hear each other, and to be heard as told.
func (k *talk) watched(t *testing.T, p *spy, byCaller, byAgent bool) {
	t.Helper()
	mixed(t, "the supervisor", p.ear, map[float64]bool{440: true, 600: true, spyHz: false})
	mixed(t, "the caller", k.ear, map[float64]bool{440: false, 600: true, spyHz: byCaller})
	mixed(t, "the agent", k.other, map[float64]bool{440: true, 600: false, spyHz: byAgent})
}

// mixed waits until a phone hears each of some tones or does not, as wanted: for a good part of 400 ms, or not at all.
func mixed(t *testing.T, who string, ear *phone.Call, want map[float64]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	heard := map[float64]time.Duration{}
	for {
		samples, err := ear.Listen(ctx, 400*time.Millisecond)
		if err != nil {
			t.Fatalf("of 400 ms %s hears %v, want %v: %v", who, heard, want, err)
		}
		as := true
		for hz, there := range want {
			heard[hz] = loudness(samples, hz)
			as = as && (heard[hz] >= 100*time.Millisecond) == there && (there || heard[hz] == 0)
		}
		if as {
			return
		}
	}
}

// Proves whom a supervisor hears and who hears him, in each of the three ways, from the beginning and changed in the
// middle, by ear; his keys change nothing, nor does the end of the connection that made him; the list of channels says
// what he does; and the talk goes on when he hangs up.
func TestEavesdrop_HearsBothAndIsHeardAsTold(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, row := range []struct {
			name, variables   string
			byCaller, byAgent bool
		}{{"listen", heardByNobody, false, false}, {"whisper", heardByAgent, false, true}, {"barge", heardByBoth, true, true}} {
			t.Run(row.name, func(t *testing.T) {
				k := s.talks(t, "a=1")
				p := k.spies(t, s, row.variables)
				p.takes(t)
				k.watched(t, p, row.byCaller, row.byAgent)
				for _, key := range []string{"3", "1", "2", "*", "#"} {
					if err := p.ear.SendDigits(key); err != nil {
						t.Fatal(err)
					}
				}
				p.ear.SendTone(spyHz)
				p.Conn.Close()
				k.watched(t, p, row.byCaller, row.byAgent)
				if got := k.doing(t, p.uuid); got != "outbound CS_EXECUTE eavesdrop" {
					t.Errorf("he is listed as %q", got)
				}
				if err := p.ear.Bye(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.vanishes(t, p.uuid)
				k.heard(t)
			})
		}
		t.Run("one after the other", func(t *testing.T) {
			k := s.talks(t, "a=1")
			p := k.spies(t, s, heardByNobody)
			p.takes(t)
			k.watched(t, p, false, false)
			p.becomes(t, k, heardByBoth)
			k.watched(t, p, true, true)
			p.becomes(t, k, heardByAgent)
			k.watched(t, p, false, true)
			p.becomes(t, k, heardByNobody)
			k.watched(t, p, false, false)
			if got := k.inbound(t, "uuid_kill "+p.uuid); got != "+OK" {
				t.Errorf("uuid_kill: %q", got)
			}
			over(t, p.ear, patience)
			k.heard(t)
		})
	})
}

// doing is how a channel is listed.
func (k *talk) doing(t *testing.T, uuid string) string {
	t.Helper()
	var list struct {
		Rows []struct{ UUID, Direction, State, Application string }
	}
	if err := json.Unmarshal([]byte(k.inbound(t, "show channels as json")), &list); err != nil {
		t.Fatal(err)
	}
	for _, row := range list.Rows {
		if row.UUID == uuid {
			return row.Direction + " " + row.State + " " + row.Application
		}
	}
	return "not there"
}

// Proves that a change while the supervisor's phone rings holds when he answers.
func TestEavesdrop_ChangedWhileItRings(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		k := s.talks(t, "a=1")
		p := k.spies(t, s, heardByBoth)
		in := p.rings(t)
		if err := in.Ring(); err != nil {
			t.Fatal(err)
		}
		p.named(t, "CHANNEL_PROGRESS")
		if got := k.inbound(t, "uuid_setvar_multi "+p.uuid+" "+heardByAgent); got != "+OK" {
			t.Errorf("uuid_setvar_multi: %q", got)
		}
		if got := k.inbound(t, "uuid_getvar "+p.uuid+" endpoint_disposition"); got == "ANSWER" {
			t.Errorf("endpoint_disposition while it rings: %q", got)
		}
		var err error
		if p.ear, err = in.Answer(t.Context()); err != nil {
			t.Fatal(err)
		}
		leaves(t, p.ear)
		p.result(t)
		p.ear.SendTone(spyHz)
		k.watched(t, p, false, true)
		if got := k.inbound(t, "uuid_getvar "+p.uuid+" endpoint_disposition"); got != "ANSWER" {
			t.Errorf("endpoint_disposition of who has answered: %q", got)
		}
	})
}

// Proves that a supervisor hears nothing of a talk whose media was released, neither before nor in the middle, that his
// leg stays and changes nothing about the talk, and that he hears it as soon as the media is back.
func TestEavesdrop_NothingIsHeardOfAReleasedTalk(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		k := s.talks(t, "a=1")
		k.release(t)
		p := k.spies(t, s, heardByNobody)
		p.takes(t)
		for range 2 {
			samples := k.overheard(t, p)
			if loudness(samples, 440) > 0 || loudness(samples, 600) > 0 {
				t.Error("a released talk is heard")
			}
			k.direct(t, true)
			k.heard(t)
			k.retake(t)
			k.watched(t, p, false, false)
			k.release(t)
		}
		if err := p.ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.vanishes(t, p.uuid)
		k.direct(t, true)
		k.heard(t)
	})
}

// overheard is what the supervisor gets in a second of the talk, once nothing of before is on its way any more.
func (k *talk) overheard(t *testing.T, p *spy) []int16 {
	t.Helper()
	spoken(t, 300*time.Millisecond)
	got := make(chan []int16, 1)
	go func() {
		samples, _ := p.ear.Listen(t.Context(), time.Second) // an error: there were fewer
		got <- samples
	}()
	select {
	case samples := <-got:
		return samples
	case <-time.After(1500 * time.Millisecond):
		return nil
	}
}

// Proves that the supervisor's leg ends with the talk, whoever ends it and though nobody drives the leg any more; that a
// caller whose agent hung up comes back as without him; and that a leg to a talk which is over by its answer ends.
func TestEavesdrop_EndsWithTheTalk(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, released := range []bool{false, true} {
			k := s.talks(t, "transfer_after_bridge=away:XML:away")
			p := k.spies(t, s, heardByBoth)
			p.takes(t)
			k.watched(t, p, true, true)
			p.Conn.Close()
			if released {
				k.release(t)
			}
			if err := k.other.Bye(t.Context()); err != nil {
				t.Fatal(err)
			}
			over(t, p.ear, patience)
			k.back(t, s)
		}
		k := s.talks(t, "transfer_after_bridge=away:XML:away")
		p := k.spies(t, s, heardByNobody)
		p.takes(t)
		k.watched(t, p, false, false)
		if err := k.ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		over(t, p.ear, patience)
		over(t, k.other, patience)

		late := s.spiesOn(t, k.leg.uuid, heardByNobody)
		_, ear := late.answers(t)
		over(t, ear, patience)
	})
}
