package kamailio

import (
	"strconv"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// A request that is older than the last one of its sender is refused by the edge, from either side: the other end hears of none, and the
// call is not taken for over. A BYE in order ends it.
func TestBye_OneThatIsTooOldEndsNothing(t *testing.T) {
	t.Parallel()
	caller, callee := outside(t, false)
	within(t, callee, caller, "INFO", 0)
	within(t, callee, caller, "INFO", 0)
	for _, l := range []*leg{caller, callee} {
		now := l.cseq
		for _, method := range []string{"BYE", "INFO"} {
			l.cseq = 0
			if m := l.asks(method, ""); m.Code != 500 {
				t.Errorf("%s with CSeq 1: %s", method, m.StartLine)
			}
		}
		l.cseq = now
	}
	within(t, caller, callee, "INFO", 0)
	within(t, callee, caller, "INFO", 0)
	before := time.Now().UnixMilli()
	hangUp(t, caller, callee)
	e := shared.door.expectEvent(t, api.EventDialogEnd, "call_id", caller.callID)
	if at, err := strconv.ParseInt(e.Get("time_ms"), 10, 64); err != nil || at < before {
		t.Errorf("the brain was told that the call is over %d ms before it was: %v", before-at, e)
	}
}

// A trunk that refuses the caller's BYE gets another one, with a number above all before; what it might have been refused for is not in
// either. One that says that it knows no such call does not, and one that refuses both is told no third time.
func TestBye_ATrunkThatRefusesItGetsAnother(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		answers []int
		final   int
	}{{"out of order", []int{500, 200}, 200}, {"busy", []int{503, 481}, 481}, {"gone", []int{481}, 481}, {"never", []int{420, 603}, 603}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			caller, callee := outside(t, false)
			cseq := caller.ask("BYE", "Require: nothing\r\nProxy-Require: nothing\r\nContent-Encoding: none\r\nContent-Type: text/plain\r\n\r\nbye")
			for i, code := range c.answers {
				bye := callee.request("BYE")
				numberedAs(t, bye, caller.cseq+i)
				for _, name := range []string{"Require", "Proxy-Require", "Content-Encoding", "Content-Type"} {
					if bye.Header(name) != "" {
						t.Errorf("the trunk gets %s: %s", name, bye.Header(name))
					}
				}
				if bye.Header("Max-Forwards") != "70" || bye.Header("Content-Length") != "0" {
					t.Errorf("the trunk gets\n%s", bye.raw)
				}
				callee.reply(bye, code, "Said")
			}
			if m := caller.final(caller.callID, cseq); m.Code != c.final {
				t.Errorf("the caller gets %s, want %d", m.StartLine, c.final)
			}
			callee.quiet()
			shared.door.expectEvent(t, api.EventDialogEnd, "call_id", caller.callID)
		})
	}
}

// A trunk that says nothing to a BYE is not asked twice: there may be nobody.
func TestBye_ASilentTrunkIsToldOnce(t *testing.T) {
	t.Parallel()
	caller, callee := outside(t, false)
	cseq := caller.ask("BYE", "")
	callee.request("BYE")
	m := caller.expect("the end of the silence", func(m *message) bool { return m.Header("CSeq") == cseq && m.Code >= 200 })
	if m.Code != 408 {
		t.Errorf("the caller gets %s", m.StartLine)
	}
	if second := callee.take("BYE"); second != nil {
		t.Errorf("it gets another, %v later: %s", time.Since(m.at), second.raw)
	}
}
