package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
	"github.com/sipio/sipio/nodeagent/ban"
	"github.com/sipio/sipio/test/netns"
)

// mostRequests is how many requests of a flood are answered at most: the density of node.cfg in each of the two windows that
// it may fall into, and what several workers have in hand (docs/edge.md).
const mostRequests = 2 * (100 + 16)

func TestGuard_AttackersAreBannedAndFindNothing(t *testing.T) {
	// Proves that each kind of attack on a real node is banned by its tier, within its number of packets, and then ends in the kernel;
	// that no tool finds an extension, and that a phone of the same network talks all the while.
	if netns.Reexec(t) {
		return
	}
	g := guardedEdge(t, 1)
	office := g.net.Join(t, "10.9.0.50/24")
	alice := g.phoneIn(office, "10.9.0.50", "1001")
	for i, tool := range []struct {
		name, tier string
		disguised  bool
		args       []string
	}{
		{"svmap", api.TierUA, false, []string{guardIP}},
		{"svwar", api.TierUA, false, []string{"--force", "-e1000-1010", guardIP}},
		{"svcrack", api.TierUA, false, []string{"-u1001", "-r1-50", guardIP}},
		{"svwar", "", true, []string{"--force", "--domain=acme.test", "-e1000-1400", guardIP}}, // they give up: every answer is the same
		{"svwar", "", true, []string{"--force", "--domain=acme.test", "-mINVITE", "-e1000-1400", guardIP}},
		{"svwar", "", true, []string{"--force", "--domain=acme.test", "-mOPTIONS", "-e1000-1400", guardIP}},
		{"svcrack", api.TierScore, true, []string{"-u1001", "--domain=acme.test", "-r1-400", guardIP}},
	} {
		addr := fmt.Sprintf("10.9.0.%d", 10+i)
		ns := g.net.Join(t, addr+"/24")
		a := g.attacker(ns, addr)
		said := g.tool(ns, tool.disguised, tool.name, tool.args...)
		if strings.Contains(said, "Traceback") || tool.tier == "" && !strings.Contains(said, "found nothing") { // its own last word
			t.Errorf("%s %v has not run to its end:\n%s", tool.name, tool.args, said)
		}
		for _, found := range []string{"| reqauth", "| noauth", "| weird", "| Kamailio", "| 1001 ", "| sipio"} {
			if strings.Contains(said, found) {
				t.Errorf("%s %v has found something:\n%s", tool.name, tool.args, said)
				break
			}
		}
		t.Logf("%s %v:\n%s", tool.name, tool.args, said)
		if tool.tier != "" {
			g.banned(a.addr, tool.tier)
			a.silenced()
		}
	}
	for i, method := range []string{"REGISTER", "INVITE", "OPTIONS"} {
		a := g.newcomer(fmt.Sprintf("10.9.0.%d", 30+i))
		if is, not := a.ask(method, "1001"), a.ask(method, "7777"); is != not || is == "" {
			t.Errorf("%s for an extension is answered %q, for none %q", method, is, not)
		}
	}
	bob := g.phoneIn(office, "10.9.0.50", "1002")
	ctx := within(t, 30*time.Second)
	converse(t, ctx, g.Edge, alice, bob, "1002")
}

