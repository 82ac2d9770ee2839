package stir

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxEntries bounds a TNAuthList.
const maxEntries = 4096

// oidTNAuthList is id-pe-TNAuthList (RFC 8226 section 9).
var oidTNAuthList = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 26}

// TNAuthList is what a certificate stands for.
type TNAuthList struct {
	SPC     []string // codes of service providers, whose numbers the certificate does not list
	Ranges  []TNRange
	Numbers []string
}

// TNRange is Count numbers from Start on.
type TNRange struct {
	Start string // digits
	Count int64  // at least 2
}

// Lists tells whether numbers are listed at all, or only providers.
func (l *TNAuthList) Lists() bool { return len(l.Ranges)+len(l.Numbers) > 0 }

// Covers tells whether a canonical number is listed.
func (l *TNAuthList) Covers(number string) bool {
	for _, one := range l.Numbers {
		if one == number {
			return true
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return false
	}
	for _, r := range l.Ranges {
		start, err := strconv.ParseInt(r.Start, 10, 64)
		if err == nil && len(r.Start) == len(number) && n >= start && n-start < r.Count {
			return true
		}
	}
	return false
}

// Tags of the choices of a TNEntry, all of them explicit.
const (
	tagSPC = iota
	tagRange
	tagOne
)

// ParseTNAuthList reads the value of the extension (RFC 8226 section 9): DER, at most maxEntries entries.
func ParseTNAuthList(der []byte) (*TNAuthList, error) {
	var entries []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &entries); err != nil || len(rest) > 0 {
		return nil, errors.New("not a sequence of entries in DER")
	}
	if len(entries) == 0 || len(entries) > maxEntries {
		return nil, fmt.Errorf("%d entries, not 1 to %d", len(entries), maxEntries)
	}
	l := &TNAuthList{}
	for i, e := range entries {
		if e.Class != asn1.ClassContextSpecific || !e.IsCompound {
			return nil, fmt.Errorf("entry %d has no tag of a TNEntry", i)
		}
		if err := l.add(e); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return l, nil
}

func (l *TNAuthList) add(e asn1.RawValue) error {
	switch e.Tag {
	case tagSPC:
		code, err := ia5(e.Bytes)
		if err != nil || !visible(code) || len(code) > maxOrigID {
			return errors.New("not a code of a service provider")
		}
		l.SPC = append(l.SPC, code)
	case tagRange:
		var r struct {
			Start asn1.RawValue
			Count int64
		}
		rest, err := asn1.Unmarshal(e.Bytes, &r)
		start, err2 := ia5(r.Start.FullBytes)
		if errors.Join(err, err2) != nil || len(rest) > 0 || !e164(start) || strings.ContainsAny(start, "#*") || r.Count < 2 {
			return errors.New("not a range of numbers")
		}
		l.Ranges = append(l.Ranges, TNRange{Start: start, Count: r.Count})
	case tagOne:
		number, err := ia5(e.Bytes)
		if err != nil || !e164(number) {
			return errors.New("not a number")
		}
		l.Numbers = append(l.Numbers, number)
	default:
		return fmt.Errorf("unknown tag %d", e.Tag)
	}
	return nil
}

// ia5 reads an IA5String and nothing else; encoding/asn1 would take any kind of string for it.
func ia5(der []byte) (string, error) {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) > 0 || v.Class != asn1.ClassUniversal || v.Tag != asn1.TagIA5String || v.IsCompound {
		return "", errors.New("not an IA5String")
	}
	return string(v.Bytes), nil
}

// e164 is the E164Number of RFC 8226: no plus, no separators.
func e164(s string) bool {
	n, err := Number(s)
	return err == nil && n == s
}

// tnAuthListOf reads the extension of a certificate; nil, nil when it has none.
func tnAuthListOf(cert *x509.Certificate) (*TNAuthList, error) {
	for _, ext := range cert.Extensions {
		if ext.Id.Equal(oidTNAuthList) {
			return ParseTNAuthList(ext.Value)
		}
	}
	return nil, nil
}
