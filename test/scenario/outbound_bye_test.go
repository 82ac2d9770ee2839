package scenario

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// A caller whose BYE names another target than the carrier's, in any way that SIP has for it, ends his call at the carrier all the same, and
// the target that he has named hears nothing: a call that is over for the wallet is over for the carrier who charges for it.
func TestOutbound_TheCarrierGetsTheBye(t *testing.T) {
	o := newOffice(t, func(opt *edge.Options) { opt.Config = strings.ReplaceAll(opt.Config, "max_out: 8", "max_out: 20") })
	o.do(accept, accept, accept)
	for k, row := range []struct {
		name string
		bend func(w *twin, to string) // before the BYE is written
		more func(bye string) string  // afterwards
	}{
		{"as it should be", func(*twin, string) {}, nil},
		{"request line", func(w *twin, to string) { w.target = "sip:carrier@" + to }, nil},
		{"another transport", func(w *twin, _ string) { w.target += ";transport=tcp" }, nil},
		{"maddr", func(w *twin, to string) { w.target += ";maddr=" + to[:strings.Index(to, ":")] }, nil},
		{"alias", func(w *twin, to string) { w.target += ";alias=" + strings.Replace(to, ":", "~", 1) + "~1" }, nil},
		{"loose route", func(w *twin, to string) { w.routes += "Route: <sip:" + to + ";lr>\r\n" }, nil},
		{"strict route", func(w *twin, to string) { w.routes += "Route: <sip:" + to + ">\r\n" }, nil},
		{"route of the same line", func(w *twin, to string) {
			w.routes = strings.TrimSuffix(w.routes, "\r\n") + ", <sip:" + to + ";lr>\r\n"
		}, nil},
		{"in the carrier's name", func(w *twin, to string) { w.target = "sip:1001@" + to }, inTheOthersName},
		{"in the carrier's name, and it has moved", func(w *twin, to string) {
			w.target = "sip:1001@" + w.LocalAddr()
			move := string(w.write("INVITE", w.target, 2, "move-"+w.tag, w.routes, ""))
			move = inTheOthersName(strings.Replace(move, "Contact: <sip:1001@"+w.LocalAddr(), "Contact: <sip:carrier@"+to, 1))
			if err := w.Send([]byte(move)); err != nil {
				t.Error(err)
			}
			for m := (&phone.RawMessage{}); m.Method != "INVITE"; { // the edge has taken it when it has handed it on
				var err error
				if m, err = w.Read(within(t, 5*time.Second)); err != nil {
					t.Fatal(err)
				}
			}
		}, inTheOthersName},
	} {
		t.Run(row.name, func(t *testing.T) {
			elsewhere, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer elsewhere.Close()
			ctx := within(t, 20*time.Second)
			w := newTwin(t, o, "127.0.0.9", fmt.Sprintf("bent%d", k)) // not the carrier's address
			w.callID = w.tag
			if code := w.dial(t, ctx); code != 200 {
				t.Fatalf("%d to the call", code)
			}
			theirs := <-o.alpha.up
			row.bend(w, elsewhere.LocalAddr().String())
			bye := string(w.write("BYE", w.target, 3, "bye-"+w.tag, w.routes, ""))
			if row.more != nil {
				bye = row.more(bye)
			}
			w.end(t, ctx, []byte(bye))
			select {
			case <-theirs.Done():
			case <-ctx.Done():
				t.Error("the carrier was not told")
			}
			const last = "what was sent to it before the carrier answered is in front of this"
			if _, err := elsewhere.WriteTo([]byte(last), elsewhere.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 2048)
			if n, _, err := elsewhere.ReadFrom(buf); err != nil || string(buf[:n]) != last {
				t.Errorf("went elsewhere: %s %v", buf[:n], err)
			}
		})
	}
	// Nor does it get what it would have to refuse.
	t.Run("a carrier behind its proxy", func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		proxy := o.silent.LocalAddr().String()
		byes := make(chan *phone.RawMessage, 1)
		go recordRoute(o.silent, byes)
		w := newTwin(t, o, "127.0.0.9", "proxied")
		w.callID, w.number = w.tag, "0895551234"
		if code := w.dial(t, ctx); code != 200 {
			t.Fatalf("%d to the call", code)
		}
		w.target = "sip:carrier@127.0.0.1:9"
		w.end(t, ctx, w.write("BYE", w.target, 3, "bye-"+w.tag, w.routes[:strings.LastIndex(w.routes, "Route:")]+"Require: nothing\r\nDate: \"\r\n", ""))
		var bye *phone.RawMessage
		select {
		case bye = <-byes:
		case <-ctx.Done():
			t.Fatal("the carrier was not told")
		}
		if bye.Header("Require") != "" || bye.Header("Date") != "" {
			t.Errorf("the carrier may refuse %v", bye.Headers)
		}
		if want := "BYE sip:behind@127.0.0.1:9 SIP/2.0"; bye.StartLine != want || bye.Header("Route") != "<sip:"+proxy+";lr>" {
			t.Errorf("%s with Route %s, want %s with that of the proxy, %s", bye.StartLine, bye.Header("Route"), want, proxy)
		}
	})
	eventually(t, within(t, 10*time.Second), "no call is left", func() error { return sameCalls(t.Context(), o.Edge, 0) })
}

// inTheOthersName has the caller speak as the other side of his call.
func inTheOthersName(request string) string {
	return strings.NewReplacer("\r\nFrom: ", "\r\nTo: ", "\r\nTo: ", "\r\nFrom: ").Replace(request)
}

// recordRoute answers an INVITE as a carrier whose proxy stays on the path, and its BYE, which it hands over.
func recordRoute(conn net.PacketConn, byes chan<- *phone.RawMessage) {
	buf := make([]byte, 8192)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := phone.ParseRaw(buf[:n])
		if err != nil || strings.HasPrefix(m.StartLine, "ACK") {
			continue
		}
		answer := "SIP/2.0 200 OK\r\n"
		for _, name := range []string{"Via", "Record-Route", "From", "Call-ID", "CSeq"} {
			for _, value := range m.All(name) {
				if name == "Record-Route" && !strings.Contains(answer, name) {
					answer += "Record-Route: <sip:" + conn.LocalAddr().String() + ";lr>\r\n"
				}
				answer += name + ": " + value + "\r\n"
			}
		}
		if strings.HasPrefix(m.StartLine, "BYE") {
			answer += "To: " + m.Header("To") + "\r\nContent-Length: 0\r\n\r\n"
			byes <- m
		} else {
			sdp := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
			answer += fmt.Sprintf("To: %s;tag=behind\r\nContact: <sip:behind@127.0.0.1:9>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", m.Header("To"), len(sdp), sdp)
		}
		_, _ = conn.WriteTo([]byte(answer), from)
	}
}
