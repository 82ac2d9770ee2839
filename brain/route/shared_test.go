package route

import (
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// numbers is a directory that finds numbers.
type numbers struct {
	directory
	of map[string]*brain.AccountConfig
}

func (n numbers) ByDID(e164 string) (*brain.AccountConfig, *brain.DID) {
	if acct := n.of[e164]; acct != nil {
		return acct, acct.DIDByE164[e164]
	}
	return nil, nil
}

// Proves whose call it is that comes from the address of a carrier which several accounts share: of who has the number, however it is
// written, and a trunk of that address; and that it is the first's, to be refused, for every other number and for trunks of another kind.
func TestShared_ACallIsOfWhoHasItsNumber(t *testing.T) {
	tenant := func(id, e164, user string, change func(t *brain.SIPTrunk)) *brain.AccountConfig {
		trunk := brain.SIPTrunk{ID: "trk_" + id, Status: brain.StatusActive, Provider: brain.ProviderCarrier, Direction: brain.TrunkBoth,
			InboundACL: []string{"198.51.100.0/28", "2001:db8::1"}, DoRegister: user != "", AuthUsername: user}
		if change != nil {
			change(&trunk)
		}
		return brain.NewAccountConfig(1, brain.AccountRows{Account: brain.Account{ID: id, Status: brain.StatusActive, Country: "DE"},
			Trunks: []brain.SIPTrunk{trunk}, DIDs: []brain.DID{{ID: "did_" + id, E164: e164, Status: brain.StatusActive}}})
	}
	for _, c := range []struct {
		name, ruri, to, ip, want string
		first, second            func(t *brain.SIPTrunk)
		login                    string
	}{
		{name: "the first's", ruri: "+4930100", want: "a"}, {name: "the second's", ruri: "+4930200", want: "b"},
		{name: "national", ruri: "030200", want: "b"}, {name: "without +", ruri: "4930200", want: "b"}, {name: "IPv6", ruri: "+4930200", ip: "2001:db8::1", want: "b"},
		{name: "nobody's", ruri: "+4930300", want: "a"}, {name: "no number", ruri: "x", want: "a"},
		{name: "of who does not use the carrier", ruri: "+4930200", want: "a", second: func(t *brain.SIPTrunk) { t.Provider = "generic" }},
		{name: "of another network", ruri: "+4930200", want: "a", second: func(t *brain.SIPTrunk) { t.InboundACL = []string{"198.51.100.16/28"} }},
		{name: "disabled", ruri: "+4930200", want: "a", second: func(t *brain.SIPTrunk) { t.Status = brain.StatusDisabled }},
		{name: "outbound", ruri: "+4930200", want: "a", second: func(t *brain.SIPTrunk) { t.Direction = brain.TrunkOutbound }},
		{name: "not shared", ruri: "+4930200", want: "a", first: func(t *brain.SIPTrunk) { t.Provider = "generic" }},
		{name: "our Contact", ruri: "sub-b", to: "+4930200", login: "sub-b", want: "b"}, {name: "another Contact", ruri: "sub-a", to: "+4930200", login: "sub-b", want: "a"},
		{name: "To says nothing of numbers", ruri: "+4930300", to: "+4930200", want: "a"},
	} {
		a, b := tenant("a", "4930100", "", c.first), tenant("b", "4930200", c.login, c.second)
		req := api.RouteRequest{RURIUser: c.ruri, ToUser: c.to}
		req.SourceIP = "198.51.100.7"
		if c.ip != "" {
			req.SourceIP = c.ip
		}
		acct, trunk := Shared(numbers{of: map[string]*brain.AccountConfig{"4930100": a, "4930200": b}}, a, a.Trunks["trk_a"], &req)
		if acct.Account.ID != c.want || trunk != acct.Trunks["trk_"+c.want] {
			t.Errorf("%s: %s %s", c.name, acct.Account.ID, trunk.ID)
		}
	}
}
