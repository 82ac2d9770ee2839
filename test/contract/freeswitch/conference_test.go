package freeswitch

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
)

// joins puts a call into a conference room and returns its member id.
func (c *call) joins(t *testing.T, room, flags string) (job, member string) {
	t.Helper()
	job = c.begins(t, "conference", room+"@sipio"+flags, false)
	e := c.maintenance(t, "add-member")
	if e.Get("Conference-Name") != room {
		t.Errorf("joined %q", e.Get("Conference-Name"))
	}
	return job, e.Get("Member-ID")
}

// maintenance is the next event of that action in the call's conference.
func (c *call) maintenance(t *testing.T, action string) *esl.Event {
	t.Helper()
	return c.next(t, action, func(e *esl.Event) bool {
		return e.Subclass() == "conference::maintenance" && e.Get("Action") == action
	})
}

// Proves that members hear each other but not themselves, that mute and unmute hold for one of them, and that all of it
// is told as events.
func TestConference_MembersHearEachOther(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		a, b := s.answered(t), s.answered(t)
		room := "acct-" + a.token
		_, member := a.joins(t, room, "")
		b.joins(t, room, "")
		a.ear.SendTone(440)
		hears(t, b.ear, 440)
		silent(t, a.ear)
		b.ear.SendTone(600)
		hears(t, a.ear, 600)
		a.api(t, "conference "+room+" mute "+member)
		a.maintenance(t, "mute-member")
		silent(t, b.ear)
		a.api(t, "conference "+room+" unmute "+member)
		a.maintenance(t, "unmute-member")
		hears(t, b.ear, 440)
	})
}

// Proves what the member list says, from which the platform's own list is made: ids, channels, numbers, who is muted,
// who moderates, whether it is locked.
func TestConference_ListsItsMembers(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		a, b := s.answered(t), s.answered(t)
		room := "acct-" + a.token
		_, ida := a.joins(t, room, "+flags{moderator}")
		_, idb := b.joins(t, room, "+flags{mute}")
		a.api(t, "conference "+room+" lock")
		var list []struct {
			Name    string `json:"conference_name"`
			Count   int    `json:"member_count"`
			Locked  bool   `json:"locked"`
			Members []struct {
				ID     json.Number `json:"id"`
				UUID   string      `json:"uuid"`
				Number string      `json:"caller_id_number"`
				Flags  struct {
					Speak     bool `json:"can_speak"`
					Moderator bool `json:"is_moderator"`
				} `json:"flags"`
			} `json:"members"`
		}
		text := a.api(t, "conference "+room+" json_list")
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 || len(list[0].Members) != 2 {
			t.Fatalf("list %s: %v", text, err)
		}
		if l := list[0]; l.Name != room || l.Count != 2 || !l.Locked {
			t.Errorf("list: %s", text)
		}
		for _, m := range list[0].Members {
			switch m.ID.String() {
			case ida:
				if m.UUID != a.uuid || m.Number != "1001" || !m.Flags.Speak || !m.Flags.Moderator {
					t.Errorf("first member: %+v", m)
				}
			case idb:
				if m.UUID != b.uuid || m.Flags.Speak || m.Flags.Moderator {
					t.Errorf("second member: %+v", m)
				}
			default:
				t.Errorf("unknown member: %+v", m)
			}
		}
	})
}

// Proves that who is kicked comes back to the agent, with an event that says so, and that the others stay.
func TestConference_KickGivesTheCallerBack(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		a, b := s.answered(t), s.answered(t)
		room := "acct-" + a.token
		job, member := a.joins(t, room, "")
		b.joins(t, room, "")
		a.api(t, "conference "+room+" kick "+member)
		a.maintenance(t, "kick-member")
		a.maintenance(t, "del-member")
		a.completed(t, job)
		a.begins(t, "playback", toneFile(t, 900, 3*time.Second), false)
		hears(t, a.ear, 900)
		if got := b.api(t, "conference "+room+" get count"); got != "1" {
			t.Errorf("left in the room: %q", got)
		}
	})
}

// Proves that a locked room and a full one turn a member away: the application ends at once, without an event of joining.
func TestConference_LockedAndFullTurnAway(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		a, b := s.answered(t), s.answered(t)
		room := "acct-" + a.token
		a.joins(t, room, "")
		a.api(t, "conference "+room+" lock")
		b.runs(t, "conference", room+"@sipio")
		a.api(t, "conference "+room+" unlock")
		if strings.Contains(strings.Join(b.seen, "\n"), "add-member") {
			t.Error("joined a locked room")
		}
		full := room + "-full"
		c, d, e := s.answered(t), s.answered(t), s.answered(t)
		c.runs(t, "set", "conference_max_members=2")
		c.joins(t, full, "")
		d.joins(t, full, "")
		e.runs(t, "conference", full+"@sipio")
		if strings.Contains(strings.Join(e.seen, "\n"), "add-member") {
			t.Error("joined a full room")
		}
	})
}

// Proves that a room plays a file to all its members and can be recorded, by ear and by measuring the file.
func TestConference_PlaysAndRecords(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		a, b := s.answered(t), s.answered(t)
		room, path := "acct-"+a.token, filepath.Join(s.dir, "records", a.token+".wav")
		a.joins(t, room, "")
		b.joins(t, room, "")
		a.api(t, "conference "+room+" recording start "+path)
		a.ear.SendTone(440)
		hears(t, b.ear, 440)
		says(t, a.ear, time.Second)
		a.ear.SendTone(0)
		a.api(t, "conference "+room+" play "+toneFile(t, 900, 2*time.Second))
		hears(t, a.ear, 900)
		hears(t, b.ear, 900)
		silent(t, b.ear) // the file is over
		a.api(t, "conference "+room+" recording stop "+path)
		deadline := time.Now().Add(patience)
		for readable := false; !readable; readable = canRead(path) {
			if time.Now().After(deadline) {
				t.Fatal("the recording is not there")
			}
			spoken(t, 100*time.Millisecond)
		}
		if r := readRecording(t, path); r.has(0, 440) < 700*time.Millisecond || r.has(0, 900) < 200*time.Millisecond {
			t.Errorf("recorded %v: %v of the member, %v of the file", r.length(), r.has(0, 440), r.has(0, 900))
		}
	})
}

// Proves that members wait, with music, until a moderator is there, when the room was made that way.
func TestConference_WaitsForItsModerator(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		a, b, m := s.answered(t), s.answered(t), s.answered(t)
		room := "acct-" + a.token
		a.runs(t, "set", "conference_moh_sound=local_stream://moh")
		a.joins(t, room, "+flags{wait-mod}")
		b.joins(t, room, "+flags{wait-mod}")
		hears(t, a.ear, musicHz)
		hears(t, b.ear, musicHz)
		m.joins(t, room, "+flags{wait-mod|moderator}")
		silent(t, a.ear)
		m.ear.SendTone(440)
		hears(t, a.ear, 440)
		hears(t, b.ear, 440)
	})
}
