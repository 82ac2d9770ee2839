package scenario

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

// asserts is a caller who says of himself what only the platform may say.
var asserts = []phone.CallOption{
	phone.WithHeader("X-Sipio-Account", "acc_1"), phone.WithHeader("Remote-Party-ID", "<sip:4930999@evil.test>"),
	phone.WithHeader("P-Preferred-Identity", "<sip:4930999@evil.test>"), phone.WithHeader("P-Charge-Info", "<sip:other@evil.test>"),
	phone.WithHeader("Diversion", "<sip:4930998@evil.test>"), phone.WithHeader("P-K-CSeq-Auth", "900"),
}

// Who is shown to a carrier, read from the INVITE that it gets.
func callersShown(t *testing.T, o *office) {
	anna, bernd := registered(t, o.Edge, "1001", realm("kontor.test")), registered(t, o.Edge, "1002", realm("kontor.test"))
	outside := trunkPhone(t, o.Edge, "030777888")
	withheld := phone.WithFrom("anonymous", "Anonymous")
	rfc3323 := phone.WithFromDomain("anonymous.invalid")
	pai := phone.WithHeader("P-Asserted-Identity", "<sip:+4930777888@carrier.test>")
	const anonymous = `"Anonymous" <sip:anonymous@anonymous.invalid>`
	for _, c := range []struct {
		name    string
		by      *phone.Phone
		with    []phone.CallOption
		dial    string
		at      *carrier
		from    string
		headers map[string]string // "" = it is not there
	}{
		{"number of the user, with his name", bernd, nil, "0301234567", o.alpha, `"Bernd \"B\\\" Müller" <sip:+4930101@127.0.0.1>`, nil},
		{"number of the account", anna, nil, "0301234567", o.alpha, `"+4930100" <sip:+4930100@127.0.0.1>`, nil},
		{"whatever the phone says", anna, append([]phone.CallOption{phone.WithFrom("030999", "The President")}, asserts...), "0301234567", o.alpha, `"+4930100" <sip:+4930100@127.0.0.1>`, nil},
		{"number of the trunk, with its name", anna, nil, "04212345678", o.beta, `"Kontor \"Süd\"" <sip:030102@127.0.0.1>`, nil},
		{"the user's before the trunk's", bernd, nil, "04212345678", o.beta, `"Bernd \"B\\\" Müller" <sip:030101@127.0.0.1>`, nil},
		{"trusted trunk", anna, asserts, "0401234567", o.beta, `"+4930100" <sip:+4930100@carrier.test>`, map[string]string{"P-Asserted-Identity": "<sip:+4930100@carrier.test>"}},
		{"trunk with a user of its own", anna, nil, "04123456789", o.beta, `"+4930100" <sip:kontor-77@carrier.test>`, map[string]string{"P-Asserted-Identity": "<sip:+4930100@carrier.test>"}},
		{"wholesale carrier", anna, asserts, "0033142685300", o.gamma, `"4930100" <sip:4930100@wholesale.test>`, map[string]string{"P-Charge-Info": "<sip:acme-7@wholesale.test>"}},
		{"withheld by From", anna, []phone.CallOption{withheld, pai}, "0301234567", o.alpha, anonymous, map[string]string{"Privacy": "id"}},
		{"withheld by From of RFC 3323", anna, []phone.CallOption{withheld, rfc3323}, "0301234567", o.alpha, anonymous, map[string]string{"Privacy": "id"}},
		{"withheld by Privacy, trusted trunk", bernd, []phone.CallOption{phone.WithHeader("Privacy", "id")}, "0401234567", o.beta, anonymous, map[string]string{"Privacy": "id", "P-Asserted-Identity": "<sip:+4930101@carrier.test>"}},
		{"withheld, trunk with a user of its own", anna, []phone.CallOption{withheld}, "04123456789", o.beta, anonymous, map[string]string{"Privacy": "id"}},
		{"sent on as it came", outside, nil, "030110", o.alpha, `"+4930777888" <sip:+4930777888@127.0.0.1>`, map[string]string{"Diversion": "<sip:+4930110@127.0.0.1>;reason=unconditional"}},
		{"sent on for the second time", outside, asserts, "030110", o.alpha, `"+4930777888" <sip:+4930777888@127.0.0.1>`, map[string]string{"Diversion": "<sip:+4930110@127.0.0.1>;reason=unconditional;counter=2"}},
		{"sent on, withheld", outside, []phone.CallOption{withheld, pai}, "030110", o.alpha, anonymous, map[string]string{"Privacy": "id", "Diversion": "<sip:+4930110@127.0.0.1>;reason=unconditional"}},
		{"sent on with the number called", outside, nil, "030111", o.alpha, `"+4930111" <sip:+4930111@127.0.0.1>`, map[string]string{"Diversion": "<sip:+4930111@127.0.0.1>;reason=unconditional"}},
		{"sent on with a number of its own, and that number's name", outside, nil, "030112", o.alpha, `"Kontor \"Süd\"" <sip:+4930102@127.0.0.1>`, map[string]string{"Diversion": "<sip:+4930112@127.0.0.1>;reason=unconditional"}},
		{"name with quotes", outside, []phone.CallOption{phone.WithFrom("030777888", `\" <sip:1@evil.test>;tag=x \\ ü`)}, "030110", o.alpha, `"\" <sip:1@evil.test>;tag=x \\ ü" <sip:+4930777888@127.0.0.1>`, map[string]string{"Diversion": "<sip:+4930110@127.0.0.1>;reason=unconditional"}},
		{"name written from the right", outside, []phone.CallOption{phone.WithFrom("030777888", "one\u202e two")}, "030110", o.alpha, `"one two" <sip:+4930777888@127.0.0.1>`, map[string]string{"Diversion": "<sip:+4930110@127.0.0.1>;reason=unconditional"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := o.invited(t, within(t, 10*time.Second), c.by, c.dial, c.at, c.with...)
			shows(t, in, c.from, c.headers)
		})
	}
}