func TestGuard_FloodsAreBannedInTheirTier(t *testing.T) {
	// Proves the stated numbers: a flood of packets in the kernel behind its burst, a flood of REGISTERs by Kamailio, one of
	// unanswered challenges by the brain; that a lone phone of an attacker's own address goes on, and that trunks and operators are not banned.
	if netns.Reexec(t) {
		return
	}
	g := guardedEdge(t, 1)
	bob := g.phoneIn(g.net.Join(t, "10.9.0.50/24"), "10.9.0.50", "1002")
	home := g.net.Join(t, "10.9.0.51/24")
	alice := g.phoneIn(home, "10.9.0.51", "1001")

	packets := g.newcomer("10.9.0.10")
	for range 3000 {
		_, _ = packets.conn.WriteTo([]byte("no SIP at all"), packets.node())
	}
	packets.dropped(3000 - 2*ban.FloodBurst) // at once: a ban that takes the kernel's place later counts from 0
	g.banned(packets.addr, api.TierNft)
	packets.silenced()

	for i, flood := range []struct {
		method string
		tiers  []string
	}{{"OPTIONS", []string{api.TierPike}}, {"REGISTER", caught}, {"INVITE", caught}} {
		requests, method := g.newcomer(fmt.Sprintf("10.9.0.%d", 20+i)), flood.method
		for range 350 { // below the burst of the kernel
			requests.send(method, "1001", "Phone/1.0")
		}
		answered := requests.answers(time.Second)
		t.Logf("flood of %s: %d of %d answered", method, answered, requests.sent)
		if answered > mostRequests {
			t.Errorf("flood of %s: %d answered, want at most %d", method, answered, mostRequests)
		}
		g.banned(requests.addr, flood.tiers...)
		requests.silenced()
	}

	slow := g.newcomer("10.9.0.13")
	answered := 0
	for range 100 {
		slow.send("REGISTER", "1001", "Phone/1.0")
		answered += slow.answers(40 * time.Millisecond)
	}
	if answered > 80 { // 30 challenges, and what is sent until the brain has said so
		t.Errorf("challenges without an answer: %d of 100 requests were answered", answered)
	}
	g.banned(slow.addr, api.TierScore)
	slow.silenced()

	for who, addr := range map[string]string{"a trunk": trunkIP, "an operator": operatorIP} {
		friend := g.newcomer(addr)
		before := g.heard()
		eventually(t, t.Context(), "what "+who+" sends", func() error {
			for range 1500 {
				friend.send("OPTIONS", "1001", "friendly-scanner")
			}
			if n := g.heard() - before; n <= mostRequests { // the rest may not have found room in Kamailio's socket
				return fmt.Errorf("%d of %d requests of %s arrive", n, friend.sent, who)
			}
			return nil
		})
		g.spared(who, addr)
	}
	same := g.attacker(home, "10.9.0.51")
	for range 3000 {
		_, _ = same.conn.WriteTo([]byte("no SIP at all"), same.node())
	}
	for range 300 {
		same.send("OPTIONS", "1001", "friendly-scanner")
		same.answers(floodPause)
	}
	g.spared("a known address", "10.9.0.51")
	converse(t, within(t, 30*time.Second), g.Edge, alice, bob, "1002")
	late := g.newcomer("10.9.0.14")
	late.send("OPTIONS", "1001", "friendly-scanner")
	g.banned(late.addr, api.TierUA) // what was to be told of the others before has been told
	for who, addr := range map[string]string{"a trunk": trunkIP, "an operator": operatorIP, "a known address": "10.9.0.51"} {
		g.spared(who, addr)
	}
}

// caught are the tiers that a flood of requests ends in which are challenged: Kamailio counts the requests, the brain hears of
// the challenges. Whichever comes first.
var caught = []string{api.TierPike, api.TierScore}

// signatures are what 40 scanners call themselves, each caught by a signature of its own.
var signatures = []string{
	"friendly-scanner", "friendly-request", "SIPVicious/0.3", "svmap", "svwar", "svcrack", "svcrash", "svreport", "sipcli/v1.8", "sip-scan",
	"sipflanker", "sundayddr", "sundayaddr", "VaxSIPUserAgent/3.1", "VaxIPUserAgent", "pplsip", "sipptk", "sippts", "siparmyknife", "SIVuS",
	"smap 0.6.0", "iWar/0.08", "Mr.SIP", "Nmap NSE", "nmap-sip", "zgrab/0.x", "masscan/1.3", "zmap/2", "warvox", "VoIPHopper",
	"viproy", "Metasploit", "bluebox-scanner", "bluebox-ng", "SIPfurious", "sipbrute", "sip-crack", "sipflood", "SIPfuzz", "OpenVAS",
}

func TestGuard_ScannersNeverHearAWord(t *testing.T) {
	// Proves that an INVITE of each of 40 scanners, each from an address of its own, is answered by nothing, and that every one of
	// them is banned with its first packet, in the kernel and at the brain.
	if netns.Reexec(t) {
		return
	}
	g := guardedEdge(t, 1)
	marks := map[string]bool{}
	for _, agent := range signatures {
		marks[guard.Scanner(guard.Signatures(nil), agent, "", "")] = true
	}
	if len(marks) != 40 || marks[""] {
		t.Fatalf("%d signatures: %v", len(marks), marks)
	}
	var addrs []string
	for i := range signatures {
		addrs = append(addrs, fmt.Sprintf("10.9.0.%d/24", 100+i))
	}
	beside := g.net.Join(t, addrs...)
	var all []*attacker
	for i, agent := range signatures {
		a := g.attacker(beside, fmt.Sprintf("10.9.0.%d", 100+i))
		a.send("INVITE", "1001", agent)
		all = append(all, a)
	}
	for _, a := range all {
		g.banned(a.addr, api.TierUA)
		a.swallowed(3, 20*time.Millisecond)
	}
}
