package flow

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

const listOfTwo = `[{"conference_name":"acc-c1","locked":true,"members":[{"type":"recording_node","record_path":"x"},
{"type":"caller","id":3,"uuid":"chan-1","caller_id_name":"Al","caller_id_number":"123","join_time":5,"flags":{"can_speak":false,"is_moderator":true}}]}]`

func (f *fakeSwitch) conferenceEvent(action string) {
	f.emit("CUSTOM", map[string]string{"Event-Subclass": "conference::maintenance", "Conference-Name": "acc-c1", "Action": action})
}

func TestConference_WaysOut(t *testing.T) {
	// Proves each outcome by the events of a room: left, kicked, ended, hung up, and refused because it was locked, full or not there.
	for name, row := range map[string]struct {
		actions []string
		list    string
		want    string
	}{
		"left":   {[]string{"add-member", "del-member"}, "", "left"},
		"kicked": {[]string{"add-member", "kick-member", "del-member"}, "", "left reason=kicked"},
		"ended":  {[]string{"add-member", "hup-member", "del-member"}, "", "ended"},
		"locked": {nil, listOfTwo, "denied reason=locked"},
		"full":   {nil, strings.Replace(listOfTwo, "true", "false", 1), "denied reason=full"},
		"gone":   {nil, "Conference acc-c1 not found", "failed reason=the room could not be joined: nobody is in that conference here"},
		"hangup": {[]string{"add-member", "HANGUP"}, "", "hangup cause=USER_BUSY"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := newNode(t, command(api.CommandConference, api.CommandParams{Room: "acc-c1", Moderator: true, MaxMembers: 5, WaitModerator: true, AnnounceMember: true}))
				n.fs.lasts["conference"] = 5 * time.Second
				if row.list != "" {
					n.fs.replies["conference acc-c1 json_list"] = row.list
				}
				for i, action := range row.actions {
					during(time.Duration(i+1)*time.Second, func() {
						if action == "HANGUP" {
							n.fs.hangup("USER_BUSY")
							return
						}
						n.fs.conferenceEvent(action)
					})
				}
				n.run(nil)
				n.wantOutcomes(row.want)
				n.wantOrders("socket_resume=false", "conference_max_members=5;conference_flags=wait-mod;conference_moh_sound=local_stream://moh;conference_enter_sound=tone_stream", "conference acc-c1@sipio+flags{moderator}")
				if len(n.rooms.byName) != 0 {
					t.Error("the room is still counted")
				}
			})
		})
	}
}

func TestConference_FirstMemberRecordsLastStores(t *testing.T) {
	// Proves that a room is recorded once, from its first member on, and stored by the last who leaves, who tells of it.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandConference, api.CommandParams{Room: "acc-c1", Key: "k"}))
		n.fs.lasts["conference"] = 20 * time.Second
		during(time.Second, func() { n.fs.conferenceEvent("add-member") })
		during(2*time.Second, func() {
			n.fs.conferenceEvent("add-member") // once more: nothing is counted twice
			n.rooms.mu.Lock()
			in := n.rooms.byName["acc-c1"]
			if in.members != 1 || in.file == "" {
				t.Errorf("room: %+v", in)
			}
			sound(t, in.file, 640)
			n.rooms.mu.Unlock()
		})
		n.run(nil)
		n.wantOutcomes("left key=k duration_ms=40")
		if got := countOf(n.fs.orders(), "recording start"); got != 1 || n.media.stored["k"] == 0 {
			t.Errorf("started %d times, stored %v", got, n.media.stored)
		}
	})
}

