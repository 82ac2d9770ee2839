package brain

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what calls need that the platform answers.
const (
	minNumberDigits = 3
	maxNumberDigits = 15 // ITU-T E.164
	maxVars         = 32
	maxVarsBytes    = 1024 // names and values together: they travel in a SIP header
	maxRules        = 400
	maxGraphNodes   = 500
	maxGraphEdges   = 2000
	maxGraphBytes   = 256 << 10 // texts of one graph together
	maxGraphDepth   = 32
	maxMediaIDs     = 200
	maxQuotaMB      = 10_000
	maxMessageSec   = 3600
	minMessageSec   = 5
	maxRoom         = 1000 // members of a conference
	maxEmailBytes   = 254  // RFC 5321 section 4.5.3.1.3, less the brackets
	maxKeyBytes     = 512  // of an object of the media store
	maxTextRunes    = 2000 // spoken
	minPINDigits    = 4
	maxPINDigits    = 12
)

// answered checks the kinds that stand in answer.go and trunk.go.
func (c *checker) answered(r Resource) {
	switch r := r.(type) {
	case *DID:
		c.did(r)
	case *TimeSchedule:
		c.schedule(r)
	case *CallFlow:
		c.name("name", r.Name)
		oneOf(c, "status", r.Status, StatusDraft, StatusPublished)
		c.graph("graph", &r.Graph)
	case *SIPTrunk:
		c.trunk(r)
	case *OutboundRoute:
		c.outboundRoute(r)
	case *Forward:
		c.forward(r)
	case *Secret:
		c.name("name", r.Name)
		c.sealed("sealed", r.Sealed)
	case *Voicemail:
		c.voicemail(r)
	case *VoicemailMessage:
		c.message(r)
	case *Conference:
		c.name("name", r.Name)
		c.pinHash("pin_hash", r.PINHash)
		c.pinHash("moderator_pin_hash", r.ModeratorPINHash)
		between(c, "max_members", r.MaxMembers, 0, maxRoom)
	case *MediaFile:
		c.mediaFile(r)
	case *MediaPlaylist:
		c.name("name", r.Name)
		if len(r.MediaIDs) > maxMediaIDs {
			c.add("media_ids", "at most %d, not %d", maxMediaIDs, len(r.MediaIDs))
		}
		for i, id := range r.MediaIDs[:min(len(r.MediaIDs), maxMediaIDs)] {
			c.id(fmt.Sprintf("media_ids[%d]", i), id)
		}
	}
}

func (c *checker) did(r *DID) {
	if r.E164 == "" {
		c.add("e164", "is required")
	}
	c.e164("e164", r.E164)
	c.text("label", r.Label)
	c.text("cnam", r.CNAM)
	oneOf(c, "status", r.Status, StatusActive, StatusDisabled, StatusVirtual)
	c.destWith("", r.Dest(), r.DestXform)
	c.vars("dest_xform", r.DestXform)
	between(c, "max_channels", r.MaxChannels, 0, maxCalls)
	c.hours(r.ScheduleID, r.ClosedDest(), r.HolidayDest())
}

// hours checks what a number or an extension does outside its hours.
func (c *checker) hours(scheduleID string, closed, holiday RouteTarget) {
	c.idOrNone("schedule_id", scheduleID)
	c.dest("closed_", closed)
	c.dest("holiday_", holiday)
}

func (c *checker) vars(path string, v Vars) {
	total := 0
	for name, value := range v { // one mistake a field, so the order of the map does not show
		total += len(name) + len(value)
		if !isVarName(name) || !printable(value) {
			c.add(path, "must have names of a-z A-Z 0-9 _ that do not begin with a digit, and values without control characters")
			return
		}
	}
	for _, name := range platformVars {
		if _, given := v[name]; given {
			c.add(path, "%s is the platform's to say", name)
			return
		}
	}
	if len(v) > maxVars || total > maxVarsBytes {
		c.add(path, "at most %d variables of %d bytes together, not %d of %d", maxVars, maxVarsBytes, len(v), total)
	}
}

// platformVars are variables that others rely on: a mailbox opens for caller_user_id, record is a policy's.
var platformVars = []string{"caller_user_id", "direction", "record"}

func isVarName(s string) bool {
	return s != "" && len(s) <= maxNameRunes && !isDigit(s[0]) && only(s, func(b byte) bool { return isAlnum(b) || b == '_' })
}

