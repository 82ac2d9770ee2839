package stir

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestParseIdentity_RefusesByName(t *testing.T) {
	// Proves what is refused before any certificate is got: each row is one thing wrong with a header that is otherwise right.
	s := newScene(t)
	good := secondSign(t, s.key, shakenHeader(), shakenClaims())
	if _, refusal := ParseIdentity(good + params); refusal != nil {
		t.Fatal(refusal)
	}
	header := func(name string, value any) string {
		return secondSign(t, s.key, with(shakenHeader(), name, value), shakenClaims()) + params
	}
	claims := func(name string, value any) string {
		return secondSign(t, s.key, shakenHeader(), with(shakenClaims(), name, value)) + params
	}
	raw := func(h, c string) string { return secondSignRaw(t, s.key, h, c) + params }
	h, c := secondJSON(shakenHeader()), secondJSON(shakenClaims())
	parts := strings.Split(good, ".")
	rows := []struct {
		name, value string
		want        Reason
	}{
		{"no header", " ", NoIdentity},
		{"over-long", good + params + ";x=" + strings.Repeat("a", maxIdentity), Malformed},
		{"a compact token", ".." + parts[2] + params, CompactForm},
		{"two parts", parts[0] + "." + parts[1] + params, Malformed},
		{"four parts", good + "." + parts[2] + params, Malformed},
		{"padding", good + "==" + params, Malformed},
		{"loose bits at the end", good[:len(good)-1] + "_" + params, Malformed},
		{"a line end within", good[:9] + "\n" + good[9:] + params, Malformed},
		{"signature in DER", parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 70)) + params, Malformed},
		{"alg none", header("alg", "none"), AlgUnsupported},
		{"alg none and no signature", second64([]byte(strings.Replace(h, "ES256", "none", 1))) + "." + parts[1] + "." + params, AlgUnsupported},
		{"alg RS256", header("alg", "RS256"), AlgUnsupported},
		{"alg es256", header("alg", "es256"), AlgUnsupported},
		{"alg left out", header("alg", nil), AlgUnsupported},
		{"alg of the header", strings.Replace(good+params, "alg=ES256", "alg=RS256", 1), AlgUnsupported},
		{"ppt unknown", header("ppt", "div"), PPTUnsupported},
		{"ppt of the header", strings.Replace(good+params, "ppt=shaken", "ppt=div", 1), Malformed},
		{"typ JWT", header("typ", "JWT"), Malformed},
		{"crit", header("crit", []string{"b64"}), Malformed},
		{"jwk", header("jwk", map[string]any{"kty": "EC"}), Malformed},
		{"kid", header("kid", "1"), Malformed},
		{"x5u http", strings.ReplaceAll(header("x5u", strings.Replace(x5u, "https", "http", 1)), "<https", "<http"), X5URefused},
		{"x5u no text", header("x5u", 1), Malformed},
		{"x5u left out", header("x5u", nil), X5URefused},
		{"x5u over-long", header("x5u", "https://"+strings.Repeat("a", maxURI)), Malformed},
		{"another info", strings.Replace(good+params, "709J", "710J", 1), InfoMismatch},
		{"no info", good + ";alg=ES256", Malformed},
		{"info without brackets", good + ";info=" + x5u, Malformed},
		{"info that never ends", good + ";info=<" + x5u, Malformed},
		{"info twice", good + params + ";INFO=<" + x5u + ">", Malformed},
		{"a second header after a comma", good + params + "," + good + params, Malformed},
		{"a semicolon at the end", good + params + ";", Malformed},
		{"too many parameters", good + params + ";a;b;c;d;e;f;g;h;i;j;k;l;m;n;o", Malformed},
		{"header no JSON", raw("x", c), Malformed},
		{"header an array", raw("["+h+"]", c), Malformed},
		{"something after the header", raw(h+"{}", c), Malformed},
		{"a name twice", raw(h, strings.Replace(c, `"iat"`, `"orig":{"tn":"1"},"iat"`, 1)), Malformed},
		{"a name in capitals", raw(h, strings.Replace(c, `"orig"`, `"Orig"`, 1)), Malformed},
		{"not UTF-8", raw(h, strings.Replace(c, `"iat"`, "\"\xff\":1,\"iat\"", 1)), Malformed},
		{"too many claims", raw(h, strings.Replace(c, `"iat"`, `"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"iat"`, 1)), Malformed},
		{"no orig", claims("orig", nil), Malformed},
		{"orig with both", claims("orig", map[string]any{"tn": caller, "uri": "sip:a@b"}), Malformed},
		{"orig with letters", claims("orig", map[string]any{"tn": "49DROPTABLE"}), Malformed},
		{"orig of 16 digits", claims("orig", map[string]any{"tn": "1234567890123456"}), Malformed},
		{"orig a list", claims("orig", map[string]any{"tn": []string{caller}}), Malformed},
		{"no dest", claims("dest", map[string]any{}), Malformed},
		{"dest a text", claims("dest", map[string]any{"tn": called}), Malformed},
		{"dest null", raw(h, strings.Replace(c, `["`+called+`"]`, "[null]", 1)), Malformed},
		{"dest of 17", claims("dest", map[string]any{"tn": strings.Split(strings.Repeat("1,", 16)+"1", ",")}), Malformed},
		{"dest no URI", claims("dest", map[string]any{"uri": []string{"12"}}), Malformed},
		{"iat in quotes", claims("iat", "1443208345"), Malformed},
		{"iat with a fraction", raw(h, strings.Replace(c, `"iat":`, `"iat":0.5e1,"x":`, 1)), Malformed},
		{"iat null", raw(h, strings.Replace(c, `"iat":`, `"iat":null,"x":`, 1)), Malformed},
		{"iat before 1970", claims("iat", -1), Malformed},
		{"iat beyond any time", claims("iat", maxIAT+1), Malformed},
		{"attest D", claims("attest", "D"), Malformed},
		{"attest left out", claims("attest", nil), Malformed},
		{"origid left out", claims("origid", nil), Malformed},
		{"origid over-long", claims("origid", strings.Repeat("a", maxOrigID+1)), Malformed},
		{"origid with a blank", claims("origid", "a b"), Malformed},
	}
	for _, row := range rows {
		if id, refusal := ParseIdentity(row.value); refusal == nil || refusal.Reason != row.want || id != nil {
			t.Errorf("%s: %v, want %s", row.name, refusal, row.want)
		}
	}
}

