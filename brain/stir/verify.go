package stir

import (
	"crypto/x509"
	"slices"
	"time"
)

// DefaultFreshness is how far the time of signing may be from now, before and after (RFC 8224 section 4.1).
const DefaultFreshness = 60 * time.Second

// Verifier judges Identity headers. It is not safe for several goroutines when it has a Replay.
type Verifier struct {
	Roots     *x509.CertPool // certification authorities that are trusted; nil = none
	Freshness time.Duration  // 0 = DefaultFreshness
	Replay    *Replay        // nil = a token may come again as long as it is fresh
}

// Verify judges a header against the call that it came with; chain is what is found at its X5U, the signer's certificate
// first. What costs little is looked at first. Only a token that passes is remembered against replay, so that nobody can
// fill the memory with rubbish.
func (v *Verifier) Verify(id *Identity, chain []*x509.Certificate, call Call) Result {
	if refusal := id.matches(call); refusal != nil {
		return refusal.Result()
	}
	if refusal := v.fresh(id.Claims.IAT, call.At); refusal != nil {
		return refusal.Result()
	}
	signer, refusal := trust(chain, v.Roots, call.At, id.Claims.Orig)
	if refusal != nil {
		return refusal.Result()
	}
	if !id.signedBy(signer.key) {
		return (&Refusal{Reason: SignatureWrong}).Result()
	}
	if v.Replay != nil && v.Replay.Seen(id.mark(signer.key), call.ID, call.At, 2*v.freshness()) {
		return refuse(Replayed, "another call came with this token").Result()
	}
	return Result{Verstat: Passed, Attest: id.Claims.Attest, OrigID: id.Claims.OrigID, SPC: signer.spc}
}

func (v *Verifier) freshness() time.Duration {
	if v.Freshness <= 0 {
		return DefaultFreshness
	}
	return v.Freshness
}

// matches compares who was signed for with who calls whom.
func (id *Identity) matches(call Call) *Refusal {
	if from, err := ParseParty(call.From); err != nil || from != id.Claims.Orig {
		return refuse(OrigMismatch, "the caller is %q, the token is for %s", call.From, id.Claims.Orig)
	}
	if to, err := ParseParty(call.To); err != nil || !slices.Contains(id.Claims.Dest, to) {
		return refuse(DestMismatch, "called is %q, the token is for %s", call.To, id.Claims.Dest)
	}
	return nil
}

func (v *Verifier) fresh(iat int64, at time.Time) *Refusal {
	limit := int64(v.freshness() / time.Second)
	switch age := at.Unix() - iat; {
	case age > limit:
		return refuse(Stale, "signed %d s before the call, more than %d", age, limit)
	case -age > limit:
		return refuse(Future, "signed %d s after the call, more than %d", -age, limit)
	}
	return nil
}
