package brain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of calls to the outside.
const (
	maxACL          = 100
	maxStrip        = 15
	maxCodecs       = 16
	maxFailCodes    = 32
	minFailCode     = 300
	maxFailCode     = 699
	maxCPS          = 10_000
	maxChoices      = 16
	maxRoutes       = 2000 // of an account: each change of it checks all of them. Prices by prefix stand in a trunk's cost_plan
	maxForwardChars = 40
	maxSealedBytes  = 32 << 10
	maxPort         = 65_535
)

// trunk looks at the form of the networks only; what they are, and that no two trunks share one, the store checks.
func (c *checker) trunk(r *SIPTrunk) {
	c.name("name", r.Name)
	oneOf(c, "status", r.Status, StatusActive, StatusDisabled)
	oneOf(c, "direction", r.Direction, TrunkInbound, TrunkOutbound, TrunkBoth)
	oneOf(c, "role", r.Role, RoleCarrier, RolePBX)
	oneOf(c, "provider", r.Provider, defaultProvider, ProviderCarrier)
	oneOf(c, "inbound_auth", r.InboundAuth, InboundIP, InboundDigest, InboundRegister, InboundTLS)
	c.networks("inbound_acl", r.InboundACL)
	c.tlsName(r)
	c.trunkPeer(r)
	c.trunkNeeds(r)
	c.trunkCalls(r)
}

// tlsName checks the name in the certificate of a trunk that is known by it.
func (c *checker) tlsName(r *SIPTrunk) {
	switch {
	case r.TLSName == "" && r.InboundAuth == InboundTLS:
		c.add("tls_name", "is required with inbound_auth tls")
	case r.TLSName == "":
	case strings.Contains(r.TLSName, "*"):
		c.add("tls_name", "wildcards match nothing: name the certificate's first DNS name whole, not %s", quote(r.TLSName))
	case r.InboundAuth != InboundTLS:
		c.add("tls_name", "means nothing with inbound_auth %s: it is for inbound_auth tls", r.InboundAuth)
	default:
		c.domain("tls_name", r.TLSName)
	}
}

func (c *checker) networks(path string, list []string) {
	if len(list) > maxACL {
		c.add(path, "at most %d, not %d", maxACL, len(list))
	}
	for i, a := range list[:min(len(list), maxACL)] {
		if a == "" || len(a) > maxNameRunes || !only(a, isNetworkByte) {
			c.add(fmt.Sprintf("%s[%d]", path, i), "must be an address or a network such as 192.0.2.0/24, not %s", quote(a))
		}
	}
}

func isNetworkByte(b byte) bool {
	return isDigit(b) || 'a' <= b && b <= 'f' || strings.IndexByte(".:/", b) >= 0
}

