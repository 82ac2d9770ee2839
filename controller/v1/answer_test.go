package v1_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that messages of mailboxes are listed, read and deleted with the rights over calls alone, made by nobody, and
// that another account's are not there.
func TestMessages_AreSeenAndDeletedWithCallRights(t *testing.T) {
	b := newMessages(t)
	list := b.want(200, "sk_listener", "GET", "/v1/voicemail_messages", "").body["items"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["caller"] != "4930" {
		t.Errorf("listed: %v", list)
	}
	b.want(403, tokenAcme, "GET", "/v1/voicemail_messages", "")
	b.want(403, "sk_listener", "DELETE", "/v1/voicemail_messages/msg_1", "")
	b.want(404, "sk_calls", "DELETE", "/v1/voicemail_messages/msg_2", "")
	b.want(405, "sk_calls", "POST", "/v1/voicemail_messages", `{"voicemail_id":"vm_1"}`)
	b.want(204, "sk_calls", "DELETE", "/v1/voicemail_messages/msg_1", "")
	b.want(404, "sk_calls", "GET", "/v1/voicemail_messages/msg_1", "")
}

// newMessages has a message of this account and one of another, and two keys with rights over calls.
func newMessages(t *testing.T) *bench {
	b := newBench(t)
	calls := []brain.Scope{brain.ScopeCallsRead, brain.ScopeCallsWrite}
	b.tokens["sk_calls"] = brain.APIKey{ID: "key_calls", AccountID: "acc_acme", Scopes: calls}
	b.tokens["sk_listener"] = brain.APIKey{ID: "key_listener", AccountID: "acc_acme", Scopes: calls[:1]}
	b.rows["msg_1"] = &brain.VoicemailMessage{ID: "msg_1", AccountID: "acc_acme", VoicemailID: "vm_1", Caller: "4930", ObjectKey: "acc_acme/vm/a.wav"}
	b.rows["msg_2"] = &brain.VoicemailMessage{ID: "msg_2", AccountID: "acc_other", VoicemailID: "vm_2"}
	return b
}

// Proves that a message can be marked as heard, and as not, by a key that may change calls, and that nothing else of it
// can be changed: not by a part, nor by a whole.
func TestMessages_CanOnlyBeMarkedRead(t *testing.T) {
	b := newMessages(t)
	const one = "/v1/voicemail_messages/msg_1"
	b.want(403, "sk_listener", "PATCH", one, `{"read":true}`)
	b.want(403, tokenAcme, "PATCH", one, `{"read":true}`)
	b.want(404, "sk_calls", "PATCH", "/v1/voicemail_messages/msg_2", `{"read":true}`)
	if got := b.want(200, "sk_calls", "PATCH", one, `{"read":true}`).body; got["read"] != true || got["caller"] != "4930" {
		t.Errorf("marked: %v", got)
	}
	if got := b.want(200, "sk_calls", "PUT", one, `{}`).body; got["read"] == true || got["caller"] != "4930" {
		t.Errorf("replaced: %v", got)
	}
	for _, method := range []string{"PATCH", "PUT"} {
		got := b.want(422, "sk_calls", method, one, `{"object_key":"acc_other/vm/b.wav","voicemail_id":"vm_2","read":true}`).mistakes()
		if strings.Join(got, ",") != "object_key: is read-only,voicemail_id: is read-only" {
			t.Errorf("%s: %v", method, got)
		}
	}
	if kept := b.rows["msg_1"].(*brain.VoicemailMessage); kept.Read || kept.ObjectKey != "acc_acme/vm/a.wav" || kept.VoicemailID != "vm_1" {
		t.Errorf("kept: %+v", kept)
	}
}

// Proves that the messages of one mailbox are found among many, page after page, and none of another mailbox or account.
func TestMessages_OfOneMailbox(t *testing.T) {
	b := newMessages(t)
	for i := range 1200 {
		id := fmt.Sprintf("msg_%05d", i)
		box := "vm_1"
		if i%400 == 7 {
			box = "vm_9"
		}
		b.rows[id] = &brain.VoicemailMessage{ID: id, AccountID: "acc_acme", VoicemailID: box}
	}
	b.rows["msg_other"] = &brain.VoicemailMessage{ID: "msg_other", AccountID: "acc_other", VoicemailID: "vm_9"}
	var got []string
	for after, pages := "", 0; pages == 0 || after != ""; pages++ {
		if pages == 3 {
			t.Fatal("pages without end")
		}
		body := b.want(200, "sk_listener", "GET", "/v1/voicemail_messages?voicemail_id=vm_9&limit=2&after="+after, "").body
		for _, item := range body["items"].([]any) {
			got = append(got, item.(map[string]any)["id"].(string))
		}
		after, _ = body["next"].(string)
	}
	if strings.Join(got, " ") != "msg_00007 msg_00407 msg_00807" {
		t.Errorf("found %v", got)
	}
	b.want(403, tokenAcme, "GET", "/v1/voicemail_messages?voicemail_id=vm_9", "")
	b.want(422, "sk_listener", "GET", "/v1/voicemail_messages?voicemail_id=vm_9&limit=501", "")
}

// Proves that publishing makes a draft what calls run, under the next version, that doing it again changes nothing, and
// who may.
func TestCallFlows_ArePublished(t *testing.T) {
	b := newBench(t)
	one := b.want(201, tokenAcme, "POST", "/v1/call_flows", `{"name":"main","graph":{"start":"a","nodes":[{"id":"a","data":{"kind":"entry"}}]}}`).header.Get("Location")
	draft := b.want(200, tokenAcme, "PATCH", one, `{"status":"draft","graph":{"start":"b","nodes":[{"id":"b","data":{"kind":"entry"}}]}}`)
	if draft.body["version"] != 1.0 {
		t.Fatalf("draft: %s", draft.text)
	}
	for range 2 {
		got := b.want(200, tokenAcme, "POST", one+"/publish", "").body
		if got["version"] != 2.0 || got["status"] != "published" || got["live_graph"].(map[string]any)["start"] != "b" {
			t.Errorf("published: %v", got)
		}
	}
	b.want(403, tokenReader, "POST", one+"/publish", "")
	b.want(404, tokenAcme, "POST", "/v1/call_flows/flow_none/publish", "")
	b.want(405, tokenAcme, "GET", one+"/publish", "")
}

// Proves that a PIN goes in and never comes out, that a change which says nothing of it keeps it, and that a PIN
// beside its hash is refused.
func TestVoicemails_NeverShowThePINAndKeepIt(t *testing.T) {
	b := newBench(t)
	made := b.want(201, tokenAcme, "POST", "/v1/voicemails", `{"name":"box","pin":"4711"}`)
	one := made.header.Get("Location")
	texts := made.text + b.want(200, tokenAcme, "PATCH", one, `{"quota_mb":5}`).text + b.want(200, tokenAcme, "PUT", one, `{"name":"crate"}`).text +
		b.want(200, tokenAcme, "GET", one, "").text + b.want(200, tokenAcme, "GET", "/v1/voicemails", "").text
	if strings.Contains(texts, "4711") || strings.Contains(texts, "hash") || strings.Contains(texts, `"pin"`) {
		t.Errorf("shown: %s", texts)
	}
	if kept := b.rows[made.body["id"].(string)].(*brain.Voicemail); kept.PINHash != "hash-of-4711" || kept.Name != "crate" {
		t.Errorf("kept: %+v", kept)
	}
	got := b.want(422, tokenAcme, "PATCH", one, `{"pin":"1234","pin_hash":"$argon2id$x"}`).mistakes()
	if len(got) != 1 || !strings.HasPrefix(got[0], "pin: give either") {
		t.Errorf("both: %v", got)
	}
}

// Proves that what a flow is read as can be sent back, however it is spelled, that the store's part of it cannot be
// changed, and that a graph sent in parts of any form comes back as it was meant.
func TestCallFlows_KeepWhatRunsToTheStore(t *testing.T) {
	b := newBench(t)
	made := b.want(201, tokenAcme, "POST", "/v1/call_flows", `{"name":"main","graph":{"start":"a","nodes":[{"id":"a","position":{"y":1,"x":2.50},"data":{"kind":"say","text":"<&>"}}]}}`)
	one := made.header.Get("Location")
	if made.body["version"] != 1.0 || made.body["live_graph"] == nil {
		t.Fatalf("made: %s", made.text)
	}
	var loose any
	if err := json.Unmarshal([]byte(made.text), &loose); err != nil {
		t.Fatal(err)
	}
	spaced, err := json.MarshalIndent(loose, "", "   ")
	if err != nil {
		t.Fatal(err)
	}
	if back := b.want(200, tokenAcme, "PUT", one, string(spaced)); back.body["version"] != 1.0 {
		t.Errorf("sent back: %s", back.text)
	}
	for member, body := range map[string]string{"version": `{"version":2}`, "live_graph": `{"live_graph":{"start":"b"}}`} {
		if got := b.want(422, tokenAcme, "PATCH", one, body).mistakes(); len(got) != 1 || got[0] != member+": is read-only" {
			t.Errorf("%s: %v", body, got)
		}
	}
	changed := b.want(200, tokenAcme, "PATCH", one, `{"graph":{"start":"b","nodes":[{"id":"b","data":{"kind":"entry"}}]}}`)
	if changed.body["version"] != 2.0 || changed.body["live_graph"].(map[string]any)["start"] != "b" {
		t.Errorf("changed: %s", changed.text)
	}
}

// Proves that what the upload writes of a file is no body's to say.
func TestMediaFiles_AreDescribedByTheUpload(t *testing.T) {
	b := newBench(t)
	got := b.want(422, tokenAcme, "POST", "/v1/media_files", `{"name":"x","object_key":"a/b","bytes":1}`).mistakes()
	if strings.Join(got, ",") != "bytes: is read-only,object_key: is read-only" {
		t.Errorf("%v", got)
	}
}
