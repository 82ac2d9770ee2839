package flow

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain/api"
)

// consultVariable holds, on the caller's channel, whom the other side of his talk asks to take him. As long as it is there he may
// be on hold.
const consultVariable = "sipio_consult"

// consultNote is what it says. FreeSWITCH knows the rest: whether that one has answered, and who hears him.
type consultNote struct {
	seq      int64  // of the command in which the caller talks
	leg      string // of who asks
	asked    string // channel of whom he asks
	kind, id string
	by       string // user who asks
	music    string // what the caller hears
}

// noted is what one part of a note may be: it stands between bars, and in orders of FreeSWITCH's.
var noted = regexp.MustCompile(`^[^|\s\x00-\x1f\x7f;'"\\${}]{1,256}$`)

func (n consultNote) String() string {
	return strings.Join([]string{strconv.FormatInt(n.seq, 10), n.leg, n.asked, n.kind, n.id, n.by, n.music}, "|")
}

// parseConsult reads what String wrote.
func parseConsult(text string) (n consultNote, ok bool) {
	part := strings.Split(text, "|")
	if len(part) != 7 || !strings.HasPrefix(part[2], askedPrefix) {
		return n, false
	}
	for _, p := range part {
		if !noted.MatchString(p) {
			return n, false
		}
	}
	seq, err := strconv.ParseInt(part[0], 10, 64)
	return consultNote{seq, part[1], part[2], part[3], part[4], part[5], part[6]}, err == nil
}

// data is what the end of the talk tells of him.
func (n consultNote) data() map[string]string {
	return map[string]string{api.DataConsulted: n.asked, api.DataConsultedKind: n.kind, api.DataConsultedID: n.id, api.DataConsultedBy: n.by}
}

// consultOn reads the note of a channel.
func (c *Calls) consultOn(ctx context.Context, channel string) (n consultNote, ok bool, err error) {
	text, err := c.variable(ctx, channel, consultVariable)
	if err != nil || text == "" {
		return n, false, err
	}
	n, ok = parseConsult(text)
	if !ok {
		c.log.Error("a note of who is asked cannot be read", "channel", channel, "note", text)
	}
	return n, ok, nil
}

// consultState is how far it is with whom somebody asks: "" = he is not there.
func (c *Calls) consultState(ctx context.Context, asked string) (string, error) {
	there, err := c.exists(ctx, asked)
	if err != nil || !there {
		return "", err
	}
	how, err := c.variable(ctx, asked, "endpoint_disposition")
	if isRefusal(err) {
		return "", nil
	}
	if err != nil || how != "ANSWER" {
		return api.ConsultRinging, err
	}
	loud, err := c.variable(ctx, asked, heardByCaller)
	switch {
	case isRefusal(err):
		return "", nil
	case loud == "true":
		return api.ConsultJoined, err
	}
	return api.ConsultTalking, err
}
