package kamailio

import (
	"fmt"
	"strings"
	"testing"
)

// What an answer has to say besides its code reaches the caller when he is told that code: Min-SE of 422, Unsupported of 420, Require of 421, Accept of
// 415, Warning of 488, the cause of the network. Told another code he hears none of it, and nothing else of a trunk's answer.
func TestOutFail_TheAnswersOwnWordsReachTheCaller(t *testing.T) {
	t.Parallel()
	lines := "Min-SE: 1800\r\nUnsupported: 100rel, x\r\nAccept: application/sdp\r\nWarning: 399 carrier.test\r\n \"no\r\n\tcodec\"\r\nReason: Q.850;cause=88;text=\"a\"\r\nX-Inside: 1\r\nServer: carrier\r\n"
	own := map[int]string{422: "Min-SE", 420: "Unsupported", 421: "Require", 415: "Accept", 488: "Warning", 404: ""}
	for code, header := range own {
		for _, who := range []string{"trunk", "trunk, another code", "phone"} {
			t.Run(fmt.Sprint(code, " of a ", who), func(t *testing.T) {
				t.Parallel()
				a, b := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta")
				told := code
				switch who {
				case "trunk":
					shared.door.plan(a.user, outward(over(b, "ta")), reject(code, "As The Trunk Says", 0))
				case "trunk, another code":
					told = 480
					shared.door.plan(a.user, outward(over(b, "ta")), reject(told, "As The Door Says", 0))
				case "phone":
					b = registered(t, shared, "udp", user("b"))
					shared.door.obey(a.user, ring(to(1, b.user)))
				}
				call := a.newCall("+4930123")
				call.body = sdp(40000)
				call.dial()
				invite := b.request("INVITE")
				more := lines
				switch code {
				case 404:
					more = ""
				case 421:
					more += "Require: 100rel\r\n"
				}
				b.send(b.response(invite.RawMessage, code, "No", more, ""))
				b.request("ACK")
				m := call.refused(told)
				for _, name := range []string{"Min-SE", "Unsupported", "Require", "Accept", "Warning", "Reason", "X-Inside"} {
					heard := m.Header(name) != ""
					if want := told == code && (name == header || name == "Reason" && code != 404); heard != want && who != "phone" || want && !heard {
						t.Errorf("the caller hears %s: %v\n%s", name, heard, m.raw)
					}
				}
				if w := m.Header("Warning"); header == "Warning" && told == code && strings.Join(strings.Fields(w), " ") != `399 carrier.test "no codec"` {
					t.Errorf("Warning: %q", w)
				}
			})
		}
	}
}
