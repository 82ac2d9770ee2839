package auth

import (
	"strings"

	"github.com/sipio/sipio/brain"
)

// What CheckTrunk says beside the reasons of Check.
const (
	WhyUnknownTrunk  = "no trunk of the account is known by this auth_username"
	WhyTrunkInactive = "trunk is disabled"
	WhyTrunkOutbound = "trunk is for calls to outside only"
	WhyNoPassword    = "the password of the trunk cannot be opened"
)

// decoyPassword stands in for the password of a trunk that is unknown or must not pass.
const decoyPassword = "0000000000000000"

// CheckTrunk says which trunk a request comes from that carries a digest: one whose auth_username it is, in a domain
// of its account. password opens the secret that a trunk names; it is asked once for every well-formed digest, also for a
// trunk that is not there, with a name that no secret has: it should take as long then. As with Check, every
// refusal of a well-formed digest costs the same hashing, and only why, which is "" for a trunk that is known, tells them apart.
func CheckTrunk(dir brain.Directory, method string, d Digest, password func(*brain.AccountConfig, string) (string, error)) (acct *brain.AccountConfig, trunk *brain.SIPTrunk, why string) {
	acct, trunk, why, _ = checkTrunk(dir, method, d, password)
	return acct, trunk, why
}

// checkTrunk is CheckTrunk that also says how many bytes were hashed.
func checkTrunk(dir brain.Directory, method string, d Digest, password func(*brain.AccountConfig, string) (string, error)) (*brain.AccountConfig, *brain.SIPTrunk, string, int) {
	alg, ok := parseAlgorithm(d.Algorithm)
	if !ok {
		return nil, nil, WhyAlgorithm, 0
	}
	d.QOP, d.NC = unquote(d.QOP), unquote(d.NC)
	if !wellFormed(method, &d, alg) {
		return nil, nil, WhyMalformed, 0
	}
	acct, trunk, why := findTrunk(dir, method, &d)
	given := decoyPassword
	switch opened, err := password(acct, trunk.AuthSecretRef); {
	case why != "":
	case err != nil || opened == "":
		why = WhyNoPassword
	default:
		given = opened
	}
	secret := d.Username + ":" + d.Realm + ":" + given
	match, work := verify(method, &d, alg, string(alg.sumHex(nil, []byte(secret))))
	if why == "" && !match {
		why = WhyWrongPassword
	}
	if why != "" {
		return nil, nil, why, work + len(secret)
	}
	return acct, trunk, "", work + len(secret)
}

// decoyTrunk is looked into when a trunk is unknown. No secret has its name.
var decoyTrunk = &brain.SIPTrunk{ID: "tr_decoy"}

// findTrunk looks the trunk up: the decoy of the decoy's account, or of the account that has the realm, with the reason,
// when there is none. The last reason found wins.
func findTrunk(dir brain.Directory, method string, d *Digest) (acct *brain.AccountConfig, trunk *brain.SIPTrunk, why string) {
	acct = dir.ByDomain(d.Realm)
	realmKnown := acct != nil
	if !realmKnown {
		acct = decoy
	}
	trunk = acct.TrunkByLogin[d.Username]
	trunkKnown := trunk != nil
	if !trunkKnown {
		trunk = decoyTrunk
	}
	switch {
	case !realmKnown:
		why = WhyUnknownDomain
	case !trunkKnown:
		why = WhyUnknownTrunk
	case !known(acct, method):
		why = WhyAccountInactive
	case trunk.Status != brain.StatusActive:
		why = WhyTrunkInactive
	case !trunk.In():
		why = WhyTrunkOutbound
	}
	return acct, trunk, why
}

// MayRegisterTrunk tells whether an authenticated trunk may register the address-of-record of the To header: its own
// auth_username, in any domain of its account, and only when calls to it go where it has registered.
func MayRegisterTrunk(acct *brain.AccountConfig, trunk *brain.SIPTrunk, toUser, toDomain string) bool {
	if acct == nil || trunk == nil || trunk.InboundAuth != brain.InboundRegister || toUser == "" || len(toDomain) > maxRealm {
		return false
	}
	return toUser == trunk.AuthUsername && acct.Domains[strings.ToLower(toDomain)] != nil
}
