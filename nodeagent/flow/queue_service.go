package flow

import (
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain/api"
)

// service is what the caller's channel tells of a talk: the command it belongs to, whose it is and since when. Whoever
// has the call afterwards reads it there.
type service struct {
	seq       int64
	claim     api.Claim
	leg       string // the agent's channel
	sinceMS   int64
	confirmed bool
}

// serviceVariable holds a service on the caller's channel.
const serviceVariable = "sipio_service"

func (s service) String() string {
	text := strconv.FormatInt(s.seq, 10) + "|" + s.claim.ReservationID + "|" + strconv.FormatInt(s.claim.Fence, 10) + "|" + s.leg + "|" + strconv.FormatInt(s.sinceMS, 10)
	if s.confirmed {
		text += "|confirmed"
	}
	return text
}

// parseService reads what String wrote, of a call of an account.
func parseService(account, text string) (s service, ok bool) {
	part := strings.Split(text, "|")
	if len(part) < 5 || !reservationID.MatchString(part[1]) || !strings.HasPrefix(part[3], legPrefix) {
		return s, false
	}
	var failed [3]error
	s.seq, failed[0] = strconv.ParseInt(part[0], 10, 64)
	s.claim = api.Claim{AccountID: account, ReservationID: part[1]}
	s.claim.Fence, failed[1] = strconv.ParseInt(part[2], 10, 64)
	s.leg = part[3]
	s.sinceMS, failed[2] = strconv.ParseInt(part[4], 10, 64)
	s.confirmed = len(part) > 5
	return s, failed == [3]error{}
}