func (c *checker) schedule(r *TimeSchedule) {
	c.name("name", r.Name)
	if r.Timezone != "" {
		c.timezone("timezone", r.Timezone)
	}
	if len(r.Rules) > maxRules {
		c.add("rules", "at most %d, not %d", maxRules, len(r.Rules))
	}
	for i, rule := range r.Rules[:min(len(r.Rules), maxRules)] {
		c.rule(fmt.Sprintf("rules[%d].", i), rule)
	}
}

func (c *checker) rule(path string, r ScheduleRule) {
	c.clock(path+"start_time", r.StartTime, false)
	c.clock(path+"end_time", r.EndTime, true)
	switch r.Kind {
	case "weekly":
		between(c, path+"dow", r.DOW, 0, 6)
		if r.StartDate != "" {
			c.add(path+"start_date", "is for date and date_range only")
		}
	case "date", "date_range":
		if r.DOW != 0 {
			c.add(path+"dow", "is for weekly only")
		}
		c.date(path+"start_date", r.StartDate)
	default:
		oneOf(c, path+"kind", r.Kind, "weekly", "date", "date_range")
		return
	}
	switch {
	case r.Kind != "date_range" && r.EndDate != "":
		c.add(path+"end_date", "is for date_range only")
	case r.Kind == "date_range":
		if c.date(path+"end_date", r.EndDate) && r.EndDate < r.StartDate {
			c.add(path+"end_date", "is before start_date")
		}
	}
}

// clock checks HH:MM; the end of a day may be written as 24:00.
func (c *checker) clock(path, s string, end bool) {
	if _, err := time.Parse("15:04", s); s != "" && (err != nil || len(s) != len("00:00")) && (!end || s != "24:00") {
		c.add(path, "must be a time of day as HH:MM, not %s", quote(s))
	}
}

func (c *checker) date(path, s string) bool {
	if _, err := time.Parse("2006-01-02", s); err != nil {
		c.add(path, "must be a date as YYYY-MM-DD, not %s", quote(s))
		return false
	}
	return true
}

// graph checks size and form. What the steps mean is checked by those who can read them.
func (c *checker) graph(path string, g *FlowGraph) {
	total := len(g.Start)
	if len(g.Nodes) > maxGraphNodes {
		c.add(path+".nodes", "at most %d, not %d", maxGraphNodes, len(g.Nodes))
	}
	if len(g.Edges) > maxGraphEdges {
		c.add(path+".edges", "at most %d, not %d", maxGraphEdges, len(g.Edges))
	}
	for i, n := range g.Nodes[:min(len(g.Nodes), maxGraphNodes)] {
		total += len(n.ID) + len(n.Type) + len(n.Position) + len(n.Data)
		at := fmt.Sprintf("%s.nodes[%d].", path, i)
		if len(n.Data) == 0 || n.Data[0] != '{' || !json.Valid(n.Data) || !utf8.Valid(n.Data) {
			c.add(at+"data", "must be a JSON object")
		}
		if len(n.Position) > 0 && !json.Valid(n.Position) {
			c.add(at+"position", "must be JSON")
		}
		if depth(n.Data) > maxGraphDepth || depth(n.Position) > maxGraphDepth {
			c.add(at+"data", "nests deeper than %d", maxGraphDepth)
		}
	}
	for _, e := range g.Edges[:min(len(g.Edges), maxGraphEdges)] {
		total += len(e.ID) + len(e.Source) + len(e.Target) + len(e.SourceHandle)
	}
	if total > maxGraphBytes {
		c.add(path, "has %d bytes, more than %d", total, maxGraphBytes)
	}
}

func (c *checker) voicemail(r *Voicemail) {
	c.name("name", r.Name)
	c.idOrNone("greeting_media_id", r.GreetingMediaID)
	between(c, "quota_mb", r.QuotaMB, 1, maxQuotaMB)
	between(c, "max_message_sec", r.MaxMessageSec, minMessageSec, maxMessageSec)
	c.email("notify_email", r.NotifyEmail)
	c.https("notify_url", r.NotifyURL)
	c.pinHash("pin_hash", r.PINHash)
}

// https is a URL of https, or none.
func (c *checker) https(path, s string) {
	c.url(path, s)
	if s != "" && !strings.HasPrefix(s, "https://") {
		c.add(path, "must be an https URL, not %s", quote(s))
	}
}

// email takes what can stand in a header as it is (RFC 5321 section 4.1.2, without quoted parts).
func (c *checker) email(path, s string) {
	user, host, _ := strings.Cut(s, "@")
	ok := user != "" && len(s) <= maxEmailBytes && only(user, isEmailByte) && isHost(strings.ToLower(host))
	if s != "" && !ok {
		c.add(path, "must be one e-mail address, not %s", quote(s))
	}
}

