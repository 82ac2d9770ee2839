package brain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of fields. They are what SIP phones and the edge bear, not what storage could hold.
const (
	maxNameRunes      = 64
	maxUsernameBytes  = 64
	maxDomainBytes    = 253 // RFC 1035 section 2.3.4
	maxLabelBytes     = 63
	maxDigits         = 32
	maxIDBytes        = 64
	maxPasswordBytes  = 128
	maxRingTimeoutSec = 300
	maxOrder          = 1000
	maxWeight         = 1000
	maxMembers        = 50
	maxCalls          = 100_000   // simultaneous calls of anything: what one account's ledger holds
	maxPeriodSec      = 2_678_400 // 31 days
	maxWindowCount    = 10_000    // admissions that one call_limit remembers
	maxSIPAddresses   = 16
	maxURLBytes       = 256
	maxRetentionDays  = 36_500
	maxCountries      = 300
	minHangupCode     = 400
	maxHangupCode     = 699
)

// destKinds lists what a route target may point at.
var destKinds = []DestKind{DestFlow, DestUser, DestExtension, DestRingGroup, DestQueue, DestVoicemail, DestConference, DestForward, DestTrunk, DestHangup}

// Validate checks the fields of one resource by themselves: required, enums, ranges, lengths,
// characters. References are ValidateAccount's. Call it after ApplyDefaults and SealPassword; ids
// and owners are the store's matter and not looked at. The result is in the order of the fields.
func Validate(r Resource) []FieldError {
	c := &checker{}
	switch r := r.(type) {
	case *Account:
		c.account(r)
	case *SIPDomain:
		c.domain("domain", r.Domain)
	case *SIPUser:
		c.sipUser(r)
	case *SIPDevice:
		c.sipDevice(r)
	case *Extension:
		c.extension(r)
	case *RingGroup:
		c.ringGroup(r)
	case *Node:
		c.node(r)
	case *APIKey:
		c.apiKey(r)
	case *RatePlan:
		c.ratePlan(r)
	case *ConsoleUser:
		c.consoleUser(r)
	case *CallLimit:
		c.callLimit(r)
	case *Queue:
		c.queue(r)
	case *AgentQueueAssignment:
		c.assignment(r)
	case *InQueueOption:
		c.option(r)
	default:
		c.answered(r)
	}
	return c.errs
}

// checker gathers mistakes, so that all are told at once.
type checker struct{ errs []FieldError }

