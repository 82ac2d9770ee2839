// Package auth judges the digest of a SIP request (RFC 8760, RFC 7616, RFC 2069) against the HA1 digests
// of the devices. The nonce is the edge's business: Kamailio made it, and has judged its age and reuse
// before it asks.
package auth

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"github.com/sipio/sipio/brain"
)

// Digest is the content of an Authorization or Proxy-Authorization header, without the quotes.
type Digest struct {
	Username  string
	Realm     string
	Nonce     string
	URI       string
	Response  string
	Algorithm string // "" means MD5; also SHA-256; without case
	CNonce    string
	NC        string
	QOP       string // "" is the form of RFC 2069, otherwise "auth"; NC and QOP may still be quoted
}

// Result is the verdict. The pointers are set only when OK, so a refused request has no identity to use
// by mistake. Why is for operators and must never reach the phone.
type Result struct {
	OK      bool
	Account *brain.AccountConfig
	User    *brain.SIPUser
	Device  *brain.SIPDevice
	Why     string

	work int // bytes hashed: tests hold every refusal of a well-formed digest to the same amount
}

// What Result.Why can say. They are constants because a text made up for one kind of refusal would
// take time that the others do not.
const (
	WhyMalformed       = "digest is incomplete, too long, or has a qop or nc out of range"
	WhyAlgorithm       = "digest algorithm is neither MD5 nor SHA-256"
	WhyUnknownDomain   = "realm is no domain of any account"
	WhyUnknownDevice   = "no device has this auth_username in this realm"
	WhyAccountInactive = "account is not active"
	WhyUserInactive    = "user of the device is disabled or missing"
	WhyDeviceInactive  = "device is disabled"
	WhyNoHA1           = "device has no HA1 digest of this algorithm"
	WhyWrongPassword   = "wrong password"
)

// Longest accepted fields in bytes. Real ones are a fraction of it; the bounds let the whole computation
// live on the stack. maxURI leaves room for a Request-URI with parameters.
const (
	maxMethod   = 32
	maxUsername = 128
	maxRealm    = 255 // a DNS name
	maxNonce    = 256
	maxURI      = 1024
	maxCNonce   = 256
	maxQOP      = 8

	maxHex    = 2 * sha256.Size
	maxHashed = max(maxMethod+1+maxURI, maxHex+1+maxNonce+1+8+1+maxCNonce+1+maxQOP+1+maxHex)
)

type algorithm int

const (
	algMD5 algorithm = iota
	algSHA256
)

// hexLen is the length of a digest of the algorithm in hexadecimal.
func (a algorithm) hexLen() int {
	if a == algSHA256 {
		return 2 * sha256.Size
	}
	return 2 * md5.Size
}

// ha1 returns the device's stored HA1 of the algorithm, "" when it has none of the right length.
func (a algorithm) ha1(dev *brain.SIPDevice) string {
	s := dev.HA1MD5
	if a == algSHA256 {
		s = dev.HA1SHA256
	}
	if len(s) != a.hexLen() {
		return ""
	}
	return s
}

// sumHex appends the hexadecimal digest of data to dst.
func (a algorithm) sumHex(dst, data []byte) []byte {
	if a == algSHA256 {
		sum := sha256.Sum256(data)
		return hex.AppendEncode(dst, sum[:])
	}
	sum := md5.Sum(data)
	return hex.AppendEncode(dst, sum[:])
}

// decoyHA1 stands in for the HA1 of a device that is unknown or must not pass, so that a refusal costs
// the same hashing as a wrong password. Whoever computes with it is refused all the same.
var decoyHA1 = strings.Repeat("0", maxHex)

// decoy is the account looked into when the realm is unknown.
var decoy = brain.NewAccountConfig(0, brain.AccountRows{
	Users:   []brain.SIPUser{{ID: "us_decoy"}},
	Devices: []brain.SIPDevice{{ID: "dev_decoy", UserID: "us_decoy", AuthUsername: "decoy", Realm: "decoy.invalid"}},
})