// trunkPeer checks the form of what a trunk says about the other end.
func (c *checker) trunkPeer(r *SIPTrunk) {
	if r.Proxy != "" && !isHostPort(r.Proxy) {
		c.add("proxy", "must be a host or host:port (IPv6 in brackets), not %s", quote(r.Proxy))
	}
	oneOf(c, "transport", r.Transport, "udp", "tcp", "tls")
	between(c, "expire_sec", r.ExpireSec, 60, maxDaySec)
	if len(r.AuthUsername) > maxPasswordBytes || !only(r.AuthUsername, isQuotedByte) {
		c.add("auth_username", "must be at most %d visible ASCII characters without \" and \\", maxPasswordBytes)
	}
	if r.AuthSecretRef != "" {
		c.name("auth_secret_ref", r.AuthSecretRef)
	}
	if len(r.Realm) > maxDomainBytes || !printable(r.Realm) || strings.ContainsAny(r.Realm, `"\`) {
		c.add("realm", "must be at most %d bytes of UTF-8 without control characters, \" and \\", maxDomainBytes)
	}
	if r.FromDomain != "" {
		c.domain("from_domain", r.FromDomain)
	}
	c.uriUser("from_user", r.FromUser)
	c.noMarks("from_user", r.FromUser)
	c.noMarks("auth_username", r.AuthUsername)
	c.uriUser("subaccount", r.Subaccount)
}

// noMarks refuses two exclamation marks in a row, for which Kamailio writes its own address into a REGISTER (tm.t_uac_start).
func (c *checker) noMarks(path, s string) {
	if strings.Contains(s, "!!") {
		c.add(path, "must not have !! in it: %s", quote(s))
	}
}

// trunkNeeds wants what a trunk cannot do without.
func (c *checker) trunkNeeds(r *SIPTrunk) {
	registers := r.InboundAuth == InboundRegister
	digest := registers || r.InboundAuth == InboundDigest
	why := "with inbound_auth " + string(r.InboundAuth)
	if r.DoRegister {
		why = "with do_register"
	}
	if r.In() && r.InboundAuth == InboundIP && len(r.InboundACL) == 0 {
		c.add("inbound_acl", "is required with inbound_auth ip, unless the direction is outbound: no call would be known as its")
	}
	switch {
	case r.Proxy != "":
	case r.DoRegister:
		c.add("proxy", "is required with do_register")
	case r.Direction != TrunkInbound && !registers:
		c.add("proxy", "is required for direction %s, unless the peer registers", r.Direction)
	}
	if (digest || r.DoRegister) && r.AuthUsername == "" {
		c.add("auth_username", "is required %s", why)
	}
	if (digest || r.DoRegister) && r.AuthSecretRef == "" {
		c.add("auth_secret_ref", "is required %s", why)
	}
}

// trunkCalls checks what a trunk does to calls.
func (c *checker) trunkCalls(r *SIPTrunk) {
	c.e164("cid_number", r.CIDNumber)
	oneOf(c, "number_format", r.NumberFormat, FormatPlus, FormatE164, FormatNational)
	c.rewrite(r.Strip, r.Prefix)
	between(c, "max_channels", r.MaxChannels, 0, maxCalls)
	between(c, "max_cps", r.MaxCPS, 0, maxCPS)
	if len(r.Codecs) > maxCodecs {
		c.add("codecs", "at most %d, not %d", maxCodecs, len(r.Codecs))
	}
	for i, name := range r.Codecs[:min(len(r.Codecs), maxCodecs)] {
		path := fmt.Sprintf("codecs[%d]", i)
		if name == "" || len(name) > maxDigits || !only(name, isCodecByte) {
			c.add(path, "must be an RTP name such as PCMA, not %s", quote(name))
		}
		if slices.ContainsFunc(r.Codecs[:i], func(s string) bool { return strings.EqualFold(s, name) }) {
			c.add(path, "%s is named twice", quote(name))
		}
	}
	if r.CostPlan != "" {
		c.name("cost_plan", r.CostPlan)
	}
	oneOf(c, "srtp", r.SRTP, SRTPOff, SRTPOptional, SRTPRequired)
	between(c, "options_ping_sec", r.OptionsPingSec, 0, maxHourSec)
	between(c, "silent_ms", r.SilentMS, 500, 32_000)
	between(c, "progress_ms", r.ProgressMS, 1000, 120_000)
	oneOf(c, "stir", r.Stir, "off", "verify", "require")
	if len(r.FailCodes) > maxFailCodes {
		c.add("fail_codes", "at most %d, not %d", maxFailCodes, len(r.FailCodes))
	}
	for i, code := range r.FailCodes[:min(len(r.FailCodes), maxFailCodes)] {
		path := fmt.Sprintf("fail_codes[%d]", i)
		between(c, path, code, minFailCode, maxFailCode)
		if slices.Contains(r.FailCodes[:i], code) {
			c.add(path, "%d is named twice", code)
		}
	}
}

// isCodecByte takes the tokens of RFC 8866 that encoding names are made of.
func isCodecByte(b byte) bool { return isAlnum(b) || strings.IndexByte("._-", b) >= 0 }

// isQuotedByte takes what can stand between quotes in a header as it is.
func isQuotedByte(b byte) bool { return b > ' ' && b < 0x7f && b != '"' && b != '\\' }

// isHostPort takes what calls can be sent to: a host, or a host and a port.
func isHostPort(s string) bool {
	at := strings.LastIndexByte(s, ':')
	if at < 0 || strings.HasSuffix(s, "]") {
		return isHost(s)
	}
	port, err := strconv.Atoi(s[at+1:])
	return err == nil && port >= 1 && port <= maxPort && strconv.Itoa(port) == s[at+1:] && isHost(s[:at])
}

// uriUser wants what stands in the user part of a SIP URI as it is, and means nothing else there (RFC 3261 section 25.1).
func (c *checker) uriUser(path, s string) {
	if len(s) > maxUsernameBytes || !only(s, isURIUserByte) {
		c.add(path, "must be at most %d of A-Z a-z 0-9 - _ . ! ~ * + = &, not %s", maxUsernameBytes, quote(s))
	}
}

func isURIUserByte(b byte) bool { return isAlnum(b) || strings.IndexByte("-_.!~*+=&", b) >= 0 }

// rewrite checks what is taken off the front of a number and put there.
func (c *checker) rewrite(strip int, prefix string) {
	between(c, "strip", strip, 0, maxStrip)
	if len(prefix) > maxDigits || strings.Trim(prefix, "0123456789*#+") != "" {
		c.add("prefix", "must be at most %d of 0-9 * # +, not %s", maxDigits, quote(prefix))
	}
}

// e164 checks a number as it is stored; none is none.
func (c *checker) e164(path, s string) {
	if s != "" && (len(s) < minNumberDigits || len(s) > maxNumberDigits || !only(s, isDigit) || s[0] == '0') {
		c.add(path, "must be %d to %d digits with the country code in front, without +, not %s", minNumberDigits, maxNumberDigits, quote(s))
	}
}

func (c *checker) outboundRoute(r *OutboundRoute) {
	c.name("name", r.Name)
	oneOf(c, "status", r.Status, StatusActive, StatusDisabled)
	switch {
	case len(r.MatchPrefix) > maxNumberDigits || !only(r.MatchPrefix, isDigit):
		c.add("match_prefix", "must be at most %d digits, without +, not %s", maxNumberDigits, quote(r.MatchPrefix))
	case r.MatchPrefix != "" && r.MatchPrefix[0] == '0' && !r.IsEmergency:
		c.add("match_prefix", "must begin with a country code, not with 0: %s", quote(r.MatchPrefix))
	}
	if r.IsEmergency && r.Blocked {
		c.add("blocked", "an emergency route is never blocked")
	}
	c.idOrNone("caller_account", r.CallerAccount)
	switch {
	case r.CallerAccount == "":
	case r.CallerAccount == r.AccountID:
		c.add("caller_account", "a route is for its own account's calls without it: name a subaccount, or none")
	case !r.Blocked:
		c.add("caller_account", "a subaccount calls over trunks of its own: a route for its calls must be blocked")
	}
	oneOf(c, "strategy", r.Strategy, "priority", "weight", "least_cost")
	c.choices(r)
	c.idOrNone("schedule_id", r.ScheduleID)
	if r.IsEmergency && r.ScheduleID != "" {
		c.add("schedule_id", "an emergency route has no hours")
	}
	c.rewrite(r.Strip, r.Prefix)
}

func (c *checker) choices(r *OutboundRoute) {
	if len(r.Trunks) == 0 && !r.Blocked {
		c.add("trunks", "at least one is required, unless the route is blocked")
	}
	if len(r.Trunks) > maxChoices {
		c.add("trunks", "at most %d, not %d", maxChoices, len(r.Trunks))
	}
	for i, t := range r.Trunks[:min(len(r.Trunks), maxChoices)] {
		path := fmt.Sprintf("trunks[%d].", i)
		c.id(path+"trunk_id", t.TrunkID)
		if t.TrunkID != "" && slices.ContainsFunc(r.Trunks[:i], func(o OutboundChoice) bool { return o.TrunkID == t.TrunkID }) {
			c.add(path+"trunk_id", "the trunk is named already")
		}
		between(c, path+"priority", t.Priority, 0, maxOrder)
		between(c, path+"weight", t.Weight, 0, maxWeight)
		if t.CostMicros < 0 {
			c.add(path+"cost_micros", "must not be negative")
		}
	}
}

func (c *checker) forward(r *Forward) {
	c.name("name", r.Name)
	if !strings.ContainsAny(r.Number, "0123456789*#") || len(r.Number) > maxForwardChars || strings.Trim(r.Number, "0123456789+*# ()-./") != "" {
		c.add("number", "must be a number as it is dialed, at most %d of 0-9 + * # ( ) - . / and spaces, not %s", maxForwardChars, quote(r.Number))
	}
	oneOf(c, "trigger", r.Trigger, TriggerAlways, TriggerBusy, TriggerNoAnswer, TriggerUnreachable)
	between(c, "timeout_sec", r.TimeoutSec, 5, maxRingTimeoutSec)
	oneOf(c, "cid_mode", r.CIDMode, CIDPassthrough, CIDOfDID, CIDCustom)
	if r.CIDMode == CIDCustom && r.CIDNumber == "" {
		c.add("cid_number", "is required with cid_mode custom")
	}
	c.e164("cid_number", r.CIDNumber)
	c.dest("overflow_", r.Overflow())
}

// sealed looks at the form only: base64.
func (c *checker) sealed(path, s string) {
	if len(s) > maxSealedBytes || !only(s, isSealedByte) {
		c.add(path, "must be what a value was sealed to: at most %d bytes of base64", maxSealedBytes)
	}
}

func isSealedByte(b byte) bool { return isAlnum(b) || strings.IndexByte("+/=", b) >= 0 }

// stir wants the key that signs an account's calls and the address of its certificate together: one proves nothing
// without the other.
func (c *checker) stir(r *Account) {
	if r.StirSecretRef != "" {
		c.name("stir_secret_ref", r.StirSecretRef)
	}
	c.https("stir_x5u", r.StirX5U)
	switch {
	case r.StirSecretRef != "" && r.StirX5U == "":
		c.add("stir_x5u", "is required with stir_secret_ref")
	case r.StirSecretRef == "" && r.StirX5U != "":
		c.add("stir_secret_ref", "is required with stir_x5u")
	}
}