func (c *checker) add(path, format string, args ...any) {
	c.errs = append(c.errs, FieldError{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) account(r *Account) {
	c.name("name", r.Name)
	if r.ParentID != nil {
		c.id("parent_id", *r.ParentID)
		if r.ID != "" && *r.ParentID == r.ID {
			c.add("parent_id", "an account is not its own parent")
		}
	}
	oneOf(c, "status", r.Status, StatusActive, StatusSuspended, StatusClosed)
	c.timezone("timezone", r.Timezone)
	c.language("language", r.Language)
	c.country("country", r.Country)
	c.countries("outbound_countries", r.OutboundCountries)
	between(c, "max_in", r.MaxIn, 0, maxCalls)
	between(c, "max_out", r.MaxOut, 0, maxCalls)
	between(c, "max_internal", r.MaxInternal, 0, maxCalls)
	between(c, "max_dialer", r.MaxDialer, 0, maxCalls)
	oneOf(c, "admission_policy", r.AdmissionPolicy, AdmissionLocalShare, AdmissionClosed)
	oneOf(c, "voice_gender", r.VoiceGender, "male", "female")
	c.e164("default_cid_number", r.DefaultCIDNumber)
	c.idOrNone("emergency_route_id", r.EmergencyRouteID)
	c.stir(r)
	c.money(r)
	c.dest("did_default_", r.DIDDefault())
	between(c, "rec_retention_days", r.RecRetentionDays, 0, maxRetentionDays)
}

func (c *checker) sipUser(r *SIPUser) {
	c.username("username", r.Username)
	c.text("display_name", r.DisplayName)
	between(c, "ring_timeout_sec", r.RingTimeoutSec, 1, maxRingTimeoutSec)
	oneOf(c, "ring_strategy", r.RingStrategy, RingSimultaneous, RingSequential, RingSpecific)
	oneOf(c, "status", r.Status, StatusActive, StatusDisabled)
	between(c, "max_simultaneous", r.MaxSimultaneous, 0, maxCalls)
	c.dest("fwd_always_", r.FwdAlways())
	c.dest("fwd_busy_", r.FwdBusy())
	c.dest("fwd_noanswer_", r.FwdNoanswer())
	c.e164("out_cid_number", r.OutCIDNumber)
	c.text("out_cid_name", r.OutCIDName)
	c.idOrNone("voicemail_id", r.VoicemailID)
	oneOf(c, "record_policy", r.RecordPolicy, RecordNone, RecordInbound, RecordOutbound, RecordAll)
	c.skills("skills", r.Skills)
}

func (c *checker) sipDevice(r *SIPDevice) {
	c.id("user_id", r.UserID)
	c.username("auth_username", r.AuthUsername)
	c.domain("realm", r.Realm)
	if len(r.Password) > maxPasswordBytes || !printable(r.Password) {
		c.add("password", "must be at most %d bytes of UTF-8 without control characters", maxPasswordBytes)
	}
	c.hex("ha1_md5", r.HA1MD5, 32)
	c.hex("ha1_sha256", r.HA1SHA256, 64)
	oneOf(c, "transport", r.Transport, "udp", "tcp", "tls", "wss")
	between(c, "ring_order", r.RingOrder, 0, maxOrder)
	oneOf(c, "status", r.Status, StatusActive, StatusDisabled)
}

func (c *checker) extension(r *Extension) {
	if r.Digits == "" || len(r.Digits) > maxDigits || strings.Trim(r.Digits, "0123456789*#") != "" {
		c.add("digits", "must be 1 to %d of 0-9 * #, not %s", maxDigits, quote(r.Digits))
	}
	if r.DestKind == DestNone {
		c.add("dest_kind", "is required")
	}
	c.destWith("", r.Dest(), r.DestXform)
	c.vars("dest_xform", r.DestXform)
	oneOf(c, "status", r.Status, StatusActive, StatusDisabled)
	c.hours(r.ScheduleID, r.ClosedDest(), r.HolidayDest())
}

func (c *checker) ringGroup(r *RingGroup) {
	c.name("name", r.Name)
	oneOf(c, "strategy", r.Strategy, RingSimultaneous, RingSequential)
	between(c, "ring_timeout_sec", r.RingTimeoutSec, 1, maxRingTimeoutSec)
	if len(r.Members) > maxMembers {
		c.add("members", "at most %d, not %d", maxMembers, len(r.Members))
	}
	seen := make(map[string]bool, len(r.Members))
	for i, m := range r.Members[:min(len(r.Members), maxMembers)] {
		path := fmt.Sprintf("members[%d].", i)
		c.id(path+"user_id", m.UserID)
		if m.UserID != "" && seen[m.UserID] {
			c.add(path+"user_id", "the user is a member already")
		}
		seen[m.UserID] = true
		between(c, path+"order", m.Order, 0, maxOrder)
	}
	c.dest("overflow_", r.Overflow())
	c.idOrNone("schedule_id", r.ScheduleID)
}

func (c *checker) node(r *Node) {
	c.username("name", r.Name)
	c.text("region", r.Region)
	c.reach(r)
	if len(r.SIPAddresses) > maxSIPAddresses {
		c.add("sip_addresses", "at most %d, not %d", maxSIPAddresses, len(r.SIPAddresses))
	}
	for i, a := range r.SIPAddresses[:min(len(r.SIPAddresses), maxSIPAddresses)] {
		if a == "" || len(a) > maxDomainBytes || !only(a, isAddressByte) {
			c.add(fmt.Sprintf("sip_addresses[%d]", i), "must be an address, optionally with a port, not %s", quote(a))
		}
	}
	oneOf(c, "state", r.State, "active", "draining", "drained", "lost")
	between(c, "weight", r.Weight, 0, maxWeight)
	between(c, "capacity", r.Capacity, 0, maxCalls)
}

func (c *checker) apiKey(r *APIKey) {
	c.name("name", r.Name)
	if len(r.Scopes) == 0 {
		c.add("scopes", "at least one is required")
	}
	for i, s := range r.Scopes[:min(len(r.Scopes), len(Scopes)+1)] {
		path := fmt.Sprintf("scopes[%d]", i)
		oneOf(c, path, s, Scopes...)
		if slices.Contains(r.Scopes[:i], s) {
			c.add(path, "%s is named twice", quote(string(s)))
		}
		if r.AccountID != "" && (s == ScopeNode || s == ScopePlatform) {
			c.add(path, "only a key of the platform may have the scope %s", s)
		}
	}
	c.boundTo(r)
	if r.Hash == "" {
		c.add("hash", "is required")
	}
	c.hex("hash", r.Hash, 64)
}

// dest checks the pair <prefix>dest_kind and <prefix>dest_id: both or none, except that hangup may
// leave its SIP code out.
func (c *checker) dest(prefix string, t RouteTarget) { c.destWith(prefix, t, nil) }

// destWith is dest for a target that hands variables on: with action=retrieve a mailbox may be left out, which means
// the caller's own, and a queue with what an agent does to himself.
func (c *checker) destWith(prefix string, t RouteTarget, xform Vars) {
	kind, id := prefix+"dest_kind", prefix+"dest_id"
	switch {
	case t.Kind == DestNone:
		if t.ID != "" {
			c.add(id, "is set without %s", kind)
		}
	case !slices.Contains(destKinds, t.Kind):
		oneOf(c, kind, t.Kind, destKinds...)
	case t.Kind == DestHangup:
		code, err := strconv.Atoi(t.ID)
		if t.ID != "" && (err != nil || len(t.ID) != 3 || code < minHangupCode || code > maxHangupCode) {
			c.add(id, "must be a SIP code from %d to %d or empty, not %s", minHangupCode, maxHangupCode, quote(t.ID))
		}
	case t.Kind == DestVoicemail && t.ID == "" && xform[VarAction] == ActionRetrieve:
	case t.Kind == DestQueue && t.ID == "" && IsAgentAction(xform[VarAction]):
	case t.Kind == DestQueue && xform[VarAction] != "" && !IsQueueAction(xform[VarAction]):
		c.add(prefix+"dest_xform", "action must be agent_login, agent_logout, agent_available, agent_break, queue_join or queue_leave for a queue, not %s", quote(xform[VarAction]))
	default:
		c.id(id, t.ID)
	}
}

func (c *checker) idOrNone(path, id string) {
	if id != "" {
		c.id(path, id)
	}
}

func (c *checker) id(path, id string) {
	switch {
	case id == "":
		c.add(path, "is required")
	case len(id) > maxIDBytes || !printable(id):
		c.add(path, "%s is not an id", quote(id))
	}
}

func (c *checker) name(path, name string) {
	if name == "" {
		c.add(path, "is required")
		return
	}
	c.text(path, name)
	if strings.TrimSpace(name) != name {
		c.add(path, "must not begin or end with a space")
	}
}

func (c *checker) text(path, s string) {
	if utf8.RuneCountInString(s) > maxNameRunes || !printable(s) {
		c.add(path, "must be at most %d characters of UTF-8 without control characters", maxNameRunes)
	}
}

// username is stricter than the user part of a SIP URI (RFC 3261 section 25.1): nothing that has to
// be escaped, so that it can be written into URIs, headers and logs as it stands.
func (c *checker) username(path, s string) {
	if s == "" || len(s) > maxUsernameBytes || !only(s, isUsernameByte) {
		c.add(path, "must be 1 to %d of A-Z a-z 0-9 . _ + -, not %s", maxUsernameBytes, quote(s))
	}
}

func (c *checker) hex(path, s string, length int) {
	if s != "" && (len(s) != length || strings.Trim(s, "0123456789abcdef") != "") {
		c.add(path, "must be %d lower-case hex digits", length)
	}
}

// timezone looks at the syntax only; whether the zone exists, the store checks.
func (c *checker) timezone(path, s string) {
	ok := s != "" && len(s) <= maxNameRunes && only(s, isZoneByte) && s[0] != '/' && !strings.Contains(s, "//")
	if !ok {
		c.add(path, "must be an IANA zone name such as Europe/Berlin, not %s", quote(s))
	}
}

func (c *checker) language(path, s string) {
	parts := strings.Split(s, "-")
	ok := len(s) <= 35 && len(parts[0]) >= 2 && only(parts[0], isLetter)
	for _, p := range parts {
		ok = ok && p != "" && len(p) <= 8 && only(p, isAlnum)
	}
	if !ok {
		c.add(path, "must be a language tag such as en-US, not %s", quote(s))
	}
}

// country looks at the form only; whether it has a dial plan, the store checks.
func (c *checker) country(path, s string) {
	if s != "" && (len(s) != 2 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		c.add(path, "must be an ISO 3166 code of two letters such as DE, not %s", quote(s))
	}
}

// countries is a list of what may be called abroad.
func (c *checker) countries(path string, list []string) {
	if len(list) > maxCountries {
		c.add(path, "at most %d, not %d", maxCountries, len(list))
		return
	}
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case slices.Contains(list[:i], s):
			c.add(at, "%s is named twice", quote(s))
		case s == "":
			c.add(at, "must be a country, %s or %s", AnyCountry, NoCountry)
		case s != AnyCountry && s != NoCountry:
			c.country(at, s)
		}
	}
}

