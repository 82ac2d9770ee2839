package door

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Each kind of question with the brain gone: what the phone is told, and that every answer of survival is
// marked and that nothing else is.
func TestSurvival_AnswersWhatItKnowsAndNothingElse(t *testing.T) {
	const register, invite = "REGISTER", "INVITE"
	synctest.Test(t, func(t *testing.T) {
		s, _ := prepared(t, nil)
		for name, q := range map[string]struct {
			method, user, password, dialed string
			change                         func(url.Values)
			code                           int // 0: accept or proxy; 503: the fallback
		}{
			"register":                      {method: register, user: "1002", password: "secret-1002"},
			"register, SHA-256":             {method: register, user: "1002", password: "secret-1002", change: set("auth_algorithm", "SHA-256")},
			"register as the device":        {method: register, user: "1002", password: "secret-1002", change: set("to_user", "phone-1002")},
			"register in the second domain": {method: register, user: "1002", password: "secret-1002", change: set("to_domain", "Old.Acme.Test")},
			"wrong password":                {method: register, user: "1002", password: "wrong", code: 403},
			"unknown user":                  {method: register, user: "1999", password: "secret-1002", code: 403},
			"somebody else's address":       {method: register, user: "1002", password: "secret-1002", change: set("to_user", "1001"), code: 403},
			"address elsewhere":             {method: register, user: "1002", password: "secret-1002", change: set("to_domain", "x.test"), code: 403},
			"unknown algorithm":             {method: register, user: "1002", password: "secret-1002", change: set("auth_algorithm", "MD5-sess"), code: 403},
			"broken nonce count":            {method: register, user: "1002", password: "secret-1002", change: set("auth_nc", "1"), code: 403},
			"unknown realm":                 {method: register, user: "1002", password: "secret-1002", change: set("auth_realm", "other.test"), code: 503},
			"field twice":                   {method: register, user: "1002", password: "secret-1002", change: func(v url.Values) { v.Add("to_user", "1002") }, code: 503},
			"control character":             {method: register, user: "1002", password: "secret-1002", change: set("call_id", "a\r\nb"), code: 503},
			"call":                          {method: invite, user: "1001", password: "secret-1001", dialed: "1002"},
			"call, wrong password":          {method: invite, user: "1001", password: "wrong", dialed: "1002", code: 403},
			"call by digest of a REGISTER":  {method: register, user: "1001", password: "secret-1001", dialed: "1002", change: set("method", invite), code: 0},
			"call to who is busy":           {method: invite, user: "1001", password: "secret-1001", dialed: "1006", code: 486},
			"call to oneself":               {method: invite, user: "1001", password: "secret-1001", dialed: "1001", code: 480},
			"call to an unknown number":     {method: invite, user: "1001", password: "secret-1001", dialed: "1003", code: 503},
			"call to another domain":        {method: invite, user: "1001", password: "secret-1001", dialed: "1002", change: set("ruri_domain", "x.test"), code: 503},
		} {
			path := api.PathAuth
			if q.dialed != "" {
				path = api.PathRoute
			}
			if name == "call by digest of a REGISTER" { // the digest covers the method: computed for one, it is worth nothing for the other
				q.change, q.code = func(v url.Values) {
					v.Set("auth_response", sumMD5(sumMD5("phone-1001:acme.test:secret-1001")+":n0nce:00000001:c:auth:"+sumMD5("REGISTER:sip:acme.test")))
					v.Set("method", invite)
				}, 403
			}
			d := s.decideForm(t, path, asking(q.method, q.user, q.password, q.dialed, q.change))
			if q.code == 503 {
				wantFallback(t, d)
			}
			if d.SIPCode != q.code || d.Survival != (q.code != 503) || d.Why == "" || (d.Action == api.ActionReject) != (q.code != 0) {
				t.Errorf("%s: %+v, want code %d", name, d, q.code)
			}
			if q.method == register && q.dialed == "" && q.code == 0 && (d.Routes[0] != api.Route{URI: "sip:phone-1002@acme.test", Step: 10}) {
				t.Errorf("%s: saved as %+v", name, d.Routes[0])
			}
		}
		if st := s.Stats(); st.Survival.Answers != 15 || st.Survival.Accounts != 1 || st.Fallbacks != 5 {
			t.Errorf("stats %+v, fallbacks %d", *st.Survival, st.Fallbacks)
		}
	})
}

