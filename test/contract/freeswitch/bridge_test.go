package freeswitch

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

// callee is a phone that legs are made to, as if Kamailio were there.
type callee struct {
	*phone.Phone
	dial string // the dial string that reaches it
}

func (s *site) callee(t *testing.T, variables string) callee {
	t.Helper()
	p := s.newPhone(t, "1002")
	return callee{p, "{" + variables + "}sofia/sipio/" + p.Contact()}
}

// rings is the next call that comes in.
func (b callee) rings(t *testing.T) *phone.Incoming {
	t.Helper()
	select {
	case in := <-b.Incoming():
		return in
	case <-time.After(patience):
		t.Fatal("the callee's phone does not ring")
		return nil
	}
}

// answers takes the next call.
func (b callee) answers(t *testing.T) (*phone.Incoming, *phone.Call) {
	t.Helper()
	in := b.rings(t)
	ear, err := in.Answer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leaves(t, ear)
	return in, ear
}

// result is what the variables of the caller's channel tell of its last dial.
func (c *call) result(t *testing.T) string {
	t.Helper()
	var out []string
	for _, name := range []string{"originate_disposition", "last_bridge_hangup_cause", "last_bridge_proto_specific_hangup_cause", "DIALSTATUS"} {
		out = append(out, c.variable(t, name))
	}
	return strings.Join(out, " ")
}

// Proves what tells how a dial ended, by a callee that does each thing in turn. The caller is still there afterwards.
func TestBridge_VariablesTellHowItEnded(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, row := range []struct {
			name, variables string
			callee          func(t *testing.T, c *call, b callee)
			want            string
		}{
			{"busy", "a=1", rejects(486, "Busy Here"), "USER_BUSY USER_BUSY sip:486 BUSY"},
			{"declined", "a=1", rejects(603, "Decline"), "CALL_REJECTED CALL_REJECTED sip:603 DONTCALL"},
			{"unknown", "a=1", rejects(404, "Not Found"), "UNALLOCATED_NUMBER UNALLOCATED_NUMBER sip:404 UNALLOCATED_NUMBER"},
			{"not there", "a=1", rejects(480, "Temporarily Unavailable"), "NO_USER_RESPONSE NO_USER_RESPONSE sip:480 NO_USER_RESPONSE"},
			{"overload", "a=1", rejects(503, "Service Unavailable"), "NORMAL_TEMPORARY_FAILURE NORMAL_TEMPORARY_FAILURE sip:503 NORMAL_TEMPORARY_FAILURE"},
			{"rings out", "originate_timeout=2", func(t *testing.T, _ *call, b callee) {
				in := b.rings(t)
				_ = in.Ring()
				<-in.Cancelled()
			}, "NO_ANSWER NO_ANSWER  NOANSWER"},
			{"hangs up", "a=1", func(t *testing.T, c *call, b callee) {
				_, ear := b.answers(t)
				c.named(t, "CHANNEL_BRIDGE")
				_ = ear.Bye(t.Context())
			}, "SUCCESS NORMAL_CLEARING sip:200 SUCCESS"},
		} {
			t.Run(row.name, func(t *testing.T) {
				c, b := s.answered(t), s.callee(t, row.variables)
				id := c.begins(t, "bridge", b.dial, false)
				row.callee(t, c, b)
				c.completed(t, id)
				if got := c.result(t); got != row.want {
					t.Errorf("%q, want %q", got, row.want)
				}
				c.runs(t, "playback", toneFile(t, 440, 200*time.Millisecond)) // he is still there
			})
		}
	})
}

// Proves that a leg to where nobody is fails, long before SIP's 32 s, and says so, by a port that nobody has.
func TestBridge_NobodyThereFailsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		c.runs(t, "bridge", "sofia/sipio/sip:1@127.0.0.1:"+freePort())
		if got := c.result(t); got != "NORMAL_TEMPORARY_FAILURE NORMAL_TEMPORARY_FAILURE sip:503 NORMAL_TEMPORARY_FAILURE" {
			t.Errorf("%q", got)
		}
	})
}

func rejects(code int, reason string) func(*testing.T, *call, callee) {
	return func(t *testing.T, _ *call, b callee) {
		if err := b.rings(t).Reject(code, reason); err != nil {
			t.Error(err)
		}
	}
}

// Proves that a leg goes out with the headers that the agent gave it, the number it shows, none of the caller's own
// X-Sipio headers, and an offer of G.711 and keys alone; and that both hear each other.
func TestBridge_LegCarriesWhatItShouldAndBothHear(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		b := s.callee(t, "sip_h_X-Sipio-Dial=user/user_2,sip_h_X-Sipio-Call="+c.token+",origination_caller_id_number=4930777,origination_caller_id_name='Front Desk'")
		id := c.begins(t, "bridge", b.dial, false)
		in, ear := b.answers(t)
		for name, want := range map[string]string{"X-Sipio-Dial": "user/user_2", "X-Sipio-Call": c.token, "X-Sipio-App": "", "X-Sipio-Vars": "", "X-Sipio-Account": ""} {
			if got := in.Header(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if !strings.Contains(in.FromURI(), "sip:4930777@") || in.FromDisplay() != "Front Desk" {
			t.Errorf("From is %q %q", in.FromDisplay(), in.FromURI())
		}
		if m := regexp.MustCompile(`m=.*`).FindAllString(in.InviteRequest(), -1); len(m) != 1 || !regexp.MustCompile(`^m=audio [0-9]+ RTP/AVP 8 0 101\s*$`).MatchString(m[0]) {
			t.Errorf("offered %q, want the two laws and telephone-event", m)
		}
		c.named(t, "CHANNEL_BRIDGE")
		c.ear.SendTone(440)
		ear.SendTone(600)
		hears(t, ear, 440)
		hears(t, c.ear, 600)
		if err := c.ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		over(t, ear, patience)
		events, _ := c.ended(t)
		if events["CHANNEL_HANGUP_COMPLETE"] == nil {
			t.Errorf("no end of the caller's channel after %s: %v", id, events)
		}
	})
}

