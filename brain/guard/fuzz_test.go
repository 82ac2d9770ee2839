package guard

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// FuzzApply: bytes that are no op change nothing and fail; those that are one can be written again, and the guard after them has a
// snapshot that is read again.
func FuzzApply(f *testing.F) {
	for _, o := range []*Op{
		{Kind: Report, Node: node1, Share: ShareAll, Offences: []Offence{{Offence: api.Offence{Addr: "192.0.2.1", Tier: api.TierUA, Kind: api.OffenceScanner, Evidence: "x"}, Shield: "trunk"}}},
		{Kind: Add, Addr: "2001:db8::1", Why: "fraud", ForSec: 60}, {Kind: Lift, Addr: "192.0.2.1", Who: "anna"}, {Kind: Allow, Addr: "192.0.2.0/24"},
		{Kind: Disallow, Addr: "192.0.2.0/24"}, {Kind: Protect, Nets: []string{"192.0.2.0/24"}}, {Kind: Policy, Digest: "a"}, {Kind: Expire},
	} {
		f.Add(start, AppendOp(nil, o))
	}
	f.Fuzz(func(t *testing.T, nowMS int64, data []byte) {
		m := New()
		offends(t, m, start, by(api.TierNft, "192.0.2.1"))
		before := m.AppendSnapshot(nil)
		o, err := ReadOp(data)
		if _, changed, applied := m.Apply(nowMS, data); (err == nil) != (applied == nil) || !changed && !bytes.Equal(before, m.AppendSnapshot(nil)) {
			t.Fatalf("read: %v, applied: %v, changed: %v", err, applied, changed)
		}
		if err == nil {
			again, err := ReadOp(AppendOp(nil, o))
			if err != nil {
				t.Fatalf("%+v is not read again: %v", o, err)
			}
			a, _ := json.Marshal(o)
			b, _ := json.Marshal(again)
			if !bytes.Equal(a, b) {
				t.Fatalf("%s became %s", a, b)
			}
		}
		if _, err := Restore(m.AppendSnapshot(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzRestore: bytes that are no snapshot are refused; a guard that is made of them works.
func FuzzRestore(f *testing.F) {
	m := New()
	offends(f, m, start, by(api.TierNft, "192.0.2.1"))
	does(f, m, start, &Op{Kind: Allow, Addr: "2001:db8::/48", Why: "office"})
	f.Add(m.AppendSnapshot(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Restore(data)
		if err != nil {
			return
		}
		offends(t, m, start, by(api.TierNft, "192.0.2.1"))
		does(t, m, start, &Op{Kind: Lift, Addr: "192.0.2.1"})
		if _, err := Restore(m.AppendSnapshot(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzQuery: no question fails the guard, and none changes it.
func FuzzQuery(f *testing.F) {
	f.Add([]byte(`{"what":"bans","addr":"192.0.2.1"}`))
	f.Add([]byte(`{"what":"bans","after":"192.0.2.1","limit":2,"node":"edge1"}`))
	f.Add(AppendListed(nil, node1, []api.ActiveBan{{Addr: "192.0.2.9", Tier: api.TierNft, UntilMS: start + minute}}))
	f.Fuzz(func(t *testing.T, question []byte) {
		m := New()
		offends(t, m, start, by(api.TierNft, "192.0.2.1"))
		before := m.AppendSnapshot(nil)
		_, _ = m.Query(start, question)
		if !bytes.Equal(before, m.AppendSnapshot(nil)) {
			t.Fatal("a question has changed the guard")
		}
	})
}

// FuzzReadSignatures: what is taken obeys the bounds.
func FuzzReadSignatures(f *testing.F) {
	f.Add("friendly-scanner # x\nfrom:abcd\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ReadSignatures(text)
		for _, s := range list {
			if checkSignature(s) != nil {
				t.Fatalf("%q, %v", s, err)
			}
		}
	})
}
