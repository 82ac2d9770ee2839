package auth

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what a challenge may hold in bytes, and of how many are looked at. A longer one is not answered.
const (
	maxChallenges     = 16
	maxChallenge      = 4096
	maxChallengeNonce = 1024
	maxOpaque         = 1024
)

// firstNC is the nonce count of an answer: each nonce is used once.
const firstNC = "00000001"

// clientAlgorithm is a digest algorithm that challenges are answered with.
type clientAlgorithm struct {
	name string // as in the registry of RFC 7616 section 6.1
	sum  func(string) string
}

// clientAlgorithms has the best one first (RFC 8760 section 2.4 leaves the choice to us: a peer that offers more than MD5
// gets more than MD5). The -sess forms are not answered.
var clientAlgorithms = []clientAlgorithm{
	{"SHA-512-256", func(s string) string { sum := sha512.Sum512_256([]byte(s)); return hex.EncodeToString(sum[:]) }},
	{"SHA-256", func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }},
	{"MD5", func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }},
}

// challenge is one challenge that can be answered. The texts are as they stood between the quotes, escapes and all: they
// are hashed and sent back so (RFC 7616 section 3.4).
type challenge struct {
	header               string // of the answer
	realm, nonce, opaque string
	hasOpaque, hasQOP    bool
	algorithm            int // index in clientAlgorithms
	named                bool
}

// Answer is the whole header line, ended by CRLF, that answers the best of some challenges: Authorization for
// WWW-Authenticate, Proxy-Authorization for Proxy-Authenticate. A challenge is a header line with its name. realm is
// the only one whose challenges are answered, "" for any: a password that was given for one peer is no other's to ask
// for. cnonce is the client's nonce, which need not be secret but must not be foreseen. An error says of each
// challenge why it is not answered, and never holds the password.
func Answer(challenges []string, method, uri, username, password, realm, cnonce string) (string, error) {
	switch {
	case !isToken(method) || len(method) > maxMethod:
		return "", errors.New("the method is none")
	case !isQuotable(uri) || !within(uri, maxURI):
		return "", errors.New("the URI is missing, longer than " + strconv.Itoa(maxURI) + " bytes, or has quotes or control characters")
	case !isQuotable(username) || !within(username, maxUsername):
		return "", errors.New("auth_username is missing, longer than " + strconv.Itoa(maxUsername) + " bytes, or has quotes or control characters")
	case !isQuotable(cnonce) || !within(cnonce, maxCNonce):
		return "", errors.New("the client's nonce is missing, too long, or has quotes or control characters")
	case password == "":
		return "", errors.New("there is no password")
	}
	c, err := choose(challenges, realm)
	if err != nil {
		return "", err
	}
	sum := clientAlgorithms[c.algorithm].sum
	ha1, ha2 := sum(username+":"+c.realm+":"+password), sum(method+":"+uri)
	response := sum(ha1 + ":" + c.nonce + ":" + ha2) // RFC 2069
	if c.hasQOP {
		response = sum(strings.Join([]string{ha1, c.nonce, firstNC, cnonce, "auth", ha2}, ":"))
	}
	return c.line(username, uri, response, cnonce), nil
}

// line writes the answer. What the challenge did not have is left out, so that a peer of RFC 2069 is not confused.
func (c *challenge) line(username, uri, response, cnonce string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `%s: Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`, c.header, username, c.realm, c.nonce, uri, response)
	if c.named {
		b.WriteString(", algorithm=" + clientAlgorithms[c.algorithm].name)
	}
	if c.hasOpaque {
		b.WriteString(`, opaque="` + c.opaque + `"`)
	}
	if c.hasQOP {
		b.WriteString(`, qop=auth, nc=` + firstNC + `, cnonce="` + cnonce + `"`)
	}
	b.WriteString("\r\n")
	return b.String()
}

// choose takes the challenge with the best algorithm, of several the first.
func choose(challenges []string, realm string) (*challenge, error) {
	var best *challenge
	var whys []string
	for _, text := range challenges[:min(len(challenges), maxChallenges)] {
		c, why := readChallenge(text, realm)
		switch {
		case why != "":
			whys = append(whys, why)
		case best == nil || c.algorithm < best.algorithm:
			best = &c
		}
	}
	switch {
	case best != nil:
		return best, nil
	case len(whys) == 0:
		return nil, errors.New("there is no challenge")
	}
	slices.Sort(whys)
	return nil, errors.New("no challenge can be answered: " + strings.Join(slices.Compact(whys), "; "))
}

// readChallenge reads one challenge; why is set when it cannot be answered, or must not.
func readChallenge(text, realm string) (c challenge, why string) {
	if len(text) > maxChallenge {
		return c, "it is longer than " + strconv.Itoa(maxChallenge) + " bytes"
	}
	if !utf8.ValidString(text) {
		return c, "it is not UTF-8"
	}
	name, value, _ := strings.Cut(strings.TrimRight(text, "\r\n"), ":")
	switch name = strings.TrimSpace(name); {
	case strings.EqualFold(name, "WWW-Authenticate"):
		c.header = "Authorization"
	case strings.EqualFold(name, "Proxy-Authenticate"):
		c.header = "Proxy-Authorization"
	default:
		return c, "it is no challenge"
	}
	parameters, ok := readParameters(value)
	if !ok {
		return c, "it cannot be read as a digest challenge"
	}
	c.realm, c.nonce = parameters["realm"], parameters["nonce"]
	c.opaque, c.hasOpaque = parameters["opaque"]
	algorithm, named := parameters["algorithm"]
	c.named = named
	if !named {
		algorithm = "MD5"
	}
	c.algorithm = slices.IndexFunc(clientAlgorithms, func(a clientAlgorithm) bool { return strings.EqualFold(a.name, algorithm) })
	qop, hasQOP := parameters["qop"]
	c.hasQOP = hasQOP && strings.TrimSpace(qop) != ""
	switch {
	case !within(c.realm, maxRealm):
		return c, "its realm is missing or too long"
	case realm != "" && !strings.EqualFold(c.realm, realm):
		return c, "its realm is " + strconv.QuoteToASCII(c.realm) + ", answered is only " + strconv.QuoteToASCII(realm)
	case !within(c.nonce, maxChallengeNonce):
		return c, "its nonce is missing or longer than " + strconv.Itoa(maxChallengeNonce) + " bytes"
	case len(c.opaque) > maxOpaque:
		return c, "its opaque is longer than " + strconv.Itoa(maxOpaque) + " bytes"
	case c.algorithm < 0:
		return c, "its algorithm is none of SHA-512-256, SHA-256 and MD5"
	case c.hasQOP && !offersAuth(qop):
		return c, "its qop does not offer auth"
	}
	return c, ""
}

func offersAuth(qop string) bool {
	return slices.ContainsFunc(strings.Split(qop, ","), func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), "auth") })
}
