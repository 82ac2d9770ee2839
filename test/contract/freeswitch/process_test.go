package freeswitch

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/phone"
)

// vanishes waits until a channel is gone.
func (s *site) vanishes(t *testing.T, uuid string) {
	t.Helper()
	c := s.dialESL(t, esl.Options{})
	for deadline := time.Now().Add(patience); apiOf(t, c, "uuid_exists "+uuid) != "false"; spoken(t, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("channel %s is still there", uuid)
		}
	}
}

// Proves that only Kamailio's addresses may send calls, by a caller from another address of this machine.
func TestProcess_StrangersAreRefused(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		p, err := phone.New(t.Context(), phone.Config{AuthUser: "1", Domain: "acme.test", Proxy: s.sip, LocalIP: "127.0.0.2"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err = p.Call(ctx, "sip:1@"+s.sip)
		var refusal *phone.StatusError
		if !errors.As(err, &refusal) || refusal.Code != 403 {
			t.Errorf("%v, want 403", err)
		}
	})
}

// Proves that the channels can be listed by another than the one who drives them, which is how orphans are found, and
// that one of them can be ended so.
func TestProcess_ChannelsAreListedAndEnded(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		c.begins(t, "playback", "local_stream://moh", false)
		hears(t, c.ear, musicHz)
		other := s.dialESL(t, esl.Options{})
		var list struct {
			Count int `json:"row_count"`
			Rows  []struct{ UUID, Direction, State, Application, Context, Callstate, Dest string }
		}
		text := apiOf(t, other, "show channels as json")
		if err := json.Unmarshal([]byte(text), &list); err != nil || list.Count < 1 || list.Count != len(list.Rows) {
			t.Fatalf("list %s: %v", text, err)
		}
		found := false
		for _, row := range list.Rows {
			if row.UUID == c.uuid {
				found = true
				if row.Direction != "inbound" || row.State != "CS_EXECUTE" || row.Application != "playback" || row.Context != "sipio" || row.Callstate != "ACTIVE" || row.Dest != "4930" {
					t.Errorf("row %+v", row)
				}
			}
		}
		if !found {
			t.Errorf("channel %s is not in %s", c.uuid, text)
		}
		if got := apiOf(t, other, "uuid_kill "+c.uuid); got != "+OK" {
			t.Errorf("uuid_kill: %q", got)
		}
		over(t, c.ear, patience)
		s.vanishes(t, c.uuid)
	})
}

// Proves that a node can be closed for new calls while those that are up go on, and opened again.
func TestProcess_PauseRefusesNewCalls(t *testing.T) {
	alone(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		other := s.dialESL(t, esl.Options{})
		apiOf(t, other, "fsctl pause inbound")
		got := s.invite(t).refused(t, patience)
		if got.Code != 503 || got.RetryAfter != 300*time.Second {
			t.Errorf("%v, retry after %v", got, got.RetryAfter)
		}
		c.begins(t, "playback", toneFile(t, 440, 3*time.Second), false)
		hears(t, c.ear, 440)
		apiOf(t, other, "fsctl resume inbound")
		s.answered(t)
	})
}

// Proves how an orderly end looks: callers get BYE, clients the SHUTDOWN event and a notice, and the process is gone.
func TestProcess_OrderlyEndTellsEverybody(t *testing.T) {
	alone(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		other := &agent{Conn: s.dialESL(t, esl.Options{})}
		other.send(t, "event plain SHUTDOWN")
		ended := make(chan error, 1)
		go func() { ended <- s.term() }()
		over(t, c.ear, patience)
		events, err := other.ended(t)
		if events["SHUTDOWN"] == nil || !errors.Is(err, esl.ErrDisconnected) {
			t.Errorf("a client sees %v and ends by %v", events, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		<-s.gone
	})
}

// Proves how a crash looks: connections end at once without a notice, and callers hear nothing of it.
func TestProcess_CrashTellsNobody(t *testing.T) {
	alone(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		other := &agent{Conn: s.dialESL(t, esl.Options{})}
		s.kill()
		for _, a := range []*agent{c.agent, other} {
			if _, err := a.ended(t); errors.Is(err, esl.ErrDisconnected) {
				t.Errorf("ended by %v, want no notice", err)
			}
		}
		select {
		case <-c.ear.Done():
			t.Error("the caller got a BYE")
		case <-time.After(500 * time.Millisecond):
		}
	})
}

// Proves that an INVITE without SDP is refused and never answered by accident, and that a REFER is declined.
func TestProcess_NoSurprisesInSIP(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		if code, err := c.ear.Refer(t.Context(), "sip:1@127.0.0.1:9"); err != nil || !slices.Contains([]int{403, 405, 501, 603}, code) {
			t.Errorf("REFER: %d, %v", code, err)
		}
	})
}

// Proves that an INVITE without SDP is refused: answering it would commit the caller before the flow begins.
func TestProcess_InviteWithoutSDPIsRefused(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		raw, err := phone.DialRaw("", s.sip)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		id := rand.Text()
		m, err := raw.Exchange(ctx, fmt.Appendf(nil, "INVITE sip:1@%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[3]s\r\nFrom: <sip:1@acme.test>;tag=%[3]s\r\nTo: <sip:1@%[1]s>\r\nCall-ID: %[3]s\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:1@%[2]s>\r\nX-Sipio-Call: %[3]s\r\nContent-Length: 0\r\n\r\n", s.sip, raw.LocalAddr(), id))
		if err != nil || m.Code < 400 {
			t.Errorf("%v, %v", m, err)
		}
	})
}
