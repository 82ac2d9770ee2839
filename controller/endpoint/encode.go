package endpoint

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/api"
)

// object appends the members of one JSON object. It writes what encoding/json writes, byte for byte,
// in a fifth of the time: the reply to /route is most of what the call path spends here.
type object []byte

func (o *object) key(name string) {
	if b := *o; b[len(b)-1] != '{' {
		*o = append(b, ',')
	}
	*o = append(*o, '"')
	*o = append(*o, name...)
	*o = append(*o, `":`...)
}

func (o *object) text(name, v string) {
	o.key(name)
	*o = appendString(*o, v)
}

func (o *object) num(name string, v int64) {
	o.key(name)
	*o = strconv.AppendInt(*o, v, 10)
}

// someText, someNum and someBool leave out an empty value, as omitempty does.
func (o *object) someText(name, v string) {
	if v != "" {
		o.text(name, v)
	}
}

func (o *object) someNum(name string, v int64) {
	if v != 0 {
		o.num(name, v)
	}
}

func (o *object) someBool(name string, v bool) {
	if v {
		o.key(name)
		*o = append(*o, "true"...)
	}
}

func (o *object) open()  { *o = append(*o, '{') }
func (o *object) close() { *o = append(*o, '}') }

// appendString quotes a string. The rare ones, with control characters, broken UTF-8 or the two line
// separators that JavaScript takes for line ends, are left to encoding/json.
func appendString(b []byte, s string) []byte {
	c := classify(s)
	if c&classControl != 0 || c&classHigh != 0 && (!utf8.ValidString(s) || strings.Contains(s, "\u2028") || strings.Contains(s, "\u2029")) {
		return appendRareString(b, s)
	}
	b = append(b, '"')
	if c&classQuote == 0 {
		b = append(b, s...)
		return append(b, '"')
	}
	for i := range len(s) {
		if classOf[s[i]] == classQuote {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

func appendRareString(b []byte, s string) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string can always be encoded
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// appendRouteReply writes the reply to /route with a line feed after it.
func appendRouteReply(b []byte, r *api.RouteReply) []byte {
	o := object(b)
	o.open()
	o.key("rtjson")
	o.directive(&r.RTJSON)
	o.close()
	return append(o, '\n')
}

func (o *object) directive(d *api.Directive) {
	o.open()
	o.text("action", d.Action)
	o.someText("version", d.Version)
	o.someText("account_id", d.AccountID)
	o.someNum("config_version", d.ConfigVersion)
	if c := d.Call; c != nil {
		o.key("call")
		o.open()
		o.text("direction", c.Direction)
		o.someText("caller", c.Caller)
		o.text("from", c.From)
		o.text("to", c.To)
		o.num("max_duration_sec", int64(c.MaxDurationSec))
		o.text("token", c.Token)
		o.someText("at", c.At)
		o.someNum("hops", int64(c.Hops))
		o.someNum("attempt", int64(c.Attempt))
		o.someText("trunk", c.Trunk)
		o.someText("verstat", c.Verstat)
		o.someText("attestation", c.Attestation)
		o.close()
	}
	o.someText("routing", d.Routing)
	if m := d.Media; m != nil {
		o.key("media")
		o.open()
		o.text("to_rtp", m.ToRTP)
		o.text("to_webrtc_offer", m.ToWebRTCOffer)
		o.text("to_webrtc_answer", m.ToWebRTCAnswer)
		o.text("from_phone", m.FromPhone)
		o.text("from_nat", m.FromNAT)
		o.text("from_trunk", m.FromTrunk)
		o.text("from_media", m.FromMedia)
		o.close()
	}
	o.routes(d.Routes)
	o.someBool("survival", d.Survival)
	o.refusal(&d.Refusal)
	o.close()
}

func (o *object) routes(list []api.Route) {
	if len(list) == 0 {
		return
	}
	o.key("routes")
	for i := range list {
		if i == 0 {
			*o = append(*o, '[')
		} else {
			*o = append(*o, ',')
		}
		o.route(&list[i])
	}
	*o = append(*o, ']')
}

func (o *object) route(r *api.Route) {
	o.open()
	o.num("step", int64(r.Step))
	o.text("uri", r.URI)
	o.someText("app", r.App)
	o.someText("vars", r.Vars)
	o.someNum("fr_inv_timer", int64(r.FrInvTimer))
	o.someNum("busy", int64(r.Busy))
	o.someNum("noanswer", int64(r.Noanswer))
	o.someNum("sip_code", int64(r.SIPCode))
	o.someText("ask", r.Ask)
	if t := r.Trunk; t != nil {
		o.trunk(t)
	}
	if h := r.Headers; h != nil {
		o.key("headers")
		o.open()
		if h.From != nil {
			o.from(h.From)
		}
		o.someText("extra", h.Extra)
		o.close()
	}
	o.close()
}

func (o *object) trunk(t *api.RouteTrunk) {
	o.key("trunk")
	o.open()
	o.text("id", t.ID)
	o.someText("dst_uri", t.DstURI)
	o.someText("next", t.Next)
	o.someText("lookup", t.Lookup)
	o.num("fr_timer", int64(t.FrTimer))
	o.someNum("progress_ms", int64(t.ProgressMS))
	o.text("to_trunk", t.ToTrunk)
	o.someText("headers", t.Headers)
	if t.From != nil {
		o.from(t.From)
	}
	o.someText("to", t.To)
	o.someText("answer", t.Answer)
	o.close()
}

func (o *object) from(f *api.NameAddr) {
	o.key("from")
	o.open()
	o.text("display", f.Display)
	o.text("uri", f.URI)
	o.close()
}

func (o *object) refusal(r *api.Refusal) {
	o.someNum("sip_code", int64(r.SIPCode))
	o.someText("reason", r.Reason)
	o.someNum("retry_after_sec", int64(r.RetryAfterSec))
	o.someText("why", r.Why)
	o.someText("guard", r.Guard)
}