// A call of survival has all that a brain's has: a token that the question alone decides, who really calls
// in From, media flags and the bound of its duration.
func TestSurvival_CallIsWholeAndSaysWhoCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := prepared(t, nil)
		body := asking("INVITE", "1001", "secret-1001", "1002", set("from_user", "1002"))
		first := s.decideForm(t, api.PathRoute, body)
		time.Sleep(2 * rememberFor)
		again := s.decideForm(t, api.PathRoute, body)
		if first.Call == nil || again.Call == nil || *first.Call != *again.Call || len(first.Call.Token) != 20 {
			t.Fatalf("calls %+v and %+v: the same question has another call", first.Call, again.Call)
		}
		c := *first.Call
		c.Token = ""
		if (c != api.CallInfo{Direction: "internal", From: "1001", To: "1002", MaxDurationSec: 14400}) {
			t.Errorf("call %+v", c)
		}
		if first.AccountID != "acc_1" || first.ConfigVersion != 7 || first.Routing != "parallel" || first.Media.ToRTP != "RTP/AVP" {
			t.Errorf("directive %+v", first)
		}
		if r := first.Routes[0]; r.URI != "sip:phone-1002@acme.test" || r.Headers == nil || r.Headers.From.URI != "sip:1001@acme.test" {
			t.Errorf("route %+v, headers %+v: the caller passes for another", r, r.Headers)
		}
		honest := s.decideForm(t, api.PathRoute, asking("INVITE", "1001", "secret-1001", "1002", nil))
		if honest.Routes[0].Headers != nil || honest.Call.Token == first.Call.Token {
			t.Errorf("headers %+v, token %s: another call, and a From that needs no change", honest.Routes[0].Headers, honest.Call.Token)
		}
	})
}

// Survival is for a brain that is away or at fault. One that answers decides itself, and one that turns the
// node away ends it; what no brain has confirmed for MaxAge is not used; and the switch is a switch.
func TestSurvival_IsNotUsed(t *testing.T) {
	ask := func(t *testing.T, s *surviving) api.Directive {
		return s.decideForm(t, api.PathAuth, asking("REGISTER", "1002", "secret-1002", "", nil))
	}
	young := func(c *Config) { c.Survival.MaxAge = 10 * time.Minute }
	status := func(code int) func(*fakeBrain) {
		return func(f *fakeBrain) { f.err, f.status = nil, code }
	}
	for name, c := range map[string]struct {
		brain    func(*fakeBrain)
		config   func(*Config)
		wait     time.Duration
		survival bool
	}{
		"brain at fault":     {brain: status(500), survival: true},
		"brain away":         {survival: true},
		"brain turns away":   {brain: status(401)},
		"brain forbids":      {brain: status(403)},
		"just young enough":  {config: young, wait: 9 * time.Minute, survival: true},
		"too old":            {config: young, wait: 11 * time.Minute},
		"switched off":       {config: func(c *Config) { c.Survival.Fetch = nil }},
		"brain that decides": {brain: status(200)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, from := prepared(t, c.config)
				from.change(func(f *store) { f.fail = errors.New("away") })
				if c.brain != nil {
					s.brain.set(c.brain)
				}
				time.Sleep(c.wait)
				if d := ask(t, s); d.Survival != c.survival {
					t.Errorf("%+v, want survival %v", d, c.survival)
				}
			})
		})
	}
}

// What the file holds is read by the next start of the node agent with the same key; a file that is cut or
// changed anywhere, or is of another node, is left alone; and none of it can be read without the key.
func TestSurvival_FileOutlivesTheNodeAgentAndServesNobodyElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "survival.bin")
	withFile := func(c *Config) { c.Survival.File = path }
	synctest.Test(t, func(t *testing.T) {
		s, from := prepared(t, withFile)
		from.change(func(f *store) { f.fail = errors.New("away") })
		s.stop()
		answers := func(config func(*Config)) bool {
			next := startSurviving(t, from, func(c *Config) { withFile(c); config(c) })
			defer next.stop()
			next.away()
			return next.decideForm(t, api.PathAuth, asking("REGISTER", "1002", "secret-1002", "", nil)).Survival
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("file %v, %v: want mode 0600", info.Mode(), err)
		}
		for _, c := range acme("t1").Callers {
			for _, secret := range []string{c.HA1MD5, c.HA1SHA256, c.AuthUsername} {
				if bytes.Contains(whole, []byte(secret)) {
					t.Errorf("the file shows %q", secret)
				}
			}
		}
		same := func(*Config) {}
		if !answers(same) {
			t.Error("nothing is answered after a restart")
		}
		if answers(func(c *Config) { c.Key = "sk_other" }) {
			t.Error("another node's key opens the file")
		}
		for n := 0; n < len(whole); n += 1 + len(whole)/40 {
			spoilt := bytes.Clone(whole)
			spoilt[n] ^= 1
			for what, content := range map[string][]byte{"cut": whole[:n], "changed": spoilt} {
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
				if answers(same) {
					t.Errorf("a file %s at byte %d was used", what, n)
				}
			}
		}
		if answers(func(c *Config) { c.Survival.Fetch = nil }) {
			t.Error("answered although it is switched off")
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("switched off, and the file is still there: %v", err)
		}
	})
}

