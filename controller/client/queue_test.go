package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

// The wire of a question about queues: what is not asked for is not in the query, and the time is the brain's, not
// that of this machine.
func TestQueues_AskForWhatIsWantedAndTellTheBrainsTime(t *testing.T) {
	cases := []struct {
		query client.QueueQuery
		want  string
	}{
		{client.QueueQuery{}, "GET /queues?account_id=acc_1"},
		{client.QueueQuery{QueueID: "q_1", Entries: true}, "GET /queues?account_id=acc_1&entries=true&queue_id=q_1"},
		{client.QueueQuery{Period: client.Period{FromMS: 5, ToMS: 9}}, "GET /queues?account_id=acc_1&from_ms=5&to_ms=9"},
	}
	for _, tc := range cases {
		var asked string
		c := brainThat(t, func(w http.ResponseWriter, r *http.Request) {
			asked = r.Method + " " + r.URL.String()
			w.Header().Set("Date", "Thu, 01 Jan 2026 00:00:00 GMT")
			fmt.Fprint(w, `{"queues":[{"queue_id":"q_1","name":"sales","ewt_ms":-1,"entries":[{"entry_id":"t-1","position":1}]}]}`)
		})
		list, at, err := c.Queues(context.Background(), "acc_1", tc.query)
		if err != nil || asked != tc.want || at.Unix() != 1767225600 {
			t.Errorf("%+v: asked %s, wanted %s; time %v, %v", tc.query, asked, tc.want, at, err)
		}
		if len(list.Queues) != 1 || list.Queues[0].EWTMS != -1 || len(list.Queues[0].Entries) != 1 {
			t.Errorf("%+v: read %+v", tc.query, list)
		}
	}
}

// A reply that lost its date on the way is still a reply: waits are counted by the clock here. Agents are in the order
// of their usernames, whatever the reply's.
func TestAgents_UseTheClockHereWhenTheReplyHasNoDate(t *testing.T) {
	c := brainThat(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		fmt.Fprint(w, `{"agents":[{"user_id":"us_1","username":"1002"},{"user_id":"us_2","username":"1001","bucket":"ready","queues":["q_1"]}]}`)
	})
	before := time.Now()
	list, at, err := c.Agents(context.Background(), "acc_1", client.Period{FromMS: 5})
	if err != nil || at.Before(before) || at.After(time.Now()) {
		t.Errorf("time %v, %v", at, err)
	}
	if len(list.Agents) != 2 || list.Agents[0].Username != "1001" || list.Agents[0].Bucket != "ready" || len(list.Agents[0].Queues) != 1 {
		t.Errorf("read %+v", list)
	}
}

// A change is one POST of what is wanted; a refusal comes back as the brain's error.
func TestChangeAgent_SendsTheActionAndTellsARefusal(t *testing.T) {
	var asked string
	refuse := false
	c := brainThat(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked = r.Method + " " + r.URL.String() + " " + string(body)
		if refuse {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"status":409,"code":"conflict","detail":"mandatory"}`)
			return
		}
		fmt.Fprint(w, `{"user_id":"us_1","bucket":"idle"}`)
	})
	req := api.AgentRequest{UserID: "us_1", Action: "queue_leave", QueueID: "q_1"}
	state, err := c.ChangeAgent(context.Background(), "acc_1", req)
	if err != nil || state.Bucket != "idle" {
		t.Fatalf("agent %+v, %v", state, err)
	}
	if want := `POST /agent?account_id=acc_1 {"user_id":"us_1","action":"queue_leave","queue_id":"q_1"}`; asked != want {
		t.Errorf("asked %s, wanted %s", asked, want)
	}
	refuse = true
	if _, err := c.ChangeAgent(context.Background(), "acc_1", req); err == nil || err.Error() != "mandatory" {
		t.Errorf("refused with %v", err)
	}
}