func TestConferenceOps_TranslateAndRefuse(t *testing.T) {
	// Proves the commands of each action, the list as the brain reads it, and that a refusal of FreeSWITCH's becomes an error.
	inBubble(t, func(t *testing.T) {
		n := newNode(t)
		n.live["chan-1"] = &call{uuid: "chan-1", token: "tok"}
		for _, row := range []struct{ action, member, reply, order string }{
			{"mute", "3", "+OK mute 3", "api conference acc-c1 mute 3"}, {"unmute", "", "+OK unmute 3", "api conference acc-c1 unmute all"},
			{"kick", "3", "+OK kicked 3", "api conference acc-c1 kick 3"}, {"lock", "", "+OK acc-c1 locked", "api conference acc-c1 lock"}, {"unlock", "", "+OK", "api conference acc-c1 unlock"},
		} {
			n.fs.replies = map[string]string{"conference": row.reply}
			if _, err := n.Conference(t.Context(), api.Op{Room: "acc-c1", Action: row.action, Member: row.member}); err != nil {
				t.Errorf("%s: %v", row.action, err)
			}
			n.wantOrders(row.order)
		}
		n.fs.replies = map[string]string{"conference": listOfTwo}
		reply, err := n.Conference(t.Context(), api.Op{Room: "acc-c1", Action: "list"})
		if err != nil || !reply.Locked || len(reply.Members) != 1 {
			t.Fatalf("%+v, %v", reply, err)
		}
		want := api.ConferenceMember{ID: "3", Token: "tok", Number: "123", Name: "Al", Muted: true, Moderator: true, JoinedMS: time.Now().Add(-5 * time.Second).UnixMilli()}
		if reply.Members[0] != want {
			t.Errorf("%+v, want %+v", reply.Members[0], want)
		}
		for reply, want := range map[string]error{"Conference acc-c1 not found": errNoRoom, "-ERR Non-Existant ID 9": errNoMember} {
			n.fs.replies = map[string]string{"conference": reply}
			if _, err := n.Conference(t.Context(), api.Op{Room: "acc-c1", Action: "kick", Member: "9"}); !errors.Is(err, want) {
				t.Errorf("%s: %v", reply, err)
			}
		}
		n.fs.replies = map[string]string{"conference": "-ERR Conference acc-c1 not found"}
		if reply, err := n.Conference(t.Context(), api.Op{Room: "acc-c1", Action: "list"}); err != nil || len(reply.Members) != 0 {
			t.Errorf("a room where nobody is: %+v, %v", reply, err)
		}
		for _, op := range []api.Op{{Room: "a b", Action: "list"}, {Room: "r", Action: "dance"}, {Room: "r", Action: "kick", Member: "all; x"}} {
			if _, err := n.Conference(t.Context(), op); err == nil {
				t.Errorf("%+v was taken", op)
			}
		}
		if _, err := n.Recording(t.Context(), api.Op{Token: "other", Action: "start", Key: "k"}); !errors.Is(err, errNoCall) {
			t.Error(err)
		}
		if _, err := n.Recording(t.Context(), api.Op{Token: "tok", Action: "pause"}); !errors.Is(err, errNoCall) && !errors.Is(err, errNotRecorded) {
			t.Error(err)
		}
	})
}

// refusal is an error of the event socket's client, whose own text is cut where the room's name is long.
type refusal struct{ reason string }

func (r refusal) Error() string {
	return "FreeSWITCH refused api conference: -ERR Conference acc_01m8114f1egh8abxyj..."
}
func (r refusal) Reason() string { return r.reason }

func TestReadRoom_KnowsARoomThatIsNotThereByItsWholeRefusal(t *testing.T) {
	// Proves that a room in which nobody is is told from a fault, however long its name is.
	for reason, none := range map[string]bool{"Conference acc_01m8114f1egh8abxyjrqch7smm-conf_01m8114f1egh8abxyjseg1ynjn not found": true, "Conference command 'x' unknown": false} {
		_, err := readRoom(t.Context(), func(contextOf, string) (string, error) { return "", refusal{reason} }, "r")
		if err == nil || errors.Is(err, errNoRoom) != none {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

func FuzzReadRoom(f *testing.F) {
	// Proves that no answer of FreeSWITCH's makes the reader of a room panic.
	f.Add(listOfTwo)
	f.Add("Conference x not found")
	f.Add("[]")
	f.Fuzz(func(t *testing.T, body string) {
		state, err := readRoom(t.Context(), func(contextOf, string) (string, error) { return body, nil }, "r")
		if err != nil && len(state.Members) > 0 {
			t.Error(state, err)
		}
	})
}
