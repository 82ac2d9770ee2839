package v1_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that messages of mailboxes are listed, read and deleted with the rights over calls alone, and made by
// nobody: neither POST nor PUT nor PATCH exists, and another account's are not there.
func TestMessages_AreSeenAndDeletedWithCallRights(t *testing.T) {
	b := newBench(t)
	calls := []brain.Scope{brain.ScopeCallsRead, brain.ScopeCallsWrite}
	b.tokens["sk_calls"] = brain.APIKey{ID: "key_calls", AccountID: "acc_acme", Scopes: calls}
	b.tokens["sk_listener"] = brain.APIKey{ID: "key_listener", AccountID: "acc_acme", Scopes: calls[:1]}
	b.rows["msg_1"] = &brain.VoicemailMessage{ID: "msg_1", AccountID: "acc_acme", VoicemailID: "vm_1", Caller: "4930"}
	b.rows["msg_2"] = &brain.VoicemailMessage{ID: "msg_2", AccountID: "acc_other", VoicemailID: "vm_2"}
	list := b.want(200, "sk_listener", "GET", "/v1/voicemail_messages", "").body["items"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["caller"] != "4930" {
		t.Errorf("listed: %v", list)
	}
	b.want(403, tokenAcme, "GET", "/v1/voicemail_messages", "")
	b.want(403, "sk_listener", "DELETE", "/v1/voicemail_messages/msg_1", "")
	b.want(404, "sk_calls", "DELETE", "/v1/voicemail_messages/msg_2", "")
	b.want(405, "sk_calls", "POST", "/v1/voicemail_messages", `{"voicemail_id":"vm_1"}`)
	b.want(405, "sk_calls", "PATCH", "/v1/voicemail_messages/msg_1", `{"read":true}`)
	b.want(405, "sk_calls", "PUT", "/v1/voicemail_messages/msg_1", `{}`)
	b.want(204, "sk_calls", "DELETE", "/v1/voicemail_messages/msg_1", "")
	b.want(404, "sk_calls", "GET", "/v1/voicemail_messages/msg_1", "")
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
