package freeswitch

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// Proves that no caller is left ringing when the agent fails before it has the call: refused or cut, he has 503 at once,
// and from an agent that says nothing after the guard's 8 s.
func TestDeath_BeforeTheAnswerIs503(t *testing.T) {
	alone(t, func(t *testing.T, s *site) {
		s.agents.leave()
		if got := s.invite(t).refused(t, 6*time.Second); got.Code != 503 {
			t.Errorf("nobody listens: %v", got)
		}
		l, err := edge.Listen(s.agents.address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cut := s.invite(t)
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if got := cut.refused(t, 6*time.Second); got.Code != 503 {
			t.Errorf("cut before a word: %v", got)
		}
		from, silent := time.Now(), s.invite(t)
		if conn, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := silent.refused(t, patience); got.Code != 503 || time.Since(from) < 6*time.Second || time.Since(from) > 14*time.Second {
			t.Errorf("accepted in silence: %v after %v", got, time.Since(from))
		}
	})
}

// Proves that a caller who was not answered is not kept when his agent dies.
func TestDeath_WhileRingingIs503(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.ring(t)
		c.begin(t)
		c.Close()
		if got := c.refused(t, patience); got.Code != 503 {
			t.Errorf("%v", got)
		}
	})
}

// Proves that the guard spares a call that an agent has, by waiting longer than it.
func TestDeath_GuardSparesWhoIsServed(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.ring(t)
		c.begin(t)
		spoken(t, 10*time.Second)
		c.runs(t, "answer", "")
		c.up(t)
	})
}

// takeover closes the agent's connection and gives the call to the one that comes after it.
func (c *call) takeover(t *testing.T, s *site) {
	t.Helper()
	before := c.uuid
	c.Close()
	c.agent = s.agents.wait(t, c.token)
	if c.uuid != before {
		t.Errorf("channel %s came back as %s", before, c.uuid)
	}
	if c.start.Variable("sipio_resumed") != "true" || c.start.Variable("endpoint_disposition") != "ANSWER" {
		t.Errorf("taken over with sipio_resumed=%q, endpoint_disposition=%q", c.start.Variable("sipio_resumed"), c.start.Variable("endpoint_disposition"))
	}
	c.begin(t)
	c.begins(t, "playback", toneFile(t, 900, 3*time.Second), false)
	hears(t, c.ear, 900)
}

// Proves that an answered caller is back with an agent at once, whatever he was hearing when the first one died, and
// that the new one is obeyed: nothing old goes on playing.
func TestDeath_AnsweredCallsComeBack(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, row := range []struct {
			name string
			busy func(t *testing.T, c *call)
		}{
			{"idle", func(*testing.T, *call) {}},
			{"idle, without resume", func(t *testing.T, c *call) { c.runs(t, "set", "socket_resume=false") }},
			{"file", func(t *testing.T, c *call) {
				c.begins(t, "playback", toneFile(t, 440, 20*time.Second), false)
				hears(t, c.ear, 440)
			}},
			{"music", func(t *testing.T, c *call) {
				c.begins(t, "playback", "local_stream://moh", false)
				hears(t, c.ear, musicHz)
			}},
			{"queue of files", func(t *testing.T, c *call) {
				c.begins(t, "playback", toneFile(t, 440, 20*time.Second), true)
				c.begins(t, "playback", toneFile(t, 600, 20*time.Second), true)
				hears(t, c.ear, 440)
			}},
			{"conference", func(t *testing.T, c *call) { c.joins(t, "room-"+c.token, "") }},
			{"twice", func(t *testing.T, c *call) { c.takeover(t, s) }},
		} {
			t.Run(row.name, func(t *testing.T) {
				c := s.answered(t)
				row.busy(t, c)
				c.takeover(t, s)
				silent(t, c.ear)
			})
		}
	})
}

// Proves that a caller whose words are being recorded is hung up when the agent dies, unless it said socket_resume=false
// before: then the recording goes on, until somebody breaks it off over the inbound connection, and the caller is back
// with an agent.
func TestDeath_RecordingGoesOnOrEndsTheCall(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, resume := range []string{"true", "false"} {
			c := s.answered(t)
			c.runs(t, "set", "socket_resume="+resume)
			c.begins(t, "record", filepath.Join(s.dir, "records", c.token+".wav")+" 60 200 60", false)
			c.named(t, "RECORD_START")
			c.ear.SendTone(440)
			spoken(t, time.Second)
			c.Close()
			if resume == "true" {
				over(t, c.ear, patience)
				continue
			}
			spoken(t, 2*time.Second)
			select {
			case <-s.agents.of(c.token):
				t.Fatal("the call came back by itself")
			default:
			}
			apiOf(t, s.dialESL(t, esl.Options{}), "uuid_break "+c.uuid+" all")
			c.agent = s.agents.wait(t, c.token)
			c.begin(t)
			c.begins(t, "playback", toneFile(t, 900, 3*time.Second), false)
			hears(t, c.ear, 900)
		}
	})
}

