package freeswitch

import (
	"errors"
	"slices"
	"testing"

	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/phone"
)

// Proves what an agent knows of a call before its first command: the headers of Kamailio as variables with their case,
// unchanged text, a second one numbered; who calls, which SIP call it is, and that it is not answered.
func TestOutbound_ConnectTellsTheCall(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.ring(t, phone.WithHeader("X-Multi", "one"), phone.WithHeader("X-Multi", "two"), phone.WithHeader("x-lower", "kept"),
			phone.WithHeader("X-Text", `Grüße; a=1, b="q"`))
		for name, want := range map[string]string{
			"Event-Name": "CHANNEL_DATA", "Socket-Mode": "async", "Control": "full", "Answer-State": "ringing", "Channel-State": "CS_EXECUTE",
			"Call-Direction": "inbound", "Caller-Caller-ID-Number": "1001", "Caller-Caller-ID-Name": "Phone 1001",
			"Caller-Destination-Number": "4930", "Caller-Context": "sipio",
			"variable_sip_h_X-Sipio-Call": c.token, "variable_sip_h_X-Sipio-Account": "acct_1", "variable_sip_h_X-Sipio-App": "flow/flow_1",
			"variable_sip_h_X-Multi": "one", "variable_sip_h_X-Multi-1": "two", "variable_sip_h_x-lower": "kept",
			"variable_sip_h_X-Text": `Grüße; a=1, b="q"`, "variable_sip_call_id": c.ear.CallID(), "variable_sip_network_ip": "127.0.0.1",
			"variable_sip_to_user": "4930", "variable_sip_from_user": "1001", "variable_endpoint_disposition": "DELAYED NEGOTIATION",
			"variable_sofia_profile_name": "sipio", "variable_socket_resume": "true", "variable_sipio_resumed": "",
		} {
			if got := c.start.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if c.start.Variable("switch_r_sdp") == "" || c.start.Get("Unique-ID") != c.start.Variable("uuid") {
			t.Error("no SDP, or no id")
		}
	})
}

// Proves the one lie in that data: what looks URL-encoded in a value is not encoded again, so it arrives decoded. A
// display name could add a variable to the caller's. Only uuid_getvar gives the header as it was sent.
func TestOutbound_EscapesInAValueAreLost(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		const sent = "caller_name=Z%C3%B6e%26did_label%3Dforged&n=%c3"
		c := s.ring(t, phone.WithHeader("X-Text", sent))
		if got := c.start.Variable("sip_h_X-Text"); got != "caller_name=Zöe&did_label=forged&n=%c3" {
			t.Errorf("connect: %q", got)
		}
		if got := c.variable(t, "sip_h_X-Text"); got != sent {
			t.Errorf("uuid_getvar: %q, want %q", got, sent)
		}
	})
}

// Proves the other lie: a variable that is not set is answered like a command that does not exist.
func TestOutbound_GetvarOfNothingLies(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.ring(t)
		if r, err := c.Send(t.Context(), "getvar sip_call_id"); err != nil || r.Text != c.ear.CallID() {
			t.Errorf("set: %q, %v", r.Text, err)
		}
		var refused *esl.CommandError
		if _, err := c.Send(t.Context(), "getvar nosuch"); !errors.As(err, &refused) || refused.Text != "-ERR command not found" {
			t.Errorf("not set: %v", err)
		}
		if got := c.api(t, "uuid_getvar "+c.uuid+" nosuch"); got != "_undef_" {
			t.Errorf("uuid_getvar: %q", got)
		}
	})
}

// Proves that the end of a call is told whole before the connection closes: with linger the caller's BYE is seen as
// CHANNEL_HANGUP, then CHANNEL_HANGUP_COMPLETE, then a notice.
func TestOutbound_LingerTellsTheEnd(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		if err := c.ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		events, err := c.ended(t)
		if !errors.Is(err, esl.ErrDisconnected) {
			t.Errorf("the connection ended by %v, want a notice", err)
		}
		end := events["CHANNEL_HANGUP_COMPLETE"]
		if end == nil || events["CHANNEL_HANGUP"] == nil {
			t.Fatalf("events of the end are missing: %v", events)
		}
		if got := end.Get("Hangup-Cause"); got != "NORMAL_CLEARING" {
			t.Errorf("cause %q", got)
		}
		if got := end.Variable("sip_hangup_disposition"); got != "recv_bye" {
			t.Errorf("who hung up: %q", got)
		}
	})
}

