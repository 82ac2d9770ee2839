package flow

import (
	"context"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

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

// same tells whether the same user asks the same one.
func (n consultNote) same(other consultNote) bool {
	return n.kind == other.kind && n.id == other.id && n.by == other.by
}

// data is what the end of the talk tells of him.
func (n consultNote) data() map[string]string {
	return map[string]string{api.DataConsulted: n.asked, api.DataConsultedKind: n.kind, api.DataConsultedID: n.id, api.DataConsultedBy: n.by}
}

// consultOn reads the note of a channel.
func (c *Calls) consultOn(ctx context.Context, channel string) (n consultNote, ok bool, err error) {
	return c.readConsult(ctx, c.order, channel)
}

// readConsult is consultOn over whatever connection order goes.
func (c *Calls) readConsult(ctx context.Context, order giveOrder, channel string) (n consultNote, ok bool, err error) {
	text, err := readVariable(ctx, order, channel, consultVariable)
	if err != nil || text == "" {
		return n, false, err
	}
	n, ok = parseConsult(text)
	if !ok {
		c.log.Error("a note of who is asked cannot be read", "channel", channel, "note", text)
	}
	return n, ok, nil
}

// goneFor is how long it is told that somebody who was asked has gone by himself.
const goneFor = 15 * time.Second

// askedBefore is somebody who was asked and has gone by himself.
type askedBefore struct {
	note consultNote
	at   time.Time
}

// rememberGone notes that whom somebody asks has gone by himself. What is too old to be told is forgotten.
func (c *Calls) rememberGone(channel string, note consultNote) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(c.gone, func(_ string, b askedBefore) bool { return now.Sub(b.at) >= goneFor })
	c.gone[channel] = askedBefore{note, now}
}

// hasJustGone tells, once, that whom somebody asks in a talk again has gone by himself a moment ago.
func (c *Calls) hasJustGone(channel string, note consultNote) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.gone[channel]
	if !ok || b.note.seq != note.seq || !b.note.same(note) || time.Since(b.at) >= goneFor {
		return false
	}
	delete(c.gone, channel)
	return true
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
