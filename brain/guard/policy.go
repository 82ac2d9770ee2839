package guard

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sipio/sipio/brain/api"
)

// What a node bears of one address within ScoreWindowSec before it says so. Above what a phone does that has the wrong password
// (it registers again every few seconds at worst), far below what it takes to guess one.
const (
	ScoreWindowSec = 60
	AuthFailMax    = 10
	ChallengeMax   = 30
	UnknownMax     = 20
	SourceMax      = 10
	AORFailMax     = 10
	SprayMax       = 20
)

// AuthFailHourMax is how many wrong passwords of one address a node bears in an hour: more than those of a phone that tries every half minute.
const AuthFailHourMax = 150

// Connections to a node's SIP ports. An office behind one address has room for its phones, and sixteen such addresses would fill Kamailio's
// table (tcp_max_connections, 8192): all from which no device has authenticated yet, where no more than a handshake and one request are
// to be expected, have a quarter of it together.
const (
	ConnMax         = 500
	StrangerConnMax = 2048
)

// NewPolicy is what nodes are told: whom they never ban, and by what they count. The version is given later.
func NewPolicy(nets []Net, signatures []string) *api.GuardPolicy {
	seconds := func(tier string) int { return int(FirstTerm(tier).Seconds()) }
	p := &api.GuardPolicy{Protected: []string{}, Signatures: signatures,
		ScoreWindowSec: ScoreWindowSec, AuthFailMax: AuthFailMax, ChallengeMax: ChallengeMax, UnknownMax: UnknownMax, SourceMax: SourceMax, AORFailMax: AORFailMax,
		AuthFailHourMax: AuthFailHourMax, SprayMax: SprayMax, ConnMax: ConnMax, StrangerConnMax: StrangerConnMax,
		UATermSec: seconds(api.TierUA), PikeTermSec: seconds(api.TierPike), ScoreTermSec: seconds(api.TierScore), NftTermSec: seconds(api.TierNft)}
	for _, n := range nets {
		p.Protected = append(p.Protected, n.Prefix.String())
	}
	slices.Sort(p.Protected)
	p.Protected = slices.Compact(p.Protected)
	return p
}

// Digest stands for the content of a policy, without its version.
func Digest(p *api.GuardPolicy) string {
	bare := *p
	bare.Version = 0
	text, err := json.Marshal(&bare)
	if err != nil {
		panic(fmt.Sprintf("encode a policy: %v", err)) // its fields are text and numbers
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
