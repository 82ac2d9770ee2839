// Package stir signs and verifies who calls: the Identity header of SIP (RFC 8224) with its PASSporT (RFC 8225), the
// attestation of SHAKEN (RFC 8588) and the numbers that a certificate stands for (RFC 8226). Time, keys and certificates
// come in with the question; controller/stir fetches the certificates of others.
package stir

import (
	"fmt"
	"time"
)

// Verstat is the verdict on a calling number, in the words of 3GPP TS 24.229 section 7.2A.20.
type Verstat string

// The three verdicts. No-TN-Validation is that of a call whose caller could not be judged at all.
const (
	Passed Verstat = "TN-Validation-Passed"
	Failed Verstat = "TN-Validation-Failed"
	None   Verstat = "No-TN-Validation"
)

// Reason says for programs why a caller is not verified. The texts beside it are free, reasons never change meaning.
type Reason string

// What can be wrong with an Identity header, a certificate, or both together.
const (
	NoIdentity         Reason = "no_identity"          // the request has no Identity header
	Malformed          Reason = "identity_malformed"   // header or token break RFC 8224 or 8225, or are longer than the bounds here
	CompactForm        Reason = "compact_form"         // the token leaves out what the header and claims were (RFC 8225 section 7)
	AlgUnsupported     Reason = "alg_unsupported"      // signed otherwise than with ES256; "none" too
	PPTUnsupported     Reason = "ppt_unsupported"      // a type of PASSporT that is neither the base one nor shaken
	InfoMismatch       Reason = "info_mismatch"        // info= of the header is not the x5u of the token
	X5URefused         Reason = "x5u_refused"          // the certificate is at a place that may not be asked
	X5UFailed          Reason = "x5u_failed"           // the certificate could not be got from where it is said to be
	Stale              Reason = "iat_stale"            // signed longer ago than the freshness allows
	Future             Reason = "iat_future"           // signed later than now by more than the freshness
	OrigMismatch       Reason = "orig_mismatch"        // signed for another caller
	DestMismatch       Reason = "dest_mismatch"        // signed for another called party
	CertUntrusted      Reason = "cert_untrusted"       // no chain to a root that is trusted
	CertExpired        Reason = "cert_expired"         // not valid yet, or not any more
	CertUnsuitable     Reason = "cert_unsuitable"      // its key is not ECDSA on P-256, or not there to sign
	TNAuthListMissing  Reason = "tnauthlist_missing"   // the certificate does not say for which numbers it stands
	TNAuthListBroken   Reason = "tnauthlist_malformed" // it says so in a way that cannot be read
	TNAuthListMismatch Reason = "tnauthlist_mismatch"  // it stands for other numbers
	SignatureWrong     Reason = "signature_wrong"      // the key of the certificate has not signed this
	Replayed           Reason = "replayed"             // another call has had this token already
)

// verdict is what a reason means for the called party, and in SIP for a caller whom policy refuses (RFC 8224 section 6.2.2).
type verdict struct {
	verstat Verstat
	code    int
}

var verdicts = map[Reason]verdict{
	NoIdentity: {None, 428}, Malformed: {Failed, 438}, CompactForm: {None, 438}, AlgUnsupported: {Failed, 437}, PPTUnsupported: {None, 438},
	InfoMismatch: {Failed, 436}, X5URefused: {None, 436}, X5UFailed: {None, 436}, Stale: {Failed, 403}, Future: {Failed, 403},
	OrigMismatch: {Failed, 438}, DestMismatch: {Failed, 438}, CertUntrusted: {Failed, 437}, CertExpired: {Failed, 437}, CertUnsuitable: {Failed, 437},
	TNAuthListMissing: {Failed, 437}, TNAuthListBroken: {Failed, 437}, TNAuthListMismatch: {Failed, 437}, SignatureWrong: {Failed, 438}, Replayed: {Failed, 438},
}

// phrases are the reason phrases that RFC 8224 sets for its codes.
var phrases = map[int]string{403: "Stale Date", 428: "Use Identity Header", 436: "Bad Identity Info", 437: "Unsupported Credential", 438: "Invalid Identity Header"}

// Refusal is a caller who is not verified: a value, and an error where one is wanted.
type Refusal struct {
	Reason Reason
	Text   string // for operators; "" when the reason says it all
}

func (r *Refusal) Error() string {
	if r.Text == "" {
		return string(r.Reason)
	}
	return string(r.Reason) + ": " + r.Text
}

// Result is the verdict with the answer that it has in SIP.
func (r *Refusal) Result() Result {
	v := verdicts[r.Reason]
	return Result{Verstat: v.verstat, Reason: r.Reason, Text: r.Text, Code: v.code, Phrase: phrases[v.code]}
}

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// Result is what became of a verification.
type Result struct {
	Verstat Verstat
	Reason  Reason // "" when passed
	Text    string // for operators
	Code    int    // of the SIP response, should policy refuse the call; 0 when passed
	Phrase  string // its reason phrase

	// Of a caller who passed; empty otherwise, so that nobody believes what nobody has proved.
	Attest Attestation
	OrigID string
	SPC    []string // service providers that the certificate names; their numbers are not known here
}

// Call is what the request itself says, for comparing with what was signed.
type Call struct {
	From string    // number, or tel or sip URI, of From or P-Asserted-Identity
	To   string    // number or URI that was called
	At   time.Time // when the request came
	// ID names the call, from its Call-ID and From tag: retransmissions and forks of one call share a token and are no
	// replay. "" = none is alike.
	ID string
}

// Attestation is how far the signing provider vouches for the number (RFC 8588 section 4): "A" the customer is known and
// has the right to the number, "B" the customer is known, "C" the call came in from elsewhere. "" = a base PASSporT.
type Attestation string

// The three levels.
const (
	Full    Attestation = "A"
	Partial Attestation = "B"
	Gateway Attestation = "C"
)

// Attest chooses the level of a call that is to be signed: customer tells whether the caller has authenticated as a
// customer, owns whether a number in canonical form is his. owns is not asked for a number that is none.
func Attest(number string, customer bool, owns func(number string) bool) Attestation {
	if !customer {
		return Gateway
	}
	if n, err := Number(number); err == nil && owns != nil && owns(n) {
		return Full
	}
	return Partial
}
