package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that a trunk is found by any address of its networks, in whatever form the address is written, and by no
// other; that a disabled one is not; and that the list for the edge has the networks of active trunks alone.
func TestTrunkBySource_FindsTheNetworkOfAnAddress(t *testing.T) {
	s := acmeStore(t)
	beta := account(t, s, "beta.test").Account.ID
	off := &brain.SIPTrunk{AccountID: beta, Name: "off", Status: brain.StatusDisabled, InboundACL: []string{"203.0.113.0/25"}}
	wide := &brain.SIPTrunk{AccountID: beta, Name: "wide", InboundACL: []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/16"}}
	mustChange(t, s, brain.OpCreate, off, wide)
	for ip, want := range map[string]string{"192.0.2.0": "carrier", "192.0.2.255": "carrier", "::ffff:192.0.2.7": "carrier", "192.0.3.0": "", "192.0.1.255": "", "198.51.100.7": "carrier",
		"198.51.100.8": "", "2001:db8:ffff::1": "carrier", "2001:db9::": "", "2001:db8::1%eth0": "carrier", "203.0.113.1": "", "10.1.2.3": "wide", "10.2.0.1": "wide", "11.0.0.0": "", "9.255.255.255": "",
		"": "", "192.0.2": "", "192.0.2.1:5060": "", "[2001:db8::1]": "", "carrier.test": "", "255.255.255.255": "", "0.0.0.0": "", "::": ""} {
		owner, trunk := s.Directory().TrunkBySource(ip)
		got := ""
		if trunk != nil {
			got = trunk.Name
		}
		if got != want || (owner == nil) != (trunk == nil) || owner != nil && owner.Trunks[trunk.ID] != trunk {
			t.Errorf("%q is of trunk %q, want %q", ip, got, want)
		}
	}
	if got := s.Directory().TrunkSources(); !slices.Equal(got, []string{"10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32"}) {
		t.Errorf("sources %v", got)
	}
	off.Status, wide.InboundACL = brain.StatusActive, []string{"172.16.0.0/12"}
	mustChange(t, s, brain.OpUpdate, off, wide)
	if _, trunk := s.Directory().TrunkBySource("203.0.113.1"); trunk == nil || trunk.ID != off.ID {
		t.Error("the trunk that was made active is not found")
	}
	if _, trunk := s.Directory().TrunkBySource("10.1.2.3"); trunk != nil {
		t.Error("a trunk without networks is found")
	}
}

// Proves that no address is of two trunks, whoever owns them, whichever network is the wider one and whatever
// their status, and that what is no network in its one spelling is told.
func TestChange_RefusesNetworksOfTwoTrunks(t *testing.T) {
	s := acmeStore(t)
	beta := account(t, s, "beta.test").Account.ID
	for network, want := range map[string]struct {
		code brain.Code
		part string
	}{
		"192.0.2.128/25":    {brain.EConflict, `sip_trunk "new": inbound_acl[1]: 192.0.2.128/25 overlaps`},
		"192.0.0.0/16":      {brain.EConflict, `sip_trunk "new": inbound_acl[1]: 192.0.0.0/16 overlaps`},
		"192.0.2.0/24":      {brain.EConflict, "overlaps"},
		"198.51.100.7":      {brain.EConflict, "overlaps"},
		"2001:db8:1::1":     {brain.EConflict, "overlaps"},
		"192.0.2.1/24":      {brain.EInvalid, "write 192.0.2.0/24"},
		"0.0.0.0/0":         {brain.EInvalid, "too wide"},
		"::/8":              {brain.EInvalid, "too wide"},
		"::ffff:192.0.2.1":  {brain.EInvalid, "write it as one"},
		"fe80::1":           {"", ""},
		"1.2.3":             {brain.EInvalid, "is no address"},
		"1.2.3.4/33":        {brain.EInvalid, "is no address"},
		"01.2.3.4":          {brain.EInvalid, "is no address"},
		"192.0.3.0/24":      {"", ""},
		"198.51.100.0/30":   {"", ""},
		"2001:db9::/32":     {"", ""},
		"203.0.113.255/32":  {"", ""},
		"203.0.113.254/032": {brain.EInvalid, "is no address"},
	} {
		trunk := &brain.SIPTrunk{AccountID: beta, Name: "new", Status: brain.StatusDisabled, InboundACL: []string{"203.0.113.0/30", network}}
		_, err := change(s, brain.OpCreate, trunk)
		if want.code == "" {
			if err != nil {
				t.Errorf("%s: %v", network, err)
				continue
			}
			mustChange(t, s, brain.OpDelete, trunk)
			continue
		}
		if brain.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.part) {
			t.Errorf("%s: %v, want %s %s", network, err, want.code, want.part)
		}
	}
}

