package scenario

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

var callIDs int

// alice is a REGISTER of 1001 with a Call-ID of its own.
func alice() register { return registerOf("1001") }

// registerOf is a REGISTER of a user of acme.
func registerOf(user string) register {
	callIDs++
	return register{user: user, domain: "acme.test", callID: fmt.Sprintf("reg-%d-%d", callIDs, time.Now().UnixNano()), cseq: 1, expires: 600}
}

// answered fills r's credentials for a challenge; change may spoil them.
func answered(r register, c phone.Challenge, password string, change func(*phone.Credentials)) register {
	cred := c.Answer(r.user, password, "REGISTER", "sip:"+r.domain)
	if change != nil {
		change(&cred)
	}
	r.cseq++
	r.authorization = cred.Header()
	return r
}

func expectCode(t *testing.T, what string, m *phone.RawMessage, code int) {
	t.Helper()
	if m.Code != code {
		t.Errorf("%s: %s, want %d", what, m.StartLine, code)
	}
}

func expectStale(t *testing.T, what string, m *phone.RawMessage) {
	t.Helper()
	expectCode(t, what, m, 401)
	if c, err := m.Challenge(); err != nil || !c.Stale {
		t.Errorf("%s: challenge %+v (%v), want stale=true", what, c, err)
	}
}

// Everything a phone or an attacker may do with REGISTER, on each transport, against the real edge and brain.
func TestRegister(t *testing.T) {
	tails(t, node)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			for name, scenario := range registerScenarios {
				t.Run(name, func(t *testing.T) { scenario(t, dialWire(t, node, transport)) })
			}
		})
	}
}

var registerScenarios = map[string]func(*testing.T, *wire){
	"good password": func(t *testing.T, w *wire) {
		r := alice()
		r = answered(r, w.challenged(t, r), "secret-1001", nil)
		m := w.exchange(t, w.message(r))
		expectCode(t, "good password", m, 200)
		if c := m.Header("Contact"); !strings.Contains(c, "expires=600") {
			t.Errorf("Contact of the answer: %q, want the binding with expires=600", c)
		}
		unregister(t, w, r)
	},
	"bad password and unknown user are told the same": func(t *testing.T, w *wire) {
		r := alice()
		bad := w.exchange(t, w.message(answered(r, w.challenged(t, r), "wrong", nil)))
		r = alice()
		r.user = "nobody"
		unknown := w.exchange(t, w.message(answered(r, w.challenged(t, r), "wrong", nil)))
		r = alice()
		r.domain = "nowhere.test"
		foreign := w.exchange(t, w.message(answered(r, w.challenged(t, r), "wrong", nil)))
		for _, m := range []*phone.RawMessage{bad, unknown, foreign} {
			expectCode(t, "refusal", m, 403)
			if got, want := shape(m), shape(bad); got != want {
				t.Errorf("an attacker can tell the refusals apart:\n%s\n%s", got, want)
			}
		}
	},
	"another account's user": func(t *testing.T, w *wire) {
		r := alice()
		c := w.challenged(t, r)
		r = answered(r, c, "secret-1001", nil)
		message := strings.Replace(w.message(r), "To: <sip:1001@", "To: <sip:1002@", 1)
		expectCode(t, "registering for 1002 with 1001's password", w.exchange(t, message), 403)
	},
	"stale nonce": func(t *testing.T, w *wire) {
		// A nonce of this node that is older than it may be: taken from an edge with nonces of one second.
		old := newShortNonceEdge(t)
		w = dialWire(t, old, w.transport)
		r := alice()
		c := w.challenged(t, r)
		deadline := time.Now().Add(10 * time.Second)
		for {
			m := w.exchange(t, w.message(answered(r, c, "secret-1001", func(cr *phone.Credentials) { cr.NC = uint32(r.cseq) })))
			if m.Code == 401 {
				expectStale(t, "old nonce", m)
				c, err := m.Challenge()
				if err != nil {
					t.Fatal(err)
				}
				r.cseq++
				expectCode(t, "the fresh nonce", w.exchange(t, w.message(answered(r, c, "secret-1001", nil))), 200)
				return
			}
			expectCode(t, "young nonce", m, 200)
			if r.cseq++; time.Now().After(deadline) {
				t.Fatal("the nonce never grew old")
			}
		}
	},
	"replayed": func(t *testing.T, w *wire) {
		r := alice()
		c := w.challenged(t, r)
		good := answered(r, c, "secret-1001", nil)
		message := w.message(good)
		expectCode(t, "first use", w.exchange(t, message), 200)
		if w.transport == "udp" {
			expectCode(t, "exact retransmission", w.exchange(t, message), 200)
		}
		expectStale(t, "replay on a new branch", w.exchange(t, w.message(good)))
		next := answered(good, c, "secret-1001", func(cr *phone.Credentials) { cr.NC = 2 })
		expectCode(t, "nc=2 on the same nonce", w.exchange(t, w.message(next)), 200)
		expectStale(t, "nc=1 again", w.exchange(t, w.message(answered(next, c, "secret-1001", nil))))
		unregister(t, w, next)
	},
	"forged nonce": func(t *testing.T, w *wire) {
		r := alice()
		c := w.challenged(t, r)
		for _, nonce := range []string{"Zm9yZ2Vk", strings.Repeat("A", len(c.Nonce)), "' or 1=1", c.Nonce + "x"} {
			c.Nonce = nonce
			m := w.exchange(t, w.message(answered(r, c, "secret-1001", nil)))
			expectCode(t, "nonce "+nonce, m, 401)
		}
	},
	"no qop": func(t *testing.T, w *wire) {
		r := alice()
		c := w.challenged(t, r)
		c.QOP = nil
		r = answered(r, c, "secret-1001", nil)
		expectCode(t, "RFC 2069 response", w.exchange(t, w.message(r)), 200)
		expectStale(t, "its nonce a second time", w.exchange(t, w.message(r)))
		unregister(t, w, r)
	},
	"SHA-256": func(t *testing.T, w *wire) {
		w = dialWire(t, newSHA256Edge(t), w.transport)
		r := alice()
		c := w.challenged(t, r)
		if c.Algorithm != "SHA-256" {
			t.Fatalf("challenged with %q, want SHA-256", c.Algorithm)
		}
		expectCode(t, "SHA-256", w.exchange(t, w.message(answered(r, c, "secret-1001", nil))), 200)
		r = alice()
		c = w.challenged(t, r)
		expectCode(t, "SHA-256, wrong password", w.exchange(t, w.message(answered(r, c, "wrong", nil))), 403)
	},
	"unregister": func(t *testing.T, w *wire) {
		r := alice()
		r = answered(r, w.challenged(t, r), "secret-1001", nil)
		expectCode(t, "register", w.exchange(t, w.message(r)), 200)
		m := unregister(t, w, r)
		if c := m.Header("Contact"); c != "" {
			t.Errorf("Contact after unregistering: %q, want none", c)
		}
	},
	"expiry": func(t *testing.T, w *wire) {
		r := alice()
		r.expires = 5
		r = answered(r, w.challenged(t, r), "secret-1001", nil)
		expectCode(t, "register for 5 s", w.exchange(t, w.message(r)), 200)
		eventually(t, context.Background(), "the contact to expire", func() error {
			if c := fetch(t, w).Header("Contact"); c != "" {
				return fmt.Errorf("still bound: %s", c)
			}
			return nil
		})
	},
	"two contacts": func(t *testing.T, w *wire) {
		r := alice()
		r = answered(r, w.challenged(t, r), "secret-1001", nil)
		expectCode(t, "first", w.exchange(t, w.message(r)), 200)
		second := alice()
		second.contact = "<sip:1001@127.0.0.1:9;x=second>"
		second = answered(second, w.challenged(t, second), "secret-1001", nil)
		m := w.exchange(t, w.message(second))
		expectCode(t, "second", m, 200)
		if n := strings.Count(strings.Join(m.All("Contact"), ","), "<sip:"); n != 2 {
			t.Errorf("%d contacts in the answer, want 2: %v", n, m.All("Contact"))
		}
		unregister(t, w, r)
		unregister(t, w, second)
	},
}

