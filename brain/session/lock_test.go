package session

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestWrongOps_AreReadAndWrittenAsJSON(t *testing.T) {
	// Proves that both ops of Locks come back to the byte by way of JSON, and that what is no op is refused both ways.
	for _, op := range [][]byte{WrongOp("voicemail/vm_1"), WrongOp("")} {
		described, err := DescribeWrong(op)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(described)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := WrongOpFromJSON(text); err != nil || !bytes.Equal(again, op) {
			t.Errorf("%s: %x, %v, want %x", text, again, err, op)
		}
	}
	for _, op := range [][]byte{nil, {5, 'a'}, append(WrongOp("a"), 0)} {
		if d, err := DescribeWrong(op); err == nil {
			t.Errorf("%x is described as %+v", op, d)
		}
	}
	for _, text := range []string{`{`, `{}`, `{"kind":"wrong"}`, `{"kind":"expire","target":"a"}`, `{"kind":"image","target":"a"}`} {
		if op, err := WrongOpFromJSON([]byte(text)); err == nil {
			t.Errorf("%s is %x", text, op)
		}
	}
}

func TestLocks_TellWhatTheyCount(t *testing.T) {
	// Proves that a query shows each target with its times, as a replay of the journal prints it.
	l := NewLocks()
	for at, target := range map[int64]string{1: "voicemail/a", 2: "conference/b"} {
		if _, _, err := l.Apply(at, WrongOp(target)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := l.Query(2, nil); err != nil || string(got) != `{"wrong":{"conference/b":[2],"voicemail/a":[1]}}` {
		t.Errorf("%s, %v", got, err)
	}
}
