package contract

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// bad is one request that no well-behaved asker sends, and the status it gets; 0 is the end of the
// connection without a reply.
type bad struct {
	name string
	rawRequest
	status int
}

// goodEvents is a batch of no events, which every brain takes.
const goodEvents = `{"node":"node-1","boot":"b1","events":[]}`

const goodHeartbeat = `{"node":"node-1","protocol":"1.0"}`

// badForBrain is what goes to one decision endpoint: good is a body that it takes, of the type given.
func badForBrain(path, contentType, good string) []bad {
	req := func(body string) rawRequest { return rawRequest{path: path, contentType: contentType, body: body} }
	cases := []bad{
		{"a body that says it is too long", rawRequest{path: path, contentType: contentType, body: good, length: api.MaxBody + 1}, 413},
		{"a body that is too long and does not say so", rawRequest{path: path, contentType: contentType, body: strings.Repeat(" ", api.MaxBody+1), chunked: true}, 413},
		{"a body that does not come", rawRequest{path: path, contentType: contentType, body: good[:5], length: len(good) + 100}, 408},
		{"a body that breaks off", rawRequest{path: path, contentType: contentType, body: good[:5], length: len(good), half: true}, 400},
		{"a chunk without a size", rawRequest{head: "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + contentType + "\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer KEY", body: "zz\r\n"}, 400},
		{"another method", rawRequest{method: "GET", path: path}, 405},
		{"another type", rawRequest{path: path, contentType: "text/plain", body: good}, 415},
		{"no type", rawRequest{path: path, body: good}, 415},
		{"JSON that ends too early", rawRequest{path: path, contentType: typeJSON, body: `{"node":"n`}, 400},
		{"JSON with more after it", rawRequest{path: path, contentType: typeJSON, body: `{}{}`}, 400},
		{"JSON of another shape", rawRequest{path: path, contentType: typeJSON, body: `[1]`}, 400},
		{"JSON that is deep", rawRequest{path: path, contentType: typeJSON, body: strings.Repeat("[", 30_000)}, 400},
		{"JSON that is not UTF-8", rawRequest{path: path, contentType: typeJSON, body: "{\"node\":\"\xff\"}"}, 400},
		{"JSON with an unknown field", rawRequest{path: path, contentType: typeJSON, body: `{"colour":"red"}`}, 400},
		{"JSON with a number for a text", rawRequest{path: path, contentType: typeJSON, body: `{"node":7}`}, 400},
		{"JSON with a control character", rawRequest{path: path, contentType: typeJSON, body: `{"node":"a\r\nb"}`}, 400},
		{"an empty JSON body", rawRequest{path: path, contentType: typeJSON}, 400},
		{"a head that is no HTTP", rawRequest{head: "POST " + path}, 400},
		{"a good request whose sender says no more", rawRequest{path: path, contentType: contentType, body: good, half: true}, 200},
	}
	if contentType == typeForm {
		cases = append(cases,
			bad{"an unknown field", req("colour=red"), 400},
			bad{"a field given twice", req("call_id=a&call_id=b"), 400},
			bad{"a word for a number", req("source_port=http"), 400},
			bad{"a number out of range", req("source_port=65536"), 400},
			bad{"a line break in a field", req("call_id=a%0d%0aX:+b"), 400},
			bad{"a NUL in a field", req("call_id=a%00b"), 400},
			bad{"a field that is not UTF-8", req("call_id=%ff"), 400},
			bad{"a broken escape", req("call_id=%4"), 400},
			bad{"a field that is too long", req("call_id=" + strings.Repeat("x", 300)), 400},
			bad{"too many fields", req(strings.Repeat("call_id&", 200)), 400},
			bad{"nothing at all, refused by the decision", req(""), 200})
	} else {
		cases = append(cases, bad{"a form", rawRequest{path: path, contentType: typeForm, body: "node=n"}, 415})
	}
	return cases
}

// Whatever comes to a decision endpoint of the brain gets its status, is counted as bad input and not
// logged as a fault, and a good request right after it is answered.
func TestBrain_OutlivesBadInput(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	a := newAsker(t, e.BrainURL, e.AdminKey)
	good := map[string]rawRequest{
		api.PathAuth:          {path: api.PathAuth, contentType: typeForm, body: registration("good").Encode()},
		api.PathRoute:         {path: api.PathRoute, contentType: typeForm, body: invitation("good").Encode()},
		api.PathPresenceEvent: {path: api.PathPresenceEvent, contentType: typeJSON, body: goodEvents},
		api.PathHeartbeat:     {path: api.PathHeartbeat, contentType: typeJSON, body: goodHeartbeat},
	}
	var slow sync.WaitGroup
	for path, g := range good {
		for _, c := range badForBrain(path, g.contentType, g.body) {
			c.key, c.head = e.AdminKey, strings.Replace(c.head, "KEY", e.AdminKey, 1)
			try := func() {
				if err := expectRaw(e.BrainURL, c.rawRequest, c.status); err != nil {
					t.Errorf("%s, %s: %v", path, c.name, err)
				}
				g.key = e.AdminKey
				if err := expectRaw(e.BrainURL, g, http.StatusOK); err != nil {
					t.Errorf("%s, good after %s: %v", path, c.name, err)
				}
			}
			if c.status == http.StatusRequestTimeout {
				slow.Go(try)
			} else {
				try()
			}
		}
	}
	for query, status := range map[string]int{
		"": 200, "?limit=500": 200, "?limit=0": 400, "?limit=501": 400, "?limit=x": 400, "?limit=1&limit=2": 400,
		"?colour=red": 400, "?after=!": 400, "?after=YQ": 400, "?limit=%0d%0a": 400,
	} {
		a.get(status, api.PathCalls+query)
	}
	if r := a.want(405, "POST", api.PathCalls, typeJSON, "{}"); r.header.Get("Allow") != "GET" {
		t.Errorf("405 with Allow %q", r.header.Get("Allow"))
	}
	slow.Wait()
	counts := a.counts()
	for _, name := range []string{"too_large", "slow", "broken_off", "encoding", "control_character", "unknown_field",
		"duplicate_field", "wrong_type", "field_too_long", "syntax", "method", "content_type"} {
		if counts["bad_input_"+name] == 0 {
			t.Errorf("bad_input_%s was not counted", name)
		}
	}
	if counts["faults"] != 0 {
		t.Errorf("%d faults", counts["faults"])
	}
	noFaults(t, e)
}

// Events that cannot be what they say are dropped one by one, counted, and hold up none of their batch.
func TestBrain_DropsABadEventAndTakesTheOthers(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	a := newAsker(t, e.BrainURL, e.AdminKey)
	acme := a.named(brain.KindAccount, "", "name", "acme")
	event := func(seq int, change func(m map[string]any)) map[string]any {
		m := map[string]any{"seq": seq, "time_ms": time.Now().UnixMilli(), "type": api.EventDialogStart, "account_id": acme, "call_id": fmt.Sprintf("call-%d", seq)}
		if change != nil {
			change(m)
		}
		return m
	}
	batch, err := json.Marshal(map[string]any{"node": "n", "boot": "b", "events": []any{
		event(1, nil),
		event(2, func(m map[string]any) { m["type"] = "dialog.dance" }),
		event(3, func(m map[string]any) { m["call_id"] = "a\r\nb" }),
		event(4, func(m map[string]any) { m["from"] = strings.Repeat("x", 5000) }),
		event(5, func(m map[string]any) { m["account_id"] = "acc_nobody" }),
		event(6, func(m map[string]any) { m["time_ms"] = -1 }),
		event(7, nil),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got api.EventReply
	r := a.send(200, "POST", api.PathPresenceEvent, string(batch))
	if err := json.Unmarshal(r.body, &got); err != nil || got.LastSeq != 7 {
		t.Errorf("taken up to %d, want 7: %s", got.LastSeq, r.body)
	}
	if calls := liveCalls(t, e); strings.Join(calls, " ") != "call-1 call-7" {
		t.Errorf("live calls: %v", calls)
	}
	if c := a.counts(); c["events_dropped_bad"] != 3 || c["events_unknown_account"] != 1 {
		t.Errorf("counted %v", c)
	}
	noFaults(t, e)
}

// Whatever comes to the door gets its status or the end of its connection, and a good request right
// after it is answered. What the brain calls malformed is a refusal with 400 for the phone.
func TestDoor_OutlivesBadInput(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	door := newAsker(t, "http://"+e.DoorAddr, "")
	acme := newAsker(t, e.BrainURL, e.AdminKey).named(brain.KindAccount, "", "name", "acme")
	event := func(seq int, fields string) string {
		return fmt.Sprintf("seq=%d&time_ms=%d&type=dialog.start&account_id=%s&%s\n", seq, time.Now().UnixMilli(), acme, fields)
	}
	good := map[string]rawRequest{
		api.PathAuth:          {path: api.PathAuth, contentType: typeForm, body: registration("good").Encode()},
		api.PathRoute:         {path: api.PathRoute, contentType: typeForm, body: invitation("good").Encode()},
		api.PathPresenceEvent: {path: api.PathPresenceEvent, contentType: "text/plain", body: "node=node-1&boot=b1\n" + event(1, "call_id=good")},
	}
	for path, g := range good {
		longest := api.MaxBody
		if path == api.PathPresenceEvent {
			longest = 1 << 20
		}
		for _, c := range []bad{
			{"a body that says it is too long", rawRequest{path: path, body: g.body, length: longest + 1}, 413},
			{"chunks", rawRequest{path: path, body: g.body, chunked: true}, 411},
			{"no length", rawRequest{path: path, body: g.body, length: -1}, 411},
			{"two lengths", rawRequest{head: "POST " + path + " HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2", body: "ab"}, 400},
			{"length and chunks", rawRequest{head: "POST " + path + " HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", body: "a"}, 411},
			{"a length below zero", rawRequest{head: "POST " + path + " HTTP/1.1\r\nContent-Length: -1"}, 400},
			{"a body that does not come", rawRequest{path: path, body: g.body[:5], length: len(g.body)}, 0},
			{"a body that breaks off", rawRequest{path: path, body: g.body[:5], length: len(g.body), half: true}, 0},
			{"another method", rawRequest{method: "GET", path: path}, 405},
			{"another path", rawRequest{path: path + "x", body: g.body}, 404},
			{"a path that climbs", rawRequest{path: "/x/.." + path, body: g.body}, 404},
			{"an old version", rawRequest{head: "POST " + path + " HTTP/1.0\r\nContent-Length: 0"}, 505},
			{"no HTTP", rawRequest{head: "INVITE sip:1001@acme.test SIP/2.0"}, 400},
			{"a head that is too long", rawRequest{head: "POST " + path + " HTTP/1.1\r\nX: " + strings.Repeat("x", 9000)}, 400},
			{"a folded header", rawRequest{head: "POST " + path + " HTTP/1.1\r\nX: a\r\n b\r\nContent-Length: 0"}, 400},
			{"a header with a control character", rawRequest{head: "POST " + path + " HTTP/1.1\r\nX: a\x01\r\nContent-Length: 0"}, 400},
			{"lines without CR", rawRequest{head: "POST " + path + " HTTP/1.1\nContent-Length: 0\n"}, 400},
			{"a good request whose sender says no more", rawRequest{path: path, contentType: g.contentType, body: g.body, half: true}, 200},
		} {
			if err := expectRaw(door.url, c.rawRequest, c.status); err != nil {
				t.Errorf("%s, %s: %v", path, c.name, err)
			}
			if err := expectRaw(door.url, g, http.StatusOK); err != nil {
				t.Errorf("%s, good after %s: %v", path, c.name, err)
			}
		}
	}
	for name, body := range map[string]string{
		"an unknown field": "colour=red", "a field given twice": "call_id=a&call_id=b", "a word for a number": "source_port=http",
		"a line break": "call_id=a%0d%0ab", "not UTF-8": "call_id=%ff", "bytes": "\x00\xff\xfe",
	} {
		for _, path := range []string{api.PathAuth, api.PathRoute} {
			refusedWith(t, door, path, name, body, 400)
		}
	}
	for _, path := range []string{api.PathAuth, api.PathRoute} {
		refusedWith(t, door, path, "an empty body", "", 403)
	}
	doorEvents(t, e, door, event)
	noFaults(t, e)
}

// refusedWith posts a form to the door and wants a refusal for the phone, and then a good answer.
func refusedWith(t *testing.T, door asker, path, name, body string, code int) {
	t.Helper()
	var reply struct {
		api.AuthReply
		RTJSON api.Directive `json:"rtjson"`
	}
	r := door.want(200, "POST", path, typeForm, body)
	if err := json.Unmarshal(r.body, &reply); err != nil {
		t.Errorf("%s, %s: %v: %s", path, name, err, r.body)
	}
	if reply.SIPCode != code && reply.RTJSON.SIPCode != code {
		t.Errorf("%s, %s: %s, want %d", path, name, r.body, code)
	}
	if d, _ := door.directive(invitation("after " + url.QueryEscape(name))); d.Action != api.ActionProxy {
		t.Errorf("%s, good after %s: %+v", path, name, d)
	}
}

// doorEvents posts batches that are wrong, whole or in part: a batch without its name is refused, a bad
// line is dropped, and what stands beside it reaches the brain.
func doorEvents(t *testing.T, e *edge.Edge, door asker, event func(seq int, fields string) string) {
	t.Helper()
	for _, first := range []string{"", "node=n", "boot=b", "node=n&boot=" + strings.Repeat("b", 65), "node=n&boot=a%20b", "node=%zz&boot=b"} {
		door.want(400, "POST", api.PathPresenceEvent, "text/plain", first+"\n"+event(1, "call_id=lost"))
	}
	batch := "node=node-1&boot=b2\n" + event(1, "call_id=one") +
		"seq=2&type=dialog.start&call_id=twice&call_id=twice\n" +
		"seq=x&type=dialog.start&call_id=word\n" +
		"type=dialog.start&call_id=unnumbered\n" +
		"seq=99999999999999999999&type=dialog.start&call_id=huge\n" +
		"seq=3&type=dialog.start&call_id=%zz\n" +
		"seq=4&type=dialog.start&call_id=" + strings.Repeat("x", 9000) + "\n" +
		"\x00\xff\n" +
		event(5, "call_id=a%0d%0ab") + event(6, "call_id=%ff") + event(7, "call_id=seven")
	r := door.want(200, "POST", api.PathPresenceEvent, "text/plain", batch)
	if string(r.body) != `{"last_seq":7}` {
		t.Errorf("events: %s", r.body)
	}
	ctx := within(t, rawTimeout)
	eventually(t, ctx, "the good events at the brain", func() error {
		if calls := liveCalls(t, e); !strings.HasPrefix(strings.Join(calls, " "), "good one seven") {
			return fmt.Errorf("live calls: %v", calls)
		}
		return nil
	})
}

// liveCalls are the Call-IDs that the brain lists, in its order.
func liveCalls(t *testing.T, e *edge.Edge) []string {
	t.Helper()
	calls, err := e.LiveCalls(within(t, rawTimeout))
	if err != nil {
		t.Fatal(err)
	}
	return calls
}