// Proves that accounts share the networks of a wholesale carrier, and nothing else: no part of one, no trunk of another kind, no other
// trunk of the same account; that neither trunk becomes of another kind then; and that the address is one account's as long as either
// is there.
func TestChange_SharesTheNetworksOfAWholesaleCarrier(t *testing.T) {
	s := acmeStore(t)
	one, two := account(t, s, "beta.test").Account.ID, account(t, s, "acme.test").Account.ID
	trunk := func(owner, name, network string) *brain.SIPTrunk {
		return &brain.SIPTrunk{AccountID: owner, Name: name, Provider: brain.ProviderCarrier, Direction: brain.TrunkBoth, Proxy: "carrier.test", InboundACL: []string{network}}
	}
	a, b := trunk(one, "whole", "203.0.113.0/28"), trunk(two, "whole", "203.0.113.0/28")
	mustChange(t, s, brain.OpCreate, a)
	mustChange(t, s, brain.OpCreate, b)
	for name, spoil := range map[string]func(t *brain.SIPTrunk){
		"part":           func(t *brain.SIPTrunk) { t.InboundACL = []string{"203.0.113.0/29"} },
		"generic":        func(t *brain.SIPTrunk) { t.Provider = "generic" },
		"PBX":            func(t *brain.SIPTrunk) { t.Role = brain.RolePBX },
		"of one account": func(t *brain.SIPTrunk) { t.AccountID = one },
	} {
		bad := trunk(account(t, s, "acme.test").Account.ID, "x", "203.0.113.0/28")
		if name != "of one account" {
			bad.ID, bad.Name = b.ID, b.Name
		}
		spoil(bad)
		op := brain.OpUpdate
		if name == "of one account" {
			op = brain.OpCreate
		}
		if _, err := change(s, op, bad); brain.CodeOf(err) != brain.EConflict || !strings.Contains(err.Error(), "overlaps") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, gone := range []*brain.SIPTrunk{a, b} {
		if _, found := s.Directory().TrunkBySource("203.0.113.3"); found == nil {
			t.Error("nobody has the address")
		}
		mustChange(t, s, brain.OpDelete, gone)
	}
	if _, found := s.Directory().TrunkBySource("203.0.113.3"); found != nil {
		t.Error("somebody still has the address")
	}
}

// Proves with random networks that the search finds what a look at every one finds.
func TestSources_SearchAgreesWithALookAtEveryOne(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for round := range 200 {
		next := newState()
		next.tenants["acc_1"] = &tenant{rows: map[brain.Kind][]brain.Resource{}}
		var networks []netip.Prefix
		for i := range 1 + r.IntN(40) {
			addr := netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(4)), byte(r.IntN(256))})
			network := netip.PrefixFrom(addr, 8+r.IntN(25)).Masked()
			if slices.ContainsFunc(networks, network.Overlaps) {
				continue
			}
			networks = append(networks, network)
			next.tenants["acc_1"].rows[brain.KindSIPTrunk] = append(next.tenants["acc_1"].rows[brain.KindSIPTrunk],
				&brain.SIPTrunk{ID: fmt.Sprint(i), Status: brain.StatusActive, InboundAuth: brain.InboundIP, InboundACL: []string{network.String()}})
		}
		all := sourcesOf(next)
		for range 200 {
			addr := netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(4)), byte(r.IntN(256))})
			i := slices.IndexFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
			got := all.find(addr.String())
			if (i < 0) != (got.trunk == "") || i >= 0 && got.network != networks[i] {
				t.Fatalf("round %d: %s found %v in %v", round, addr, got, networks)
			}
		}
	}
}

// FuzzReadNetwork holds the reader of networks to its word: what it takes is masked, not too wide, and holds the
// address that it was written with.
func FuzzReadNetwork(f *testing.F) {
	for _, text := range []string{"192.0.2.0/24", "2001:db8::/32", "::ffff:1.2.3.4", "fe80::1%x", "/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		network, err := readNetwork(text)
		if err == nil && (!network.IsValid() || network != network.Masked() || network.Bits() < minPrefix4 || !network.Contains(network.Addr())) {
			t.Errorf("%q was read as %v", text, network)
		}
	})
}

// BenchmarkTrunkBySource is the question of each call from outside, with as many trunks as a large platform has.
func BenchmarkTrunkBySource(b *testing.B) {
	next := newState()
	rows := map[brain.Kind][]brain.Resource{}
	for i := range 1000 {
		rows[brain.KindSIPTrunk] = append(rows[brain.KindSIPTrunk], &brain.SIPTrunk{ID: fmt.Sprint(i), Status: brain.StatusActive, InboundAuth: brain.InboundIP, InboundACL: []string{fmt.Sprintf("10.%d.%d.0/28", i/250, i%250)}})
	}
	next.tenants["acc_1"] = &tenant{rows: rows}
	next.trunks = sourcesOf(next)
	b.ReportAllocs()
	for b.Loop() {
		if next.trunks.find("10.3.17.9").trunk == "" {
			b.Fatal("not found")
		}
	}
}
