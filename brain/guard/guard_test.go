package guard

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

const minute = int64(60_000)

func bannedAt(t testing.TB, m *Machine, nowMS int64, addr string) *api.Ban {
	t.Helper()
	list, err := m.page(nowMS, &Question{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Bans) == 0 {
		return nil
	}
	return &list.Bans[0]
}

// Proves what is banned for which text: the table has each spelling of an address, and what is none.
func TestKeyOf(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::5": "2001:db8::/64", "2001:db8:0:0:1:2:3:4": "2001:db8::/64",
		"2001:db8::/64": "2001:db8::/64", "2001:db8:0:0::/64": "2001:db8::/64", "192.0.2.1/32": "192.0.2.1", "fe80::1%eth0": "fe80::/64",
		"": "", "nonsense": "", "192.0.2.0/24": "", "2001:db8::/48": "", "2001:db8::1/64": "", "127.0.0.1": "", "::1": "", "::ffff:127.0.0.1": "",
		"0.0.0.0": "", "224.0.0.1": "", "ff02::1": "", "::": "", "::ffff:192.0.2.0/120": "", "192.0.2.1:5060": "", "::/64": "",
	} {
		key, err := KeyOf(text)
		if (err == nil) != (want != "") || err == nil && Name(key) != want {
			t.Errorf("%q: %q, %v; want %q", text, Name(key), err, want)
		}
	}
}

// Proves which networks the allow list takes; each row is a text and what becomes of it.
func TestAllowedNet(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.0/24": "192.0.2.0/24", "192.0.2.9/24": "192.0.2.0/24", "10.0.0.0/8": "10.0.0.0/8", "192.0.2.1": "192.0.2.1/32", "2001:db8::/32": "2001:db8::/32",
		"::ffff:192.0.2.0/120": "192.0.2.0/24", "2001:db8::7": "2001:db8::7/128", "0.0.0.0/0": "", "10.0.0.0/7": "", "::/0": "", "2000::/3": "", "x": "", "": "",
	} {
		p, err := AllowedNet(text)
		if (err == nil) != (want != "") || err == nil && p.String() != want {
			t.Errorf("%q: %s, %v; want %q", text, p, err, want)
		}
	}
}

