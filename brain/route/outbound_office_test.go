package route

import (
	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// newCompany is the office in Germany with ways out. Numbers: 4930100 Main, 4930101 virtual; Alice shows 4930101. Trunks Alpha
// (+49…, registered), Beta (national, over TCP, trusted with PAI), Wholesale (takes the rest), PBX (role pbx, registers here).
// Routes: germany 49 over Alpha, then Beta; premium 49900 blocked; service 499001 over Beta after all; uk 44 while hours is open;
// help for emergencies over Beta. Forwards: cell to 0151 1234567, and it overflows to Eve; work shows the number called.
func newCompany() *office {
	o := newPlatform()
	o.Account.Country, o.Account.DefaultCIDNumber, o.Account.EmergencySuspended = "DE", "4930100", true
	o.Account.OutboundCountries = []string{"DE", "FR", "GB"}
	o.DIDs = append(o.DIDs, brain.DID{ID: "did_alice", E164: "4930101", Status: brain.StatusVirtual, AllowAnonymous: true})
	o.user("1001").OutCIDNumber, o.user("1001").OutCIDName = "4930101", "Alice Acme"
	trunk := func(t brain.SIPTrunk) {
		t.Status, t.SilentMS = brain.StatusActive, 4000
		o.Trunks = append(o.Trunks, t)
	}
	trunk(brain.SIPTrunk{ID: "trk_alpha", Name: "Alpha", Direction: brain.TrunkBoth, Proxy: "alpha.example", Transport: "udp", DoRegister: true,
		AuthUsername: "acme", AuthSecretRef: "alpha", NumberFormat: brain.FormatPlus, FailCodes: []int{603}, MaxChannels: 2, MaxCPS: 5})
	trunk(brain.SIPTrunk{ID: "trk_beta", Name: "Beta", Direction: brain.TrunkOutbound, Proxy: "beta.example:5070", Transport: "tcp",
		NumberFormat: brain.FormatNational, SendsPAI: true, CIDNumber: "4930100"})
	trunk(brain.SIPTrunk{ID: "trk_whole", Name: "Wholesale", Direction: brain.TrunkOutbound, Provider: brain.ProviderCarrier, Proxy: "[2001:db8::1]:5060",
		NumberFormat: brain.FormatE164, Subaccount: "acme/4711", FromDomain: "acme.example"})
	trunk(brain.SIPTrunk{ID: "trk_pbx", Name: "PBX", Direction: brain.TrunkBoth, Role: brain.RolePBX, InboundAuth: brain.InboundRegister,
		AuthUsername: "pbx1", NumberFormat: brain.FormatPlus})
	route := func(r brain.OutboundRoute) {
		r.Status = brain.StatusActive
		o.Routes = append(o.Routes, r)
	}
	route(brain.OutboundRoute{ID: "route_de", Name: "germany", MatchPrefix: "49", Strategy: "priority",
		Trunks: []brain.OutboundChoice{{TrunkID: "trk_beta", Priority: 2}, {TrunkID: "trk_alpha", Priority: 1}}})
	route(brain.OutboundRoute{ID: "route_premium", Name: "premium", MatchPrefix: "49900", Blocked: true})
	route(brain.OutboundRoute{ID: "route_service", Name: "service", MatchPrefix: "499001", Strategy: "priority", Trunks: []brain.OutboundChoice{{TrunkID: "trk_beta"}}})
	route(brain.OutboundRoute{ID: "route_uk", Name: "uk", MatchPrefix: "44", Strategy: "least_cost", ScheduleID: "sch_hours",
		Trunks: []brain.OutboundChoice{{TrunkID: "trk_alpha", CostMicros: 900}, {TrunkID: "trk_beta", CostMicros: 700}}})
	route(brain.OutboundRoute{ID: "route_help", Name: "help", IsEmergency: true, Strategy: "priority", Trunks: []brain.OutboundChoice{{TrunkID: "trk_beta"}}})
	o.Extensions = append(o.Extensions, brain.Extension{ID: "ext_7", Digits: "7777", DestKind: brain.DestTrunk, DestID: "trk_pbx", Status: brain.StatusActive})
	o.Forwards = []brain.Forward{
		{ID: "fwd_cell", Name: "cell", Number: "0151 12345678", TimeoutSec: 20, CIDMode: brain.CIDPassthrough, OverflowDestKind: brain.DestUser, OverflowDestID: "us_1005"},
		{ID: "fwd_work", Name: "work", Number: "+49 40 5551234", TimeoutSec: 30, CIDMode: brain.CIDOfDID},
	}
	return o
}

func (o *office) way(id string) *brain.SIPTrunk {
	for i := range o.Trunks {
		if o.Trunks[i].ID == id {
			return &o.Trunks[i]
		}
	}
	panic("the office has no trunk " + id)
}

func (o *office) wayOut(name string) *brain.OutboundRoute {
	for i := range o.Routes {
		if o.Routes[i].Name == name {
			return &o.Routes[i]
		}
	}
	panic("the office has no route " + name)
}

func (o *office) forward(id string) *brain.Forward {
	for i := range o.Forwards {
		if o.Forwards[i].ID == id {
			return &o.Forwards[i]
		}
	}
	panic("the office has no forward " + id)
}

// fromPBX is the question of an INVITE of the PBX behind trunk PBX.
func fromPBX(acct *brain.AccountConfig, dialed string) (api.RouteRequest, Caller) {
	req := invite(dialed, "acme.example")
	req.FromUser, req.FromName = "030101", "Extension 7"
	return req, Caller{Account: acct, Trunk: acct.Trunks["trk_pbx"]}
}