func isEmailByte(b byte) bool {
	return isAlnum(b) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", b) >= 0
}

func (c *checker) message(r *VoicemailMessage) {
	c.id("voicemail_id", r.VoicemailID)
	c.text("caller", r.Caller)
	c.text("caller_name", r.CallerName)
	c.notNegative("duration_ms", r.DurationMS)
	c.notNegative("created_ts", r.CreatedTS)
	c.notNegative("bytes", r.Bytes)
	c.objectKey("object_key", r.ObjectKey, true)
	c.hex("sha256", r.SHA256, 64)
	if r.SHA256 == "" {
		c.add("sha256", "is required")
	}
}

func (c *checker) mediaFile(r *MediaFile) {
	c.name("name", r.Name)
	oneOf(c, "kind", r.Kind, "prompt", "moh", "greeting", "announcement", "recording")
	if utf8.RuneCountInString(r.Text) > maxTextRunes || !printable(strings.NewReplacer("\n", "", "\t", "").Replace(r.Text)) {
		c.add("text", "must be at most %d characters of UTF-8 without control characters", maxTextRunes)
	}
	if r.Language != "" {
		c.language("language", r.Language)
	}
	c.objectKey("object_key", r.ObjectKey, false)
	oneOf(c, "format", r.Format, "", "wav")
	c.notNegative("duration_ms", r.DurationMS)
	c.notNegative("bytes", r.Bytes)
	c.hex("sha256", r.SHA256, 64)
}

func (c *checker) notNegative(path string, n int) {
	if n < 0 {
		c.add(path, "must not be negative")
	}
}

// objectKey is the grammar of keys in the media store.
func (c *checker) objectKey(path, s string, required bool) {
	switch {
	case s == "" && !required:
	case s == "" || len(s) > maxKeyBytes || !only(s, isKeyByte) || strings.Contains(s, "..") || s[0] == '/' || strings.Contains(s, "//"):
		c.add(path, "must be a key of the media store, not %s", quote(s))
	}
}

func isKeyByte(b byte) bool { return isAlnum(b) || strings.IndexByte("_.-/", b) >= 0 }

// The dearest argon2id hash (RFC 9106) of a PIN or a password that is taken: what the platform's own ones cost. Hashes are computed a few at a time for
// all accounts, so that one account's dearer ones would keep everybody's callers and logins waiting.
const (
	MaxHashKiB    = 19 * 1024 // memory
	MaxHashPasses = 2
	MaxHashLanes  = 1
)

// pinHash looks at the form and the cost only: an argon2id hash as PHC strings write it.
func (c *checker) pinHash(path, s string) {
	if s != "" && (len(s) > 256 || !strings.HasPrefix(s, "$argon2id$") || strings.Count(s, "$") != 5 || !only(s, isHashByte) || !affordable(strings.Split(s, "$")[3])) {
		c.add(path, "must be an argon2id hash, $argon2id$v=19$m=…,t=…,p=…$salt$hash, with at most m=%d,t=%d,p=%d", MaxHashKiB, MaxHashPasses, MaxHashLanes)
	}
}

// affordable reads the cost of a hash, m=KIB,t=PASSES,p=LANES, and holds it to the bounds.
func affordable(cost string) bool {
	parts := strings.Split(cost, ",")
	if len(parts) != 3 {
		return false
	}
	for i, bound := range []struct {
		name    string
		highest int
	}{{"m=", MaxHashKiB}, {"t=", MaxHashPasses}, {"p=", MaxHashLanes}} {
		digits, found := strings.CutPrefix(parts[i], bound.name)
		n, err := strconv.Atoi(digits)
		if !found || err != nil || n < 1 || n > bound.highest {
			return false
		}
	}
	return true
}

func isHashByte(b byte) bool { return isAlnum(b) || strings.IndexByte("$=,+/", b) >= 0 }

// NoPIN, in the place of a PIN, takes the PIN away that is there.
const NoPIN = "none"

// CheckPIN says what is wrong with a PIN as somebody gives it, "" when nothing is. NoPIN and no PIN at all pass.
func CheckPIN(pin string) string {
	if pin == "" || pin == NoPIN || len(pin) >= minPINDigits && len(pin) <= maxPINDigits && only(pin, isDigit) {
		return ""
	}
	return fmt.Sprintf("must be %d to %d digits, or %s", minPINDigits, maxPINDigits, NoPIN)
}