// shape is a response without what differs by request: what an attacker could tell refusals apart by.
func shape(m *phone.RawMessage) string {
	var b strings.Builder
	b.WriteString(m.StartLine)
	for _, h := range m.Headers {
		switch strings.ToLower(h.Name) {
		case "via", "from", "to", "call-id", "cseq":
			b.WriteString("|" + h.Name)
		default:
			b.WriteString("|" + h.Name + ": " + h.Value)
		}
	}
	return b.String()
}

// unregister removes r's contact again.
func unregister(t *testing.T, w *wire, r register) *phone.RawMessage {
	t.Helper()
	return unregisterAs(t, w, r, "secret-1001")
}

func unregisterAs(t *testing.T, w *wire, r register, password string) *phone.RawMessage {
	t.Helper()
	r.expires = 0
	r.cseq++
	r = answered(r, w.challenged(t, r), password, nil)
	m := w.exchange(t, w.message(r))
	expectCode(t, "unregister", m, 200)
	return m
}

// fetch is a REGISTER without Contact: it lists the bindings and changes none.
func fetch(t *testing.T, w *wire) *phone.RawMessage {
	t.Helper()
	r := alice()
	r = answered(r, w.challenged(t, r), "secret-1001", nil)
	message := w.message(r)
	from := strings.Index(message, "Contact: ")
	to := from + strings.Index(message[from:], "\r\n") + 2
	m := w.exchange(t, message[:from]+message[to:])
	expectCode(t, "fetch", m, 200)
	return m
}

// Edges that differ from the shared one, started when first needed and kept for the package.
var shortNonce, sha256Edge *edge.Edge

func newShortNonceEdge(t *testing.T) *edge.Edge {
	return extraEdge(t, &shortNonce, edge.Options{Config: acme, NonceExpire: 1, Children: 8})
}

func newSHA256Edge(t *testing.T) *edge.Edge {
	return extraEdge(t, &sha256Edge, edge.Options{Config: acme, SHA256: true, Children: 8})
}

func extraEdge(t *testing.T, at **edge.Edge, opt edge.Options) *edge.Edge {
	t.Helper()
	if *at == nil {
		e, err := edge.Start(context.Background(), opt)
		if err != nil {
			t.Fatal(err)
		}
		*at = e
	}
	return *at
}
