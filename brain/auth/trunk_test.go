package auth

import (
	"errors"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// trunks is the directory of an account with a trunk of each kind that matters, and of a suspended one. Every password
// is s3cret-of-16-ch, as long as the decoy's.
func trunks() directory {
	const realm = "sip.acme.example"
	trunk := func(id, login string, change func(*brain.SIPTrunk)) brain.SIPTrunk {
		t := brain.SIPTrunk{ID: id, Status: brain.StatusActive, Direction: brain.TrunkBoth, InboundAuth: brain.InboundDigest, AuthUsername: login, AuthSecretRef: "pbx"}
		if change != nil {
			change(&t)
		}
		return t
	}
	acme := brain.NewAccountConfig(7, brain.AccountRows{
		Account: brain.Account{ID: "acc_acme", Status: brain.StatusActive},
		Domains: []brain.SIPDomain{{Domain: realm, IsPrimary: true}, {Domain: "acme.example"}},
		Trunks: []brain.SIPTrunk{trunk("tr_1", "pbx-1", nil),
			trunk("tr_reg", "pbx-r", func(t *brain.SIPTrunk) { t.InboundAuth = brain.InboundRegister }),
			trunk("tr_off", "off-1", func(t *brain.SIPTrunk) { t.Status = brain.StatusDisabled }),
			trunk("tr_out", "out-1", func(t *brain.SIPTrunk) { t.Direction = brain.TrunkOutbound }),
			trunk("tr_ip", "byip1", func(t *brain.SIPTrunk) { t.InboundAuth = brain.InboundIP }),
			trunk("tr_bare", "bare1", func(t *brain.SIPTrunk) { t.AuthSecretRef = "none" })},
	})
	suspended := brain.NewAccountConfig(7, brain.AccountRows{
		Account: brain.Account{ID: "acc_susp", Status: brain.StatusSuspended},
		Domains: []brain.SIPDomain{{Domain: "susp.example.net"}}, Trunks: []brain.SIPTrunk{trunk("tr_9", "pbx-1", nil)},
	})
	return directory{realm: acme, "acme.example": acme, "susp.example.net": suspended}
}

const trunkPassword = "s3cret-of-16-ch."

// vault opens the secret pbx and counts how often it is asked.
func vault(asked *int) func(*brain.AccountConfig, string) (string, error) {
	return func(_ *brain.AccountConfig, ref string) (string, error) {
		*asked++
		if ref != "pbx" {
			return "", errors.New("no such secret")
		}
		return trunkPassword, nil
	}
}

func pbx() Digest {
	d := desk()
	d.Username = "pbx-1"
	return d
}

// Proves that a trunk is known by its digest in every domain of its account, with both algorithms and in the form of RFC 2069.
func TestCheckTrunk_KnowsATrunk(t *testing.T) {
	for _, realm := range []string{"sip.acme.example", "acme.example"} {
		for _, algorithm := range []string{"", "MD5", "SHA-256"} {
			for _, qop := range []string{"", "auth"} {
				d, asked := pbx(), 0
				d.Realm, d.Algorithm, d.QOP = realm, algorithm, qop
				acct, trunk, why := CheckTrunk(trunks(), "INVITE", answer("INVITE", d, trunkPassword), vault(&asked))
				if why != "" || trunk == nil || trunk.ID != "tr_1" || acct == nil || acct.Account.ID != "acc_acme" || asked != 1 {
					t.Errorf("%s %s %s: %q, trunk %v, asked %d times", realm, algorithm, qop, why, trunk, asked)
				}
			}
		}
	}
}

// Proves that nobody learns which trunks there are: every reason to refuse gives no identity, asks for one password, and costs
// the same number of bytes through the hash; a good digest costs it too. Names are of one length, so that the amounts compare.
func TestCheckTrunk_RefusesEveryoneAlike(t *testing.T) {
	rows := []struct{ name, username, realm, password, why string }{
		{"wrong password", "pbx-1", "sip.acme.example", "wrong", WhyWrongPassword},
		{"no password", "pbx-1", "sip.acme.example", "", WhyWrongPassword},
		{"unknown trunk", "pbx-9", "sip.acme.example", trunkPassword, WhyUnknownTrunk},
		{"unknown trunk, the decoy's password", "pbx-9", "sip.acme.example", decoyPassword, WhyUnknownTrunk},
		{"unknown domain", "pbx-1", "sip.nobody.tests", trunkPassword, WhyUnknownDomain},
		{"unknown domain, the decoy's password", "pbx-1", "sip.nobody.tests", decoyPassword, WhyUnknownDomain},
		{"suspended account", "pbx-1", "susp.example.net", trunkPassword, WhyAccountInactive},
		{"disabled", "off-1", "sip.acme.example", trunkPassword, WhyTrunkInactive},
		{"disabled, the decoy's password", "off-1", "sip.acme.example", decoyPassword, WhyTrunkInactive},
		{"outbound only", "out-1", "sip.acme.example", trunkPassword, WhyTrunkOutbound},
		{"known by its address", "byip1", "sip.acme.example", trunkPassword, WhyUnknownTrunk},
		{"no secret", "bare1", "sip.acme.example", trunkPassword, WhyNoPassword},
		{"no secret, the decoy's password", "bare1", "sip.acme.example", decoyPassword, WhyNoPassword},
		{"", "pbx-1", "sip.acme.example", trunkPassword, ""},
	}
	if len(trunkPassword) != len(decoyPassword) {
		t.Fatal("the test compares passwords of different lengths")
	}
	for _, alg := range []string{"MD5", "SHA-256"} {
		want := 0
		for _, row := range rows {
			d, asked := pbx(), 0
			d.Username, d.Realm, d.Algorithm = row.username, row.realm, alg
			acct, trunk, why, work := checkTrunk(trunks(), "REGISTER", answer("REGISTER", d, row.password), vault(&asked))
			if why != row.why || (acct == nil) != (row.why != "") || (trunk == nil) != (row.why != "") {
				t.Errorf("%s %s: %q %v, want %q", alg, row.name, why, trunk, row.why)
			}
			if want == 0 {
				want = work
			}
			if work != want || work == 0 || asked != 1 {
				t.Errorf("%s %s: %d bytes hashed after %d passwords, a wrong password takes %d after 1", alg, row.name, work, asked, want)
			}
		}
	}
}

// Proves that a digest that is malformed in itself is refused before anything is looked up, opened or hashed, and that a
// response holds for its request only.
func TestCheckTrunk_RefusesMalformedAndMovedDigests(t *testing.T) {
	good := answer("INVITE", pbx(), trunkPassword)
	rows := map[string]struct {
		change func(d *Digest)
		why    string
	}{
		"algorithm":     {func(d *Digest) { d.Algorithm = "MD5-sess" }, WhyAlgorithm},
		"no username":   {func(d *Digest) { d.Username = "" }, WhyMalformed},
		"realm of 300":  {func(d *Digest) { d.Realm = strings.Repeat("r", 300) }, WhyMalformed},
		"qop":           {func(d *Digest) { d.QOP = "auth-int" }, WhyMalformed},
		"another uri":   {func(d *Digest) { d.URI = "sip:x" }, WhyWrongPassword},
		"another nonce": {func(d *Digest) { d.Nonce = "x" }, WhyWrongPassword},
	}
	for name, row := range rows {
		d, asked := good, 0
		row.change(&d)
		_, trunk, why, work := checkTrunk(trunks(), "INVITE", d, vault(&asked))
		if judged := row.why == WhyWrongPassword; trunk != nil || why != row.why || (work > 0) != judged || (asked > 0) != judged {
			t.Errorf("%s: %q, %d bytes hashed, %d passwords opened", name, why, work, asked)
		}
	}
	asked := 0
	if _, _, why := CheckTrunk(trunks(), "BYE", good, vault(&asked)); why != WhyWrongPassword {
		t.Errorf("another method: %q", why)
	}
}

// Proves that what Answer writes with a trunk's password CheckTrunk takes: two platforms can be each other's trunk.
func TestCheckTrunk_TakesWhatAnswerWrites(t *testing.T) {
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		challenge := `Proxy-Authenticate: Digest realm="acme.example", nonce="n1", qop="auth", algorithm=` + algorithm
		line, err := Answer([]string{challenge}, "INVITE", "sip:4930@acme.example", "pbx-1", trunkPassword, "", "c0ffee")
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		if _, trunk, why := CheckTrunk(trunks(), "INVITE", read(line), vault(&asked)); why != "" || trunk.ID != "tr_1" {
			t.Errorf("%s: %q\n%s", algorithm, why, line)
		}
	}
}

// Proves which addresses-of-record a trunk may register: its own name in any domain of its account, and only one that is to register.
func TestMayRegisterTrunk(t *testing.T) {
	acct := trunks().ByDomain("acme.example")
	register, digest := acct.Trunks["tr_reg"], acct.Trunks["tr_1"]
	rows := []struct {
		trunk        *brain.SIPTrunk
		user, domain string
		want         bool
	}{
		{register, "pbx-r", "acme.example", true}, {register, "pbx-r", "SIP.acme.example", true},
		{register, "pbx-1", "acme.example", false}, {register, "", "acme.example", false}, {register, "pbx-r", "susp.example.net", false},
		{register, "pbx-r", strings.Repeat("a", 1000), false}, {digest, "pbx-1", "acme.example", false}, {nil, "pbx-r", "acme.example", false},
	}
	for _, row := range rows {
		if got := MayRegisterTrunk(acct, row.trunk, row.user, row.domain); got != row.want {
			t.Errorf("To %s@%s: %v, want %v", row.user, row.domain, got, row.want)
		}
	}
	if MayRegisterTrunk(nil, register, "pbx-r", "acme.example") {
		t.Error("a trunk without an account may register")
	}
}
