package stir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	maxMembers = 16      // of a JSON object in a token
	maxDest    = 16      // called parties of a token
	maxOrigID  = 64      // bytes; a UUID has 36
	maxIAT     = 1 << 40 // in the year 36812
)

// readHeader reads the protected header (RFC 8225 section 4). A member that it does not know is refused, not passed over:
// crit, jwk, jku and x5c change what is to be verified.
func (t *Token) readHeader(raw []byte) *Refusal {
	members, err := object(raw)
	if err != nil {
		return refuse(Malformed, "header: %v", err)
	}
	values := map[string]string{}
	for _, name := range []string{"alg", "ppt", "typ", "x5u"} {
		if value, ok := members[name]; ok {
			if values[name], err = text(value, maxURI); err != nil {
				return refuse(Malformed, "header: %s: %v", name, err)
			}
			delete(members, name)
		}
	}
	t.PPT, t.X5U = values["ppt"], values["x5u"]
	switch {
	case values["alg"] != algorithm:
		return refuse(AlgUnsupported, "alg is %q", values["alg"])
	case values["typ"] != typ:
		return refuse(Malformed, "header: typ is %q", values["typ"])
	case t.PPT != "" && t.PPT != Shaken:
		return refuse(PPTUnsupported, "ppt is %q", t.PPT)
	case len(members) > 0:
		return refuse(Malformed, "header: members beside alg, ppt, typ and x5u")
	}
	if err := checkX5U(t.X5U); err != nil {
		return refuse(X5URefused, "%v", err)
	}
	return nil
}

// checkX5U refuses what is no https URL, whatever its host.
func checkX5U(x5u string) error {
	if !strings.HasPrefix(x5u, "https://") || len(x5u) > maxURI || !visible(x5u) || strings.ContainsAny(x5u, "<>\"\\") {
		return fmt.Errorf("x5u is not https://host/…, of at most %d bytes", maxURI)
	}
	return nil
}

// readClaims reads the payload (RFC 8225 section 5, RFC 8588 section 4). Claims that it does not know are passed over.
func readClaims(raw []byte, ppt string) (c Claims, refusal *Refusal) {
	members, err := object(raw)
	if err != nil {
		return c, refuse(Malformed, "claims: %v", err)
	}
	if c.Orig, err = readOrig(members["orig"]); err != nil {
		return c, refuse(Malformed, "claims: orig: %v", err)
	}
	if c.Dest, err = readDest(members["dest"]); err != nil {
		return c, refuse(Malformed, "claims: dest: %v", err)
	}
	if err := json.Unmarshal(members["iat"], &c.IAT); err != nil || string(members["iat"]) == "null" || c.IAT < 0 || c.IAT > maxIAT {
		return c, refuse(Malformed, "claims: iat is not a number of seconds")
	}
	if ppt != Shaken {
		return c, nil
	}
	attest, err := text(members["attest"], 1)
	if c.Attest = Attestation(attest); err != nil || !c.Attest.valid() {
		return c, refuse(Malformed, "claims: attest is not A, B or C")
	}
	if c.OrigID, err = text(members["origid"], maxOrigID); err != nil || !visible(c.OrigID) {
		return c, refuse(Malformed, "claims: origid is missing, or no visible text of at most %d bytes", maxOrigID)
	}
	return c, nil
}

func (a Attestation) valid() bool { return a == Full || a == Partial || a == Gateway }

func readOrig(raw json.RawMessage) (Party, error) {
	members, err := object(raw)
	if err != nil {
		return Party{}, err
	}
	tn, isTN := members["tn"]
	uri, isURI := members["uri"]
	switch {
	case isTN == isURI:
		return Party{}, errors.New("not one of tn and uri")
	case isTN:
		return party(tn, true)
	}
	return party(uri, false)
}

func readDest(raw json.RawMessage) ([]Party, error) {
	members, err := object(raw)
	if err != nil {
		return nil, err
	}
	var out []Party
	for _, name := range []string{"tn", "uri"} {
		value, ok := members[name]
		if !ok {
			continue
		}
		var items []json.RawMessage
		if err := json.Unmarshal(value, &items); err != nil || len(out)+len(items) > maxDest {
			return nil, fmt.Errorf("%s is not a list of at most %d", name, maxDest)
		}
		for _, item := range items {
			p, err := party(item, name == "tn")
			if err != nil {
				return nil, err
			}
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("neither tn nor uri names anybody")
	}
	return out, nil
}

// party reads a number or a URI. One that was signed with a plus or separators is taken for what it means.
func party(raw json.RawMessage, number bool) (Party, error) {
	s, err := text(raw, maxURI)
	if err != nil {
		return Party{}, err
	}
	if number {
		tn, err := Number(s)
		return Party{TN: tn}, err
	}
	if !strings.Contains(s, ":") {
		return Party{}, fmt.Errorf("%q is no URI", s)
	}
	return ParseParty(s)
}

var errObject = errors.New("not a JSON object")

// object reads a JSON object of at most maxMembers. Unlike encoding/json by itself it tells names apart by case, and
// refuses a name that comes twice: two readers would see two tokens.
func object(raw []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') || !utf8.Valid(raw) {
		return nil, errObject
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		name, err := dec.Token()
		key, ok := name.(string)
		if err != nil || !ok {
			return nil, errObject
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errObject
		}
		if _, twice := members[key]; twice || len(members) == maxMembers {
			return nil, fmt.Errorf("a name twice, or more than %d", maxMembers)
		}
		members[key] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errObject
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errObject
	}
	return members, nil
}

// text reads a JSON string of at most limit bytes.
func text(raw json.RawMessage, limit int) (string, error) {
	var s string
	if len(raw) == 0 || raw[0] != '"' {
		return "", errors.New("not a text")
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", errors.New("not a text")
	}
	if len(s) > limit {
		return "", fmt.Errorf("longer than %d bytes", limit)
	}
	return s, nil
}
