package door

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"github.com/sipio/sipio/brain/api"
)

// The rules of brain/auth, which the node agent may not import: what a brain accepts is accepted here, and
// nothing else. TestSurvival_AnswersAsTheBrainDid holds the two together.

// decoyHA1 stands in for the HA1 of a device that is unknown, so that the refusal costs as much as that of
// a wrong password.
var decoyHA1 = strings.Repeat("0", 2*sha256.Size)

// verified tells whether the digest of a request belongs to the caller, nil being one that is not known.
func verified(method string, d *api.Digest, caller *api.SurvivalCaller) bool {
	sum, size := sumMD5, 2*md5.Size
	if strings.EqualFold(d.Algorithm, "SHA-256") {
		sum, size = sumSHA256, 2*sha256.Size
	} else if d.Algorithm != "" && !strings.EqualFold(d.Algorithm, "MD5") {
		return false
	}
	qop, nc := unquoted(d.QOP), unquoted(d.NC)
	if !wellFormed(method, d, qop, nc, size) {
		return false
	}
	ha1, known := decoyHA1[:size], false
	if caller != nil {
		stored := caller.HA1MD5
		if size == 2*sha256.Size {
			stored = caller.HA1SHA256
		}
		if len(stored) == size {
			ha1, known = strings.ToLower(stored), true
		}
	}
	middle := d.Nonce
	if qop != "" {
		middle += ":" + nc + ":" + d.CNonce + ":" + qop
	}
	want := sum(ha1 + ":" + middle + ":" + sum(method+":"+d.URI))
	match := subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(d.Response))) == 1
	return match && known
}

// wellFormed bounds a digest; size is the length of its response.
func wellFormed(method string, d *api.Digest, qop, nc string, size int) bool {
	for _, f := range [...]struct {
		text string
		most int
	}{{method, 32}, {d.Username, 128}, {d.Realm, 255}, {d.Nonce, 256}, {d.URI, 1024}} {
		if f.text == "" || len(f.text) > f.most {
			return false
		}
	}
	if len(d.Response) != size {
		return false
	}
	if qop == "" {
		return true
	}
	_, err := hex.DecodeString(nc)
	return strings.EqualFold(qop, "auth") && d.CNonce != "" && len(d.CNonce) <= 256 && len(nc) == 8 && err == nil
}

// unquoted takes off one pair of quotes: Kamailio's selects hand nc and qop over as they stand.
func unquoted(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

func sumMD5(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func sumSHA256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
