package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// direct is a talk of two phones through the media server that nobody drives but the test, over the event socket.
type direct struct {
	e          *edge.Edge
	orders     *esl.Conn
	a, b       *phone.Call     // caller and callee
	first, leg string          // their channels
	seen       map[string]bool // events that came and nobody waited for yet
}

// connectAside has the caller be put through to callee by the menu, then takes the talk out of the node agent's hands, whose
// process is killed: two channels connected by uuid_bridge, as a queue connects them. The node agent is started again at
// the end.
func connectAside(t *testing.T, ctx context.Context, e *edge.Edge, caller, callee *phone.Phone, number string) *direct {
	t.Helper()
	up := answering(ctx, callee)
	a, err := caller.Call(ctx, number)
	if err != nil {
		t.Fatal(err)
	}
	a.SendTone(0)
	hear(t, ctx, a, "greeting")
	presser(t, ctx, a, "info")("2") // a browser has no other way
	b, ok := <-up
	if !ok {
		t.Fatal("nobody was rung")
	}
	talk(t, ctx, a, b)
	if err := e.Node.Kill(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = a.Bye(context.Background()) // an error: it is over already
		if err := e.StartNode(context.Background()); err != nil {
			t.Error(err)
		}
	})
	r := &direct{e: e, a: a, b: b, seen: map[string]bool{}}
	password, err := os.ReadFile(filepath.Join(e.Dir, "media.key"))
	if err != nil {
		t.Fatal(err)
	}
	if r.orders, err = esl.Dial(ctx, e.MediaESL, string(password), esl.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.orders.Close() })
	if _, err := r.orders.Send(ctx, "event plain CHANNEL_PARK CHANNEL_UNBRIDGE CHANNEL_BRIDGE"); err != nil {
		t.Fatal(err)
	}
	r.find(t, ctx)
	// The caller first: nobody serves him now, he would be hung up when his bridge has ended. The other one parks by himself.
	r.order(t, ctx, "uuid_setvar "+r.leg+" park_after_bridge true")
	r.order(t, ctx, "uuid_transfer "+r.first+" park inline")
	r.event(t, ctx, "CHANNEL_PARK", r.first)
	r.event(t, ctx, "CHANNEL_PARK", r.leg)
	r.order(t, ctx, "uuid_setvar "+r.leg+" park_after_bridge false")
	r.order(t, ctx, "sched_del "+r.first) // the guard of calls that no agent has
	r.order(t, ctx, "uuid_bridge "+r.first+" "+r.leg)
	r.event(t, ctx, "CHANNEL_BRIDGE", r.first)
	talk(t, ctx, a, b)
	return r
}

// find learns the two channels.
func (r *direct) find(t *testing.T, ctx context.Context) {
	t.Helper()
	var list struct {
		Rows []struct{ UUID, Direction string }
	}
	if err := json.Unmarshal([]byte(r.order(t, ctx, "show channels as json")), &list); err != nil || len(list.Rows) != 2 {
		t.Fatalf("%d channels, %v; want 2", len(list.Rows), err)
	}
	for _, row := range list.Rows {
		if row.Direction == "inbound" {
			r.first = row.UUID
		} else {
			r.leg = row.UUID
		}
	}
	var codecs [2]string
	for i, id := range []string{r.first, r.leg} {
		codecs[i] = r.order(t, ctx, "uuid_getvar "+id+" read_codec")
	}
	if codecs[0] != codecs[1] {
		t.Fatalf("codecs %v", codecs)
	}
}

func (r *direct) order(t *testing.T, ctx context.Context, command string) string {
	t.Helper()
	out, err := r.orders.API(ctx, command)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out
}

// event waits for one of that name and channel; those before it are passed over, but not forgotten.
func (r *direct) event(t *testing.T, ctx context.Context, name, channel string) {
	t.Helper()
	for !r.seen[name+channel] {
		e, err := r.orders.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %s: %v", name, err)
		}
		r.seen[e.Name()+e.UUID()] = true
	}
	delete(r.seen, name+channel)
}

// refused is what both channels say of re-INVITEs that were refused.
func (r *direct) refused(t *testing.T, ctx context.Context) [2]string {
	t.Helper()
	var out [2]string
	for i, id := range []string{r.first, r.leg} {
		if v := r.order(t, ctx, "uuid_getvar "+id+" sip_invite_failure_status"); v != "_undef_" {
			out[i] = v
		}
	}
	return out
}

// media moves the media away from the server, or back, and wants it to be where it should: with the process stopped the
// phones hear each other, or neither hears anything.
func (r *direct) media(t *testing.T, ctx context.Context, away bool) {
	t.Helper()
	command := map[bool]string{true: "uuid_media off ", false: "uuid_media "}[away]
	r.order(t, ctx, command+r.first)
	r.event(t, ctx, "CHANNEL_BRIDGE", r.first)
	talk(t, ctx, r.a, r.b)
	if got := r.refused(t, ctx); got != [2]string{} {
		t.Errorf("refused: %q", got)
	}
	if err := r.e.Media.Freeze(); err != nil {
		t.Fatal(err)
	}
	if away {
		talk(t, ctx, r.a, r.b)
	} else {
		for who, c := range map[string]*phone.Call{"caller": r.a, "callee": r.b} {
			if err := c.HearSilence(ctx, 500*time.Millisecond); err != nil {
				t.Errorf("the %s hears something with the media server stopped: %v", who, err)
			}
		}
	}
	if err := r.e.Media.Thaw(); err != nil {
		t.Fatal(err)
	}
	talk(t, ctx, r.a, r.b)
}

