package balance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/sipio/sipio/brain/pack"
)

// Proves that each kind of op is read as it was written, and again from its JSON.
func TestOp_ReadsWhatWasWritten(t *testing.T) {
	for _, o := range everyOp() {
		b := AppendOp(nil, o)
		got, err := ReadOp(b)
		if err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("%+v, %v, want %+v", got, err, o)
		}
		what, err := Describe(b)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(what)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := OpFromJSON(text); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Proves that what means nothing is refused and changes nothing.
func TestApply_RefusesWhatIsNoOp(t *testing.T) {
	long := string(bytes.Repeat([]byte{'x'}, maxField+1))
	spoiled := func(o *Op, spoil func(*Op)) []byte {
		spoil(o)
		return AppendOp(nil, o)
	}
	for i, b := range [][]byte{nil, {0}, {99}, {1}, append(AppendOp(nil, release("a")), 0),
		spoiled(take("", 1, 1), func(*Op) {}), spoiled(take(long, 1, 1), func(*Op) {}), spoiled(take("a", 1, 0), func(*Op) {}), spoiled(take("a", -1, 1), func(*Op) {}),
		spoiled(take("a", 1, maxSec+1), func(*Op) {}), spoiled(take("a", 1, 1), func(o *Op) { o.Terms = nil }), spoiled(take("a\xff", 1, 1), func(*Op) {}),
		spoiled(settle("a", MaxTalkMS+1), func(*Op) {}), spoiled(settle("a", -1), func(*Op) {}), spoiled(settle("a", 1), func(o *Op) { o.AskedMS = -1 }),
		spoiled(topup("a", 0), func(*Op) {}), spoiled(topup("a", MaxMicros+1), func(*Op) {}), spoiled(topup("a", 1), func(o *Op) { o.Text = long }),
		spoiled(topup("a", 0), func(o *Op) { o.Kind = Adjust }), spoiled(topup("a", -1), func(o *Op) { o.Kind = Limit }), spoiled(topup("a", -MaxMicros-1), func(o *Op) { o.Kind = Adjust }),
	} {
		m := New("acc_1")
		if reply, changed, err := m.Apply(t0, b); err == nil || changed || reply != nil || !m.Empty() {
			t.Errorf("op %d was applied: % x", i, b)
		}
	}
}

// Reads any bytes as an op. Proves that none makes a wallet panic or breaks its books, and that what can be read is written again the
// same, by itself and through JSON.
func FuzzOp(f *testing.F) {
	for _, o := range everyOp() {
		f.Add(AppendOp(nil, o))
	}
	f.Fuzz(func(t *testing.T, op []byte) {
		m := story(t)
		before := m.AppendSnapshot(nil)
		_, changed, err := m.Apply(t0+100, op)
		check(t, m)
		if !changed && !bytes.Equal(m.AppendSnapshot(nil), before) {
			t.Fatal("changed without saying so")
		}
		o, told := ReadOp(op)
		if (err == nil) != (told == nil) || err != nil && changed {
			t.Fatalf("applied: %v, read: %v", err, told)
		}
		if err != nil {
			return
		}
		b := AppendOp(nil, o)
		if again, err := ReadOp(b); err != nil || !reflect.DeepEqual(again, o) {
			t.Fatalf("%+v, then %+v, %v", o, again, err)
		}
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := OpFromJSON(text); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%s: %v", text, err)
		}
	})
}

// Applies any bytes as a row of ops, each with its length before it, with time going on. Proves that no story breaks the books, that
// its wallet is restored as it is, and that a damaged snapshot is refused or has right books.
func FuzzMachine(f *testing.F) {
	var all []byte
	for _, o := range everyOp() {
		all = pack.AppendBytes(all, AppendOp(nil, o))
	}
	f.Add(all, uint16(300))
	f.Fuzz(func(t *testing.T, story []byte, damage uint16) {
		m, r, now := New("acc_1"), pack.NewReader(story), t0
		for r.Rest() > 0 && r.Err() == nil {
			_, _, _ = m.Apply(now, r.Bytes()) // what is no op is refused, which FuzzOp proves
			now += 60_000
		}
		check(t, m)
		data := m.AppendSnapshot(nil)
		again, err := Restore("acc_1", data)
		if err != nil {
			t.Fatal(err)
		}
		check(t, again)
		if !bytes.Equal(again.AppendSnapshot(nil), data) {
			t.Fatal("restored otherwise")
		}
		data[int(damage)%len(data)] ^= byte(damage >> 8)
		if damaged, err := Restore("acc_1", data); err == nil {
			check(t, damaged)
		}
	})
}

// Reads any bytes as a reply and as the image of a chain. Proves that nothing panics, and that what is read is written again the same.
func FuzzReply(f *testing.F) {
	f.Add(appendReply(nil, &Reply{Done: true, HeldSec: 5, Why: WhyMoney}))
	c, err := NewChain(pay())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.AppendImage(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if y, err := ReadReply(b); err == nil {
			if again, err := ReadReply(appendReply(nil, &y)); err != nil || again != y {
				t.Fatalf("%+v, then %+v, %v", y, again, err)
			}
		}
		if c, err := RestoreChain(b); err == nil {
			image := c.AppendImage(nil)
			again, err := RestoreChain(image)
			if err != nil || !bytes.Equal(again.AppendImage(nil), image) {
				t.Fatalf("%+v, %v", again, err)
			}
			c.Next()
			c.Closed()
		}
	})
}

// What a whole call costs: hold, one extend, settle.
func BenchmarkCall(b *testing.B) {
	m := New("acc_1")
	m.limitMicros = MaxMicros
	var op []byte
	for i := int64(0); b.Loop(); i++ {
		id := fmt.Sprintf("token-%020d", i)
		for _, o := range []*Op{take(id, 60, 3600), {Kind: Extend, ID: id, Sec: 120, Answered: true}, settle(id, 90_000)} {
			o.AskedMS = t0 + i
			op = AppendOp(op[:0], o)
			if _, changed, err := m.Apply(t0+i, op); err != nil || !changed {
				b.Fatal(i, err)
			}
		}
	}
}
