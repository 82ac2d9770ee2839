package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/client"
)

// brainThat serves one answer and returns a client of it with a key.
func brainThat(t *testing.T, answer http.HandlerFunc) *client.Client {
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	c, err := client.New(server.URL+"/", "sk_test")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The wire of an apply: bearer key, YAML body, options as the query, plan and version of the reply.
func TestApply_SendsTheDocumentAndReadsThePlan(t *testing.T) {
	var asked, auth, kind string
	c := brainThat(t, func(w http.ResponseWriter, r *http.Request) {
		asked, auth, kind = r.Method+" "+r.URL.String(), r.Header.Get("Authorization"), r.Header.Get("Content-Type")
		w.Header().Set("X-Sipio-Config-Version", "7")
		fmt.Fprint(w, `{"items":[{"op":"update","kind":"sip_user","account":"acme","name":"1001","fields":[{"field":"dnd","old":"false","new":"true"}]}]}`)
	})
	plan, version, err := c.Apply(context.Background(), []byte("a: b"), brain.ApplyOptions{AccountID: "acc_1", DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if asked != "POST /v1/apply?account_id=acc_1&dry_run=true&prune=false" || auth != "Bearer sk_test" || kind != "application/yaml" {
		t.Errorf("asked %s with %s as %s", asked, auth, kind)
	}
	if version != 7 || len(plan.Items) != 1 || plan.Items[0].Fields[0].New != "true" {
		t.Errorf("version %d, plan %+v", version, plan)
	}
}

// A list follows every page, and does not turn in circles when the brain gives the same page again.
func TestList_FollowsPagesAndStopsAtARepeatedOne(t *testing.T) {
	pages := map[string]string{
		"":     `{"items":[{"id":"us_1","username":"1"}],"next":"us_1"}`,
		"us_1": `{"items":[{"id":"us_2","username":"2"}]}`,
	}
	serve := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, pages[r.URL.Query().Get("after")]) }
	all, err := brainThat(t, serve).List(context.Background(), brain.KindSIPUser, "")
	if err != nil || len(all) != 2 || all[1].ResourceID() != "us_2" {
		t.Fatalf("listed %v, %v", all, err)
	}
	pages["us_1"] = pages[""]
	if _, err := brainThat(t, serve).List(context.Background(), brain.KindSIPUser, ""); err == nil {
		t.Error("the same page twice was taken for a list")
	}
}

// A problem becomes an error with its code, text and the lines of its mistakes.
func TestDo_TurnsAProblemIntoAnError(t *testing.T) {
	c := brainThat(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(422)
		fmt.Fprint(w, `{"title":"x","status":422,"code":"invalid","detail":"validation failed","errors":[{"path":"spec","line":3,"text":"is odd"}]}`)
	})
	_, err := c.Get(context.Background(), brain.KindNode, "node_1")
	e, ok := errors.AsType[*brain.Error](err)
	if !ok || e.Code != brain.EInvalid || e.Text != "validation failed" || len(e.Fields) != 1 || e.Fields[0].Line != 3 {
		t.Errorf("error %#v", err)
	}
}

// Something that is not a brain, such as a proxy's error page, is named as that.
func TestDo_SaysWhenTheAnswerIsNotABrains(t *testing.T) {
	c := brainThat(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", 502) })
	if _, err := c.Export(context.Background(), ""); err == nil || !strings.Contains(err.Error(), "502 Bad Gateway, not as a brain does") {
		t.Errorf("error %v", err)
	}
}

// An id from outside cannot leave its place in the path.
func TestGet_EscapesTheID(t *testing.T) {
	var asked string
	c := brainThat(t, func(w http.ResponseWriter, r *http.Request) { asked = r.URL.EscapedPath(); fmt.Fprint(w, "{}") })
	if _, err := c.Get(context.Background(), brain.KindSIPUser, "../nodes?x"); err != nil {
		t.Fatal(err)
	}
	if asked != "/v1/sip_users/..%2Fnodes%3Fx" {
		t.Errorf("asked %s", asked)
	}
}

// Calls are collected page by page up to the limit; more than it is told, not fetched.
func TestCalls_StopAtTheLimit(t *testing.T) {
	asked := 0
	c := brainThat(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		fmt.Fprintf(w, `{"calls":[{"call_id":"%d"}],"next":"n%d"}`, asked, asked)
	})
	calls, more, err := c.Calls(context.Background(), 3)
	if err != nil || len(calls) != 3 || !more || asked != 3 {
		t.Errorf("calls %v, more %v, err %v after %d requests", calls, more, err, asked)
	}
}

// A server that is no URL, or a file that is no key, is refused before anything is sent.
func TestNew_RefusesWhatCannotBeAskedWith(t *testing.T) {
	for _, server := range []string{"", "brain:8080", "ftp://brain", "http://"} {
		if _, err := client.New(server, ""); err == nil {
			t.Errorf("server %q was taken", server)
		}
	}
	if _, err := client.New("http://brain", "line one\nline two"); err == nil {
		t.Error("a key of two lines was taken")
	}
}
