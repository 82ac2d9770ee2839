package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// messages are what a log may hold: one of a device and a key, one that is packed, one without rows, and one of maps and graphs.
func messages(t testing.TB) [][]byte {
	t.Helper()
	device := &brain.SIPDevice{ID: "dev_1", AccountID: "acc_1", UserID: "us_1", AuthUsername: "1", Realm: "a.test", HA1MD5: strings.Repeat("a", 32)}
	key := &brain.APIKey{ID: "key_1", Name: "root", Scopes: []brain.Scope{brain.ScopeNode}, Hash: strings.Repeat("b", 64)}
	group := &brain.RingGroup{ID: "rg_1", AccountID: "acc_1", Name: "g"}
	limit := brain.NewResource(brain.KindCallLimit).(*brain.CallLimit)
	limit.ID, limit.AccountID, limit.Hard = "lim_1", "acc_1", false
	did := &brain.DID{ID: "did_1", AccountID: "acc_1", E164: "4930", DestXform: brain.Vars{"a": "b"}}
	flow := &brain.CallFlow{ID: "flow_1", AccountID: "acc_1", Name: "f", Version: 3, LiveGraph: brain.FlowGraph{Nodes: []brain.FlowStep{{ID: "a", Data: []byte(`{"kind":"<é>"}`)}}}}
	box := &brain.Voicemail{ID: "vm_1", AccountID: "acc_1", Name: "v", PINHash: "$argon2id$"}
	var many []op
	for i := range 100 {
		many = append(many, opOf(nil, &brain.SIPUser{ID: fmt.Sprint("us_", i), AccountID: "acc_1", Username: fmt.Sprint(i)}))
	}
	var list [][]byte
	for _, ops := range [][]op{{opOf(nil, device), opOf(key, key), opOf(group, nil), opOf(nil, limit)}, many, nil, {opOf(nil, did), opOf(nil, flow), opOf(nil, box)}} {
		for _, o := range ops {
			brain.ApplyDefaults(o.resource())
		}
		data, err := writeEntry(newEntry(brain.Revision{Version: 7, TimeMS: 1234, Actor: "key_1", Summary: "s"}, ops, ""))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, data)
	}
	return list
}

// Proves that a message is read as it was written, with credentials, false values and empty lists, that a
// large one is packed, and that no SQL is in any.
func TestEntry_IsReadAsItWasWritten(t *testing.T) {
	list := messages(t)
	e, err := readEntry(7, list[0])
	if err != nil {
		t.Fatal(err)
	}
	if e.revision() != (brain.Revision{Version: 7, TimeMS: 1234, Actor: "key_1", Summary: "s"}) || len(e.Rows) != 4 {
		t.Errorf("got %+v", e)
	}
	device, key, limit := e.Rows[0].after.(*brain.SIPDevice), e.Rows[1].after.(*brain.APIKey), e.Rows[3].after.(*brain.CallLimit)
	if device.HA1MD5 == "" || device.RingOnFork || key.Hash == "" || limit.Hard || e.Rows[2].after != nil || e.Rows[2].AccountID != "acc_1" {
		t.Errorf("rows: %+v %+v %+v %+v", device, key, limit, e.Rows[2])
	}
	if e, err = readEntry(7, list[3]); err != nil {
		t.Fatal(err)
	}
	did, flow, box := e.Rows[0].after.(*brain.DID), e.Rows[1].after.(*brain.CallFlow), e.Rows[2].after.(*brain.Voicemail)
	if did.AllowAnonymous || did.DestXform["a"] != "b" || flow.Version != 3 || string(flow.LiveGraph.Nodes[0].Data) != `{"kind":"\u003cé\u003e"}` || box.PINHash == "" {
		t.Errorf("rows: %+v %+v %+v", did, flow, box)
	}
	if packed, err := readEntry(7, list[1]); err != nil || len(packed.Rows) != 100 || list[1][0] == '{' || list[0][0] != '{' || len(list[1]) > packFrom {
		t.Errorf("packed: %d bytes, %v", len(list[1]), err)
	}
	if empty, err := readEntry(7, list[2]); err != nil || len(empty.Rows) != 0 {
		t.Errorf("without rows: %+v, %v", empty, err)
	}
	if bytes.Contains(list[0], []byte("INSERT")) {
		t.Error("there is SQL in a message")
	}
}

// Proves that a message which this program understands only in part is refused, and says of what: each row
// spoils a good one.
func TestEntry_RefusesWhatItDoesNotKnow(t *testing.T) {
	for name, c := range map[string]struct{ old, new, part string }{
		"newer form":      {`"form":1`, `"form":2`, "newer sipio"},
		"other version":   {`"version":7`, `"version":8`, "version 8"},
		"unknown member":  {`"actor"`, `"colour":1,"actor"`, "colour"},
		"unknown field":   {`"auth_username"`, `"colour":"red","auth_username"`, "colour"},
		"unknown kind":    {`"kind":"sip_device"`, `"kind":"trunk"`, "newer sipio"},
		"unknown op":      {`"op":"create"`, `"op":"upsert"`, "upsert"},
		"another id":      {`"after":{"id":"dev_1"`, `"after":{"id":"dev_2"`, "dev_2"},
		"another account": {`"account_id":"acc_1","user_id"`, `"account_id":"acc_2","user_id"`, "acc_2"},
		"no image":        {`"op":"delete"`, `"op":"update"`, "image"},
		"image of delete": {`"op":"create"`, `"op":"delete"`, "image"},
		"wrong type":      {`"ring_on_fork":false`, `"ring_on_fork":"no"`, "ring_on_fork"},
		"torn":            {`}]}`, `}]`, "unexpected end"},
		"two":             {`}]}`, `}]}{}`, "after top-level"},
	} {
		good := string(messages(t)[0])
		if !strings.Contains(good, c.old) {
			t.Fatalf("%s: nothing to replace in %s", name, good)
		}
		_, err := readEntry(7, []byte(strings.Replace(good, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.part) || !strings.Contains(err.Error(), "version 7") {
			t.Errorf("%s: got %v, want %q", name, err, c.part)
		}
	}
}

// Proves that no message stands for more memory than is allowed, and that a change set that does not fit
// is refused as the caller's to mend.
func TestEntry_IsBounded(t *testing.T) {
	const limit = 1 << 20
	for size, want := range map[int]bool{limit: true, limit + 1: false, 100 * limit: false} {
		packed, err := pack(make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unpack(packed, limit); (err == nil) != want {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	wantCode(t, tooLarge(9), brain.EInvalid, "in parts")
}

// Proves that no bytes make the reader panic, and that what it takes is written and read again as the same.
func FuzzReadEntry(f *testing.F) {
	for _, m := range messages(f) {
		f.Add(m)
	}
	f.Add([]byte(`{"form":1,"version":7,"rows":[{"op":"create","kind":"api_key","id":"key_1","account_id":"","after":null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := readEntry(7, data)
		if err != nil {
			return
		}
		ops, err := e.ops(newState())
		if err == nil {
			d := newDraft(newState())
			for _, o := range ops {
				o.apply(d)
			}
			d.build(7, nil)
		}
		again, err := writeEntry(e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := readEntry(7, again)
		if err != nil {
			t.Fatalf("%v in %s", err, again)
		}
		was, _ := json.Marshal(e)
		is, _ := json.Marshal(back)
		if !bytes.Equal(was, is) {
			t.Errorf("read again as\n%s\nwant\n%s", is, was)
		}
	})
}
