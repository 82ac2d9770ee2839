package kamailio

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// fields are the names of a question's JSON, which are those of its form.
func fields(v any) []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		if !f.Anonymous {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Fields that the first question of a call does not have: those of later questions and the door's own, and by who calls.
var (
	notFirst    = []string{"at", "failed_code", "trunk", "tried", "targets", "challenge", "answered", "hops", "down", "via"}
	notOfTrunks = append([]string{"tls_name", "account_id", "dial", "caller_user_id", "called"}, notFirst...)
	notOfPhones = append([]string{"peer", "asserted", "called_party", "diversion", "diverted", "identity"}, notOfTrunks...)
	notOfLegs   = append([]string{"tls_name", "asserted", "called_party", "diversion", "identity"}, notFirst...)
)

// sameFields fails unless a question has each field of its type once, but for some, and no other.
func sameFields(t *testing.T, q question, v any, but ...string) {
	t.Helper()
	want := slices.DeleteFunc(fields(v), func(name string) bool { return slices.Contains(but, name) })
	if got := slices.Sorted(maps.Keys(q.form)); !slices.Equal(got, want) {
		t.Errorf("%s has the fields\n%v, want\n%v", q.path, got, want)
	}
	for name, values := range q.form {
		if len(values) != 1 {
			t.Errorf("%s has %s %d times", q.path, name, len(values))
		}
	}
	if got := q.header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
		t.Errorf("%s: Content-Type %q", q.path, got)
	}
}

// sameValues fails for each field that has not the wanted value.
func sameValues(t *testing.T, q question, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := q.form.Get(name); got != value {
			t.Errorf("%s: %s is %q, want %q", q.path, name, got, value)
		}
	}
}

// only is the one question that was asked.
func only(t *testing.T, asked []question) question {
	t.Helper()
	if len(asked) != 1 {
		t.Fatalf("the door was asked %d times, want once", len(asked))
	}
	return asked[0]
}

// A REGISTER's question has exactly the fields of api.AuthRequest, each with what the phone sent: over every
// transport, with qop and without.
func TestAsk_AuthSaysWhatTheRegisterSays(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp", "tls", "wss"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			p := newSet(t, shared, transport, user("ask"))
			callID := id("aa'%&+=é")
			if m := p.register(registration{callID: callID}); m.Code != 200 {
				t.Fatal(m.StartLine)
			}
			q := only(t, shared.door.asked(api.PathAuth, p.user))
			sameFields(t, q, api.AuthRequest{})
			host, port, _ := strings.Cut(p.local, ":")
			sameValues(t, q, map[string]string{"call_id": callID, "cseq": "2", "method": "REGISTER", "source_ip": host, "source_port": port,
				"transport": transport, "node": "node-1", "user_agent": "set & more", "auth_username": p.user, "auth_realm": "acme.test",
				"auth_uri": "sip:acme.test", "auth_qop": "auth", "auth_nc": "00000001", "to_user": p.user, "to_domain": "acme.test",
				"from_user": p.user, "from_domain": "acme.test"})
			if ms, err := strconv.ParseInt(q.form.Get("time_ms"), 10, 64); err != nil || time.Since(time.UnixMilli(ms)).Abs() > time.Minute {
				t.Errorf("time_ms %q is not now", q.form.Get("time_ms"))
			}
			for _, name := range []string{"branch", "auth_nonce", "auth_response", "auth_cnonce"} {
				if q.form.Get(name) == "" {
					t.Errorf("%s is empty", name)
				}
			}
		})
	}
}