// trial changes one thing of a call that passes, and says what becomes of it.
type trial struct {
	name   string
	change func(t *testing.T, s *scene, claims map[string]any)
	want   Reason
	code   int
}

func TestVerify_RefusesByName(t *testing.T) {
	// Proves each refusal of a header that reads well, for who calls whom, when, and with which key; the SIP code too.
	try(t, []trial{
		{"nothing changed", func(*testing.T, *scene, map[string]any) {}, "", 0},
		{"another caller", func(_ *testing.T, s *scene, _ map[string]any) { s.call.From = "+4930999" }, OrigMismatch, 438},
		{"anonymous", func(_ *testing.T, s *scene, _ map[string]any) { s.call.From = "sip:anonymous@anonymous.invalid" }, OrigMismatch, 438},
		{"another called party", func(_ *testing.T, s *scene, _ map[string]any) { s.call.To = "+498955512" }, DestMismatch, 438},
		{"no called party", func(_ *testing.T, s *scene, _ map[string]any) { s.call.To = "" }, DestMismatch, 438},
		{"60 s old", func(_ *testing.T, s *scene, _ map[string]any) { s.call.At = now.Add(60 * time.Second) }, "", 0},
		{"61 s old", func(_ *testing.T, s *scene, _ map[string]any) { s.call.At = now.Add(61 * time.Second) }, Stale, 403},
		{"61 s old, 5 minutes allowed", func(_ *testing.T, s *scene, _ map[string]any) {
			s.call.At, s.v.Freshness = now.Add(61*time.Second), 5*time.Minute
		}, "", 0},
		{"61 s ahead", func(_ *testing.T, s *scene, _ map[string]any) { s.call.At = now.Add(-61 * time.Second) }, Future, 403},
		{"no time", func(_ *testing.T, s *scene, _ map[string]any) { s.call.At = time.Time{} }, Future, 403},
		{"signed by another key", func(t *testing.T, s *scene, _ map[string]any) { s.key = newKey(t) }, SignatureWrong, 438},
		{"caller as URI", func(_ *testing.T, s *scene, c map[string]any) {
			c["orig"], s.call.From = map[string]any{"uri": "sip:ann@example.org"}, "sips:ann@EXAMPLE.org;transport=tls"
		}, "", 0},
	})
}