// Proves that a network inside a /64 protects all of it, and that IPv4 in the spelling of IPv6 is IPv4.
func TestNets_ShieldWhateverTheyOverlap(t *testing.T) {
	n := NewNets([]Net{{netip.MustParsePrefix("192.0.2.0/24"), "trunk"}, {netip.MustParsePrefix("203.0.113.7/32"), "node"},
		{netip.MustParsePrefix("2001:db8:1::/48"), "operator"}, {netip.MustParsePrefix("2001:db8:2:3::9/128"), "trunk"}, {netip.MustParsePrefix("::ffff:198.51.100.0/120"), "trunk"}})
	for addr, want := range map[string]string{"192.0.2.200": "trunk 192.0.2.0/24", "203.0.113.7": "node 203.0.113.7", "203.0.113.8": "", "2001:db8:1:77::1": "operator 2001:db8:1::/48",
		"2001:db8:2:3::1": "trunk 2001:db8:2:3::9", "2001:db8:2:4::9": "", "198.51.100.3": "trunk 198.51.100.0/24"} {
		key, err := KeyOf(addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Shield(key); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}

// What is decided about one offence after another of the same address, a minute apart.
func TestJudge_WhoIsNeverBanned(t *testing.T) {
	at := "192.0.2.1"
	for _, row := range []struct {
		name    string
		before  *Op
		o       Offence
		action  string
		why     string
		allowed bool
	}{
		{"an offender", nil, by(api.TierUA, at), api.GuardBan, "signature of a scanner: 1 h", false},
		{"a trunk, which the node has banned", nil, Offence{Offence: api.Offence{Addr: at, Tier: api.TierNft, UntilMS: start + minute}, Shield: "trunk 192.0.2.0/24"}, api.GuardLift, "it is protected: trunk", false},
		{"a trunk, which no node has banned", nil, Offence{Offence: api.Offence{Addr: at, Tier: api.TierScore}, Shield: "trunk 192.0.2.0/24"}, "", "it is protected: trunk", false},
		{"the allow list", &Op{Kind: Allow, Addr: "192.0.2.0/28"}, Offence{Offence: api.Offence{Addr: at, Tier: api.TierNft, UntilMS: start + minute}}, api.GuardLift, "allow list 192.0.2.0/28", false},
		{"a known address", nil, Offence{Offence: api.Offence{Addr: at, Tier: api.TierPike, Known: true, UntilMS: start + minute}}, api.GuardLift, "authenticated", false},
		{"grace", &Op{Kind: Lift, Addr: at, Who: "anna"}, Offence{Offence: api.Offence{Addr: at, Tier: api.TierNft, UntilMS: start + minute}}, api.GuardLift, "anna lifted it, grace for another 1 min", false},
		{"known, but banned by hand", &Op{Kind: Add, Addr: at, Who: "anna", Why: "fraud", ForSec: 60}, Offence{Offence: api.Offence{Addr: at, Tier: api.TierPike, Known: true}}, api.GuardBan, "banned by hand: fraud", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := New()
			if row.before != nil {
				does(t, m, start, row.before)
			}
			d := offends(t, m, start, row.o)
			if d.Action != row.action || !strings.Contains(d.Why, row.why) {
				t.Errorf("%q, %q; want %q, %q", d.Action, d.Why, row.action, row.why)
			}
			if got := bannedAt(t, m, start, at); (got != nil) != (row.action == api.GuardBan) {
				t.Errorf("banned: %v", got)
			}
		})
	}
}

// After a lift whoever still sends is not banned for a minute, then as for the first time: what was lifted does not count.
func TestLift_GivesGraceAndDoesNotCount(t *testing.T) {
	m := New()
	offends(t, m, start, by(api.TierPike, "192.0.2.1"))
	y := does(t, m, start+minute, &Op{Kind: Lift, Addr: "192.0.2.1", Who: "anna"})
	if d := y.Decisions[0]; y.Ban == nil || d.Action != api.GuardLift || !d.Everyone || d.GraceSec != 60 {
		t.Fatalf("%+v", y)
	}
	if d := offends(t, m, start+2*minute-1, by(api.TierNft, "192.0.2.1")); d.Action == api.GuardBan {
		t.Errorf("banned in its grace: %+v", d)
	}
	late := by(api.TierPike, "192.0.2.1")
	late.TimeMS = start + minute - 1
	if d := offends(t, m, start+2*minute, late); d.Action != "" {
		t.Errorf("banned for what it did before the lift: %+v", d)
	}
	if d := offends(t, m, start+2*minute, by(api.TierPike, "192.0.2.1")); d.Action != api.GuardBan || d.UntilMS-start-2*minute != 5*minute {
		t.Errorf("after its grace: %+v", d)
	}
}

// A lift is blind to the tier, and to whether the brain knows of a ban at all: a node may.
func TestLift_IsBlindToTheTier(t *testing.T) {
	for _, tier := range []string{api.TierNft, api.TierPike, api.TierUA, api.TierScore, api.TierOperator, ""} {
		m := New()
		switch tier {
		case "":
		case api.TierOperator:
			does(t, m, start, &Op{Kind: Add, Addr: "2001:db8::1", Why: "fraud", ForSec: 3600})
		default:
			offends(t, m, start, by(tier, "2001:db8::1"))
		}
		y := does(t, m, start, &Op{Kind: Lift, Addr: "2001:db8::99"})
		if d := y.Decisions[0]; d.Addr != "2001:db8::/64" || d.Action != api.GuardLift || !d.Everyone || (y.Ban != nil) != (tier != "") {
			t.Errorf("%s: %+v", tier, y)
		}
		if bannedAt(t, m, start, "2001:db8::1") != nil {
			t.Errorf("%s: still banned", tier)
		}
	}
}

// Proves who enforces a first ban and a repeat, for each share: by the order, and by what another node would be corrected to.
func TestShare(t *testing.T) {
	for _, row := range []struct {
		share         string
		first, repeat bool
	}{{ShareAll, true, true}, {ShareRepeat, false, true}, {ShareNone, false, false}} {
		m := New()
		tell := func(now int64, node string) Decision {
			o := by(api.TierPike, "192.0.2.1")
			o.Kind = api.OffenceRequests
			return does(t, m, now, &Op{Kind: Report, Node: node, Share: row.share, Offences: []Offence{o}}).Decisions[0]
		}
		if d := tell(start, node1); d.Everyone != row.first {
			t.Errorf("%s: the first ban is everyone's: %v", row.share, d.Everyone)
		}
		c := compared(t, m, start, "edge2", nil)
		if (len(c.Orders) == 1) != row.first {
			t.Errorf("%s: edge2 is to enforce %+v", row.share, c.Orders)
		}
		tell(start, "edge2") // it has caught it as well
		if c := compared(t, m, start, "edge2", nil); len(c.Orders) != 1 {
			t.Errorf("%s: edge2 is to enforce %+v", row.share, c.Orders)
		}
		if d := tell(start+10*minute, node1); d.Everyone != row.repeat {
			t.Errorf("%s: a repeat is everyone's: %v", row.share, d.Everyone)
		}
	}
}

// Proves that a ban by hand does not get past the allow list nor the configuration, and says which it was.
func TestAdd_RefusesWhoIsProtected(t *testing.T) {
	m := New()
	does(t, m, start, &Op{Kind: Allow, Addr: "2001:db8::7"})
	if y := does(t, m, start, &Op{Kind: Add, Addr: "2001:db8::1", Why: "x", ForSec: 1}); !strings.Contains(y.Refused, "allow list 2001:db8::7") || y.Ban != nil {
		t.Errorf("%+v", y)
	}
	if y := does(t, m, start, &Op{Kind: Add, Addr: "192.0.2.1", Why: "x", ForSec: 1, Shield: "trunk 192.0.2.1"}); !strings.Contains(y.Refused, "trunk") {
		t.Errorf("%+v", y)
	}
}

// Proves that exactly the bans that a new entry or a new trunk covers end, and that they may come back once the entry has ended.
func TestAllowAndProtect_LiftWhatTheyCover(t *testing.T) {
	m := New()
	for _, a := range []string{"192.0.2.1", "192.0.2.2", "198.51.100.1"} {
		offends(t, m, start, by(api.TierUA, a))
	}
	y := does(t, m, start, &Op{Kind: Allow, Addr: "192.0.2.0/31", Why: "office", Who: "anna", ForSec: 60})
	if len(y.Decisions) != 1 || y.Decisions[0].Addr != "192.0.2.1" || !y.Decisions[0].Everyone {
		t.Errorf("allow: %+v", y)
	}
	y = does(t, m, start, &Op{Kind: Protect, Nets: []string{"198.51.100.0/24", "203.0.113.0/24"}, Why: "trunk"})
	if len(y.Decisions) != 1 || y.Decisions[0].Addr != "198.51.100.1" || !strings.Contains(y.Decisions[0].Why, "trunk 198.51.100.0/24") {
		t.Errorf("protect: %+v", y)
	}
	version := m.allowVersion
	does(t, m, start+minute, &Op{Kind: Expire})
	if m.allowVersion == version || m.allowed.len() != 0 {
		t.Error("the entry of a minute is still there")
	}
	if d := offends(t, m, start+minute, by(api.TierUA, "192.0.2.1")); d.Action != api.GuardBan {
		t.Errorf("after the entry has ended: %+v", d)
	}
}

// Proves that a ban ends by itself, to the millisecond, and that nothing is remembered a day later.
func TestDue_EndsBansByTheirDeadline(t *testing.T) {
	m := New()
	d := offends(t, m, start, by(api.TierPike, "192.0.2.1"))
	at, ok := m.Deadline()
	if !ok || at != d.UntilMS || m.Due(at-1) != nil {
		t.Fatalf("deadline %d, want %d", at, d.UntilMS)
	}
	op := m.Due(at)
	if _, changed, err := m.Apply(at, op); err != nil || !changed || m.bans.len() != 0 {
		t.Fatalf("changed %v, %d bans, %v", changed, m.bans.len(), err)
	}
	if next, ok := m.Deadline(); !ok || next != at+RepeatWithin.Milliseconds() {
		t.Errorf("it is remembered until %d", next)
	}
	if _, _, err := m.Apply(at+RepeatWithin.Milliseconds(), AppendOp(nil, &Op{Kind: Expire})); err != nil || !m.Empty() {
		t.Errorf("something is left: %v", err)
	}
}

// What is told late counts as of when it was done: a ban that is over by then bans nobody, but the next one is a repeat.
func TestReport_ToldLate(t *testing.T) {
	m, now := New(), start+2*time.Hour.Milliseconds()
	o := by(api.TierPike, "192.0.2.1")
	o.TimeMS = start
	if d := offends(t, m, now, o); d.Action != "" || !strings.Contains(d.Why, "told late") {
		t.Errorf("%+v", d)
	}
	if d := offends(t, m, now, o); d.Action != "" || !strings.Contains(d.Why, "belongs to a ban that is over") {
		t.Errorf("told again: %+v", d)
	}
	if d := offends(t, m, now, by(api.TierPike, "192.0.2.1")); ms(d.UntilMS-now) != time.Hour {
		t.Errorf("the repeat: %+v", d)
	}
}

// An offence during a ban is no repeat, however often it is told.
func TestReport_DuringABan(t *testing.T) {
	m := New()
	d := offends(t, m, start, by(api.TierPike, "192.0.2.1"))
	if again := offends(t, m, start, by(api.TierPike, "192.0.2.1")); again.UntilMS != d.UntilMS || again.Everyone {
		t.Errorf("%+v, then %+v", d, again)
	}
	longer := offends(t, m, start+minute, by(api.TierUA, "192.0.2.1"))
	if ms(longer.UntilMS-start-minute) != time.Hour || !longer.Everyone || longer.Tier != api.TierUA {
		t.Errorf("a scanner during a short ban: %+v", longer)
	}
	if b := bannedAt(t, m, start+minute, "192.0.2.1"); b.Count != 0 {
		t.Errorf("%d bans before", b.Count)
	}
}

func compared(t testing.TB, m *Machine, nowMS int64, node string, active []api.ActiveBan) (c Compared) {
	t.Helper()
	data, err := m.Query(nowMS, AppendListed(nil, node, active))
	if err != nil {
		t.Fatal(err)
	}
	return read(t, data, c)
}

// Proves what of a complete report is corrected: each line is a ban that is right, wrong, not known, about to end, or none.
func TestCompare(t *testing.T) {
	m := New()
	a := offends(t, m, start, by(api.TierUA, "192.0.2.1"))
	b := offends(t, m, start, by(api.TierPike, "2001:db8::1"))
	hour := start + 60*minute
	c := compared(t, m, start+1000, node1, []api.ActiveBan{
		{Addr: "192.0.2.1", Tier: api.TierUA, UntilMS: a.UntilMS - 4000}, // as good as right
		{Addr: "2001:db8:0:0::/64", Tier: api.TierPike, UntilMS: hour},   // too long
		{Addr: "192.0.2.9", Tier: api.TierNft, UntilMS: hour},            // not known here
		{Addr: "192.0.2.8", Tier: api.TierNft, UntilMS: start + 2000},    // about to end
		{Addr: "garbage", Tier: api.TierNft, UntilMS: hour}, {Addr: "127.0.0.1", UntilMS: hour},
	})
	if len(c.Orders) != 1 || c.Orders[0].Addr != "2001:db8::/64" || c.Orders[0].UntilMS != b.UntilMS {
		t.Errorf("orders: %+v", c.Orders)
	}
	if len(c.Unknown) != 1 || c.Unknown[0].Addr != "192.0.2.9" {
		t.Errorf("unknown: %+v", c.Unknown)
	}
}

// A ban of a node's own making of which no offence was heard is taken over; one that was lifted meanwhile, or that only the
// brain may make, is lifted.
func TestReport_ListedBans(t *testing.T) {
	for _, row := range []struct {
		name, tier string
		lift       bool
		action     string
	}{{"its own", api.TierPike, false, api.GuardBan}, {"lifted", api.TierPike, true, api.GuardLift}, {"not its own", api.TierScore, false, api.GuardLift}} {
		m := New()
		if row.lift {
			does(t, m, start-2*minute, &Op{Kind: Lift, Addr: "192.0.2.1"})
		}
		o := by(row.tier, "192.0.2.1")
		o.Listed, o.UntilMS = true, start+30*minute
		d := offends(t, m, start, o)
		if d.Action != row.action || d.Action == api.GuardBan && d.UntilMS != o.UntilMS {
			t.Errorf("%s: %+v", row.name, d)
		}
	}
}

// Proves that a digest keeps its version until there is another, and that going back is a new version.
func TestPolicy_VersionRisesWithItsContent(t *testing.T) {
	m := New()
	version := func(digest string) int64 { return does(t, m, start, &Op{Kind: Policy, Digest: digest}).Version }
	a := version("a")
	if a == 0 || version("a") != a {
		t.Fatal("the same content has another version, or none")
	}
	b := version("b")
	if b <= a || version("a") <= b {
		t.Error("another content has no higher version")
	}
}

// Proves that pages of two list every ban once, in the order of addresses.
func TestPage(t *testing.T) {
	m := New()
	for _, a := range []string{"192.0.2.10", "192.0.2.9", "2001:db8::1"} {
		offends(t, m, start, by(api.TierUA, a))
	}
	var got []string
	for after := ""; ; {
		list, err := m.page(start, &Question{After: after, Limit: 2})
		if err != nil || list.Total != 3 {
			t.Fatal(list, err)
		}
		for _, b := range list.Bans {
			got = append(got, b.Addr)
		}
		if after = list.Next; after == "" {
			break
		}
	}
	if !slices.Equal(got, []string{"192.0.2.9", "192.0.2.10", "2001:db8::/64"}) {
		t.Error(got)
	}
}

// Proves that there are at least 40, that each may stand in a file too, and that no phone, server, monitor or name is taken for a scanner.
func TestSignatures(t *testing.T) {
	all := Signatures([]string{"zz-more"})
	if len(all) < 41 || !slices.IsSorted(all) || !slices.Contains(all, "zz-more") {
		t.Errorf("%d signatures: %v", len(all), all)
	}
	for _, s := range signatures {
		if err := checkSignature(s); err != nil || s != strings.ToLower(s) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// No phone, soft phone, exchange, session border controller, monitor or library is taken for a scanner, nor anybody by his name.
func TestSignatures_HitNobodyElse(t *testing.T) {
	agents := []string{"Yealink SIP-T46S 66.86.0.15", "snomD785/10.1.64.14", "Grandstream GXP2170 1.0.11.64", "Grandstream HT801 1.0.27.2", "PolycomVVX-VVX_411-UA/5.9.0.9373", "PolyEdge-Edge_E350-UA/8.0.1",
		"Cisco/SPA504G-7.6.2c", "Cisco-CP8841/12.5", "Cisco-CUCM14.0", "Cisco-SIPGateway/IOS-17.3.4a", "Fanvil X6U 2.4.0", "Gigaset N510 IP PRO/42.258", "AVM FRITZ!Box 7590 154.07.57", "Linksys/SPA942-6.1.5(a)",
		"Panasonic-KX-HDV230/07.213", "Alcatel-Lucent 8008", "Aastra 6739i/3.3.1", "Mitel-6867i", "Htek UC926", "Akuvox R29", "2N Helios IP", "Doorbird/1.0", "Tiptel 3120", "Auerswald COMfortel 3600", "OpenStage_60_V3",
		"Linphone/5.1.2 (belle-sip/5.2.83)", "LinphoneAndroid/5.2", "baresip v3.16.0 (x86_64/Linux)", "MicroSIP/3.21.3", "Zoiper rv2.10.20.4", "Z 5.6.4 v2.10.20", "X-Lite release 5.8.3", "eyeBeam release 1102q",
		"Bria 6 release", "CSipSimple_hammerhead-23/r2457", "PortSIP UC Client", "Groundwire", "Acrobits", "Sipdroid/3.0", "Jitsi2.10", "Telephone 1.6", "Blink Pro 5.1", "Ekiga/4.0.1", "Twinkle/1.10.2", "MySIPClient/2.0",
		"MizuPhone", "Ozeki VoIP SIP SDK", "PJSUA v2.13 Linux", "JsSIP 3.10.1", "SIP.js/0.21.2", "sipML5-v1.2016", "JAIN SIP", "reSIProcate-1.12", "Sofia-SIP/1.13", "Go sipgo", "SIPScandinavia 1.0",
		"Asterisk PBX 18.20.0", "FreeSWITCH-mod_sofia/1.10.11", "FPBX-16.0.40(18.20)", "3CXPhoneSystem 18", "Elastix 2.5", "Avaya Aura 8", "innovaphone", "STARFACE PBX", "Wildix GW", "sipgate", "Vodafone",
		"kamailio (5.6.3 (x86_64/linux))", "OpenSIPS (3.4)", "AudioCodes-Sip-Gateway-M800", "Oracle SBC", "Sonus-SBC", "Ribbon SBC 5400", "TELES.SIP", "Patton SN4120", "beroNet", "Dialogic BorderNet", "sipsak 0.9.8", "SIPp 3.7",
		"sip-provider-monitor", "Test Agent", "A_B_C", ""}
	for _, agent := range agents {
		if s := Scanner(signatures, agent, "<sip:1001@acme.test>", "1-2@host"); s != "" {
			t.Errorf("%q is taken for %q", agent, s)
		}
	}
	for _, name := range []string{"sipclient7", "dr.pesch", "tiwari", "guelperi", "gülperi", "nmapper", "smapple", "scanner-lager", "anna", "voip", "sundays", "svwarner", "tomasscanlon", "mr.sipos", "sivusto", "queenviproyal",
		"applsip", "masscanada", "nessusi", "a_b_c", "test agent", "latest.agent", "sipscandia", "openvasaro", "mrsippel", "100", "nm", "sipp", "svmap"} {
		if s := Scanner(signatures, "Phone/1.0", `"`+name+`" <sip:`+name+`@acme.test>`, "1-2@host"); s != "" {
			t.Errorf("who is called %q is taken for %q", name, s)
		}
	}
	for _, c := range []struct{ want, agent, from, callID string }{
		{"friendly-scanner", "my Friendly-Scanner", "<sip:1@x>", ""}, {"sipcli/", "sipcli/v1.8", "<sip:1@x>", ""}, {"from:sipvicious", "", `"SIPVicious" <sip:7@acme.test>`, ""},
		{"call-id:zzzz", "", "", "a-ZZZZ"}, {"from:badguy", "", "<sip:badguy@x>", ""},
	} {
		if got := Scanner(Signatures([]string{"call-id:zzzz", "from:badguy"}), c.agent, c.from, c.callID); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// Proves that a file of signatures is read in any case and without its comments, and that a line which is none is refused by its number.
func TestReadSignatures(t *testing.T) {
	got, err := ReadSignatures("# ours\nEvil-Dialer  # seen in May\n\nfrom:BadGuy\ncall-id:zzzz\n")
	if err != nil || !slices.Equal(got, []string{"evil-dialer", "from:badguy", "call-id:zzzz"}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"abc", "from:abc", "good-one\nab\x00cd", strings.Repeat("x", 65), "call-id:", "\xff\xfe\xfd\xfc", strings.Repeat("abcdef\n", api.MaxGuardSignatures)} {
		if _, err := ReadSignatures(bad); err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%.20q is taken: %v", bad, err)
		}
	}
}