// Proves that two who talk go on talking when the agent dies, if it said so before (socket_resume=false), and that the
// caller is back with an agent when the other side has hung up.
func TestDeath_ConversationGoesOn(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, b := s.answered(t), s.callee(t, "a=1")
		ear := c.talks(t, b, "false")
		c.Close()
		spoken(t, time.Second)
		hears(t, c.ear, 600)
		hears(t, ear, 440)
		if err := ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.agent = s.agents.wait(t, c.token)
		c.begin(t)
		if got := c.result(t); got != "SUCCESS NORMAL_CLEARING sip:200 SUCCESS" {
			t.Errorf("the new agent sees %q", got)
		}
		c.begins(t, "playback", toneFile(t, 900, 3*time.Second), false)
		hears(t, c.ear, 900)
	})
}

// Proves that nothing stays of a conversation without an agent when the caller hangs up.
func TestDeath_ConversationEndsWithoutAnAgent(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, b := s.answered(t), s.callee(t, "a=1")
		ear := c.talks(t, b, "false")
		uuid := c.uuid
		c.Close()
		if err := c.ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		over(t, ear, patience)
		s.vanishes(t, uuid)
	})
}

// Proves what happens without that: the conversation is cut and the caller is back with an agent.
func TestDeath_ConversationIsCutWithResume(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, b := s.answered(t), s.callee(t, "a=1")
		ear := c.talks(t, b, "true")
		c.takeover(t, s)
		over(t, ear, patience)
	})
}

// talks bridges the caller to a callee until both hear the other.
func (c *call) talks(t *testing.T, b callee, resume string) *phone.Call {
	t.Helper()
	c.runs(t, "set", "socket_resume="+resume)
	c.begins(t, "bridge", b.dial, false)
	_, ear := b.answers(t)
	c.named(t, "CHANNEL_BRIDGE")
	c.ear.SendTone(440)
	ear.SendTone(600)
	hears(t, ear, 440)
	hears(t, c.ear, 600)
	return ear
}

// Proves that a member stays in his room without an agent when that was said before, hears the others, and comes back to
// an agent when he is kicked.
func TestDeath_ConferenceGoesOn(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		a, b := s.answered(t), s.answered(t)
		room := "room-" + a.token
		a.runs(t, "set", "socket_resume=false")
		_, member := a.joins(t, room, "")
		b.joins(t, room, "")
		a.Close()
		b.ear.SendTone(600)
		spoken(t, time.Second)
		hears(t, a.ear, 600)
		b.api(t, "conference "+room+" kick "+member)
		a.agent = s.agents.wait(t, a.token)
		a.begin(t)
		a.begins(t, "playback", toneFile(t, 900, 3*time.Second), false)
		hears(t, a.ear, 900)
	})
}

// Proves that an agent which is away for some seconds has its answered callers back, and that they are then safe from
// the guard: they are still there after its 25 s.
func TestDeath_AgentComesBackInTime(t *testing.T) {
	alone(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		s.agents.leave()
		spoken(t, 3*time.Second)
		if err := s.agents.come(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.agent = s.agents.wait(t, c.token)
		c.begin(t)
		spoken(t, 26*time.Second)
		c.begins(t, "playback", toneFile(t, 900, 3*time.Second), false)
		hears(t, c.ear, 900)
	})
}

// Proves that an answered caller is released in the end, by BYE, when no agent comes, and when one comes that says
// nothing: no zombie.
func TestDeath_NobodyComesBack(t *testing.T) {
	alone(t, func(t *testing.T, s *site) {
		alone, kept := s.answered(t), s.answered(t)
		s.agents.leave()
		l, err := edge.Listen(s.agents.address)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		conn, err := l.Accept() // one of the two; the other one finds nobody
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		l.Close()
		for _, c := range []*call{alone, kept} {
			over(t, c.ear, 40*time.Second)
			if took := time.Since(from); took < 20*time.Second {
				t.Errorf("released after %v", took)
			}
		}
		s.vanishes(t, alone.uuid)
		s.vanishes(t, kept.uuid)
	})
}