func TestVerify_RefusesCertificatesByName(t *testing.T) {
	// Proves each refusal for the certificate: its chain, its dates, its key, and the numbers that it stands for.
	try(t, []trial{
		{"no certificate", func(_ *testing.T, s *scene, _ map[string]any) { s.chain = nil }, CertUntrusted, 437},
		{"no roots", func(_ *testing.T, s *scene, _ map[string]any) { s.v.Roots = nil }, CertUntrusted, 437},
		{"another root", func(t *testing.T, s *scene, _ map[string]any) {
			s.v.Roots = x509.NewCertPool()
			s.v.Roots.AddCert(newAuthority(t, nil).cert)
		}, CertUntrusted, 437},
		{"middle of the chain missing", func(_ *testing.T, s *scene, _ map[string]any) { s.chain = s.chain[:1] }, CertUntrusted, 437},
		{"signed by no authority", func(t *testing.T, s *scene, _ map[string]any) {
			own := (*authority)(nil).issue(t, &s.key.PublicKey, s.key, withList(list(spc("709J"))))
			s.chain = []*x509.Certificate{own}
		}, CertUntrusted, 437},
		{"too long a chain", func(_ *testing.T, s *scene, _ map[string]any) {
			for len(s.chain) <= maxChain {
				s.chain = append(s.chain, s.chain[1])
			}
		}, CertUntrusted, 437},
		{"expired", func(t *testing.T, s *scene, _ map[string]any) {
			s.certify(t, withList(list(spc("709J"))), func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
		}, CertExpired, 437},
		{"not valid yet", func(t *testing.T, s *scene, _ map[string]any) {
			s.certify(t, withList(list(spc("709J"))), func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) })
		}, CertExpired, 437},
		{"certificate of an authority", func(t *testing.T, s *scene, _ map[string]any) {
			s.certify(t, isCA, withList(list(spc("709J"))), func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageDigitalSignature })
		}, CertUnsuitable, 437},
		{"key not there to sign", func(t *testing.T, s *scene, _ map[string]any) {
			s.certify(t, withList(list(spc("709J"))), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })
		}, CertUnsuitable, 437},
		{"key on P-384", func(t *testing.T, s *scene, _ map[string]any) {
			key, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
			s.chain = []*x509.Certificate{s.root.issue(t, &key.PublicKey, nil, withList(list(spc("709J"))))}
		}, CertUnsuitable, 437},
		{"key of RSA", func(t *testing.T, s *scene, _ map[string]any) {
			key, _ := rsa.GenerateKey(rand.Reader, 2048)
			s.chain = []*x509.Certificate{s.root.issue(t, &key.PublicKey, nil, withList(list(spc("709J"))))}
		}, CertUnsuitable, 437},
		{"no TNAuthList", func(t *testing.T, s *scene, _ map[string]any) { s.certify(t) }, TNAuthListMissing, 437},
		{"TNAuthList in pieces", func(t *testing.T, s *scene, _ map[string]any) { s.certify(t, withList([]byte{0x30, 9, 1})) }, TNAuthListBroken, 437},
		{"number in the list", func(t *testing.T, s *scene, _ map[string]any) { s.certify(t, withList(list(one("1"), one(caller)))) }, "", 0},
		{"number in a range, marked critical", func(t *testing.T, s *scene, _ map[string]any) {
			s.certify(t, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: oidTNAuthList, Critical: true, Value: list(numberRange("493012345000", 1000))}}
			})
		}, "", 0},
		{"number outside of the list", func(t *testing.T, s *scene, _ map[string]any) {
			s.certify(t, withList(list(one("4930999"), numberRange("493012345000", 678))))
		}, TNAuthListMismatch, 437},
		{"number outside, though a provider is named", func(t *testing.T, s *scene, _ map[string]any) {
			s.certify(t, withList(list(spc("709J"), one("4930999"))))
		}, TNAuthListMismatch, 437},
		{"delegated what the authority above has not", func(t *testing.T, s *scene, _ map[string]any) {
			middle := newAuthority(t, s.root, list(one("4930999")))
			s.chain = []*x509.Certificate{middle.issue(t, &s.key.PublicKey, nil, withList(list(one(caller)))), middle.cert}
		}, TNAuthListMismatch, 437},
		{"delegated by a provider", func(t *testing.T, s *scene, _ map[string]any) {
			middle := newAuthority(t, s.root, list(spc("709J")))
			s.chain = []*x509.Certificate{middle.issue(t, &s.key.PublicKey, nil, withList(list(one(caller)))), middle.cert}
		}, "", 0},
		{"unknown extension marked critical", func(t *testing.T, s *scene, _ map[string]any) {
			s.certify(t, withList(list(spc("709J"))), func(c *x509.Certificate) {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
			})
		}, CertUntrusted, 437},
	})
}

