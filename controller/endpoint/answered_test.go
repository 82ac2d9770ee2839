package endpoint

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// studio is a configuration with a conference, and three nodes of which one has no address; and it is the nodes:
// the room is at edge2.
type studio struct {
	*configuration
	ops     []string // NODE KIND ACTION ROOM MEMBER TOKEN
	keys    []string
	members []api.ConferenceMember
	refuse  string // a node's refusal of all but lists
	silent  string // a node that does not answer
}

var studioNodes = []*brain.Node{{Name: "edge0"}, {Name: "edge1", AgentURL: "http://192.0.2.1"}, {Name: "edge2", AgentURL: "http://192.0.2.2"}}

func (s *studio) Directory() brain.Directory { return s }
func (s *studio) Nodes() []*brain.Node       { return studioNodes }
func (s *studio) NodeByName(name string) *brain.Node {
	if i := slices.IndexFunc(studioNodes, func(n *brain.Node) bool { return n.Name == name }); i >= 0 {
		return studioNodes[i]
	}
	return nil
}

func (s *studio) Push(_ context.Context, n *brain.Node, op api.Op) (api.OpReply, error) {
	if !strings.HasPrefix(op.ID, "op_") {
		return api.OpReply{}, brain.Errorf(brain.EInternal, "no id")
	}
	s.ops = append(s.ops, strings.Join([]string{n.Name, op.Kind, op.Action, op.Room, op.Member, op.Token}, " "))
	s.keys = append(s.keys, op.Key)
	switch {
	case n.Name == s.silent:
		return api.OpReply{}, brain.Errorf(brain.EUnavailable, "node %s: planted", n.Name)
	case n.AgentURL == "":
		return api.OpReply{}, brain.Errorf(brain.EInvalid, "node %s has no agent_url", n.Name)
	case op.Action == "list" && n.Name == "edge2":
		return api.OpReply{OK: true, Members: s.members, Locked: true}, nil
	case op.Action != "list" && s.refuse != "":
		return api.OpReply{Error: s.refuse}, nil
	}
	return api.OpReply{OK: true}, nil
}

func newStudio(t *testing.T) (*bench, *studio) {
	b := newBench(t)
	s := &studio{configuration: b.Config.(*configuration), members: []api.ConferenceMember{{ID: "3", Number: "1001", Moderator: true}}}
	s.account.Conferences = map[string]*brain.Conference{"conf_1": {ID: "conf_1", AccountID: "acc_1", Name: "board"}}
	s.account.Account.Timezone = "Asia/Tokyo"
	s.account.Zones = map[string]*time.Location{"Asia/Tokyo": time.FixedZone("Tokyo", 9*3600)}
	b.Config, b.Server.Nodes = s, s
	b.Now = func() time.Time { return time.Date(2026, 3, 31, 20, 0, 0, 0, time.UTC) }
	b.presence.calls = []api.Call{{CallID: "c", AccountID: "acc_1", Node: "edge2", Token: "tok"}, {CallID: "d", AccountID: "acc_1", Node: "edge0", Token: "mute"},
		{CallID: "e", AccountID: "acc_1", Node: "gone", Token: "lost"}, {CallID: "f", AccountID: "acc_2", Node: "edge2", Token: "foreign"}}
	b.mux = http.NewServeMux()
	b.Register(b.mux)
	return b, s
}

