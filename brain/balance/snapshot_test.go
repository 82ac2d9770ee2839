package balance

import (
	"bytes"
	"testing"
)

// Proves that a restored wallet is the same, and that snapshots that are damaged at any byte are refused or have right books.
func TestRestore(t *testing.T) {
	m := story(t)
	data := m.AppendSnapshot(nil)
	again, err := Restore("acc_1", data)
	if err != nil || !bytes.Equal(again.AppendSnapshot(nil), data) {
		t.Fatalf("restored otherwise: %v", err)
	}
	check(t, again)
	if _, err := Restore("acc_2", data); err == nil {
		t.Error("another account's is taken")
	}
	for i := range data {
		if _, err := Restore("acc_1", data[:i]); err == nil {
			t.Fatalf("cut off at %d it is taken", i)
		}
		for bit := range 8 {
			damaged := bytes.Clone(data)
			damaged[i] ^= 1 << bit
			if m, err := Restore("acc_1", damaged); err == nil {
				check(t, m)
			}
		}
	}
}

// story is a wallet with one of everything.
func story(t testing.TB) *Machine {
	m := New("acc_1")
	for i, o := range everyOp() {
		do(t, m, t0+int64(i), o)
	}
	if len(m.holds) == 0 || m.calls.first == nil || m.Empty() || !New("acc_1").Empty() {
		t.Fatal("not one of everything")
	}
	return m
}

func everyOp() []*Op {
	return []*Op{topup("t", 5_000_000), {Kind: Limit, ID: "l", AskedMS: t0, Micros: 7}, {Kind: Adjust, ID: "j", AskedMS: t0, Micros: -9, Text: "é"},
		take("a", 60, 3600), {Kind: Extend, ID: "a", Answered: true, Sec: 90, TalkMS: 3}, take("b", 60, 3600), settle("b", 77_000), take("c", 60, 3600), release("c"),
		take("d", 60, 3600), {Kind: Expire, IDs: []string{"d", "x"}}}
}