func try(t *testing.T, rows []trial) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, claims := newScene(t), shakenClaims()
			row.change(t, s, claims)
			id, refusal := ParseIdentity(secondSign(t, s.key, shakenHeader(), claims) + params)
			if refusal != nil {
				t.Fatal(refusal)
			}
			got := s.v.Verify(id, s.chain, s.call)
			if got.Reason != row.want || got.Code != row.code || (got.Verstat == Passed) != (row.want == "") || (got.Phrase == "") != (row.code == 0) {
				t.Errorf("%+v, want %s %d", got, row.want, row.code)
			}
			if got.Verstat != Passed && (got.Attest != "" || got.OrigID != "" || got.SPC != nil || s.v.Replay.Len() > 0) {
				t.Errorf("believed in spite of %s: %+v", got.Reason, got)
			}
		})
	}
}

func TestVerify_RefusesChangedTokens(t *testing.T) {
	// Proves that the signature covers every byte: claims and header changed after signing, and each half of it set to 0 and to the
	// order of the curve.
	s := newScene(t)
	good := secondSign(t, s.key, shakenHeader(), shakenClaims())
	parts := strings.Split(good, ".")
	sig, _ := base64.RawURLEncoding.DecodeString(parts[2])
	n := elliptic.P256().Params().N.Bytes()
	zero := make([]byte, 32)
	for name, token := range map[string]string{
		"attest": parts[0] + "." + second64([]byte(secondJSON(with(shakenClaims(), "origid", "x")))) + "." + parts[2],
		"header": second64([]byte(" "+secondJSON(shakenHeader()))) + "." + parts[1] + "." + parts[2],
		"r = 0":  parts[0] + "." + parts[1] + "." + second64(append(zero, sig[32:]...)),
		"s = 0":  parts[0] + "." + parts[1] + "." + second64(append(sig[:32:32], zero...)),
		"s = n":  parts[0] + "." + parts[1] + "." + second64(append(sig[:32:32], n...)),
		"all 0":  parts[0] + "." + parts[1] + "." + second64(make([]byte, 64)),
	} {
		id, refusal := ParseIdentity(token + params)
		if refusal != nil {
			t.Fatalf("%s: %v", name, refusal)
		}
		if got := s.v.Verify(id, s.chain, s.call); got.Reason != SignatureWrong {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestVerify_RefusesReplay(t *testing.T) {
	// Proves that a token serves one call: the same call may come again, another may not, not even with the other signature that
	// everybody can make of one; and that nothing is remembered of a token that did not pass.
	s := newScene(t)
	token := secondSign(t, s.key, shakenHeader(), shakenClaims())
	verify := func(token, call string) Result {
		t.Helper()
		id, refusal := ParseIdentity(token + params)
		if refusal != nil {
			t.Fatal(refusal)
		}
		s.call.ID = call
		return s.v.Verify(id, s.chain, s.call)
	}
	if got := verify(token, "1"); got.Verstat != Passed {
		t.Fatalf("%+v", got)
	}
	if got := verify(token, "1"); got.Verstat != Passed {
		t.Errorf("the same call: %+v", got)
	}
	if got := verify(token, "2"); got.Reason != Replayed || got.Code != 438 || got.Verstat != Failed {
		t.Errorf("another call: %+v", got)
	}
	parts := strings.Split(token, ".")
	sig, _ := base64.RawURLEncoding.DecodeString(parts[2])
	other := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(sig[32:]))
	if got := verify(parts[0]+"."+parts[1]+"."+second64(append(sig[:32:32], leftPad(other)...)), "3"); got.Reason != Replayed {
		t.Errorf("the other signature: %+v", got)
	}
	if got := verify(secondSign(t, s.key, shakenHeader(), with(shakenClaims(), "origid", "another")), "2"); got.Verstat != Passed {
		t.Errorf("another token: %+v", got)
	}
}

func TestSelect_TakesTheHeaderThatCanBeVerified(t *testing.T) {
	// Proves the choice among several headers: shaken before base, whatever cannot be read passed over; none that can, and the
	// first says why; never more than maxIdentities.
	s := newScene(t)
	shaken := secondSign(t, s.key, shakenHeader(), shakenClaims()) + params
	base := secondSign(t, s.key, with(shakenHeader(), "ppt", nil), shakenClaims()) + ";info=<" + x5u + ">"
	div := secondSign(t, s.key, with(shakenHeader(), "ppt", "div"), shakenClaims()) + ";info=<" + x5u + ">;ppt=div"
	for _, row := range []struct {
		name   string
		values []string
		ppt    string
		want   Reason
	}{
		{"both", []string{base, shaken}, Shaken, ""},
		{"base alone", []string{div, base}, "", ""},
		{"unknown alone", []string{div, "x"}, "", PPTUnsupported},
		{"none", nil, "", NoIdentity},
		{"too many", append(strings.Split(strings.Repeat("x,", maxIdentities-1)+"x", ","), shaken), "", Malformed},
	} {
		id, refusal := Select(row.values)
		switch {
		case row.want == "" && (refusal != nil || id.PPT != row.ppt):
			t.Errorf("%s: %v", row.name, refusal)
		case row.want != "" && (refusal == nil || refusal.Reason != row.want):
			t.Errorf("%s: %v", row.name, refusal)
		}
	}
	if got := (&Refusal{Reason: NoIdentity}).Result(); got.Verstat != None || got.Code != 428 || got.Phrase != "Use Identity Header" {
		t.Errorf("no header: %+v", got)
	}
}

func TestReasons_EachHaveAVerdict(t *testing.T) {
	// Proves that no reason is without a verdict and a SIP response of RFC 8224; Verify would answer code 0.
	for _, reason := range []Reason{NoIdentity, Malformed, CompactForm, AlgUnsupported, PPTUnsupported, InfoMismatch, X5URefused, X5UFailed, Stale, Future, OrigMismatch, DestMismatch,
		CertUntrusted, CertExpired, CertUnsuitable, TNAuthListMissing, TNAuthListBroken, TNAuthListMismatch, SignatureWrong, Replayed} {
		r := (&Refusal{Reason: reason}).Result()
		if r.Verstat != Failed && r.Verstat != None || r.Phrase == "" {
			t.Errorf("%s: %+v", reason, r)
		}
	}
	if len(verdicts) != 20 {
		t.Errorf("%d verdicts for 20 reasons", len(verdicts))
	}
}