// A phone's INVITE is asked about with exactly the fields of api.RouteRequest, but for those of trunks and legs. What a caller may write arrives byte for byte:
// quotes, é, %, &, +, =, an apostrophe, invalid UTF-8, escapes in the user part; with several Via the topmost counts.
func TestAsk_RouteSaysWhatTheInviteSays(t *testing.T) {
	t.Parallel()
	a := newSet(t, shared, "udp", user("ask"))
	shared.door.obey(a.user, reject(404, "Not Found", 0))
	for _, c := range []struct{ display, name string }{
		{`"Bob \"Bobby\" O'Neil"`, `Bob \"Bobby\" O'Neil`},
		{`"Zoé & Co = 100% + more?"`, "Zoé & Co = 100% + more?"},
		{"\"bad\xff\xfeUTF\"", "bad\xff\xfeUTF"},
		{"plain", "plain"},
		{``, ``},
	} {
		t.Run(c.display, func(t *testing.T) {
			call := a.newCall("100")
			call.set.t = t
			call.from = c.display + " <sip:" + a.user + "@acme.test>"
			call.ruri = "sip:%23b%20o'b+&x=y@acme.test;user=phone"
			call.to = "<sip:t%40o&=@acme.test>"
			call.vias = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKbelow\r\nVia: SIP/2.0/TCP 192.0.2.2;branch=z9hG4bKbottom\r\n"
			before := len(shared.door.asked(api.PathRoute, a.user))
			call.dial().refused(404)
			asked := shared.door.asked(api.PathRoute, a.user)
			q := only(t, asked[before:])
			sameFields(t, q, api.RouteRequest{}, notOfPhones...)
			_, branch, _ := strings.Cut(call.branch, "branch=")
			branch, _, _ = strings.Cut(branch, ";")
			sameValues(t, q, map[string]string{"call_id": call.callID, "cseq": "2", "branch": branch, "method": "INVITE", "transport": "udp",
				"from_user": a.user, "from_domain": "acme.test", "from_name": c.name, "to_user": "t%40o&=", "to_domain": "acme.test",
				"ruri": call.ruri, "ruri_user": "%23b%20o'b+&x=y", "ruri_domain": "acme.test", "auth_username": a.user,
				"auth_uri": call.ruri, "auth_algorithm": "", "auth_qop": "auth", "auth_nc": "00000001"})
		})
	}
}

// What a caller wants withheld is asked with the call, as it wrote it, and its beginning when it is endless; the phone that rings does
// not hear of it, nor of what a phone says that only trunks are believed.
func TestAsk_PrivacyIsAskedAndNotPassedOn(t *testing.T) {
	t.Parallel()
	a, b := newSet(t, shared, "udp", user("ask")), registered(t, shared, "udp", user("b"))
	shared.door.obey(a.user, ring(to(1, b.user)))
	for value, want := range map[string]string{"id; user": "id; user", "none": "none", "": "", "id" + strings.Repeat(";x", 2000): "id" + strings.Repeat(";x", 31)} {
		before := len(shared.door.asked(api.PathRoute, a.user))
		call := a.newCall(b.user)
		call.more = "Privacy: " + value + "\r\nIdentity: forged\r\nHistory-Info: <sip:x@x.test>;index=1\r\nDiversion: <sip:x@x.test>\r\n"
		call.dial()
		invite := b.request("INVITE")
		for _, name := range []string{"Privacy", "Identity", "History-Info", "Diversion"} {
			if got := invite.All(name); len(got) != 0 {
				t.Errorf("the phone gets %s %q", name, got)
			}
		}
		b.reject(invite, 486)
		call.refused(486)
		q := only(t, shared.door.asked(api.PathRoute, a.user)[before:])
		sameFields(t, q, api.RouteRequest{}, append([]string{"peer"}, notOfTrunks...)...)
		sameValues(t, q, map[string]string{"privacy": want})
	}
}

// A digest without qop (RFC 2069) is asked about without nc, cnonce and qop, and not with those of another.
func TestAsk_DigestWithoutQOP(t *testing.T) {
	t.Parallel()
	a := newSet(t, shared, "udp", user("ask"))
	shared.door.obey(a.user, reject(404, "Not Found", 0))
	call := a.newCall("100")
	call.noQOP = true
	call.dial().refused(404)
	q := only(t, shared.door.asked(api.PathRoute, a.user))
	sameFields(t, q, api.RouteRequest{}, notOfPhones...)
	sameValues(t, q, map[string]string{"auth_qop": "", "auth_nc": "", "auth_cnonce": "", "auth_username": a.user})
}