// Proves that two who have no codec in common hear each other: one speaks only the one law, the other only the other.
func TestBridge_TheTwoLawsUnderstandEachOther(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		p, err := phone.New(t.Context(), phone.Config{AuthUser: "1002", Domain: "acme.test", Proxy: s.sip, Codecs: []string{"PCMU"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		c.talks(t, callee{p, "sofia/sipio/" + p.Contact()}, "true")
		if got := c.ear.Stats().Codec; got != "PCMA" {
			t.Errorf("the caller speaks %s", got)
		}
	})
}

// Proves that a caller who hangs up while it rings stops the ringing.
func TestBridge_HangupWhileRingingCancels(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, b := s.answered(t), s.callee(t, "a=1")
		c.begins(t, "bridge", b.dial, false)
		in := b.rings(t)
		if err := in.Ring(); err != nil {
			t.Fatal(err)
		}
		if err := c.ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-in.Cancelled():
		case <-time.After(patience):
			t.Error("it rings on")
		}
	})
}

// Proves that a caller who was not answered hears ringing, and is answered when the callee answers.
func TestBridge_AnswersTheCallerWithTheCallee(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, b := s.ring(t), s.callee(t, "a=1")
		c.begin(t)
		c.begins(t, "bridge", b.dial, false)
		in := b.rings(t)
		if err := in.Ring(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-c.ear.Ringing():
		case <-time.After(patience):
			t.Fatal("the caller hears no ringing")
		}
		if slices.Contains(c.ear.Provisional(), 183) {
			t.Errorf("provisional responses: %v", c.ear.Provisional())
		}
		if _, err := in.Answer(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.up(t)
	})
}

// Proves the recording of a conversation, by measuring the file: one channel a side, nothing of what was said while it
// was masked.
func TestBridge_RecordingIsStereoAndMaskable(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, b := s.answered(t), s.callee(t, "a=1")
		path := filepath.Join(s.dir, "records", c.token+".wav")
		c.runs(t, "set", "RECORD_STEREO=true")
		c.begins(t, "bridge", b.dial, false)
		_, ear := b.answers(t)
		c.named(t, "CHANNEL_BRIDGE")
		c.ear.SendTone(440)
		ear.SendTone(600)
		hears(t, ear, 440)
		hears(t, c.ear, 600)
		c.api(t, "uuid_record "+c.uuid+" start "+path)
		if e := c.named(t, "RECORD_START"); e.Get("Record-File-Path") != path {
			t.Errorf("begins with %q", e.Get("Record-File-Path"))
		}
		spoken(t, time.Second)
		c.api(t, "uuid_record "+c.uuid+" mask "+path)
		spoken(t, time.Second)
		c.api(t, "uuid_record "+c.uuid+" unmask "+path)
		spoken(t, 2*time.Second)
		c.api(t, "uuid_record "+c.uuid+" stop "+path)
		c.named(t, "RECORD_STOP")
		r := readRecording(t, path)
		if len(r.channels) != 2 {
			t.Fatalf("%d channels", len(r.channels))
		}
		for channel, hz := range []float64{440, 600} {
			said, other, quiet := r.has(channel, hz), r.has(channel, 1040-hz), r.quiet(channel)
			if said < 1500*time.Millisecond || other > 0 || quiet < 500*time.Millisecond || quiet > 2500*time.Millisecond {
				t.Errorf("channel %d of %v: own tone %v, the other's %v, silence %v; want 3 s, none, 1 s", channel, r.length(), said, other, quiet)
			}
		}
	})
}

// Proves that a short recording is kept, and thrown away only when RECORD_MIN_SEC asks for it.
func TestBridge_ShortRecordingIsKept(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, row := range []struct {
			least string
			kept  bool
		}{{"", true}, {"5", false}} {
			c := s.answered(t)
			if row.least != "" {
				c.runs(t, "set", "RECORD_MIN_SEC="+row.least)
			}
			path := filepath.Join(s.dir, "records", c.token+".wav")
			c.api(t, "uuid_record "+c.uuid+" start "+path)
			c.named(t, "RECORD_START")
			spoken(t, time.Second)
			c.api(t, "uuid_record "+c.uuid+" stop "+path)
			c.named(t, "RECORD_STOP")
			if _, err := os.Stat(path); (err == nil) != row.kept {
				t.Errorf("RECORD_MIN_SEC %q: kept %v, want %v", row.least, err == nil, row.kept)
			}
		}
	})
}

// Proves that a recording which cannot be written is refused or told, and harms nobody.
func TestBridge_RecordingToNowhereIsTold(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := c.API(t.Context(), fmt.Sprintf("uuid_record %s start %s/below.wav", c.uuid, file))
		if err == nil {
			t.Error("a recording below a file began")
		}
		c.runs(t, "playback", toneFile(t, 440, 200*time.Millisecond))
	})
}

// Proves the music a waiting caller hears when an agent's phone puts him on hold, and that it ends.
func TestBridge_HoldPlaysMusic(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, b := s.answered(t), s.callee(t, "a=1")
		c.begins(t, "bridge", b.dial, false)
		_, ear := b.answers(t)
		c.named(t, "CHANNEL_BRIDGE")
		ear.SendTone(600)
		hears(t, c.ear, 600)
		if err := ear.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		hears(t, c.ear, musicHz)
		if err := ear.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		hears(t, c.ear, 600)
		c.api(t, "uuid_kill "+c.uuid)
		over(t, ear, patience)
	})
}
