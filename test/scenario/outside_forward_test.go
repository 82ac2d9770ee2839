package scenario

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

// Calls that are sent on to a number outside: behind a phone that does not answer, or is busy, from a number at once, and for a user who
// sends all his calls on. When the number is busy too, whom the forward names rings. Whoever has the call at last is heard.
func callsSentOn(t *testing.T, o *office) {
	bernd, clara := registered(t, o.Edge, "1002", realm("kontor.test")), registered(t, o.Edge, "1003", realm("kontor.test"))
	anna, outside := registered(t, o.Edge, "1001", realm("kontor.test")), trunkPhone(t, o.Edge, "030777888")
	claras := func(ctx context.Context, does func(*phone.Incoming)) {
		go func() {
			select {
			case in := <-clara.Incoming():
				does(in)
			case <-ctx.Done():
			}
		}()
	}
	rings1 := func(in *phone.Incoming) { _ = in.Ring() }
	busy := func(in *phone.Incoming) { _ = in.Reject(486, "Busy Here") }
	for _, c := range []struct {
		name   string
		by     *phone.Phone
		dial   string
		clara  func(*phone.Incoming)
		from   string // of the call to outside
		reason string
	}{
		{"no answer", outside, "030103", rings1, "+4930777888", "<sip:+4930103@127.0.0.1>;reason=no-answer"},
		{"busy", outside, "030103", busy, "+4930777888", "<sip:+4930103@127.0.0.1>;reason=user-busy"},
		{"busy for a colleague", anna, "1003", busy, "+4930100", "<sip:+4930100@127.0.0.1>;reason=user-busy"},
		{"a number at once", outside, "030110", nil, "+4930777888", "<sip:+4930110@127.0.0.1>;reason=unconditional"},
		{"a user always", anna, "1004", nil, "+4930100", "<sip:+4930100@127.0.0.1>;reason=unconditional"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			o.do(rings, rings, rings)
			if c.clara != nil {
				claras(ctx, c.clara)
			}
			ours, theirs := o.answered(t, ctx, c.by, c.dial, o.alpha)
			o.seen(t, 1, 0, 0)
			in := o.alpha.calls()[0]
			if in.RequestURI() != "sip:+4915112345678@"+o.alpha.address() || in.FromURI() != "sip:"+c.from+"@127.0.0.1" || in.Header("Diversion") != c.reason {
				t.Errorf("%s from %s, Diversion: %s", in.RequestURI(), in.FromURI(), in.Header("Diversion"))
			}
			talk(t, ctx, ours, theirs)
			hangUp(t, ctx, o.Edge, theirs, ours)
		})
	}
	for _, c := range []struct {
		name  string
		by    *phone.Phone
		dial  string
		clara func(*phone.Incoming)
	}{{"busy outside too", outside, "030103", busy}, {"busy outside, always", anna, "1004", nil}} {
		t.Run(c.name, func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			o.do(refuses(486), accept, accept)
			if c.clara != nil {
				claras(ctx, c.clara)
			}
			ours, theirs := connect(t, ctx, c.by, bernd, c.dial)
			o.seen(t, 1, 0, 0)
			talk(t, ctx, ours, theirs)
			hangUp(t, ctx, o.Edge, ours, theirs)
		})
	}
}

