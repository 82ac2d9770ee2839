package phone

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Challenge is a WWW-Authenticate or Proxy-Authenticate header of the Digest scheme (RFC 7616, RFC 8760).
type Challenge struct {
	Realm, Nonce, Opaque string
	Algorithm            string   // as sent; empty means MD5
	QOP                  []string // empty: RFC 2069 style, no nc and cnonce
	Stale                bool     // the nonce was refused, not the password
}

// ParseChallenge reads the value of a challenge header. It refuses anything but Digest with a realm and a nonce.
func ParseChallenge(value string) (Challenge, error) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	if !strings.EqualFold(scheme, "Digest") {
		return Challenge{}, fmt.Errorf("challenge %q is not Digest", value)
	}
	p := authParams(rest)
	c := Challenge{Realm: p["realm"], Nonce: p["nonce"], Opaque: p["opaque"], Algorithm: p["algorithm"], Stale: strings.EqualFold(p["stale"], "true")}
	if p["qop"] != "" {
		for q := range strings.SplitSeq(p["qop"], ",") {
			c.QOP = append(c.QOP, strings.TrimSpace(q))
		}
	}
	if c.Realm == "" || c.Nonce == "" {
		return c, fmt.Errorf("challenge %q has no realm or no nonce", value)
	}
	return c, nil
}

// authParams splits `a=b, c="d, e"` at the commas outside quotes; names are lower case, quotes removed.
func authParams(s string) map[string]string {
	params := map[string]string{}
	for len(s) > 0 {
		name, rest, found := strings.Cut(s, "=")
		if !found {
			break
		}
		name = strings.ToLower(strings.Trim(name, " \t,"))
		rest = strings.TrimLeft(rest, " \t")
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, s = quotedString(rest[1:])
		} else {
			value, s, _ = strings.Cut(rest, ",")
		}
		params[name] = strings.TrimSpace(value)
	}
	return params
}

// quotedString takes the text up to the closing quote, resolving backslashes, and returns what follows it.
func quotedString(s string) (value, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// Answer makes the credentials for one request, first use of the nonce, random cnonce. Callers that test
// replay change NC, CNonce or Nonce before taking Header.
func (c Challenge) Answer(user, password, method, uri string) Credentials {
	cred := Credentials{
		User: user, Password: password, Method: method, URI: uri,
		Realm: c.Realm, Nonce: c.Nonce, Opaque: c.Opaque, Algorithm: c.Algorithm,
	}
	for _, q := range c.QOP {
		if strings.EqualFold(q, "auth") {
			cred.QOP, cred.NC, cred.CNonce = "auth", 1, randomHex(8)
		}
	}
	return cred
}

// Credentials are the inputs of one Authorization or Proxy-Authorization header. Every field may be chosen
// freely, so that a test can send stale, replayed or forged ones.
type Credentials struct {
	User, Password, Realm, Method, URI string
	Nonce, Opaque, CNonce              string
	Algorithm                          string // MD5 (also when empty) or SHA-256
	QOP                                string // "auth", or empty for none
	NC                                 uint32
}

// Response is the request-digest of RFC 7616 section 3.4.1 in hexadecimal.
func (c Credentials) Response() string {
	ha1 := c.hash(c.User + ":" + c.Realm + ":" + c.Password)
	ha2 := c.hash(c.Method + ":" + c.URI)
	if c.QOP == "" {
		return c.hash(ha1 + ":" + c.Nonce + ":" + ha2)
	}
	return c.hash(fmt.Sprintf("%s:%s:%08x:%s:%s:%s", ha1, c.Nonce, c.NC, c.CNonce, c.QOP, ha2))
}

func (c Credentials) hash(s string) string {
	if strings.EqualFold(c.Algorithm, "SHA-256") {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Header is the value for Authorization or Proxy-Authorization.
func (c Credentials) Header() string {
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username=%s, realm=%s, nonce=%s, uri=%s, response="%s"`,
		quote(c.User), quote(c.Realm), quote(c.Nonce), quote(c.URI), c.Response())
	if c.Algorithm != "" {
		fmt.Fprintf(&b, ", algorithm=%s", c.Algorithm)
	}
	if c.Opaque != "" {
		fmt.Fprintf(&b, ", opaque=%s", quote(c.Opaque))
	}
	if c.QOP != "" {
		fmt.Fprintf(&b, `, qop=%s, nc=%08x, cnonce=%s`, c.QOP, c.NC, quote(c.CNonce))
	}
	return b.String()
}

// ParseCredentials reads the value of an Authorization or Proxy-Authorization header that answers a request of that method,
// without the password, and the response that it gives.
func ParseCredentials(value, method string) (c Credentials, response string, err error) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	p := authParams(rest)
	c = Credentials{User: p["username"], Realm: p["realm"], Method: method, URI: p["uri"], Nonce: p["nonce"], Opaque: p["opaque"],
		CNonce: p["cnonce"], Algorithm: p["algorithm"], QOP: p["qop"]}
	if !strings.EqualFold(scheme, "Digest") || p["response"] == "" {
		return c, "", fmt.Errorf("credentials %q are not Digest", value)
	}
	if p["nc"] != "" {
		n, err := strconv.ParseUint(p["nc"], 16, 32)
		if err != nil {
			return c, "", fmt.Errorf("credentials %q: %w", value, err)
		}
		c.NC = uint32(n)
	}
	return c, p["response"], nil
}

// known tells whether the algorithm is one this package computes.
func (c Challenge) known() bool {
	return c.Algorithm == "" || strings.EqualFold(c.Algorithm, "MD5") || strings.EqualFold(c.Algorithm, "SHA-256")
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails (Go 1.24)
	return hex.EncodeToString(b)
}
