package kamailio

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/test/edge"
)

// trunks replaces the addresses of trunks that Kamailio knows.
func (s *site) trunks(t *testing.T, lines ...string) {
	t.Helper()
	path := filepath.Join(s.Dir, "trunks")
	if err := os.WriteFile(path+".new", []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	client, err := kam.Open(s.KamailioSocket, filepath.Join(t.TempDir(), "c.sock"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// Within a second of the last time it is refused.
	eventually(t, "the addresses to be read", func() error {
		return client.Call(context.Background(), "permissions.addressReload", nil, nil)
	})
}

// Who is a trunk stands in a file that is read again by RPC: an address, a network and an IPv6 one are believed from
// then on and no longer once they are gone; any other address is challenged all the while, and so is a phone.
func TestTrunk_AddressesAreReadAgain(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 4}, nil)
	at := map[string]*set{}
	for _, ip := range []string{"127.0.0.9", "127.0.0.10", "127.0.8.1", "127.0.9.255", "127.0.0.1"} {
		at[ip] = newSetAt(t, s, "udp", user("trunk"), addressOf(ip))
	}
	check := func(what string, known ...string) {
		t.Helper()
		for ip, p := range at {
			want := strings.Contains(" "+strings.Join(known, " ")+" ", " "+ip+" ")
			if got := unchallenged(p); got != want {
				t.Errorf("%s: %s is a trunk: %v, want %v", what, ip, got, want)
			}
		}
	}
	check("empty file")
	s.trunks(t, "# a comment", "1 127.0.0.9", "1 127.0.8.0 23", "1 2001:db8:: 32", "2 127.0.0.10")
	check("one address, one network", "127.0.0.9", "127.0.8.1", "127.0.9.255")
	s.trunks(t, "1 127.0.0.10")
	check("another address", "127.0.0.10")
	s.trunks(t)
	check("none")
}

// A call of a trunk is asked about with its address, what it dialed, and who the network says calls (the first
// P-Asserted-Identity, sip or tel); the phone that rings hears nothing of that and nothing that only the platform may
// say. A header by which it would pass for the media server changes nothing. Requests pass both ways.
func TestTrunk_CallIsAskedForWithItsIdentity(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 4}, nil)
	s.trunks(t, "1 127.0.0.9")
	b := registered(t, s, "udp", user("b"))
	for _, c := range []struct{ name, pai, want string }{
		{"none", "", ""},
		{"sip", "P-Asserted-Identity: \"Kunde\" <sip:+4940777@carrier.test;user=phone>\r\n", "+4940777"},
		{"tel", "P-Asserted-Identity: <tel:+4940777>\r\n", "+4940777"},
		{"two", "P-Asserted-Identity: <sip:+4940777@carrier.test>, <tel:+4940888>\r\n", "+4940777"},
		{"hostile", "P-Asserted-Identity: <sip:a%26dial%3Duser/x&peer=media@carrier.test>\r\n", "a%26dial%3Duser/x&peer=media"},
		{"broken", "P-Asserted-Identity: <<<\r\n", ""},
	} {
		trunk := newSetAt(t, s, "udp", user("trunk"), addressOf("127.0.0.9"))
		s.door.obey(trunk.user, ring(to(1, b.user)))
		call := trunk.newCall("+4930100")
		call.more = c.pai + forged
		call.open()
		invite := b.request("INVITE")
		if strings.Contains(invite.raw, "forged") || len(invite.All("P-Asserted-Identity")) != 0 {
			t.Errorf("%s: the phone hears\n%s", c.name, invite.raw)
		}
		callee := b.answer(invite, "")
		caller := call.up()
		b.request("ACK")
		q := only(t, s.door.asked(api.PathRoute, trunk.user))
		sameFields(t, q, api.RouteRequest{}, notOfTrunks...)
		sameValues(t, q, map[string]string{"peer": "trunk", "asserted": c.want, "source_ip": "127.0.0.9", "ruri_user": "+4930100"})
		cseq := callee.ask("INFO", "")
		trunk.reply(trunk.request("INFO"), 200, "OK")
		b.final(call.callID, cseq)
		hangUp(t, caller, callee)
	}
}

// What a trunk's call has been through is asked with it: its Diversions, the topmost Identity, and how many Diversion and
// History-Info entries there are, in headers of their own or in one; what is longer than the brain takes is absent.
func TestTrunk_CallIsAskedForWithItsPast(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 4}, nil)
	s.trunks(t, "1 127.0.0.9")
	long := strings.Repeat("x", 5000)
	for _, c := range []struct{ name, lines, identity, diversion, diverted string }{
		{"none", "", "", "", "0"},
		{"one of each", "Identity: ab.cd.ef;info=<https://a.test/c>;alg=ES256\r\nDiversion: \"A & B\" <sip:+49301@a.test>;reason=no-answer\r\nHistory-Info: <sip:1@a.test>;index=1\r\n",
			"ab.cd.ef;info=<https://a.test/c>;alg=ES256", "\"A & B\" <sip:+49301@a.test>;reason=no-answer", "2"},
		{"compact", "y: ab.cd.ef\r\n", "ab.cd.ef", "", "0"},
		{"several", "Diversion: <sip:1@a.test>\r\nDiversion: <sip:2@a.test>, <sip:3@a.test>\r\nHistory-Info: <sip:1@a.test>;index=1, <sip:2@a.test>;index=1.1\r\nHistory-Info: <sip:3@a.test>;index=1.2\r\nIdentity: top\r\nIdentity: below\r\n",
			"top", "<sip:1@a.test>,<sip:2@a.test>, <sip:3@a.test>", "6"},
		{"too long", "Identity: " + long + "\r\nDiversion: <sip:" + long + "@a.test>\r\n", "", "", "1"},
	} {
		trunk := newSetAt(t, s, "udp", user("trunk"), addressOf("127.0.0.9"))
		s.door.obey(trunk.user, reject(404, "Not Found", 0))
		call := trunk.newCall("+4930100")
		call.more = c.lines
		call.open().refused(404)
		q := only(t, s.door.asked(api.PathRoute, trunk.user))
		sameFields(t, q, api.RouteRequest{}, notOfTrunks...)
		t.Log(c.name)
		sameValues(t, q, map[string]string{"privacy": "", "identity": c.identity, "diversion": c.diversion, "diverted": c.diverted})
	}
}
