// Package token makes and reads the tokens of logins: JSON Web Tokens (RFC 7519), signed with HMAC-SHA256 by a key that every
// brain of a cluster has. It is the only package that knows their form.
package token

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Life is how long a token is good for.
const Life = 12 * time.Hour

const (
	issuer     = "sipio"
	audience   = "sipio/v1"
	maxLength  = 2048 // of a token, in bytes
	jtiBytes   = 16
	clockDrift = time.Minute // between brains: one may read what another's clock makes in its future
)

// errBad is all that is said of a token that is worth nothing.
var errBad = errors.New("not a token of this platform, or one that is over")

// Keys finds the key with an id, for "" the one that signs now. Nobody else may have it.
type Keys func(id string) (key []byte, keyID string, err error)

// Claims is what a token says. It is no secret: whoever has the token can read it.
type Claims struct {
	Subject string // id of the console user
	Account string // its account, "" = the platform
	Role    string // when it logged in; what counts is the role it has
	Mark    string // of its password: a new one, and the token is worth nothing
	ID      string // of the token
	Expires time.Time
}

// claims is their form in the token.
type claims struct {
	jwt.RegisteredClaims
	Account string `json:"account,omitempty"`
	Role    string `json:"role"`
	Mark    string `json:"pwd"`
}

// Make signs a token for a user from now on. ID and Expires of c are set.
func Make(keys Keys, c *Claims, now time.Time) (string, error) {
	key, id, err := keys("")
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	random := make([]byte, jtiBytes)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the program instead
	now = now.Truncate(time.Second)
	c.ID, c.Expires = hex.EncodeToString(random), now.Add(Life)
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: c.Subject, ID: c.ID,
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(c.Expires)},
		Account: c.Account, Role: c.Role, Mark: c.Mark,
	})
	t.Header["kid"] = id
	text, err := t.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return text, nil
}

// Read reads a token that Make made with one of the keys and that is not over. The error never shows the token.
func Read(keys Keys, text string, now time.Time) (Claims, error) {
	if len(text) > maxLength {
		return Claims{}, errBad
	}
	var c claims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithStrictDecoding())
	_, err := parser.ParseWithClaims(text, &c, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		if id == "" {
			return nil, errBad
		}
		key, _, err := keys(id)
		return key, err
	})
	if err != nil || c.Subject == "" || c.IssuedAt == nil || c.IssuedAt.After(now.Add(clockDrift)) || c.ExpiresAt.Sub(c.IssuedAt.Time) > Life {
		return Claims{}, errBad
	}
	return Claims{Subject: c.Subject, Account: c.Account, Role: c.Role, Mark: c.Mark, ID: c.ID, Expires: c.ExpiresAt.Time}, nil
}
