package stir

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
)

func TestNumber_IsCanonical(t *testing.T) {
	// Proves RFC 8224 section 8.3: the plus and what people write between digits goes, everything else is no number.
	for text, want := range map[string]string{
		"+493012345678": "493012345678", "+1 (215) 555-1212": "12155551212", "(030) 12.34": "0301234", "112": "112", "*98": "*98", "123456789012345": "123456789012345",
		"": "", "+": "", "++49": "", "49+30": "", "1234567890123456": "", "ann": "", "4930a": "", "-1": "", "()": "", "٣": "", "1\n2": "",
	} {
		if got, err := Number(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
}

func TestParseParty(t *testing.T) {
	// Proves which URIs stand for a number, and the canonical form of those that do not.
	for text, want := range map[string]Party{
		"+49 30 1":                           {TN: "49301"},
		"tel:+49-30-1;phone-context=x":       {TN: "49301"},
		"sip:+49301;npdi@Host;user=phone":    {TN: "49301"},
		"SIP:+49301@host":                    {TN: "49301"},
		"sips:49301@host:5061;User=Phone":    {TN: "49301"},
		"sip:1001@Acme.Example;transport=ws": {URI: "sip:1001@acme.example"},
		"sips:Ann:pw@acme.example?x=y":       {URI: "sip:Ann@acme.example"},
		"mailto:a@b":                         {}, "sip:host": {}, "sip:@host": {}, "sip::pw@host": {}, "sip:a@": {}, "sip:a@b@c": {}, "sip:<a@b": {}, "tel:ann": {}, "sip:+a@b": {}, "a b": {}, "": {},
		strings.Repeat("1", maxURI+1): {},
	} {
		if got, err := ParseParty(text); got != want || (err == nil) != (want != Party{}) {
			t.Errorf("%.40q: %+v %v", text, got, err)
		}
	}
}

func TestParseTNAuthList(t *testing.T) {
	// Proves all three choices with DER written by hand, the first of them as real certificates have it, and that what is broken
	// or beyond the bounds is refused.
	l, err := ParseTNAuthList([]byte{0x30, 8, 0xA0, 6, 0x16, 4, '7', '0', '9', 'J'})
	if err != nil || !slices.Equal(l.SPC, []string{"709J"}) || l.Lists() {
		t.Errorf("%+v %v", l, err)
	}
	l, err = ParseTNAuthList(list(numberRange("4930100", 50), one("112"), one("*98"), numberRange("0099", 2)))
	if err != nil || !l.Lists() {
		t.Fatal(err)
	}
	for number, want := range map[string]bool{
		"4930100": true, "4930149": true, "4930150": false, "4930099": false, "04930100": false, "112": true, "*98": true, "*99": false, "0100": true, "100": false, "": false,
	} {
		if l.Covers(number) != want {
			t.Errorf("%s: %t", number, !want)
		}
	}
	for name, der := range map[string][]byte{
		"nothing": nil, "no entry": list(), "no sequence": {0x04, 0}, "something after it": append(list(spc("1")), 0), "implicit tag": list([]byte{0x80, 1, '1'}),
		"tag 3": list(entry(3, ia5DER("1"))), "untagged": list(ia5DER("1")), "empty code": list(spc("")), "code with a blank": list(spc("a b")), "code too long": list(spc(strings.Repeat("a", 65))),
		"a plus": list(one("+49")), "16 digits": list(one("1234567890123456")), "no digits": list(one("")), "UTF-8": list(entry(2, []byte{0x0c, 1, '1'})),
		"range of one": list(numberRange("49", 1)), "range below zero": list(numberRange("49", -2)), "range from a star": list(numberRange("*49", 2)), "two in one": list(entry(2, append(ia5DER("1"), ia5DER("2")...))),
		"count beyond bounds": list(entry(1, append([]byte{0x30, 14}, append(ia5DER("1"), 0x02, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0)...))),
		"too many":            list(slices.Repeat([][]byte{one("1")}, maxEntries+1)...),
	} {
		if l, err := ParseTNAuthList(der); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

func TestParseChain_ReadsPEMAndDER(t *testing.T) {
	// Proves both forms of a chain and the bounds, and that a private key is never taken for a certificate.
	s := newScene(t)
	var text, der []byte
	for _, cert := range s.chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
		der = append(der, cert.Raw...)
	}
	for name, body := range map[string][]byte{"PEM": text, "DER": der, "PEM with words before": append([]byte("subject: x\n"), text...)} {
		if chain, err := ParseChain(body); err != nil || len(chain) != 2 || !bytes.Equal(chain[0].Raw, s.chain[0].Raw) {
			t.Errorf("%s: %d certificates, %v", name, len(chain), err)
		}
	}
	for name, body := range map[string][]byte{
		"nothing": nil, "a page": []byte("<html>"), "PEM cut off": text[:len(text)-40], "DER cut off": der[:len(der)-1], "a key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}),
		"rubbish in PEM": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), "too many": bytes.Repeat(text, maxChain), "too many in DER": bytes.Repeat(der, maxChain),
	} {
		if chain, err := ParseChain(body); err == nil {
			t.Errorf("%s: %d certificates", name, len(chain))
		}
	}
}

func TestParseKey_TakesBothForms(t *testing.T) {
	// Proves PKCS #8 and SEC 1, with the parameters that openssl writes before it, and that other keys are refused.
	key := newKey(t)
	sec1, _ := x509.MarshalECPrivateKey(key)
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(key)
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}})
	for name, body := range map[string][]byte{
		"SEC 1":   append(parameters, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...),
		"PKCS #8": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	} {
		if got, err := ParseKey(body); err != nil || !got.Equal(key) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, body := range map[string][]byte{
		"nothing": nil, "parameters alone": parameters, "a certificate": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sec1}),
		"encrypted": pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: pkcs8}), "rubbish": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}),
	} {
		if _, err := ParseKey(body); err == nil {
			t.Errorf("%s is a key", name)
		}
	}
}

