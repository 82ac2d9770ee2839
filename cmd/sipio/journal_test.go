package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/session"
)

// callAt is the op that sets a call to a command.
func callAt(seq int) string {
	return fmt.Sprintf(`{"kind":"image","image":{"token":"t","since_ms":1,"first_seq":1,"seq":%d,"turn":%d,"command":"play"}}`, seq, seq)
}

// dumpLine is one line of a dump.
func dumpLine(seq int, id, what, value string) string {
	return fmt.Sprintf(`{"shard":1,"seq":%d,"epoch":1,"id":%q,"time_ms":%d,%q:%s}`+"\n", seq, id, 1000+seq, what, value)
}

func TestReplay_CallsAndWrongPINs(t *testing.T) {
	// Proves that a dump with a call, a call that is forgotten, wrong PINs and an account is replayed by the machine of each:
	// from a snapshot or from nothing, up to the sequence asked for.
	call, gone, locks := brain.CallObject("acc_1", "t"), brain.CallObject("acc_1", "gone"), brain.LocksObject("acc_1")
	m := session.New(call)
	op, err := session.OpFromJSON([]byte(callAt(1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Apply(1, op); err != nil {
		t.Fatal(err)
	}
	snapshot, err := json.Marshal(m.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	dump := dumpLine(1, call, "snapshot", string(snapshot)) + dumpLine(2, gone, "op", callAt(1)) + dumpLine(3, call, "op", callAt(5)) +
		dumpLine(4, locks, "op", `{"kind":"wrong","target":"voicemail/vm_1"}`) + dumpLine(5, gone, "op", `{"kind":"forget"}`) +
		dumpLine(6, "acc_1", "op", `{"op":"release","tokens":["x"]}`) + dumpLine(7, call, "op", callAt(9))
	for until, want := range map[uint64]string{
		1: call + " 0 seq 1",
		3: gone + " 1 seq 1, " + call + " 1 seq 5",
		6: "acc_1 1 account, " + call + " 1 seq 5, " + locks + ` 1 {"wrong":{"voicemail/vm_1":[1004]}}`,
		0: "acc_1 1 account, " + call + " 2 seq 9, " + locks + ` 1 {"wrong":{"voicemail/vm_1":[1004]}}`,
	} {
		list, err := replay(strings.NewReader(dump), until)
		if err != nil {
			t.Errorf("until %d: %v", until, err)
			continue
		}
		var got []string
		for _, o := range list {
			got = append(got, fmt.Sprintf("%s %d %s", o.ID, o.Records, held(t, o)))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("until %d: %q\nwant %q", until, got, want)
		}
	}
}

// held says in short what an object holds.
func held(t *testing.T, o *replayed) string {
	t.Helper()
	switch {
	case o.Session != nil && o.Locks == nil && o.CAC == nil:
		var image struct{ Seq int }
		if err := json.Unmarshal(o.Session, &image); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("seq %d", image.Seq)
	case o.Locks != nil && o.CAC == nil:
		return string(o.Locks)
	case o.CAC != nil && o.Presence != nil:
		return "account"
	}
	return "nothing"
}

func TestReplay_RefusesWhatIsNoRecord(t *testing.T) {
	// Proves that damage, and an op that is not one of its object's kind, end the replay with the line they stand in.
	call, locks := brain.CallObject("acc_1", "t"), brain.LocksObject("acc_1")
	for line, want := range map[string]string{
		`{"shard":1,"seq":1,"damage":"cut"}`: "message 1 of shard 1 is damaged: cut",
		`{"shard":1,"seq":1}`:                "names no live object",
		`{`:                                  "unexpected end",
		dumpLine(1, call, "op", `{"op":"release","tokens":["x"]}`):            "not an operation of a session",
		dumpLine(1, call, "op", `{"kind":"image"}`):                           "an image of",
		dumpLine(1, call, "snapshot", `"AAAA"`):                               "session",
		dumpLine(1, locks, "op", `{"kind":"wrong"}`):                          "target",
		dumpLine(1, locks, "op", callAt(1)):                                   `op "image"`,
		dumpLine(1, locks, "snapshot", `"AQ=="`):                              "wrong PINs",
		dumpLine(1, "acc_1", "op", `{"kind":"wrong","target":"voicemail/a"}`): "presence machine",
	} {
		_, err := replay(strings.NewReader(line), 0)
		if err == nil || !strings.HasPrefix(err.Error(), "line 1: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// FuzzReplay proves that no dump makes a replay panic.
func FuzzReplay(f *testing.F) {
	call, locks := brain.CallObject("acc_1", "t"), brain.LocksObject("acc_1")
	f.Add(dumpLine(1, call, "op", callAt(1)) + dumpLine(2, locks, "op", `{"kind":"wrong","target":"voicemail/vm_1"}`) + dumpLine(3, call, "op", `{"kind":"forget"}`))
	f.Add(dumpLine(1, locks, "snapshot", `"AWEBAg=="`) + dumpLine(2, "acc_1", "op", `{"op":"release","tokens":["x"]}`))
	f.Add(dumpLine(1, call, "snapshot", `"AAAAAAJ7fQA="`))
	f.Fuzz(func(t *testing.T, dump string) {
		list, err := replay(strings.NewReader(dump), 0)
		if err == nil {
			_, err = json.Marshal(list)
		}
		if err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