// Two accounts send their calls on to each other over a carrier that passes on what it is told of a call's past. The call ends after
// a few rounds with 482, and nothing of it stays.
func sentRoundAndRound(t *testing.T, o *office) {
	ctx := within(t, 20*time.Second)
	var rounds atomic.Int32
	network := map[string]*phone.Phone{"+4930900": trunkPhone(t, o.Edge, "030777888", func(c *phone.Config) { c.LocalIP = "127.0.0.10" }), "+4930119": trunkPhone(t, o.Edge, "030777888")}
	number := regexp.MustCompile(`^sip:([^@]+)@`)
	o.do(func(ctx context.Context, in *phone.Incoming) (*phone.Call, error) {
		to := number.FindStringSubmatch(in.RequestURI())
		if to == nil || network[to[1]] == nil {
			return nil, errors.Join(in.Reject(404, "Not Found"), fmt.Errorf("called as %s", in.RequestURI()))
		}
		if rounds.Add(1) > 12 {
			return nil, in.Reject(606, "It goes round for ever")
		}
		_ = in.Ring()
		var past []phone.CallOption
		for _, name := range []string{"Diversion", "History-Info"} {
			for _, value := range in.Headers()[name] {
				past = append(past, phone.WithHeader(name, value))
			}
		}
		_, err := network[to[1]].Call(ctx, to[1], past...)
		status, ok := errors.AsType[*phone.StatusError](err)
		if !ok {
			return nil, errors.Join(err, in.Reject(500, "Broken"))
		}
		return nil, in.Reject(status.Code, status.Reason)
	}, accept, accept)
	refusedWith(t, ctx, trunkPhone(t, o.Edge, "030555666"), "030119", 482)
	if n := rounds.Load(); n < 2 || n > 6 {
		t.Errorf("the call went out %d times", n)
	}
	noMedia(t, ctx, o.Edge)
}

// An INVITE from an address that is no trunk's gets the same bytes whatever number it is for, without a digest and with a made-up one; so
// does a trunk that calls numbers of another account.
func strangersLearnNothing(t *testing.T, o *office) {
	ctx := within(t, 20*time.Second)
	for _, c := range []struct {
		ip, auth string
		code     int
	}{
		{"127.0.0.77", "", 407},
		{"127.0.0.77", "made up", 403},
		{"127.0.0.10", "", 404}, // the other account's
	} {
		first := ""
		for _, dialed := range []string{"4930100", "4930101", "4930990", "1001", "112"} {
			got := rawInvite(t, ctx, o, c.ip, dialed, c.auth != "")
			if !strings.HasPrefix(got, fmt.Sprintf("SIP/2.0 %d ", c.code)) {
				t.Errorf("%s from %s: %s", dialed, c.ip, got)
			}
			if got = strings.ReplaceAll(got, dialed, "DIALED"); first == "" {
				first = got
			}
			if got != first {
				t.Errorf("%s from %s is told\n%s\nother numbers\n%s", dialed, c.ip, got, first)
			}
		}
	}
}

// rawInvite is the final answer to an INVITE, without nonce, branch and tags.
func rawInvite(t *testing.T, ctx context.Context, o *office, ip, dialed string, withDigest bool) string {
	t.Helper()
	raw, err := phone.DialRaw(ip, o.SIP)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	send := func(n int, auth string) *phone.RawMessage {
		m, err := raw.Exchange(ctx, fmt.Appendf(nil, "INVITE sip:%[1]s@kontor.test SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK-%[3]s-%[4]d;rport\r\n"+
			"From: <sip:030777888@kontor.test>;tag=abc\r\nTo: <sip:%[1]s@kontor.test>\r\nCall-ID: %[3]s\r\nCSeq: %[4]d INVITE\r\nContact: <sip:x@%[2]s>\r\nMax-Forwards: 70\r\n%[5]sContent-Length: 0\r\n\r\n",
			dialed, raw.LocalAddr(), strings.ReplaceAll(raw.LocalAddr(), ":", "-")+"-"+dialed, n, auth))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := send(1, "")
	if withDigest {
		challenge, err := m.Challenge()
		if err != nil {
			t.Fatal(err)
		}
		m = send(2, "Proxy-Authorization: "+challenge.Answer("carrier", "made up", "INVITE", "sip:"+dialed+"@kontor.test").Header()+"\r\n")
	}
	text := m.StartLine
	for _, h := range m.Headers {
		text += "\n" + h.Name + ": " + h.Value
	}
	text = strings.NewReplacer(raw.LocalAddr(), "ADDRESS", strings.ReplaceAll(raw.LocalAddr(), ":", "-"), "ADDRESS", raw.LocalAddr()[strings.LastIndex(raw.LocalAddr(), ":")+1:], "PORT").Replace(text)
	return regexp.MustCompile(`nonce="[^"]*"|(?m)^To:.*;tag=\S+|branch=\S+`).ReplaceAllString(text, "")
}