func FuzzIdentity(f *testing.F) {
	// Proves that a header that is read can be written and read again alike, and that the parser ends on any bytes.
	s := newScene(f)
	f.Add(secondSign(f, s.key, shakenHeader(), shakenClaims()) + params)
	f.Add(exampleToken + ";info=<https://biloxi.example.org/biloxi.cert>")
	f.Add("..a;info=<>;a=\"b\";c")
	f.Fuzz(func(t *testing.T, value string) {
		id, refusal := ParseIdentity(value)
		if (id == nil) == (refusal == nil) {
			t.Fatalf("%+v and %v", id, refusal)
		}
		if refusal != nil {
			if refusal.Result().Code == 0 {
				t.Fatalf("%v has no code", refusal)
			}
			return
		}
		token, _, _ := strings.Cut(strings.TrimSpace(value), ";")
		again, refusal := ParseIdentity(header(strings.TrimSpace(token), id.X5U, id.PPT))
		if refusal != nil || again.signed != id.signed || again.Claims.Orig != id.Claims.Orig {
			t.Fatalf("again: %v %+v", refusal, again)
		}
	})
}

func FuzzPASSporT(f *testing.F) {
	// Proves that header and claims of any text, put into a token, are refused or give claims that could be signed again, in the
	// bounds, and mean the same.
	f.Add(secondJSON(shakenHeader()), secondJSON(shakenClaims()))
	f.Add(secondJSON(with(shakenHeader(), "ppt", nil)), `{"dest":{"uri":["sip:a@b"],"tn":["1"]},"iat":1,"orig":{"uri":"sip:ann@c"}}`)
	f.Add(`{"alg":"none"}`, `{"iat":1e3}`)
	signature := second64(make([]byte, sigLen))
	f.Fuzz(func(t *testing.T, header, claims string) {
		token, refusal := ParsePASSporT(second64([]byte(header)) + "." + second64([]byte(claims)) + "." + signature)
		if (token == nil) == (refusal == nil) {
			t.Fatalf("%+v and %v", token, refusal)
		}
		if refusal != nil {
			return
		}
		c := token.Claims
		for _, p := range append([]Party{c.Orig}, c.Dest...) {
			if again, err := ParseParty(p.String()); err != nil || again != p || (p.TN == "") == (p.URI == "") {
				t.Fatalf("party %+v: %v %+v", p, err, again)
			}
		}
		if len(c.Dest) == 0 || len(c.Dest) > maxDest || len(c.OrigID) > maxOrigID || c.Attest.valid() != (token.PPT == Shaken) || checkX5U(token.X5U) != nil {
			t.Fatalf("%+v", token)
		}
		back, refusal := readClaims(mustDecode(t, canonical(c.wire())), token.PPT)
		if refusal != nil || back.Orig != c.Orig || back.IAT != c.IAT || back.OrigID != c.OrigID || len(back.Dest) != len(c.Dest) {
			t.Fatalf("written again: %v %+v", refusal, back)
		}
	})
}

func mustDecode(t *testing.T, text string) []byte {
	raw, err := encoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func FuzzTNAuthList(f *testing.F) {
	// Proves that any DER is refused or gives a list within the bounds, each entry of which it covers.
	f.Add(list(spc("709J")))
	f.Add(list(numberRange("4930100", 50), one("112"), one("*98")))
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		l, err := ParseTNAuthList(der)
		if err != nil {
			return
		}
		if n := len(l.SPC) + len(l.Ranges) + len(l.Numbers); n == 0 || n > maxEntries {
			t.Fatalf("%d entries", n)
		}
		for _, number := range l.Numbers {
			if !l.Covers(number) {
				t.Fatalf("%s is not covered", number)
			}
		}
		for _, r := range l.Ranges {
			if !l.Covers(r.Start) || r.Count < 2 {
				t.Fatalf("%+v is not covered", r)
			}
		}
	})
}
