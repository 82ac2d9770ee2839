package kamailio

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// A refusal reaches the phone with code, reason and Retry-After as the brain said; why it was refused is never on
// the wire. A code that is no final refusal is 500.
func TestRefuse_SaysWhatTheDirectiveSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		directive  api.Directive
		code       int
		reason     string
		retryAfter string
	}{
		{"as it stands", reject(404, "Not Found", 0), 404, "Not Found", ""},
		{"try again later", reject(503, "Service Unavailable", 7), 503, "Service Unavailable", "7"},
		{"the highest code", reject(699, "Strange", 0), 699, "Strange", ""},
		{"the lowest code", reject(400, "Bad Request", 0), 400, "Bad Request", ""},
		{"no code", reject(0, "Nothing", 0), 500, "Server Internal Error", ""},
		{"a success", reject(200, "OK", 0), 500, "Server Internal Error", ""},
		{"a redirection", reject(302, "Moved", 0), 500, "Server Internal Error", ""},
		{"no SIP code", reject(700, "Huge", 0), 500, "Server Internal Error", ""},
		{"negative", reject(-404, "Less", 0), 500, "Server Internal Error", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			check := func(m *message) {
				t.Helper()
				if m.Code != c.code || m.Reason != c.reason || m.Header("Retry-After") != c.retryAfter {
					t.Errorf("%s with Retry-After %q, want %d %s with %q", m.StartLine, m.Header("Retry-After"), c.code, c.reason, c.retryAfter)
				}
				if strings.Contains(m.raw, "WHY") {
					t.Errorf("why it was refused is on the wire:\n%s", m.raw)
				}
			}
			a := newSet(t, shared, "udp", user("refused"))
			shared.door.obey(a.user, c.directive)
			check(a.newCall("100").dial().result())
			shared.door.onAuth(a.user, says(api.AuthReply{Action: api.ActionReject, Refusal: c.directive.Refusal}))
			check(a.register(registration{}))
		})
	}
}

// A refusal without a reason phrase is no broken reply: it has its code and some phrase that is nobody's placeholder.
func TestRefuse_WithoutAReasonIsStillWellFormed(t *testing.T) {
	t.Parallel()
	a := newSet(t, shared, "udp", user("refused"))
	shared.door.obey(a.user, reject(410, "", 0))
	if m := a.newCall("100").dial().refused(410); strings.Contains(m.raw, "null") {
		t.Errorf("placeholder on the wire:\n%s", m.raw)
	}
}

// An answer that cannot be obeyed is 503 with Retry-After, for calls and for registrations: nothing, no JSON, half
// of it, another status, an unknown action, and no answer in time.
func TestRefuse_NoUsableAnswerIs503(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"empty", saysBody(200, "")},
		{"not JSON", saysBody(200, "<html>")},
		{"half of it", saysBody(200, `{"rtjson":{"action":"proxy","routes":[`)},
		{"a list", saysBody(200, `[]`)},
		{"nothing in it", saysBody(200, `{}`)},
		{"null", saysBody(200, `{"rtjson":null,"action":null}`)},
		{"unknown action", saysBody(200, `{"action":"dance","rtjson":{"action":"dance"}}`)},
		{"proxy without call and media", saysBody(200, `{"action":"proxy","rtjson":{"action":"proxy","routes":[]}}`)},
		{"broken inside", saysBody(200, `{"rtjson":"reject"}`)},
		{"failure", saysBody(500, `{"action":"accept","rtjson":{"action":"reject","sip_code":404,"reason":"no"}}`)},
		{"created", saysBody(201, `{"action":"accept","rtjson":{"action":"reject","sip_code":404,"reason":"no"}}`)},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/health", http.StatusFound) }},
		{"hung", slowly(time.Minute, saysBody(200, `{}`))},
		{"cut off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newSet(t, shared, "udp", user("lost"))
			shared.door.onRoute(a.user, c.answer)
			shared.door.onAuth(a.user, c.answer)
			unavailable(t, a)
		})
	}
}

// unavailable fails unless a call and a registration are answered 503 with Retry-After within 15 s each: a question is given up after three.
func unavailable(t *testing.T, a *set) {
	t.Helper()
	began := time.Now()
	for _, m := range []*message{a.newCall("100").dial().result(), a.register(registration{})} {
		if m.Code != 503 || m.Header("Retry-After") == "" {
			t.Errorf("%s with Retry-After %q, want 503 with one", m.StartLine, m.Header("Retry-After"))
		}
		if took := m.at.Sub(began); took > 15*time.Second {
			t.Errorf("%s after %v, want under 15 s", m.StartLine, took)
		}
		began = m.at
	}
}

// Nobody at the door: 503 at once, and as soon as it is back everything works over the same addresses.
func TestRefuse_ClosedDoorIs503UntilItIsBack(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 2}, nil)
	a := registered(t, s, "udp", user("lost"))
	if err := s.door.close(); err != nil {
		t.Fatal(err)
	}
	unavailable(t, a)
	if err := s.door.open(s.door.addr); err != nil {
		t.Fatal(err)
	}
	if m := a.register(registration{}); m.Code != 200 {
		t.Errorf("after the door is back: %s", m.StartLine)
	}
}
