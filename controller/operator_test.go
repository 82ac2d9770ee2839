package controller

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// contains tells whether all parts are in a text.
func contains(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// get reads a page with the admin key.
func (r *running) get(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.addrs.Plain+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.admin)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDump_ShowsCallsAndWrongPINs(t *testing.T) {
	// Proves, with a brain on real ports, that a call in a flow is in the dump of its shard as people read it, with the
	// graph that it runs and the command it waits for; and that the op of each kind of live object is described by its own.
	r := start(t, t.TempDir())
	id := r.create(t, "/v1/accounts", `{"name":"acme"}`)
	r.create(t, "/v1/nodes", `{"name":"edge1"}`)
	flow := r.create(t, "/v1/call_flows?account_id="+id,
		`{"name":"main","graph":{"nodes":[{"id":"in","data":{"kind":"entry"}},{"id":"p","data":{"kind":"say","text":"Hello"}}],"edges":[{"source":"in","target":"p"}]}}`)
	question, err := json.Marshal(api.FlowRequest{Node: "edge1", Token: "tok", AccountID: id, CallID: "c1",
		Start: &api.FlowStart{TargetKind: "flow", TargetID: flow, Channel: "ch1"}})
	if err != nil {
		t.Fatal(err)
	}
	var answer api.FlowReply
	if status := r.call(t, "POST", api.PathFlow, "application/json", string(question), &answer); status != http.StatusOK || answer.Seq == 0 {
		t.Fatalf("/flow: %d %+v", status, answer)
	}
	shard := brain.ShardOf(id)
	var text string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && !contains(text, "/call/tok"); time.Sleep(20 * time.Millisecond) {
		text = r.get(t, fmt.Sprintf("/journal/dump?shard=%d", shard))
	}
	if !contains(text, `"id":"`+id+`/call/tok"`, `"kind":"image"`, `"graph":`, `"command":"`+answer.Command+`"`) {
		t.Errorf("answered %+v, dumped\n%s", answer, text)
	}
	for object, op := range map[string][]byte{brain.LocksObject(id): session.WrongOp("voicemail/vm_1"), brain.CallObject(id, "x"): {1}} {
		if described, err := describe(object, op); err != nil {
			t.Errorf("%s: %+v, %v", object, described, err)
		}
	}
	for object, op := range map[string][]byte{brain.LocksObject(id): {1}, brain.CallObject(id, "x"): session.WrongOp("a"), id: session.WrongOp("a")} {
		if described, err := describe(object, op); err == nil {
			t.Errorf("%s: %x is described as %+v", object, op, described)
		}
	}
}

func TestDelete_OfAMediaFileTakesItsSoundAway(t *testing.T) {
	// Proves, with a brain on real ports, that a sound which was uploaded is in the media store, and gone from it soon after
	// its row was deleted through /v1.
	r := start(t, t.TempDir())
	id := r.create(t, "/v1/accounts", `{"name":"acme"}`)
	file := r.create(t, "/v1/media_files?account_id="+id, `{"name":"hello"}`)
	wav, err := base64.StdEncoding.DecodeString("UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=")
	if err != nil {
		t.Fatal(err)
	}
	wav = append(wav, make([]byte, 1600)...)
	wav[4], wav[5], wav[40], wav[41] = byte(1636&0xff), byte(1636>>8), byte(1600&0xff), byte(1600>>8)
	var row brain.MediaFile
	if status := r.call(t, "PUT", "/v1/media_files/"+file+"/content?account_id="+id, "audio/wav", string(wav), &row); status != http.StatusOK || row.ObjectKey == "" {
		t.Fatalf("upload: %d %+v", status, row)
	}
	object := filepath.Join(r.DataDir, "media", filepath.FromSlash(row.ObjectKey))
	if _, err := os.Stat(object); err != nil {
		t.Fatal(err)
	}
	if status := r.call(t, "DELETE", "/v1/media_files/"+file+"?account_id="+id, "", "", nil); status != http.StatusNoContent {
		t.Fatalf("delete: %d", status)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(object); os.IsNotExist(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", object)
		}
	}
}
