package route

import (
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// directory is a brain.Directory of a few accounts, by lower-case domain.
type directory map[string]*brain.AccountConfig

func (d directory) ByDomain(domain string) *brain.AccountConfig { return d[strings.ToLower(domain)] }
func (d directory) ByAccount(string) *brain.AccountConfig       { return nil }
func (d directory) Version() int64                              { return 7 }

// office is the content of the account that the scenarios call in. Ids are us_1002, dev_1002-desk,
// ext_200, rg_sales.
type office struct{ brain.AccountRows }

// newOffice: Alice 1001 (desk, mobile), Bob 1002 (desk), Carol 1003 (desk, mobile, and a spare that rings
// only alone), Dave 1004 (no phone), Eve 1005 (desk); 200 is the ring group Sales of Bob and Carol, 300 is
// Bob, 900 hangs up with 603.
func newOffice() *office {
	o := &office{}
	o.Account = brain.Account{ID: "acc_acme", Name: "Acme", Status: brain.StatusActive}
	o.Domains = []brain.SIPDomain{{ID: "dom_1", Domain: "acme.example", IsPrimary: true}, {ID: "dom_2", Domain: "old.acme.example"}}
	for _, u := range []struct{ number, name, phones string }{
		{"1001", "Alice", "desk mobile"}, {"1002", "Bob", "desk"}, {"1003", "Carol", "desk mobile spare"},
		{"1004", "Dave", ""}, {"1005", "Eve", "desk"},
	} {
		o.Users = append(o.Users, brain.SIPUser{ID: "us_" + u.number, Username: u.number, DisplayName: u.name,
			RingTimeoutSec: 25, RingStrategy: brain.RingSimultaneous, Status: brain.StatusActive})
		for i, phone := range strings.Fields(u.phones) {
			name := u.number + "-" + phone
			o.Devices = append(o.Devices, brain.SIPDevice{ID: "dev_" + name, UserID: "us_" + u.number, AuthUsername: name,
				Realm: "acme.example", RingOrder: i, RingOnFork: phone != "spare", Status: brain.StatusActive})
		}
	}
	o.RingGroups = []brain.RingGroup{{ID: "rg_sales", Name: "Sales", Strategy: brain.RingSimultaneous, RingTimeoutSec: 20,
		Members: []brain.RingGroupMember{{UserID: "us_1002", Order: 2}, {UserID: "us_1003", Order: 1}}}}
	o.Extensions = []brain.Extension{
		{ID: "ext_200", Digits: "200", DestKind: brain.DestRingGroup, DestID: "rg_sales", Status: brain.StatusActive},
		{ID: "ext_300", Digits: "300", DestKind: brain.DestUser, DestID: "us_1002", Status: brain.StatusActive},
		{ID: "ext_900", Digits: "900", DestKind: brain.DestHangup, DestID: "603", Status: brain.StatusActive},
	}
	return o
}

func (o *office) user(number string) *brain.SIPUser {
	for i := range o.Users {
		if o.Users[i].Username == number {
			return &o.Users[i]
		}
	}
	panic("the office has no user " + number)
}

func (o *office) device(name string) *brain.SIPDevice {
	for i := range o.Devices {
		if o.Devices[i].AuthUsername == name {
			return &o.Devices[i]
		}
	}
	panic("the office has no device " + name)
}

func (o *office) extension(digits string) *brain.Extension {
	for i := range o.Extensions {
		if o.Extensions[i].Digits == digits {
			return &o.Extensions[i]
		}
	}
	panic("the office has no extension " + digits)
}

func (o *office) sales() *brain.RingGroup { return &o.RingGroups[0] }

// always, busy and noanswer set a user's forwards, written as "user us_1003".
func always(u *brain.SIPUser, to string)   { u.FwdAlwaysDestKind, u.FwdAlwaysDestID = dest(to) }
func busy(u *brain.SIPUser, to string)     { u.FwdBusyDestKind, u.FwdBusyDestID = dest(to) }
func noanswer(u *brain.SIPUser, to string) { u.FwdNoanswerDestKind, u.FwdNoanswerDestID = dest(to) }

func overflow(g *brain.RingGroup, to string) { g.OverflowDestKind, g.OverflowDestID = dest(to) }

func dest(to string) (brain.DestKind, string) {
	kind, id, _ := strings.Cut(to, " ")
	return brain.DestKind(kind), id
}

// config indexes the office, and puts it beside another tenant whose user 1002 has a phone of his own.
func (o *office) config() (*brain.AccountConfig, brain.Directory) {
	acct := brain.NewAccountConfig(7, o.AccountRows)
	acct.Zones = map[string]*time.Location{"Europe/Berlin": berlinZone()}
	other := brain.NewAccountConfig(3, brain.AccountRows{
		Account: brain.Account{ID: "acc_other", Status: brain.StatusActive},
		Domains: []brain.SIPDomain{{Domain: "other.example", IsPrimary: true}},
		Users:   []brain.SIPUser{{ID: "us_o", Username: "2002", Status: brain.StatusActive}},
		Devices: []brain.SIPDevice{{ID: "dev_o", UserID: "us_o", AuthUsername: "2002", Realm: "other.example", RingOnFork: true, Status: brain.StatusActive}},
	})
	return acct, directory{"acme.example": acct, "old.acme.example": acct, "other.example": other}
}

// callerOf is who calls from a device.
func callerOf(acct *brain.AccountConfig, device string) Caller {
	dev := acct.DeviceByAuth[brain.AuthKey(device, "acme.example")]
	return Caller{Account: acct, Device: dev, User: acct.Users[dev.UserID]}
}

// invite is the question of an INVITE whose From is Alice's own.
func invite(user, domain string) api.RouteRequest {
	return api.RouteRequest{
		Origin:   api.Origin{CallID: "3848276298220188511@192.0.2.1", CSeq: "2", Branch: "z9hG4bK776asdhds", Method: "INVITE", Node: "edge-1"},
		FromUser: "1001", FromDomain: "acme.example", FromName: "Alice",
		ToUser: user, ToDomain: domain, RURI: "sip:" + user + "@" + domain, RURIUser: user, RURIDomain: domain,
	}
}

func (d directory) NodeByName(string) *brain.Node { return nil }
func (d directory) ActiveNodes() int              { return 0 }

func (d directory) ByDID(string) (*brain.AccountConfig, *brain.DID)               { return nil, nil }
func (d directory) TrunkBySource(string) (*brain.AccountConfig, *brain.SIPTrunk)  { return nil, nil }
func (d directory) TrunkByTLSName(string) (*brain.AccountConfig, *brain.SIPTrunk) { return nil, nil }
func (d directory) TrunkSources() []string                                        { return nil }
func (d directory) Nodes() []*brain.Node                                          { return nil }