// Check says which device a request comes from. Unknown user or realm, anything disabled, a missing HA1
// and a wrong password are refused alike: same hashing, same result but for Why. Only a digest that is
// malformed in itself is refused without hashing; that tells nothing of the accounts.
func Check(dir brain.Directory, method string, d Digest) Result {
	alg, ok := parseAlgorithm(d.Algorithm)
	if !ok {
		return Result{Why: WhyAlgorithm}
	}
	d.QOP, d.NC = unquote(d.QOP), unquote(d.NC)
	if !wellFormed(method, &d, alg) {
		return Result{Why: WhyMalformed}
	}
	acct, user, dev, ha1, why := find(dir, method, &d, alg)
	match, work := verify(method, &d, alg, ha1)
	if why == "" && !match {
		why = WhyWrongPassword
	}
	if why != "" {
		return Result{Why: why, work: work}
	}
	return Result{OK: true, Account: acct, User: user, Device: dev, work: work}
}

// find looks the device up and returns the HA1 to verify against: the decoy when why tells that the
// request cannot pass. The last reason found wins, so the most telling one is tested last.
func find(dir brain.Directory, method string, d *Digest, alg algorithm) (acct *brain.AccountConfig, user *brain.SIPUser, dev *brain.SIPDevice, ha1, why string) {
	acct = dir.ByDomain(d.Realm)
	realmKnown := acct != nil
	if !realmKnown {
		acct = decoy
	}
	dev = acct.DeviceByAuth[brain.AuthKey(d.Username, d.Realm)]
	deviceKnown := dev != nil && realmKnown
	if dev == nil {
		dev = decoy.Devices["dev_decoy"]
	}
	user = acct.Users[dev.UserID]
	ha1 = alg.ha1(dev)
	switch {
	case !realmKnown:
		why = WhyUnknownDomain
	case !deviceKnown:
		why = WhyUnknownDevice
	case !known(acct, method):
		why = WhyAccountInactive
	case user == nil || user.Status != brain.StatusActive:
		why = WhyUserInactive
	case dev.Status != brain.StatusActive:
		why = WhyDeviceInactive
	case ha1 == "":
		why = WhyNoHA1
	}
	if why != "" {
		ha1 = decoyHA1[:alg.hexLen()]
	}
	return acct, user, dev, ha1, why
}

// known tells whether an account's callers are known at all: those of a suspended one only when they call, because a call may be
// one for help. Nothing else of theirs is routed.
func known(acct *brain.AccountConfig, method string) bool {
	return acct.Account.Status == brain.StatusActive || acct.Account.Status == brain.StatusSuspended && method == "INVITE"
}

// verify computes the response that belongs to the HA1 (RFC 7616 section 3.4.1, RFC 2069 section 2.1.2)
// and compares it with the given one in constant time. Both are taken without case. work is the number
// of bytes hashed.
func verify(method string, d *Digest, alg algorithm, ha1 string) (match bool, work int) {
	var buf [maxHashed]byte
	var ha2Hex, wantHex, got, key [maxHex]byte

	data := append(append(append(buf[:0], method...), ':'), d.URI...)
	work = len(data)
	ha2 := alg.sumHex(ha2Hex[:0], data)

	data = append(append(append(buf[:0], lower(key[:0], ha1)...), ':'), d.Nonce...)
	if d.QOP != "" {
		data = append(append(data, ':'), d.NC...)
		data = append(append(data, ':'), d.CNonce...)
		data = append(append(data, ':'), d.QOP...)
	}
	data = append(append(data, ':'), ha2...)
	work += len(data)
	want := alg.sumHex(wantHex[:0], data)

	return subtle.ConstantTimeCompare(want, lower(got[:0], d.Response)) == 1, work
}

// MayRegister tells whether an authenticated device may register the address-of-record of the To header:
// its own auth_username or its user's username, in any domain of its account.
func MayRegister(acct *brain.AccountConfig, dev *brain.SIPDevice, user *brain.SIPUser, toUser, toDomain string) bool {
	if acct == nil || dev == nil || user == nil || toUser == "" || len(toDomain) > maxRealm {
		return false
	}
	if toUser != dev.AuthUsername && toUser != user.Username {
		return false
	}
	return acct.Domains[strings.ToLower(toDomain)] != nil
}
