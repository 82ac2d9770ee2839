package scenario

import (
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

// What a user whose calls are recorded dials outside, directly or by way of a forward, goes through the media server and over the trunk
// with his number, or withheld, as if it were not recorded. Both hear each other, and the recording has each side in its channel. What
// may not go out is refused, a refusal of the called side is heard as it is, and a call for help goes out at once. A limit of any
// direction counts such a call once, though it runs as two legs.
func TestRecording_OfACallToOutside(t *testing.T) {
	o, n := handingOffice(t)
	clara := registered(t, o.Edge, "1003", realm("kontor.test"))
	for name, c := range map[string]struct {
		dials, shown, privacy string
		opts                  []phone.CallOption
	}{
		"a number":               {"0305551234", "+4930109", "", nil},
		"a forward":              {"705", "+4930109", "", nil},
		"a number, withheld":     {"0305551234", "anonymous", "id", []phone.CallOption{phone.WithHeader("Privacy", "id")}},
		"a number, second trunk": {"0305551234", "030109", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t, 60*time.Second)
			at := o.alpha
			o.alpha.now(rings)
			o.beta.now(rings)
			if name == "a number, second trunk" {
				o.alpha.now(refuses(500))
				at = o.beta
			}
			a, err := clara.Call(ctx, c.dials, c.opts...)
			if err != nil {
				t.Fatal(err)
			}
			b := outsider(t, ctx, at)
			number := "+49305551234"
			if at == o.beta {
				number = "0305551234"
			}
			showing(t, at, number, c.shown, map[string]string{"Privacy": c.privacy})
			for range 4 {
				talk(t, ctx, a, b)
			}
			both(t, ctx, a, b, 2*time.Second)
			keys := tapeKeys(t, ctx, o.Edge, n.account, a)
			hangUp(t, ctx, o.Edge, a, b)
			s := recordingOf(t, ctx, o.Edge, n.account, keys)
			if s.channels() != 2 {
				t.Fatalf("%d channels", s.channels())
			}
			only(t, "the caller's channel", s[0], 440, 620)
			only(t, "the called side's channel", s[1], 620, 440)
		})
	}
	t.Run("refused", func(t *testing.T) {
		ctx := within(t, 30*time.Second)
		o.alpha.now(refuses(404))
		refused(t, ctx, clara, "0900123456", 403)
		if len(o.alpha.calls()) != 0 {
			t.Error("a blocked number was called")
		}
		refused(t, ctx, clara, "0305551234", 404)
		o.alpha.now(refuses(486))
		refused(t, ctx, clara, "0305551234", 486)
	})
	t.Run("for help", func(t *testing.T) {
		ctx := within(t, 30*time.Second)
		o.beta.now(accept)
		a, err := clara.Call(ctx, "112")
		if err != nil {
			t.Fatal(err)
		}
		b := outsider(t, ctx, o.beta)
		showing(t, o.beta, "112", "4930109", nil)
		talk(t, ctx, a, b)
		hangUp(t, ctx, o.Edge, a, b)
	})
	t.Run("limit", func(t *testing.T) {
		ctx := within(t, 30*time.Second)
		if err := o.Apply(ctx, "kind: call_limit\naccount: acme\nname: two\nspec: {scope_kind: account, direction: any, period_sec: 3600, max_count: 2}\n"); err != nil {
			t.Fatal(err)
		}
		o.alpha.now(rings)
		for range 2 {
			a, err := clara.Call(ctx, "0305551234")
			if err != nil {
				t.Fatal(err)
			}
			b := outsider(t, ctx, o.alpha)
			talk(t, ctx, a, b)
			hangUp(t, ctx, o.Edge, a, b)
		}
		refused(t, ctx, clara, "0305551234", 480)
		refused(t, ctx, clara, "1001", 480)
		if n := len(o.alpha.calls()); n != 2 {
			t.Errorf("the carrier had %d calls", n)
		}
	})
}
