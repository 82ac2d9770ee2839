package freeswitch

import (
	"crypto/rand"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/phone"
)

// legEvents are what the node agent hears of a leg that it has made, on its inbound connection.
const legEvents = "BACKGROUND_JOB CHANNEL_PROGRESS CHANNEL_ANSWER CHANNEL_PARK CHANNEL_UNPARK CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE " +
	"CHANNEL_BRIDGE CHANNEL_UNBRIDGE CHANNEL_HANGUP CHANNEL_HANGUP_COMPLETE DTMF"

// leg is a leg that was made by originate and waits in park: an agent of a queue. Its connection is an inbound one that
// hears of this leg alone.
type leg struct {
	*agent
	callee
}

// originate begins a leg to a phone of its own, with variables of a dial string.
func (s *site) originate(t *testing.T, variables string) *leg {
	t.Helper()
	p := s.newPhone(t, "1002")
	return s.originateTo(t, callee{Phone: p, dial: "sofia/sipio/" + p.Contact()}, variables)
}

func (s *site) originateTo(t *testing.T, to callee, variables string) *leg {
	t.Helper()
	l := &leg{callee: to, agent: &agent{Conn: s.dialESL(t, esl.Options{}), uuid: strings.ToLower(rand.Text())}}
	l.send(t, "filter Unique-ID "+l.uuid)
	l.send(t, "filter Job-UUID "+l.uuid)
	l.send(t, "event plain "+legEvents)
	l.send(t, "bgapi originate {origination_uuid="+l.uuid+","+variables+"}"+to.dial+" &park()", esl.Header{Name: "Job-UUID", Value: l.uuid})
	return l
}

// result is what the originate said at its end.
func (l *leg) result(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(string(l.named(t, "BACKGROUND_JOB").Body()))
}

// parked has the phone answer and waits until the leg is in park.
func (l *leg) parked(t *testing.T) *phone.Call {
	t.Helper()
	_, ear := l.answers(t)
	l.named(t, "CHANNEL_PARK")
	return ear
}

// Proves what a leg says that nobody took, by a phone that does each thing in turn: the word of the job is the cause.
func TestOriginate_CausesTellHowItEnded(t *testing.T) {
	ringing := func(t *testing.T, l *leg) *phone.Incoming {
		t.Helper()
		in := l.rings(t)
		if err := in.Ring(); err != nil {
			t.Fatal(err)
		}
		l.named(t, "CHANNEL_PROGRESS")
		return in
	}
	cancelled := func(t *testing.T, in *phone.Incoming) {
		t.Helper()
		select {
		case <-in.Cancelled():
		case <-time.After(patience):
			t.Error("it rings on")
		}
	}
	refuses := func(code int) func(t *testing.T, l *leg) {
		return func(t *testing.T, l *leg) {
			if err := l.rings(t).Reject(code, "No"); err != nil {
				t.Error(err)
			}
		}
	}
	each(t, func(t *testing.T, s *site) {
		for _, row := range []struct {
			name, variables string
			do              func(t *testing.T, l *leg)
			want            string
		}{
			{"busy", "a=1", refuses(486), "-ERR USER_BUSY"},
			{"busy everywhere", "a=1", refuses(600), "-ERR USER_BUSY"},
			{"declined", "a=1", refuses(603), "-ERR CALL_REJECTED"},
			{"unknown", "a=1", refuses(404), "-ERR UNALLOCATED_NUMBER"},
			{"not there", "a=1", refuses(480), "-ERR NO_USER_RESPONSE"},
			{"overload", "a=1", refuses(503), "-ERR NORMAL_TEMPORARY_FAILURE"},
			{"no codec", "a=1", refuses(488), "-ERR INCOMPATIBLE_DESTINATION"},
			{"rings out", "originate_timeout=2", func(t *testing.T, l *leg) { cancelled(t, ringing(t, l)) }, "-ERR NO_ANSWER"},
			{"killed", "originate_timeout=20", func(t *testing.T, l *leg) {
				in := ringing(t, l)
				l.api(t, "uuid_kill "+l.uuid)
				cancelled(t, in)
			}, "-ERR NORMAL_CLEARING"},
			{"killed for a reason", "originate_timeout=20", func(t *testing.T, l *leg) {
				in := ringing(t, l)
				l.api(t, "uuid_kill "+l.uuid+" LOSE_RACE")
				cancelled(t, in)
			}, "-ERR LOSE_RACE"},
		} {
			t.Run(row.name, func(t *testing.T) {
				l := s.originate(t, row.variables)
				row.do(t, l)
				if got := l.result(t); got != row.want {
					t.Errorf("%q, want %q", got, row.want)
				}
			})
		}
	})
}

// Proves that a leg to where nobody is fails, long before SIP's 32 s.
func TestOriginate_NobodyThereFailsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		l := s.originateTo(t, callee{dial: "sofia/sipio/sip:1@127.0.0.1:" + freePort()}, "a=1")
		if got := l.result(t); got != "-ERR NORMAL_TEMPORARY_FAILURE" {
			t.Errorf("%q", got)
		}
	})
}

// Proves that a leg which was answered waits in park: it says so in the order answer, job, park; the offer had the one
// codec that was asked for and the headers given; a file is played to it and its keys are told, while the caller hears
// nothing of either.
func TestOriginate_AnsweredLegWaitsInPark(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		l := s.originate(t, "absolute_codec_string=PCMU,sip_h_X-Sipio-Dial=agent/user_2,origination_caller_id_number=4930777")
		in := l.rings(t)
		if got := in.Header("X-Sipio-Dial"); got != "agent/user_2" {
			t.Errorf("X-Sipio-Dial is %q", got)
		}
		if m := regexp.MustCompile(`m=.*`).FindString(in.InviteRequest()); !regexp.MustCompile(`^m=audio [0-9]+ RTP/AVP 0 101\s*$`).MatchString(m) {
			t.Errorf("offered %q, want PCMU and telephone-event", m)
		}
		_ = in.Reject(486, "Busy Here")
		l.result(t)

		l = s.originate(t, "absolute_codec_string=PCMA")
		_, ear := l.answers(t)
		l.named(t, "CHANNEL_ANSWER")
		if got := l.result(t); got != "+OK "+l.uuid {
			t.Errorf("answered: %q", got)
		}
		l.named(t, "CHANNEL_PARK")
		if got := l.variable(t, "read_codec"); got != "PCMA" {
			t.Errorf("read_codec is %q", got)
		}
		l.send(t, "sendmsg "+l.uuid, esl.Header{Name: "call-command", Value: "execute"}, esl.Header{Name: "execute-app-name", Value: "playback"},
			esl.Header{Name: "execute-app-arg", Value: toneFile(t, 700, 2*time.Second)}, esl.Header{Name: "Event-UUID", Value: "whisper"})
		hears(t, ear, 700)
		if err := ear.SendDigits("1"); err != nil {
			t.Fatal(err)
		}
		l.expectKeys(t, "1", "RTP")
		l.completed(t, "whisper")
		if err := ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e := l.named(t, "CHANNEL_HANGUP"); e.Get("Hangup-Cause") != "NORMAL_CLEARING" {
			t.Errorf("ended by %q", e.Get("Hangup-Cause"))
		}
	})
}