// shows fails unless an INVITE has this From, these of the headers that say something of the caller, and none that is not the carrier's
// to see.
func shows(t *testing.T, in *phone.Incoming, from string, headers map[string]string) {
	t.Helper()
	if got := fmt.Sprintf(`"%s" <%s>`, in.FromDisplay(), in.FromURI()); got != from {
		t.Errorf("From: %s, want %s", got, from)
	}
	for _, name := range []string{"Privacy", "P-Asserted-Identity", "Diversion", "P-Charge-Info"} {
		all := in.Headers()[name]
		if len(all) > 1 || in.Header(name) != headers[name] {
			t.Errorf("%s: %q, want %q", name, all, headers[name])
		}
	}
	for name := range in.Headers() {
		if regexp.MustCompile(`(?i)^(x-sipio|p-k-|remote-party-id|p-preferred|(proxy-)?authorization|x-bad)`).MatchString(name) {
			t.Errorf("it is sent %s: %s", name, in.Header(name))
		}
	}
}

// refusalText is a refusal as the caller gets it, without what differs in every call.
func refusalText(t *testing.T, err error) string {
	t.Helper()
	status, ok := errors.AsType[*phone.StatusError](err)
	if !ok {
		t.Fatal(err)
	}
	lines := []string{}
	for name, values := range status.Headers {
		switch name {
		case "Via", "From", "To", "Call-ID", "CSeq":
		default:
			lines = append(lines, fmt.Sprint(name, values))
		}
	}
	slices.Sort(lines)
	return status.Error() + "\n" + strings.Join(lines, "\n")
}

