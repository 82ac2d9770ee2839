package auth

import (
	"crypto/sha512"
	"fmt"
	"strings"
	"testing"
)

func sha512Hex(s string) string { return fmt.Sprintf("%x", sha512.Sum512_256([]byte(s))) }

// parameter finds a parameter of an answer, with the quotes it may have.
func parameter(line, name string) (string, bool) {
	for part := range strings.SplitSeq(strings.TrimSuffix(line[strings.Index(line, "Digest ")+len("Digest "):], "\r\n"), ", ") {
		if value, ok := strings.CutPrefix(part, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// Proves that published examples come out to the letter: RFC 7616 section 3.9.1 in both algorithms, and the response
// of RFC 2617 section 3.5, whose challenges are those of the RFCs.
func TestAnswer_GivesTheExamplesOfTheRFCs(t *testing.T) {
	const rfc7616 = `WWW-Authenticate: Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=%s, ` +
		`nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`
	const cnonce7616 = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
	rows := []struct {
		name                               string
		challenges                         []string
		password, cnonce, response, opaque string
	}{
		{"RFC 7616 MD5", []string{fmt.Sprintf(rfc7616, "MD5")}, "Circle of Life", cnonce7616, "8ca523f5e9506fed4657c9700eebdbec", "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"},
		{"RFC 7616 SHA-256", []string{fmt.Sprintf(rfc7616, "SHA-256")}, "Circle of Life", cnonce7616,
			"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"},
		{"RFC 7616 both", []string{fmt.Sprintf(rfc7616, "MD5"), fmt.Sprintf(rfc7616, "SHA-256")}, "Circle of Life", cnonce7616,
			"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"},
		{"RFC 2617", []string{`WWW-Authenticate: Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`},
			"Circle Of Life", "0a4f113b", "6629fae49393a05397450978507c4ef1", "5ccc069c403ebaf9f0171e9517f40e41"},
	}
	for _, row := range rows {
		line, err := Answer(row.challenges, "GET", "/dir/index.html", "Mufasa", row.password, "", row.cnonce)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		for name, want := range map[string]string{"response": `"` + row.response + `"`, "opaque": `"` + row.opaque + `"`, "nc": "00000001", "qop": "auth",
			"cnonce": `"` + row.cnonce + `"`, "uri": `"/dir/index.html"`, "username": `"Mufasa"`} {
			if got, _ := parameter(line, name); got != want {
				t.Errorf("%s: %s is %s, want %s", row.name, name, got, want)
			}
		}
	}
}

// Proves what is answered with what, line by line: the header for each kind of challenge, RFC 2069 without qop, no more parameters than
// the challenge had, the best algorithm first wherever it stands, the one realm that is asked for, and what peers write differently.
func TestAnswer_WritesTheLine(t *testing.T) {
	const uri = "sip:+4930@carrier.test"
	a1 := func(realm string) string { return "bob:" + realm + ":s3cret" }
	auth := func(sum func(string) string, realm, nonce string) string {
		return sum(sum(a1(realm)) + ":" + nonce + ":00000001:c0:auth:" + sum("INVITE:"+uri))
	}
	head := func(header, realm, nonce, response string) string {
		return header + `: Digest username="bob", realm="` + realm + `", nonce="` + nonce + `", uri="` + uri + `", response="` + response + `"`
	}
	old := md5Hex(md5Hex(a1("r")) + ":n:" + md5Hex("INVITE:"+uri))
	rows := []struct {
		name       string
		challenges []string
		realm      string
		want       string
	}{
		{"RFC 2069", []string{`Proxy-Authenticate: Digest realm="r", nonce="n"`}, "", head("Proxy-Authorization", "r", "n", old)},
		{"RFC 2069 with opaque and algorithm", []string{`WWW-Authenticate: Digest realm="r", nonce="n", opaque="", algorithm=md5`}, "",
			head("Authorization", "r", "n", old) + `, algorithm=MD5, opaque=""`},
		{"names in any case, odd blanks, no quotes, stale", []string{"proxy-authenticate :  digest Realm=\"r\" ,NONCE=bm9uY2U=,\tqop=auth, stale=TRUE \r\n"}, "R",
			head("Proxy-Authorization", "r", "bm9uY2U=", auth(md5Hex, "r", "bm9uY2U=")) + `, qop=auth, nc=00000001, cnonce="c0"`},
		{"escapes stay", []string{`WWW-Authenticate: Digest realm="a \"b\" \\", nonce="n\,=", qop="auth"`}, "",
			head("Authorization", `a \"b\" \\`, `n\,=`, auth(md5Hex, `a \"b\" \\`, `n\,=`)) + `, qop=auth, nc=00000001, cnonce="c0"`},
		{"SHA-256 after MD5", []string{`WWW-Authenticate: Digest realm="r", nonce="1", qop="auth", algorithm=MD5`, `WWW-Authenticate: Digest realm="r", nonce="2", qop="auth", algorithm=SHA-256`}, "",
			head("Authorization", "r", "2", auth(sha256Hex, "r", "2")) + `, algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c0"`},
		{"SHA-512-256", []string{`WWW-Authenticate: Digest realm="r", nonce="2", qop="auth", algorithm=SHA-256`, `WWW-Authenticate: Digest realm="r", nonce="3", qop="auth-int,auth", algorithm=SHA-512-256`}, "",
			head("Authorization", "r", "3", auth(sha512Hex, "r", "3")) + `, algorithm=SHA-512-256, qop=auth, nc=00000001, cnonce="c0"`},
		{"the realm asked for, though it is the weaker", []string{`WWW-Authenticate: Digest realm="evil", nonce="1", qop="auth", algorithm=SHA-256`, `WWW-Authenticate: Digest realm="r", nonce="2"`}, "r",
			head("Authorization", "r", "2", md5Hex(md5Hex(a1("r"))+":2:"+md5Hex("INVITE:"+uri)))},
		{"what cannot be answered is passed over", []string{`WWW-Authenticate: Basic realm="r"`, `WWW-Authenticate: Digest realm="r", nonce="1", algorithm=MD5-sess, qop="auth"`,
			`WWW-Authenticate: Digest realm="r", nonce="1", qop="auth-int"`, `WWW-Authenticate: Digest realm="r", nonce="n"`}, "", head("Authorization", "r", "n", old)},
	}
	for _, row := range rows {
		line, err := Answer(row.challenges, "INVITE", uri, "bob", "s3cret", row.realm, "c0")
		if want := row.want + "\r\n"; line != want || err != nil {
			t.Errorf("%s: %v\n%s\nwant\n%s", row.name, err, line, want)
		}
	}
}

// Proves that the verifier of this package takes what Answer writes: for both of its algorithms, with qop and without.
func TestAnswer_IsTakenByCheck(t *testing.T) {
	for _, algorithm := range []string{"", "MD5", "SHA-256"} {
		for _, qop := range []string{"", `, qop="auth"`} {
			challenge := `Proxy-Authenticate: Digest realm="sip.acme.example", nonce="ZmVkYzEyMzQ="` + qop
			if algorithm != "" {
				challenge += ", algorithm=" + algorithm
			}
			line, err := Answer([]string{challenge}, "INVITE", "sip:1@x", "1001-desk", "s3cret", "sip.acme.example", "0a4f113b")
			if err != nil {
				t.Fatal(err)
			}
			if r := Check(testDirectory(), "INVITE", read(line)); !r.OK || r.Device.ID != "dev_1" {
				t.Errorf("%s: %s\n%s", challenge, r.Why, line)
			}
		}
	}
}

// read is a line of Answer as the edge hands it over.
func read(line string) Digest {
	get := func(name string) string {
		value, _ := parameter(line, name)
		return strings.Trim(value, `"`)
	}
	return Digest{get("username"), get("realm"), get("nonce"), get("uri"), get("response"), get("algorithm"), get("cnonce"), get("nc"), get("qop")}
}

// Proves that nothing can be put into the request through a challenge or a setting, that every bound holds, and that the
// error says what is wrong without the password.
func TestAnswer_Refuses(t *testing.T) {
	good := `WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"`
	challenge := func(text string) []string { return []string{text} }
	long := func(n int) string { return strings.Repeat("x", n) }
	rows := []struct {
		name                                    string
		challenges                              []string
		method, uri, username, password, cnonce string
		says                                    string
	}{
		{"no challenge", nil, "INVITE", "sip:x", "bob", "s3cret", "c", "no challenge"},
		{"line feed in the nonce", challenge("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\r\nVia: x\""), "INVITE", "sip:x", "bob", "s3cret", "c", "cannot be read"},
		{"line feed in the realm", challenge("WWW-Authenticate: Digest realm=\"r\\\nx\", nonce=\"n\""), "INVITE", "sip:x", "bob", "s3cret", "c", "cannot be read"},
		{"end in an escape", challenge(`WWW-Authenticate: Digest nonce="n", realm="r\`), "INVITE", "sip:x", "bob", "s3cret", "c", "cannot be read"},
		{"quote left open", challenge(`WWW-Authenticate: Digest nonce="n", realm="r`), "INVITE", "sip:x", "bob", "s3cret", "c", "cannot be read"},
		{"no comma", challenge(`WWW-Authenticate: Digest nonce="n" realm="r"`), "INVITE", "sip:x", "bob", "s3cret", "c", "cannot be read"},
		{"realm twice", challenge(`WWW-Authenticate: Digest realm="r", realm="s", nonce="n"`), "INVITE", "sip:x", "bob", "s3cret", "c", "cannot be read"},
		{"no nonce", challenge(`WWW-Authenticate: Digest realm="r"`), "INVITE", "sip:x", "bob", "s3cret", "c", "nonce is missing"},
		{"no realm", challenge(`WWW-Authenticate: Digest nonce="n"`), "INVITE", "sip:x", "bob", "s3cret", "c", "realm is missing"},
		{"nonce too long", challenge(`WWW-Authenticate: Digest realm="r", nonce="` + long(maxChallengeNonce+1) + `"`), "INVITE", "sip:x", "bob", "s3cret", "c", "nonce is"},
		{"opaque too long", challenge(`WWW-Authenticate: Digest realm="r", nonce="n", opaque="` + long(maxOpaque+1) + `"`), "INVITE", "sip:x", "bob", "s3cret", "c", "opaque"},
		{"challenge too long", challenge(good + ", x=" + long(maxChallenge)), "INVITE", "sip:x", "bob", "s3cret", "c", "longer than 4096"},
		{"another realm", challenge(strings.Replace(good, `"r"`, `"evil\"x"`, 1)), "INVITE", "sip:x", "bob", "s3cret", "c", `"evil\\\"x"`},
		{"not UTF-8", challenge("WWW-Authenticate: Digest realm=\"\xff\", nonce=\"n\""), "INVITE", "sip:x", "bob", "s3cret", "c", "UTF-8"},
		{"another header", challenge(`Via: Digest realm="r", nonce="n"`), "INVITE", "sip:x", "bob", "s3cret", "c", "is no challenge"},
		{"more challenges than are looked at", append(make([]string, maxChallenges), good), "INVITE", "sip:x", "bob", "s3cret", "c", "is no challenge"},
		{"username with a quote", challenge(good), "INVITE", "sip:x", `bob", response="`, "s3cret", "c", "auth_username"},
		{"username with a line feed", challenge(good), "INVITE", "sip:x", "bob\r\nVia: x", "s3cret", "c", "auth_username"},
		{"URI with a line feed", challenge(good), "INVITE", "sip:x\n", "bob", "s3cret", "c", "URI"},
		{"URI too long", challenge(good), "INVITE", long(maxURI + 1), "bob", "s3cret", "c", "URI"},
		{"client's nonce with a quote", challenge(good), "INVITE", "sip:x", "bob", "s3cret", `c"`, "client's nonce"},
		{"no client's nonce", challenge(good), "INVITE", "sip:x", "bob", "s3cret", "", "client's nonce"},
		{"no password", challenge(good), "INVITE", "sip:x", "bob", "", "c", "no password"},
		{"method with a blank", challenge(good), "IN VITE", "sip:x", "bob", "s3cret", "c", "method"},
	}
	for _, row := range rows {
		line, err := Answer(row.challenges, row.method, row.uri, row.username, row.password, "r", row.cnonce)
		if line != "" || err == nil || !strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %q, %v", row.name, line, err)
		}
	}
	if _, err := Answer([]string{good}, "INVITE", "sip:x", "bob", "s3cret", "r", "c"); err != nil {
		t.Errorf("what the rows were made of is refused too: %v", err)
	}
}

// Any challenge is answered with one line that reads back as it was meant, or refused; nothing of it gets out of its quotes, and the
// response is the one of the formulas.
func FuzzAnswer(f *testing.F) {
	f.Add(`WWW-Authenticate: Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=SHA-256, opaque="o\"", stale=false`)
	f.Add(`Proxy-Authenticate: Digest realm=r,nonce=n==`)
	f.Add("Proxy-Authenticate: Digest realm=\"\\\\\", nonce=\"\t\"")
	f.Fuzz(func(t *testing.T, challenge string) {
		line, err := Answer([]string{challenge}, "INVITE", "sip:x", "bob", "s3cret", "", "c0")
		if err != nil {
			if line != "" || strings.Contains(err.Error(), "s3cret") {
				t.Fatalf("refused with a line or the password: %q %v", line, err)
			}
			return
		}
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\r\n") || strings.Count(line, "\r") != 1 {
			t.Fatalf("not one line: %q", line)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\r\n"), ": ")
		got, ok := readParameters(value)
		if name != "Authorization" && name != "Proxy-Authorization" || !ok || got["username"] != "bob" || got["uri"] != "sip:x" {
			t.Fatalf("reads back as %v: %q", got, line)
		}
		sum := map[string]func(string) string{"": md5Hex, "MD5": md5Hex, "SHA-256": sha256Hex, "SHA-512-256": sha512Hex}[got["algorithm"]]
		ha1, ha2 := sum("bob:"+got["realm"]+":s3cret"), sum("INVITE:sip:x")
		want := sum(ha1 + ":" + got["nonce"] + ":" + ha2)
		if got["qop"] != "" {
			want = sum(strings.Join([]string{ha1, got["nonce"], "00000001", "c0", "auth", ha2}, ":"))
		}
		if got["response"] != want {
			t.Fatalf("response %s, want %s: %q", got["response"], want, line)
		}
	})
}