func TestConference_IsFoundWhereItIs(t *testing.T) {
	// Proves that a room is found by id and by name, at the node that has members in it; that an empty one is no error; and
	// that a node which does not answer leaves it open, unless another has the room.
	b, s := newStudio(t)
	for _, name := range []string{"conf_1", "board"} {
		w := b.ask("GET", api.PathConference+"?conference_id="+name, "", "", withToken(tokenAccount))
		state := reading[api.ConferenceState](t, w)
		if w.Code != 200 || state.ConferenceID != "conf_1" || state.Name != "board" || state.Node != "edge2" || !state.Locked || !slices.Equal(state.Members, s.members) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if want := []string{"edge1 conference list acc_1-conf_1  ", "edge2 conference list acc_1-conf_1  "}; !slices.Equal(s.ops[:2], want) {
		t.Errorf("asked %q", s.ops)
	}
	for _, c := range []struct {
		silent  string
		members []api.ConferenceMember
		status  int
	}{{"", nil, 200}, {"edge1", nil, 503}, {"edge1", s.members, 200}, {"edge2", nil, 503}} {
		s.silent, s.members = c.silent, c.members
		if w := b.ask("GET", api.PathConference+"?conference_id=board", "", "", withToken(tokenAccount)); w.Code != c.status || c.status == 200 && !strings.Contains(w.Body.String(), `"members":[`) {
			t.Errorf("%q silent, %d members: %d %s", c.silent, len(c.members), w.Code, w.Body)
		}
	}
}

func TestConference_IsChangedAtItsNode(t *testing.T) {
	// Proves that each change reaches the room's node alone, with the member, and is answered with the room as it is then.
	b, s := newStudio(t)
	for _, c := range []struct{ action, member string }{{"mute", "3"}, {"unmute", ""}, {"kick", "3"}, {"lock", ""}, {"unlock", ""}} {
		s.ops = nil
		w := b.ask("POST", api.PathConference, typeJSON, `{"conference_id":"board","action":"`+c.action+`","member":"`+c.member+`"}`, withToken(tokenWrite))
		want := "edge2 conference " + c.action + " acc_1-conf_1 " + c.member + " "
		if w.Code != 200 || len(s.ops) != 5 || s.ops[2] != want || reading[api.ConferenceState](t, w).Node != "edge2" {
			t.Errorf("%s: %d %s, ops %q", c.action, w.Code, w.Body, s.ops)
		}
	}
}

func TestRecording_IsOrderedAtTheCallsNode(t *testing.T) {
	// Proves that an order reaches the node of the call; that a recording is filed under the account's day, not under
	// that of UTC, and where it will be is told; and that it is the only order with a key.
	b, s := newStudio(t)
	for _, action := range []string{"start", "pause", "resume", "stop"} {
		s.ops, s.keys = nil, nil
		w := b.ask("POST", api.PathRecording, typeJSON, `{"token":"tok","action":"`+action+`"}`, withToken(tokenWrite))
		reply := reading[api.RecordingReply](t, w)
		if w.Code != 200 || !slices.Equal(s.ops, []string{"edge2 recording " + action + "   tok"}) || reply.Key != s.keys[0] {
			t.Errorf("%s: %d %s, ops %q", action, w.Code, w.Body, s.ops)
		}
		if got := strings.HasPrefix(reply.Key, "acc_1/rec/2026-04-01/tok-") && strings.HasSuffix(reply.Key, ".wav"); got != (action == "start") || !got && reply.Key != "" {
			t.Errorf("%s: key %q", action, reply.Key)
		}
	}
}

func TestAnswered_RefusalsSayWhatIsWrong(t *testing.T) {
	// Proves what is answered to questions about what is not there, is another account's, or is refused by the node:
	// each its own status and none of them a fault of ours, which would be logged.
	b, s := newStudio(t)
	s.refuse = "the call is not being recorded"
	const conference, recording = api.PathConference, api.PathRecording
	for _, c := range []struct {
		method, path, body, token string
		status                    int
		text                      string
	}{
		{"GET", conference + "?conference_id=bored", "", tokenAccount, 404, "no conference"},
		{"GET", conference, "", tokenAccount, 404, "no conference"},
		{"GET", conference + "?conference_id=board&account_id=acc_9", "", tokenPlatform, 400, "no account"},
		{"GET", conference + "?conference_id=board", "", tokenConfig, 403, ""},
		{"GET", conference + "?conference_id=board", "", "", 401, ""},
		{"POST", conference, `{"conference_id":"board","action":"list"}`, tokenWrite, 400, "must be one of mute"},
		{"POST", conference, `{"conference_id":"board","action":"mute","member":"` + strings.Repeat("1", 300) + `"}`, tokenWrite, 400, "member"},
		{"POST", conference, `{"conference_id":"bored","action":"mute"}`, tokenWrite, 404, "no conference"},
		{"POST", conference, `{"conference_id":"board","action":"mute","member":"9"}`, tokenWrite, 409, "node edge2: the call is not"},
		{"POST", conference, `{"conference_id":"board","action":"mute"}`, tokenAccount, 403, ""},
		{"POST", recording, `{"token":"tok","action":"erase"}`, tokenWrite, 400, "must be start"},
		{"POST", recording, `{"token":"tok","action":"pause"}`, tokenWrite, 409, "node edge2: the call is not being recorded"},
		{"POST", recording, `{"token":"","action":"pause"}`, tokenWrite, 404, "no live call"},
		{"POST", recording, `{"token":"foreign","action":"pause"}`, tokenWrite, 404, "no live call"},
		{"POST", recording, `{"token":"lost","action":"pause"}`, tokenWrite, 404, "not registered"},
		{"POST", recording, `{"token":"mute","action":"pause"}`, tokenWrite, 409, "no agent_url"},
		{"POST", recording, `{"token":"tok","action":"pause"}`, tokenAccount, 403, ""},
		{"POST", recording, `{"token":`, tokenWrite, 400, ""},
	} {
		w := b.ask(c.method, c.path, typeJSON, c.body, withToken(c.token))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s %s %s: %d %s, want %d %q", c.method, c.path, c.body, w.Code, w.Body, c.status, c.text)
		}
	}
	s.members = nil
	if w := b.ask("POST", conference, typeJSON, `{"conference_id":"board","action":"lock"}`, withToken(tokenWrite)); w.Code != 404 || !strings.Contains(w.Body.String(), "nobody is in") {
		t.Errorf("a room where nobody is: %d %s", w.Code, w.Body)
	}
	if strings.Contains(b.log.String(), "endpoint failed") {
		t.Errorf("logged as a fault:\n%s", b.log)
	}
}