// Proves that myevents leaves out what is about playing, and that it comes when asked for beside it.
func TestOutbound_MyEventsIsNotAll(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.ring(t)
		c.api(t, "sched_del "+c.uuid)
		c.send(t, "myevents")
		c.runs(t, "answer", "")
		file := toneFile(t, 440, 300*1e6)
		saw := func() (names []string) {
			id := c.begins(t, "playback", file, false)
			c.next(t, "the end", func(e *esl.Event) bool {
				names = append(names, e.Name())
				return e.Name() == "CHANNEL_EXECUTE_COMPLETE" && e.Get("Application-UUID") == id
			})
			return names
		}
		if names := saw(); slices.Contains(names, "PLAYBACK_START") || slices.Contains(names, "PLAYBACK_STOP") {
			t.Errorf("myevents alone gives %v", names)
		}
		c.send(t, "event plain PLAYBACK_START PLAYBACK_STOP")
		if names := saw(); !slices.Contains(names, "PLAYBACK_START") || !slices.Contains(names, "PLAYBACK_STOP") {
			t.Errorf("asked for, there is only %v", names)
		}
	})
}

// Proves which SIP code a caller gets who was not answered, by cause; the edge maps by them.
func TestOutbound_CausesBecomeCodes(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, row := range []struct {
			cause string
			code  int
		}{
			{"USER_BUSY", 486}, {"CALL_REJECTED", 603}, {"UNALLOCATED_NUMBER", 404}, {"NO_ROUTE_DESTINATION", 404},
			{"NORMAL_TEMPORARY_FAILURE", 503}, {"SWITCH_CONGESTION", 503}, {"NO_ANSWER", 480}, {"NORMAL_CLEARING", 480},
		} {
			c := s.ring(t)
			c.begin(t)
			c.hangup(t, row.cause)
			if got := c.refused(t, patience); got.Code != row.code {
				t.Errorf("%s: %v, want %d", row.cause, got, row.code)
			}
		}
		for _, row := range []struct {
			app, arg string
			code     int
		}{{"respond", "404", 404}, {"respond", "480 Gone Fishing", 480}, {"redirect", "sip:1@127.0.0.1:9", 302}} {
			c := s.ring(t)
			c.begin(t)
			c.begins(t, row.app, row.arg, false)
			if got := c.refused(t, patience); got.Code != row.code {
				t.Errorf("%s %s: %v", row.app, row.arg, got)
			}
		}
	})
}

// Proves that an answered call which the platform ends gets a BYE, and its cause in the events.
func TestOutbound_HangupEndsAnAnsweredCall(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		c.hangup(t, "NORMAL_CLEARING")
		over(t, c.ear, patience)
		events, _ := c.ended(t)
		if e := events["CHANNEL_HANGUP_COMPLETE"]; e == nil || e.Variable("sip_hangup_disposition") != "send_bye" {
			t.Errorf("the end is not told, or not as ours: %v", e != nil)
		}
	})
}

// Proves that a caller who gives up before the answer is told to the agent as such.
func TestOutbound_CancelIsTold(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.ring(t)
		c.begin(t)
		c.ear.Cancel()
		if got := c.refused(t, patience); got.Code != 487 {
			t.Errorf("%v, want 487", got)
		}
		events, _ := c.ended(t)
		if e := events["CHANNEL_HANGUP_COMPLETE"]; e == nil || e.Get("Hangup-Cause") != "ORIGINATOR_CANCEL" {
			t.Errorf("the end is not told, or not as his: %v", e != nil)
		}
	})
}

// Proves that a header set by the platform reaches the caller in the answer, and that nothing there tells the version.
func TestOutbound_AnswerCarriesHeadersAndNoVersion(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.ring(t)
		c.begin(t)
		c.runs(t, "set", "sip_rh_X-Answer=yes")
		c.runs(t, "answer", "")
		c.up(t)
		headers := c.ear.RemoteHeaders()
		if got := headers["X-Answer"]; !slices.Equal(got, []string{"yes"}) {
			t.Errorf("X-Answer: %v", got)
		}
		for _, name := range []string{"Server", "User-Agent"} {
			if got := headers[name]; len(got) > 0 && got[0] != "sipio" {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}