// over wants nothing to be left of the talk.
func (r *direct) over(t *testing.T, ctx context.Context) {
	t.Helper()
	hungUp(t, ctx, "a phone of the talk", r.a, r.b)
	noChannels(t, ctx, r.e)
	noDialogs(t, ctx, r.e)
	noMedia(t, ctx, r.e)
}

// law has a phone speak one codec only.
func law(name string) option { return func(c *phone.Config) { c.Codecs = []string{name} } }

// The media server lets go of a talk's media and takes it back, twice: both re-INVITEs pass Kamailio and both sessions
// of rtpengine, and while the media server's process is stopped the phones hear each other. Whoever hangs up, released or
// not, ends both. The caller is a carrier's switch, a phone of the account, or a browser.
func TestRelease_TalkGoesAroundTheMediaServer(t *testing.T) {
	t.Parallel()
	e := ownShop(t)
	in := realm("shop.test")
	browser := func(c *phone.Config) { c.WebRTC = true }
	for _, row := range []struct {
		name     string
		caller   func(t *testing.T) *phone.Phone
		number   string
		callee   []option
		callerBy bool // the caller hangs up
		released bool // at the end
	}{
		{"from a trunk, the caller ends it", func(t *testing.T) *phone.Phone { return trunkPhone(t, e, "4930555", law("PCMA")) }, "493012345", nil, true, true},
		{"over TCP, the callee ends it", func(t *testing.T) *phone.Phone { return registered(t, e, "2002", in, over("tcp"), law("PCMA")) }, "801", []option{over("tls")}, false, true},
		{"from a browser", func(t *testing.T) *phone.Phone { return registered(t, e, "2002", in, over("wss"), browser) }, "801", []option{law("PCMU")}, false, false},
		{"to a browser", func(t *testing.T) *phone.Phone { return registered(t, e, "2002", in, law("PCMU")) }, "801", []option{over("wss"), browser}, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			ctx := within(t, 60*time.Second)
			dora := registered(t, e, "2001", append(row.callee, in)...)
			r := connectAside(t, ctx, e, row.caller(t), dora, row.number)
			r.media(t, ctx, true)
			r.media(t, ctx, false)
			if row.released {
				r.media(t, ctx, true)
			}
			from := r.b
			if row.callerBy {
				from = r.a
			}
			leaveAll(t, ctx, from)
			r.over(t, ctx)
		})
	}
}

// A phone that refuses re-INVITEs is found by asking it before anything is moved (uuid_media_reneg): the talk stays as it
// is, through the relays too, and is not released.
func TestRelease_StubbornPhoneIsFoundBefore(t *testing.T) {
	t.Parallel()
	e := ownShop(t)
	for _, who := range []string{"caller", "callee"} {
		t.Run(who, func(t *testing.T) {
			ctx := within(t, 60*time.Second)
			dora := registered(t, e, "2001", realm("shop.test"), law("PCMA"))
			r := connectAside(t, ctx, e, trunkPhone(t, e, "4930555", law("PCMA")), dora, "493012345")
			stubborn, asked, other := r.a, r.first, r.leg
			if who == "callee" {
				stubborn, asked, other = r.b, r.leg, r.first
			}
			if got := r.ask(t, ctx, asked, other); got != "_undef_" {
				t.Errorf("a willing phone: %q", got)
			}
			stubborn.RefuseOffers(488)
			if got := r.ask(t, ctx, asked, other); got != "488" {
				t.Errorf("a stubborn phone: %q, want 488", got)
			}
			talk(t, ctx, r.a, r.b)
			leaveAll(t, ctx, r.a)
			r.over(t, ctx)
		})
	}
}

// ask offers one phone its media as it runs, and returns what the other channel says of it when it is answered.
func (r *direct) ask(t *testing.T, ctx context.Context, channel, other string) string {
	t.Helper()
	const asked = "asked"
	r.order(t, ctx, "uuid_setvar "+other+" sip_invite_failure_status "+asked)
	r.order(t, ctx, "uuid_media_reneg "+channel)
	answer := asked
	eventually(t, ctx, "an answer to the offer", func() error {
		if answer = r.order(t, ctx, "uuid_getvar "+other+" sip_invite_failure_status"); answer == asked {
			return errors.New("none is there")
		}
		return nil
	})
	return answer
}

// A phone that answers a re-INVITE with nothing at all is given up after five seconds, by Kamailio's 408, and the talk
// with it.
func TestRelease_SilentPhoneEndsTheTalk(t *testing.T) {
	t.Parallel()
	e := ownShop(t)
	ctx := within(t, 60*time.Second)
	dora := registered(t, e, "2001", realm("shop.test"), law("PCMA"))
	r := connectAside(t, ctx, e, trunkPhone(t, e, "4930555", law("PCMA")), dora, "493012345")
	r.b.IgnoreOffers()
	from := time.Now()
	r.order(t, ctx, "uuid_setvar "+r.first+" sip_invite_failure_status asked")
	r.order(t, ctx, "uuid_media_reneg "+r.leg)
	talk(t, ctx, r.a, r.b)
	if got := r.order(t, ctx, "uuid_getvar "+r.first+" sip_invite_failure_status"); got != "asked" {
		t.Errorf("%q before the phone has answered: a provisional response is no answer", got)
	}
	r.over(t, ctx)
	if took := time.Since(from); took < 4*time.Second || took > 12*time.Second {
		t.Errorf("the talk ended after %v", took)
	}
}