// The brain is asked soon after a realm was seen for the first time, then every Refresh; what still holds is
// not sent again, what has changed replaces the old, an account that is gone is answered for no more, and a
// brain that fails changes nothing.
func TestSurvival_KeepsUpWithTheBrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, from := prepared(t, nil)
		known := func() string { return strings.Join(s.survival.bundle.Load().tags(), " ") }
		if asked := from.questions(); len(asked) != 1 || fmt.Sprint(asked[0].Realms) != "[acme.test]" || asked[0].Node != "edge-1" {
			t.Fatalf("asked %+v", asked)
		}
		time.Sleep(time.Minute)
		if asked := from.questions(); len(asked) != 2 || fmt.Sprint(asked[1].Have) != "[t1]" || known() != "t1" {
			t.Errorf("asked %+v, known %s", asked, known())
		}
		from.change(func(f *store) { f.accounts[0] = acme("t2") })
		time.Sleep(time.Minute)
		if known() != "t2" {
			t.Errorf("known %s after a change", known())
		}
		confirmed := s.survival.bundle.Load().confirmedMS
		from.change(func(f *store) { f.fail = errors.New("away") })
		time.Sleep(10 * time.Minute)
		if known() != "t2" || s.survival.bundle.Load().confirmedMS != confirmed {
			t.Errorf("known %s after failures", known())
		}
		from.change(func(f *store) { f.fail, f.accounts = nil, nil })
		time.Sleep(2 * time.Minute)
		if known() != "" {
			t.Errorf("known %s after the account is gone", known())
		}
	})
}

// More accounts than fit one reply come in several; a brain that would go on for ever is left after a few.
func TestSurvival_CollectsPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &store{page: 2}
		s := startSurviving(t, from, nil)
		for i := range 7 {
			a := acme(fmt.Sprintf("t%d", i))
			a.Domains = []string{fmt.Sprintf("d%d.test", i)}
			from.accounts = append(from.accounts, a)
			s.survival.addRealm(a.Domains[0], time.Now().UnixMilli())
		}
		time.Sleep(2 * firstRefresh)
		if st := s.Stats().Survival; st.Accounts != 7 || len(from.questions()) != 4 {
			t.Errorf("%d accounts after %d questions, want 7 after 4", st.Accounts, len(from.questions()))
		}
		confirmed := s.Stats().Survival.ConfirmedMS
		from.change(func(f *store) { f.raw, f.asked = `{"more":true}`, nil })
		time.Sleep(time.Minute)
		if st := s.Stats().Survival; len(from.questions()) == 0 || st.Accounts != 7 || st.ConfirmedMS != confirmed {
			t.Errorf("%+v after a brain that never ends", *st)
		}
	})
}

// Replies of a brain that are not what they should be change nothing.
func TestSurvival_RefusesSenselessReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, from := prepared(t, nil)
		confirmed := s.Stats().Survival.ConfirmedMS
		for _, reply := range []string{" ", "x", "[]", `{"accounts":[1]}`, `{"accounts":[{}]}`, `{"accounts":[{"tag":"t9","account_id":"a"}]}`,
			`{"accounts":[null]}`, `{"accounts":[` + strings.Repeat(`{},`, 2000) + `{}]}`} {
			from.change(func(f *store) { f.raw, f.asked = reply, nil })
			time.Sleep(time.Minute)
			if st := s.Stats().Survival; len(from.questions()) == 0 || st.Accounts != 1 || st.ConfirmedMS != confirmed {
				t.Errorf("%.40q: %+v", reply, *st)
			}
		}
	})
}