// Calls for help go out when no other does: over a route that is closed, from a phone that has all the calls it may have, and from an
// account that is suspended, unless it is not to. What is no call for help is refused then.
func callsForHelp(t *testing.T, o *office) {
	ctx := within(t, 20*time.Second)
	emil, frida := registered(t, o.Edge, "5001", realm("amt.test")), registered(t, o.Edge, "5002", realm("amt.test"))
	helped := func(why string) {
		t.Helper()
		ours, theirs := o.answered(t, ctx, emil, "112", o.gamma)
		in := o.gamma.calls()[len(o.gamma.calls())-1]
		if in.RequestURI() != "sip:112@"+o.gamma.address() || in.FromURI() != "sip:+4930500@127.0.0.1" {
			t.Errorf("%s: %s from %s", why, in.RequestURI(), in.FromURI())
		}
		talk(t, ctx, ours, theirs)
		hang(t, ctx, ours, theirs)
	}
	o.do(accept, accept, accept)
	refused(t, ctx, emil, "0301234567", 404)
	helped("out of hours")

	noCalls(t, ctx, o.Edge)
	ours, theirs := connect(t, ctx, emil, frida, "5002")
	refused(t, ctx, emil, "5002", 486)
	helped("over his limit")
	hang(t, ctx, ours, theirs)

	suspend := func(more string) {
		t.Helper()
		if err := o.Apply(ctx, `{kind: account, name: amt, spec: {status: suspended, timezone: Europe/Berlin, language: de-DE, country: DE, default_cid_number: "4930500"`+more+`}}`); err != nil {
			t.Fatal(err)
		}
	}
	suspend("")
	for _, dialed := range []string{"0301234567", "5002", "nobody"} {
		refused(t, ctx, emil, dialed, 403)
	}
	if resp, err := frida.Register(ctx, time.Minute); err != nil || resp.Code != 403 {
		t.Errorf("a phone of a suspended account registers: %v %v", resp, err)
	}
	helped("suspended")
	liar := newPhone(t, o.Edge, "5001", realm("amt.test"), func(c *phone.Config) { c.Password = "wrong" })
	refused(t, ctx, liar, "112", 403)
	suspend(", emergency_when_suspended: false")
	refused(t, ctx, emil, "112", 403)
	o.seen(t, 0, 0, 3)
	noMedia(t, ctx, o.Edge)
}

// hang ends a call and waits until the other end knows.
func hang(t *testing.T, ctx context.Context, from, other *phone.Call) {
	t.Helper()
	if err := from.Bye(ctx); err != nil {
		t.Errorf("BYE: %v", err)
	}
	select {
	case <-other.Done():
	case <-ctx.Done():
		t.Error("the other end was not told that the call is over")
	}
}

// A caller who withholds his number is not told by his phone's Contact either, nor is another, and he is found all the same: the carrier
// holds and resumes, sends a digit, tries to send him elsewhere, and hangs up; before that both hear each other.
func withheldAreFound(t *testing.T, o *office) {
	browser := func(c *phone.Config) { c.WebRTC = true }
	o.do(accept, accept, accept)
	for _, c := range []struct {
		name string
		opts []option
		with []phone.CallOption
	}{
		{"udp", nil, []phone.CallOption{phone.WithFrom("anonymous", "Anonymous")}},
		{"tcp", []option{over("tcp")}, []phone.CallOption{phone.WithHeader("Privacy", "id")}},
		{"browser", []option{over("wss"), browser}, []phone.CallOption{phone.WithHeader("Privacy", "user")}},
		{"withholds nothing", []option{over("wss"), browser}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			anna := registered(t, o.Edge, "1001", append(c.opts, realm("kontor.test"))...)
			ours, err := anna.Call(ctx, "0301234567", c.with...)
			if err != nil {
				t.Fatal(err)
			}
			theirs := <-o.alpha.up
			if got := theirs.RemoteHeaders()["Contact"]; len(got) != 1 || !regexp.MustCompile(`^<sip:anonymous@127\.0\.0\.1;cx=[-0-9A-Za-z+/]+>$`).MatchString(got[0]) {
				t.Errorf("the carrier sees Contact %q, the phone's is %s", got, anna.Contact())
			}
			talk(t, ctx, ours, theirs)
			for _, step := range []func(context.Context) error{theirs.Hold, theirs.Resume, ours.Hold, ours.Resume} {
				if err := step(ctx); err != nil {
					t.Errorf("hold or resume: %v", err)
				}
			}
			if err := theirs.SendInfo(ctx, '5'); err != nil {
				t.Errorf("INFO: %v", err)
			}
			presses(t, ctx, theirs, "sip:1002@kontor.test", 603)
			talk(t, ctx, ours, theirs)
			hangUp(t, ctx, o.Edge, theirs, ours)
		})
	}
}
