package endpoint

import "github.com/sipio/sipio/brain/api"

// The fields of every question that may come as a form, by their names on the wire.
var (
	authFields = newFieldSet(
		originFields(func(r *api.AuthRequest) *api.Origin { return &r.Origin }),
		digestFields(func(r *api.AuthRequest) *api.Digest { return &r.Digest }),
		[]field[api.AuthRequest]{
			text("to_user", func(r *api.AuthRequest) *string { return &r.ToUser }),
			text("to_domain", func(r *api.AuthRequest) *string { return &r.ToDomain }),
			text("from_user", func(r *api.AuthRequest) *string { return &r.FromUser }),
			text("from_domain", func(r *api.AuthRequest) *string { return &r.FromDomain }),
		})
	routeFields = newFieldSet(
		originFields(func(r *api.RouteRequest) *api.Origin { return &r.Origin }),
		digestFields(func(r *api.RouteRequest) *api.Digest { return &r.Digest }),
		[]field[api.RouteRequest]{
			text("from_user", func(r *api.RouteRequest) *string { return &r.FromUser }),
			text("from_domain", func(r *api.RouteRequest) *string { return &r.FromDomain }),
			loose("from_name", func(r *api.RouteRequest) *string { return &r.FromName }),
			text("to_user", func(r *api.RouteRequest) *string { return &r.ToUser }),
			text("to_domain", func(r *api.RouteRequest) *string { return &r.ToDomain }),
			text("ruri", func(r *api.RouteRequest) *string { return &r.RURI }),
			text("ruri_user", func(r *api.RouteRequest) *string { return &r.RURIUser }),
			text("ruri_domain", func(r *api.RouteRequest) *string { return &r.RURIDomain }),
			id("transaction", func(r *api.RouteRequest) *string { return &r.Transaction }),
			id("peer", func(r *api.RouteRequest) *string { return &r.Peer }),
			text("tls_name", func(r *api.RouteRequest) *string { return &r.TLSName }),
			text("asserted", func(r *api.RouteRequest) *string { return &r.Asserted }),
			text("called_party", func(r *api.RouteRequest) *string { return &r.CalledParty }),
			id("account_id", func(r *api.RouteRequest) *string { return &r.AccountID }),
			id("dial", func(r *api.RouteRequest) *string { return &r.Dial }),
			id("caller_user_id", func(r *api.RouteRequest) *string { return &r.CallerUserID }),
			id("called", func(r *api.RouteRequest) *string { return &r.Called }),
		}, outsideFields)
)

// outsideFields are what a question tells of trunks, and of what has become of an earlier directive.
var outsideFields = []field[api.RouteRequest]{
	loose("privacy", func(r *api.RouteRequest) *string { return &r.Privacy }),
	loose("diversion", func(r *api.RouteRequest) *string { return &r.Diversion }),
	{name: "diverted", max: maxCount, num: func(r *api.RouteRequest) *int { return &r.Diverted }},
	loose("identity", func(r *api.RouteRequest) *string { return &r.Identity }),
	{name: "down", max: maxTrunkIDs, text: func(r *api.RouteRequest) *string { return &r.Down }},
	{name: "via", max: maxTrunkIDs, text: func(r *api.RouteRequest) *string { return &r.Via }},
	id("at", func(r *api.RouteRequest) *string { return &r.At }),
	{name: "failed_code", max: maxCode, num: func(r *api.RouteRequest) *int { return &r.FailedCode }},
	id("trunk", func(r *api.RouteRequest) *string { return &r.Trunk }),
	text("targets", func(r *api.RouteRequest) *string { return &r.Targets }),
	text("tried", func(r *api.RouteRequest) *string { return &r.Tried }),
	{name: "challenge", max: maxText, lines: true, loose: true, text: func(r *api.RouteRequest) *string { return &r.Challenge }},
	{name: "answered", max: maxCount, num: func(r *api.RouteRequest) *int { return &r.Answered }},
	{name: "hops", max: maxCount, num: func(r *api.RouteRequest) *int { return &r.Hops }},
}

const (
	maxCount    = 1000
	maxCode     = 699
	maxTrunkIDs = 24 << 10 // bytes of a list of trunks
)

func text[T any](name string, at func(*T) *string) field[T] {
	return field[T]{name: name, max: maxText, text: at}
}

// loose is a text that names nobody.
func loose[T any](name string, at func(*T) *string) field[T] {
	return field[T]{name: name, max: maxText, loose: true, text: at}
}

func id[T any](name string, at func(*T) *string) field[T] {
	return field[T]{name: name, max: maxID, text: at}
}

// originFields are the fields of api.Origin inside a question.
func originFields[T any](in func(*T) *api.Origin) []field[T] {
	return []field[T]{
		id("call_id", func(r *T) *string { return &in(r).CallID }),
		id("cseq", func(r *T) *string { return &in(r).CSeq }),
		id("branch", func(r *T) *string { return &in(r).Branch }),
		id("method", func(r *T) *string { return &in(r).Method }),
		id("source_ip", func(r *T) *string { return &in(r).SourceIP }),
		{name: "source_port", max: maxPort, num: func(r *T) *int { return &in(r).SourcePort }},
		id("transport", func(r *T) *string { return &in(r).Transport }),
		id("node", func(r *T) *string { return &in(r).Node }),
		loose("user_agent", func(r *T) *string { return &in(r).UserAgent }),
		{name: "time_ms", ms: func(r *T) *int64 { return &in(r).TimeMS }},
	}
}

// digestFields are the fields of api.Digest inside a question.
func digestFields[T any](in func(*T) *api.Digest) []field[T] {
	return []field[T]{
		id("auth_username", func(r *T) *string { return &in(r).Username }),
		id("auth_realm", func(r *T) *string { return &in(r).Realm }),
		id("auth_nonce", func(r *T) *string { return &in(r).Nonce }),
		text("auth_uri", func(r *T) *string { return &in(r).URI }),
		id("auth_response", func(r *T) *string { return &in(r).Response }),
		id("auth_algorithm", func(r *T) *string { return &in(r).Algorithm }),
		id("auth_cnonce", func(r *T) *string { return &in(r).CNonce }),
		id("auth_nc", func(r *T) *string { return &in(r).NC }),
		id("auth_qop", func(r *T) *string { return &in(r).QOP }),
	}
}
