package auth

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// directory is a brain.Directory of a few accounts, by lower-case domain.
type directory map[string]*brain.AccountConfig

func (d directory) ByDomain(domain string) *brain.AccountConfig { return d[strings.ToLower(domain)] }
func (d directory) ByAccount(string) *brain.AccountConfig       { return nil }
func (d directory) Version() int64                              { return 1 }

func md5Hex(s string) string    { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
func sha256Hex(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// device makes an active device whose HA1 digests belong to the password.
func device(id, userID, name, realm, password string) brain.SIPDevice {
	secret := name + ":" + realm + ":" + password
	return brain.SIPDevice{ID: id, UserID: userID, AuthUsername: name, Realm: realm,
		HA1MD5: md5Hex(secret), HA1SHA256: sha256Hex(secret), Status: brain.StatusActive}
}

// testDirectory has an active account with one device of each kind that matters, a suspended account,
// and a domain with the device of the RFCs' examples.
func testDirectory() directory {
	const realm = "sip.acme.example"
	off := device("dev_off", "us_1", "off", realm, "s3cret")
	off.Status = brain.StatusDisabled
	bare := device("dev_bare", "us_1", "bare", realm, "s3cret")
	bare.HA1MD5, bare.HA1SHA256 = "", ""
	orphan := device("dev_orphan", "us_gone", "orphan", realm, "s3cret")
	acme := brain.NewAccountConfig(7, brain.AccountRows{
		Account: brain.Account{ID: "acc_acme", Status: brain.StatusActive},
		Domains: []brain.SIPDomain{{Domain: realm, IsPrimary: true}, {Domain: "acme.example"}},
		Users: []brain.SIPUser{
			{ID: "us_1", Username: "1001", Status: brain.StatusActive},
			{ID: "us_2", Username: "1002", Status: brain.StatusDisabled},
		},
		Devices: []brain.SIPDevice{device("dev_1", "us_1", "1001-desk", realm, "s3cret"),
			device("dev_2", "us_2", "gone-user", realm, "s3cret"), off, bare, orphan},
	})
	suspended := brain.NewAccountConfig(7, brain.AccountRows{
		Account: brain.Account{ID: "acc_susp", Status: brain.StatusSuspended},
		Domains: []brain.SIPDomain{{Domain: "susp.example", IsPrimary: true}},
		Users:   []brain.SIPUser{{ID: "us_9", Username: "1001", Status: brain.StatusActive}},
		Devices: []brain.SIPDevice{device("dev_9", "us_9", "1001-desk", "susp.example", "s3cret")},
	})
	rfcs := brain.NewAccountConfig(7, brain.AccountRows{
		Account: brain.Account{ID: "acc_rfc", Status: brain.StatusActive},
		Users:   []brain.SIPUser{{ID: "us_rfc", Username: "Mufasa", Status: brain.StatusActive}},
		Devices: []brain.SIPDevice{
			device("dev_7616", "us_rfc", "Mufasa", "http-auth@example.org", "Circle of Life"),
			device("dev_2617", "us_rfc", "Mufasa", "testrealm@host.com", "Circle Of Life"),
			device("dev_2069", "us_rfc", "Mufasa", "testrealm@host.com.", "CircleOfLife"),
		},
	})
	return directory{realm: acme, "acme.example": acme, "susp.example": suspended,
		"http-auth@example.org": rfcs, "testrealm@host.com": rfcs, "testrealm@host.com.": rfcs}
}

// answer computes the response a phone would send, by the formulas of the RFCs and none of our code.
func answer(method string, d Digest, password string) Digest {
	sum := md5Hex
	if strings.EqualFold(d.Algorithm, "SHA-256") {
		sum = sha256Hex
	}
	ha1, ha2 := sum(d.Username+":"+d.Realm+":"+password), sum(method+":"+d.URI)
	if d.QOP == "" {
		d.Response = sum(ha1 + ":" + d.Nonce + ":" + ha2)
	} else {
		d.Response = sum(strings.Join([]string{ha1, d.Nonce, strings.Trim(d.NC, `"`), d.CNonce, strings.Trim(d.QOP, `"`), ha2}, ":"))
	}
	return d
}

// desk is the unanswered digest of the good device.
func desk() Digest {
	return Digest{Username: "1001-desk", Realm: "sip.acme.example", Nonce: "ZmVkYzEyMzQ=", URI: "sip:sip.acme.example",
		CNonce: "0a4f113b", NC: "00000001", QOP: "auth"}
}

// Proves that published examples are accepted: RFC 7616 section 3.9.1 in MD5 and SHA-256, and RFC 2617
// section 3.5, each with the response printed in the RFC.
func TestCheck_AcceptsTheExamplesOfTheRFCs(t *testing.T) {
	rfc7616 := Digest{Username: "Mufasa", Realm: "http-auth@example.org", URI: "/dir/index.html",
		Nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", NC: "00000001",
		CNonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", QOP: "auth", Algorithm: "MD5",
		Response: "8ca523f5e9506fed4657c9700eebdbec"}
	rfc7616sha := rfc7616
	rfc7616sha.Algorithm = "SHA-256"
	rfc7616sha.Response = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
	rfc2617 := Digest{Username: "Mufasa", Realm: "testrealm@host.com", URI: "/dir/index.html",
		Nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093", NC: "00000001", CNonce: "0a4f113b", QOP: "auth",
		Response: "6629fae49393a05397450978507c4ef1"}
	for name, d := range map[string]Digest{"RFC 7616 MD5": rfc7616, "RFC 7616 SHA-256": rfc7616sha, "RFC 2617": rfc2617} {
		if r := Check(testDirectory(), "GET", d); !r.OK {
			t.Errorf("%s: refused: %s", name, r.Why)
		}
	}
}

// Proves that the form without qop (RFC 2069) is accepted, and that nc and cnonce then play no part:
// the response is computed by the formula of the RFC, and stays right whatever they hold.
func TestCheck_AcceptsTheFormWithoutQOP(t *testing.T) {
	d := desk()
	d.QOP, d.NC, d.CNonce = "", "", ""
	d = answer("REGISTER", d, "s3cret")
	for _, nc := range []string{"", "garbage"} {
		d.NC, d.CNonce = nc, nc
		r := Check(testDirectory(), "REGISTER", d)
		if !r.OK {
			t.Fatalf("nc %q: refused: %s", nc, r.Why)
		}
		if r.Device.ID != "dev_1" || r.User.ID != "us_1" || r.Account.Account.ID != "acc_acme" {
			t.Fatalf("wrong identity: %+v", r)
		}
	}
}

// Proves the tolerances: quotes around qop and nc, any case of the algorithm, of the response and of the
// stored HA1, and of the realm's letters in the index. Each row changes a good digest in one way.
func TestCheck_ToleratesWhatPhonesDo(t *testing.T) {
	rows := map[string]func(d Digest) Digest{
		"quoted qop and nc": func(d Digest) Digest { d.QOP, d.NC = `"auth"`, `"00000001"`; return answer("INVITE", d, "s3cret") },
		"algorithm md5":     func(d Digest) Digest { d.Algorithm = "md5"; return answer("INVITE", d, "s3cret") },
		"algorithm sha-256": func(d Digest) Digest { d.Algorithm = "sha-256"; return answer("INVITE", d, "s3cret") },
		"response in capitals": func(d Digest) Digest {
			d = answer("INVITE", d, "s3cret")
			d.Response = strings.ToUpper(d.Response)
			return d
		},
		"nc in hexadecimal letters": func(d Digest) Digest { d.NC = "0000aBcF"; return answer("INVITE", d, "s3cret") },
	}
	dir := testDirectory()
	for name, change := range rows {
		if r := Check(dir, "INVITE", change(desk())); !r.OK {
			t.Errorf("%s: refused: %s", name, r.Why)
		}
	}
	dev := dir["sip.acme.example"].Devices["dev_1"]
	dev.HA1MD5 = strings.ToUpper(dev.HA1MD5)
	if r := Check(dir, "INVITE", answer("INVITE", desk(), "s3cret")); !r.OK {
		t.Errorf("HA1 stored in capitals: refused: %s", r.Why)
	}
}

// Proves that a response holds for its method, URI, nonce, nc and cnonce only: a good digest with one of
// them changed afterwards is a wrong password.
func TestCheck_RefusesAResponseMovedToAnotherRequest(t *testing.T) {
	good := answer("INVITE", desk(), "s3cret")
	rows := map[string]func(d *Digest){
		"uri":    func(d *Digest) { d.URI = "sip:1002@sip.acme.example" },
		"nonce":  func(d *Digest) { d.Nonce = "other" },
		"nc":     func(d *Digest) { d.NC = "00000002" },
		"cnonce": func(d *Digest) { d.CNonce = "other" },
		"qop":    func(d *Digest) { d.QOP = "" },
	}
	for name, change := range rows {
		d := good
		change(&d)
		if r := Check(testDirectory(), "INVITE", d); r.OK || r.Why != WhyWrongPassword {
			t.Errorf("%s changed: %+v", name, r)
		}
	}
	if r := Check(testDirectory(), "REGISTER", good); r.OK || r.Why != WhyWrongPassword {
		t.Errorf("method changed: %+v", r)
	}
}

// Proves that a suspended account's phone and PBX are known when they call, because it may be for help, by their own password alone, and
// for nothing else.
func TestCheck_SuspendedAccountMayCall(t *testing.T) {
	d := desk()
	d.Realm = "susp.example"
	for _, row := range []struct {
		method, password string
		ok               bool
	}{{"INVITE", "s3cret", true}, {"INVITE", "wrong", false}, {"REGISTER", "s3cret", false}, {"REFER", "s3cret", false}} {
		if r := Check(testDirectory(), row.method, answer(row.method, d, row.password)); r.OK != row.ok || (r.Device != nil) != row.ok {
			t.Errorf("%s with %s: %+v", row.method, row.password, r)
		}
	}
	asked, login := 0, pbx()
	login.Realm = "susp.example.net"
	if _, trunk, why := CheckTrunk(trunks(), "INVITE", answer("INVITE", login, trunkPassword), vault(&asked)); why != "" || trunk == nil {
		t.Errorf("a PBX that calls: %q", why)
	}
	if _, _, why := CheckTrunk(trunks(), "REGISTER", answer("REGISTER", login, trunkPassword), vault(&asked)); why != WhyAccountInactive {
		t.Errorf("a PBX that registers: %q", why)
	}
}

// Proves that nobody learns which users exist: every reason to refuse a well-formed digest gives the same
// result but for Why, no identity, and the same number of bytes through the hash, in both algorithms.
// All digests have names of one length, so that the amounts can be compared.
func TestCheck_RefusesEveryoneAlike(t *testing.T) {
	rows := []struct{ name, username, realm, password, why string }{
		{"wrong password", "1001-desk", "sip.acme.example", "wrong", WhyWrongPassword},
		{"unknown user", "1099-desk", "sip.acme.example", "s3cret", WhyUnknownDevice},
		{"unknown domain", "1001-desk", "sip.nobody.test", "s3cret", WhyUnknownDomain},
		{"decoy's own name", "decoy", "decoy.invalid", "s3cret", WhyUnknownDomain},
		{"disabled device", "off", "sip.acme.example", "s3cret", WhyDeviceInactive},
		{"disabled user", "gone-user", "sip.acme.example", "s3cret", WhyUserInactive},
		{"missing user", "orphan", "sip.acme.example", "s3cret", WhyUserInactive},
		{"suspended account", "1001-desk", "susp.example", "s3cret", WhyAccountInactive},
		{"no HA1", "bare", "sip.acme.example", "s3cret", WhyNoHA1},
	}
	dir := testDirectory()
	for _, alg := range []string{"MD5", "SHA-256"} {
		want := 0
		for _, row := range rows {
			d := desk()
			d.Username, d.Realm, d.Algorithm = row.username, row.realm, alg
			r := Check(dir, "REGISTER", answer("REGISTER", d, row.password))
			if r.OK || r.Account != nil || r.User != nil || r.Device != nil || r.Why != row.why {
				t.Errorf("%s %s: %+v, want refused with %q", alg, row.name, r, row.why)
			}
			if want == 0 {
				want = r.work
			}
			if r.work != want || r.work == 0 {
				t.Errorf("%s %s: %d bytes hashed, a wrong password takes %d", alg, row.name, r.work, want)
			}
		}
		d := desk()
		d.Algorithm = alg
		if r := Check(dir, "REGISTER", answer("REGISTER", d, "s3cret")); !r.OK || r.work != want {
			t.Errorf("%s: a good digest: %+v, want accepted after %d bytes", alg, r, want)
		}
	}
}

// Proves that the decoy opens nothing: a response computed with the decoy's HA1 is right in the hash's
// eyes for every unknown or disabled device, and refused nevertheless.
func TestCheck_RefusesWhoeverComputesWithTheDecoy(t *testing.T) {
	for _, name := range []string{"1099-desk", "off", "gone-user", "bare", "orphan"} {
		d := desk()
		d.Username = name
		d.Response = md5Hex(strings.Join([]string{decoyHA1[:32], d.Nonce, d.NC, d.CNonce, d.QOP, md5Hex("INVITE:" + d.URI)}, ":"))
		if match, _ := verify("INVITE", &d, algMD5, decoyHA1[:32]); !match {
			t.Fatalf("%s: the test does not compute the decoy's response", name)
		}
		if r := Check(testDirectory(), "INVITE", d); r.OK {
			t.Errorf("%s: let in by the decoy", name)
		}
	}
}

// Proves that a digest wrong in itself is refused before anything is looked up or hashed. Each row breaks
// a good digest in one way.
func TestCheck_RefusesMalformedDigests(t *testing.T) {
	rows := map[string]struct {
		change func(d *Digest)
		why    string
	}{
		"MD5-sess":          {func(d *Digest) { d.Algorithm = "MD5-sess" }, WhyAlgorithm},
		"SHA-512-256":       {func(d *Digest) { d.Algorithm = "SHA-512-256" }, WhyAlgorithm},
		"qop auth-int":      {func(d *Digest) { d.QOP = "auth-int" }, WhyMalformed},
		"qop list":          {func(d *Digest) { d.QOP = "auth,auth-int" }, WhyMalformed},
		"nc of 7":           {func(d *Digest) { d.NC = "0000001" }, WhyMalformed},
		"nc of 9":           {func(d *Digest) { d.NC = "000000001" }, WhyMalformed},
		"nc not hex":        {func(d *Digest) { d.NC = "0000000g" }, WhyMalformed},
		"nc like a control": {func(d *Digest) { d.NC = "0000000\x10" }, WhyMalformed},
		"nc missing":        {func(d *Digest) { d.NC = "" }, WhyMalformed},
		"cnonce missing":    {func(d *Digest) { d.CNonce = "" }, WhyMalformed},
		"cnonce too long":   {func(d *Digest) { d.CNonce = strings.Repeat("c", maxCNonce+1) }, WhyMalformed},
		"username missing":  {func(d *Digest) { d.Username = "" }, WhyMalformed},
		"username too long": {func(d *Digest) { d.Username = strings.Repeat("1", maxUsername+1) }, WhyMalformed},
		"realm missing":     {func(d *Digest) { d.Realm = "" }, WhyMalformed},
		"realm too long":    {func(d *Digest) { d.Realm = strings.Repeat("r", maxRealm+1) }, WhyMalformed},
		"nonce missing":     {func(d *Digest) { d.Nonce = "" }, WhyMalformed},
		"nonce too long":    {func(d *Digest) { d.Nonce = strings.Repeat("n", maxNonce+1) }, WhyMalformed},
		"uri missing":       {func(d *Digest) { d.URI = "" }, WhyMalformed},
		"uri too long":      {func(d *Digest) { d.URI = strings.Repeat("u", maxURI+1) }, WhyMalformed},
		"response missing":  {func(d *Digest) { d.Response = "" }, WhyMalformed},
		"response of MD5 for SHA-256": {func(d *Digest) {
			*d = answer("INVITE", *d, "s3cret")
			d.Algorithm = "SHA-256"
		}, WhyMalformed},
	}
	for name, row := range rows {
		d := answer("INVITE", desk(), "s3cret")
		row.change(&d)
		if r := Check(testDirectory(), "INVITE", d); r.OK || r.Why != row.why || r.work != 0 {
			t.Errorf("%s: %+v, want %q and nothing hashed", name, r, row.why)
		}
	}
	for _, method := range []string{"", strings.Repeat("M", maxMethod+1)} {
		if r := Check(testDirectory(), method, answer(method, desk(), "s3cret")); r.OK || r.Why != WhyMalformed {
			t.Errorf("method %q: %+v", method, r)
		}
	}
}

// Proves that the longest accepted digest is still computed right: every field at its bound, both algorithms.
func TestCheck_AcceptsFieldsAtTheirBounds(t *testing.T) {
	name, realm := strings.Repeat("n", maxUsername), strings.Repeat("r", maxRealm)
	acct := brain.NewAccountConfig(1, brain.AccountRows{
		Account: brain.Account{ID: "acc_long", Status: brain.StatusActive},
		Users:   []brain.SIPUser{{ID: "us_1", Status: brain.StatusActive}},
		Devices: []brain.SIPDevice{device("dev_1", "us_1", name, realm, "s3cret")},
	})
	method := strings.Repeat("M", maxMethod)
	for _, alg := range []string{"MD5", "SHA-256"} {
		d := answer(method, Digest{Username: name, Realm: realm, Nonce: strings.Repeat("o", maxNonce), URI: strings.Repeat("u", maxURI),
			CNonce: strings.Repeat("c", maxCNonce), NC: "ffffffff", QOP: "auth", Algorithm: alg}, "s3cret")
		if r := Check(directory{realm: acct}, method, d); !r.OK {
			t.Errorf("%s: refused: %s", alg, r.Why)
		}
	}
}

// Proves which addresses-of-record a device may register: its own name and its user's, in any domain of
// its account, and nobody else's.
func TestMayRegister(t *testing.T) {
	acct := testDirectory().ByDomain("acme.example")
	dev, user := acct.Devices["dev_1"], acct.Users["us_1"]
	rows := []struct {
		user, domain string
		want         bool
	}{
		{"1001-desk", "sip.acme.example", true},
		{"1001", "sip.acme.example", true},
		{"1001", "ACME.example", true},
		{"1002", "sip.acme.example", false},
		{"off", "sip.acme.example", false},
		{"", "sip.acme.example", false},
		{"1001", "susp.example", false},
		{"1001", "", false},
		{"1001", strings.Repeat("a", 1000), false},
	}
	for _, row := range rows {
		if got := MayRegister(acct, dev, user, row.user, row.domain); got != row.want {
			t.Errorf("To %s@%s: %v, want %v", row.user, row.domain, got, row.want)
		}
	}
	if MayRegister(nil, dev, user, "1001", "acme.example") || MayRegister(acct, nil, user, "1001", "acme.example") ||
		MayRegister(acct, dev, nil, "1001", "acme.example") {
		t.Error("an unauthenticated request may register")
	}
}

// Proves that Check allocates no more than the index key of the lookup (AuthKey), accepted or refused.
func TestCheck_HardlyAllocates(t *testing.T) {
	dir := testDirectory()
	d := answer("INVITE", desk(), "s3cret")
	if n := testing.AllocsPerRun(100, func() { Check(dir, "INVITE", d) }); n > 1 {
		t.Errorf("%v allocations, want at most 1", n)
	}
}

// Compares Check with the formulas of the RFCs over any bytes: it never panics, accepts nothing that the
// formulas refuse, refuses no right response as a wrong password, and names the device only when it accepts.
func FuzzCheck(f *testing.F) {
	g := answer("INVITE", desk(), "s3cret")
	f.Add("INVITE", g.Username, g.Realm, g.Nonce, g.URI, g.Response, g.Algorithm, g.CNonce, g.NC, g.QOP)
	g.Algorithm = "SHA-256"
	g = answer("INVITE", g, "s3cret")
	f.Add("INVITE", g.Username, g.Realm, g.Nonce, g.URI, g.Response, g.Algorithm, g.CNonce, g.NC, `"auth"`)
	f.Add("REGISTER", "1099", "sip.acme.example", "n", "u", strings.Repeat("f", 32), "", "", "", "")
	dir := testDirectory()
	f.Fuzz(func(t *testing.T, method, username, realm, nonce, uri, response, algorithm, cnonce, nc, qop string) {
		d := Digest{username, realm, nonce, uri, response, algorithm, cnonce, nc, qop}
		r := Check(dir, method, d)
		d.QOP, d.NC = unquote(d.QOP), unquote(d.NC)
		right := answer(method, d, "s3cret")
		if r.Why == WhyWrongPassword && realm == "sip.acme.example" && !Check(dir, method, right).OK {
			t.Fatalf("refused as a wrong password, and so is the right response %q", right.Response)
		}
		if !r.OK {
			if r.Why == "" || r.Account != nil || r.User != nil || r.Device != nil {
				t.Fatalf("refused with a trace or without a reason: %+v", r)
			}
			return
		}
		if r.Why != "" || r.Device == nil || r.User == nil || r.Account == nil || r.Device.AuthUsername != username {
			t.Fatalf("accepted without an identity: %+v", r)
		}
		if r.Account.Account.ID == "acc_acme" && !strings.EqualFold(right.Response, response) {
			t.Fatalf("accepted %q, the formulas say %q", response, right.Response)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	dir := testDirectory()
	for _, alg := range []string{"MD5", "SHA-256"} {
		good := desk()
		good.Algorithm = alg
		good = answer("INVITE", good, "s3cret")
		wrong, unknown := good, good
		wrong.Response = strings.Repeat("f", len(good.Response))
		unknown.Username = "1099-desk"
		for _, row := range []struct {
			name string
			d    Digest
		}{{"accepted", good}, {"wrong password", wrong}, {"unknown", unknown}} {
			b.Run(alg+"/"+row.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Check(dir, "INVITE", row.d)
				}
			})
		}
	}
}

func (d directory) NodeByName(string) *brain.Node { return nil }
func (d directory) ActiveNodes() int              { return 0 }

func (directory) ByDID(string) (*brain.AccountConfig, *brain.DID)               { return nil, nil }
func (directory) TrunkBySource(string) (*brain.AccountConfig, *brain.SIPTrunk)  { return nil, nil }
func (directory) TrunkByTLSName(string) (*brain.AccountConfig, *brain.SIPTrunk) { return nil, nil }
func (directory) TrunkSources() []string                                        { return nil }
func (directory) Nodes() []*brain.Node                                          { return nil }