// Each worker keeps one connection to the door: 200 questions come over no more connections than there are workers.
func TestAsk_OneKeptConnectionAWorker(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 4}, nil)
	p := newSet(t, s, "udp", user("ask"))
	for range 200 {
		if m := p.register(registration{}); m.Code != 200 {
			t.Fatal(m.StartLine)
		}
	}
	connections := map[string]bool{}
	asked := s.door.asked(api.PathAuth, p.user)
	for _, q := range asked {
		connections[q.remote] = true
	}
	if len(asked) != 200 || len(connections) > 4 {
		t.Errorf("%d questions over %d connections, want 200 over no more than 4", len(asked), len(connections))
	}
}

// A request that is repeated while the door thinks asks once; a repetition after the answer gets the same
// answer again, and asks nobody.
func TestAsk_RepeatedRequestAsksOnce(t *testing.T) {
	t.Parallel()
	t.Run("INVITE", func(t *testing.T) {
		t.Parallel()
		a := newSet(t, shared, "udp", user("again"))
		shared.door.onRoute(a.user, slowly(200*time.Millisecond, says(api.RouteReply{RTJSON: reject(404, "Not Found", 0)})))
		call := a.newCall("100")
		call.prepare()
		for range 3 {
			call.send(call.invite)
		}
		m := call.final(call.callID, "2 INVITE")
		if m.Code != 404 {
			t.Fatal(m.StartLine)
		}
		had := a.copies(m)
		call.send(call.invite)
		eventually(t, "the stored answer", func() error { return more(a.copies(m), had) })
		call.ack(2, call.branch, m.Header("To"))
		only(t, shared.door.asked(api.PathRoute, a.user))
	})
	t.Run("REGISTER", func(t *testing.T) {
		t.Parallel()
		p := newSet(t, shared, "udp", user("again"))
		shared.door.onAuth(p.user, func(w http.ResponseWriter, r *http.Request) {
			slowly(200*time.Millisecond, says(api.AuthReply{Action: "accept", AccountID: "acme", AOR: "sip:" + p.user + "@acme.test"}))(w, r)
		})
		callID := id("reg")
		build := func(cseq int, credentials string) string {
			return fmt.Sprintf("REGISTER sip:acme.test SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: <sip:%s@acme.test>;tag=f\r\nTo: <sip:%s@acme.test>\r\n"+
				"Call-ID: %s\r\nCSeq: %d REGISTER\r\nContact: <%s>\r\n%sContent-Length: 0\r\n\r\n", p.via(), p.user, p.user, callID, cseq, p.contact(), credentials)
		}
		text := build(2, "Authorization: "+p.challenged(callID, 1, "REGISTER", build).Answer(p.user, "x", "REGISTER", "sip:acme.test").Header()+"\r\n")
		for range 3 {
			p.send(text)
		}
		m := p.final(callID, "2 REGISTER")
		if m.Code != 200 {
			t.Fatal(m.StartLine)
		}
		had := p.copies(m)
		p.send(text)
		eventually(t, "the stored answer", func() error { return more(p.copies(m), had) })
		only(t, shared.door.asked(api.PathAuth, p.user))
		last := registered(t, shared, "udp", user("last")) // its event is behind all of the other's
		shared.door.expectEvent(t, api.EventContactSaved, "aor", "sip:"+last.user+"@acme.test")
		if n := len(shared.door.told(func(e event) bool { return e.Get("call_id") == callID })); n != 1 {
			t.Errorf("%d events of one REGISTER", n)
		}
	})
}

func more(n, had int) error {
	if n > had {
		return nil
	}
	return fmt.Errorf("%d, had %d", n, had)
}

// reject is a directive that refuses.
func reject(code int, reason string, retryAfter int) api.Directive {
	return api.Directive{Action: api.ActionReject, Version: api.Version,
		Refusal: api.Refusal{SIPCode: code, Reason: reason, RetryAfterSec: retryAfter, Why: "WHY-" + strconv.Itoa(code)}}
}
