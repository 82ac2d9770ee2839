package token_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sipio/sipio/controller/token"
)

var now = time.Unix(1_700_000_000, 0)

// ring is two keys, of which "new" signs.
func ring(id string) ([]byte, string, error) {
	switch id {
	case "", "new":
		return []byte(strings.Repeat("n", 32)), "new", nil
	case "old":
		return []byte(strings.Repeat("o", 32)), "old", nil
	}
	return nil, "", errors.New("no such key")
}

func make1(t *testing.T, keys token.Keys) string {
	t.Helper()
	text, err := token.Make(keys, &token.Claims{Subject: "cu_1", Account: "acc_1", Role: "admin", Mark: "m1"}, now)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Proves that a token says what was put into it, for twelve hours and no second longer, and that no two are alike.
func TestRead_ForTwelveHours(t *testing.T) {
	text := make1(t, ring)
	if text == make1(t, ring) {
		t.Error("two tokens are alike")
	}
	for _, c := range []struct {
		after time.Duration
		ok    bool
	}{{0, true}, {token.Life - time.Second, true}, {token.Life, false}, {100 * token.Life, false}, {-time.Hour, false}} {
		got, err := token.Read(ring, text, now.Add(c.after))
		if (err == nil) != c.ok {
			t.Errorf("after %v: %+v, %v", c.after, got, err)
		}
		if c.ok && (got.Subject != "cu_1" || got.Account != "acc_1" || got.Role != "admin" || got.Mark != "m1" || got.ID == "" || !got.Expires.Equal(now.Add(token.Life))) {
			t.Errorf("it says %+v", got)
		}
	}
}

// Proves that tokens of a key that no longer signs live on as long as it is there, and end with it.
func TestRead_AfterARotation(t *testing.T) {
	before := make1(t, func(string) ([]byte, string, error) { return ring("old") })
	if _, err := token.Read(ring, before, now); err != nil {
		t.Errorf("the old key's token: %v", err)
	}
	gone := func(id string) ([]byte, string, error) {
		if id == "old" {
			return nil, "", errors.New("gone")
		}
		return ring(id)
	}
	if _, err := token.Read(gone, before, now); err == nil {
		t.Error("a token of a key that is gone is read")
	}
}

// Proves that nothing but a token of ours is read: other algorithms, other keys, other issuers, missing claims, a changed
// byte in any part; and that no error quotes it.
func TestRead_RefusesEverythingElse(t *testing.T) {
	good := make1(t, ring)
	sign := func(method jwt.SigningMethod, key any, kid any, change func(jwt.MapClaims)) string {
		claims := jwt.MapClaims{"iss": "sipio", "aud": "sipio/v1", "sub": "cu_1", "role": "admin", "pwd": "m1", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
		if change != nil {
			change(claims)
		}
		tok := jwt.NewWithClaims(method, claims)
		if kid != nil {
			tok.Header["kid"] = kid
		}
		text, err := tok.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	key, _, _ := ring("new")
	if _, err := token.Read(ring, sign(jwt.SigningMethodHS256, key, "new", nil), now); err != nil {
		t.Fatalf("the form of the bad ones is not that of a good one: %v", err)
	}
	without := func(name string) string {
		return sign(jwt.SigningMethodHS256, key, "new", func(c jwt.MapClaims) { delete(c, name) })
	}
	part := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"new"}`)) + "." + part[1] + "."
	bad := map[string]string{
		"nothing": "", "no token": "a.b.c", "alg none": none, "alg none signed": sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "new", nil),
		"HS512": sign(jwt.SigningMethodHS512, key, "new", nil), "foreign key": sign(jwt.SigningMethodHS256, []byte("another key"), "new", nil),
		"unknown kid": sign(jwt.SigningMethodHS256, key, "other", nil), "no kid": sign(jwt.SigningMethodHS256, key, nil, nil), "kid a number": sign(jwt.SigningMethodHS256, key, 7, nil),
		"no sub": without("sub"), "no exp": without("exp"), "no iat": without("iat"), "no iss": without("iss"), "no aud": without("aud"),
		"too long a life": sign(jwt.SigningMethodHS256, key, "new", func(c jwt.MapClaims) { c["exp"] = now.Add(48 * time.Hour).Unix() }),
		"too long":        good + strings.Repeat("A", 4096), "other claims": part[0] + "." + strings.Split(without("x"), ".")[1] + "." + part[2],
		"cut": good[:len(good)-1], "no signature": part[0] + "." + part[1] + ".",
	}
	for name, text := range bad {
		got, err := token.Read(ring, text, now)
		if err == nil || got != (token.Claims{}) {
			t.Errorf("%s: read as %+v", name, got)
		}
		if err != nil && len(text) > 10 && strings.Contains(err.Error(), text[:10]) {
			t.Errorf("%s: the error quotes it: %v", name, err)
		}
	}
}

// Proves that no text at all breaks the reading, or is read without the key.
func FuzzRead(f *testing.F) {
	f.Add("a.b.c")
	text, _ := token.Make(ring, &token.Claims{Subject: "cu_1"}, now)
	f.Add(text)
	f.Fuzz(func(t *testing.T, in string) {
		if c, err := token.Read(ring, in, now); err == nil && c.Subject != "cu_1" {
			t.Errorf("%q is read as %+v", in, c)
		}
	})
}