func (c *checker) url(path, s string) {
	if s == "" {
		return
	}
	_, rest, found := strings.Cut(s, "://")
	web := strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
	if !found || !web || rest == "" || rest[0] == '/' || len(s) > maxURLBytes || !only(s, isURLByte) {
		c.add(path, "must be an http or https URL, not %s", quote(s))
	}
}

func oneOf[T ~string](c *checker, path string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	list := make([]string, len(allowed))
	for i, a := range allowed {
		list[i] = string(a)
	}
	c.add(path, "must be one of %s, not %s", strings.Join(list, ", "), quote(string(value)))
}

func between(c *checker, path string, value, low, high int) {
	if value < low || value > high {
		c.add(path, "must be from %d to %d, not %d", low, high, value)
	}
}

// quote writes a value into an error text: bounded, on one line.
func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strconv.Quote(s)
}

// printable says whether the text is UTF-8 and stays on its line wherever it is written.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp)
	})
}

func only(s string, allowed func(byte) bool) bool {
	for i := range len(s) {
		if !allowed(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(b byte) bool        { return '0' <= b && b <= '9' }
func isLetter(b byte) bool       { return 'a' <= b|0x20 && b|0x20 <= 'z' }
func isAlnum(b byte) bool        { return isLetter(b) || isDigit(b) }
func isUsernameByte(b byte) bool { return isAlnum(b) || strings.IndexByte("._+-", b) >= 0 }
func isZoneByte(b byte) bool     { return isAlnum(b) || strings.IndexByte("_+-/", b) >= 0 }
func isAddressByte(b byte) bool  { return isAlnum(b) || strings.IndexByte(".:-[]", b) >= 0 }
func isURLByte(b byte) bool      { return b > ' ' && b < 0x7f && strings.IndexByte("\"<>\\^`{|}", b) < 0 }
