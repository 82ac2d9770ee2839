package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// twin is a call of 1001 that the test writes by itself. Several may have one Call-ID, CSeq and branch: only socket and From tag are their own.
type twin struct {
	*phone.Raw
	callID, tag, number, to, target, routes string
}

func newTwin(t *testing.T, o *office, ip, tag string) *twin {
	t.Helper()
	raw, err := phone.DialRaw(ip, o.SIP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	return &twin{Raw: raw, callID: "twins", tag: tag, number: "0305551234"}
}

func (w *twin) write(method, uri string, cseq int, branch, more, body string) []byte {
	return fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK-%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:1001@kontor.test>;tag=%s\r\nTo: %s\r\n"+
		"Call-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:1001@%s>\r\n%sContent-Length: %d\r\n\r\n%s",
		method, uri, w.LocalAddr(), branch, w.tag, w.to, w.callID, cseq, method, w.LocalAddr(), more, len(body), body)
}

// dial calls, and returns the final answer; the call is up when that is 200.
func (w *twin) dial(t *testing.T, ctx context.Context) int {
	t.Helper()
	called := "sip:" + w.number + "@kontor.test"
	w.to = "<" + called + ">"
	m, err := w.Exchange(ctx, w.write("INVITE", called, 1, "asked-"+w.tag, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	ch, err := m.Challenge()
	if err != nil {
		t.Fatal(m.StartLine, err)
	}
	w.to = m.Header("To")
	if err := w.Send(w.write("ACK", called, 1, "asked-"+w.tag, "", "")); err != nil {
		t.Fatal(err)
	}
	w.to = "<" + called + ">"
	sdp := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
	m, err = w.Exchange(ctx, w.write("INVITE", called, 2, w.callID,
		"Content-Type: application/sdp\r\nProxy-Authorization: "+ch.Answer("1001", "secret-1001", "INVITE", called).Header()+"\r\n", sdp))
	if err != nil {
		t.Fatal(err)
	}
	if m.Code != 200 {
		return m.Code
	}
	_, w.target, _ = strings.Cut(m.Header("Contact"), "<")
	w.target, _, _ = strings.Cut(w.target, ">")
	for _, r := range m.All("Record-Route") {
		w.routes = "Route: " + r + "\r\n" + w.routes
	}
	w.to = m.Header("To")
	if err := w.Send(w.write("ACK", w.target, 2, "ack-"+w.tag, w.routes, "")); err != nil {
		t.Fatal(err)
	}
	return m.Code
}

func (w *twin) bye(t *testing.T, ctx context.Context) {
	t.Helper()
	w.end(t, ctx, w.write("BYE", w.target, 3, "bye-"+w.tag, w.routes, ""))
}

// end sends a BYE, which has to be taken.
func (w *twin) end(t *testing.T, ctx context.Context, datagram []byte) {
	t.Helper()
	for {
		m, err := w.Exchange(ctx, datagram)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(m.Header("CSeq"), "BYE") {
			if m.Code != 200 {
				t.Errorf("BYE: %s", m.StartLine)
			}
			return
		}
	}
}

// A phone gives two calls one Call-ID, CSeq and branch: each takes a line and holds money of its own, a third finds the account
// full; the BYE of the first ends the bill of the first alone, and each is charged its own talk.
func TestWallet_CallsThatLookAlikeArePaidForEach(t *testing.T) {
	m := &money{office: newOffice(t, func(o *edge.Options) { o.Media = true })}
	ctx := within(t, 60*time.Second)
	if err := m.Apply(ctx, strings.Replace(charged, "max_out: 8", "max_out: 2", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Request(ctx, "POST", api.PathRateImport+"?plan=retail", "text/csv", []byte(rates)); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.account, err = m.AccountID(ctx, "acme"); err != nil {
		t.Fatal(err)
	}
	m.do(accept, accept, accept)
	m.topup(t, ctx, 100*cent)
	var twins [3]*twin
	var began, talked [3]time.Time
	for i, want := range []int{200, 200, 480} {
		if i > 0 {
			// sleep: until then Kamailio takes an INVITE with this branch for a repetition of the one before (tm, wait_timer of 5 s)
			time.Sleep(6 * time.Second)
		}
		twins[i] = newTwin(t, m.office, "", fmt.Sprint("twin", i))
		if code := twins[i].dial(t, ctx); code != want {
			t.Fatalf("call %d of 2 allowed is answered %d, want %d", i+1, code, want)
		}
		began[i] = time.Now()
	}
	if err := m.up(ctx, 2, 0); err != nil {
		t.Error(err)
	}
	if b := m.balance(t, ctx); b.HeldMicros < 20*cent {
		t.Errorf("two calls are up, %d is held for them, want twice what one is at least", b.HeldMicros)
	}
	first, second := <-m.alpha.up, <-m.alpha.up
	twins[0].bye(t, ctx)
	talked[0] = time.Now()
	eventually(t, ctx, "one call is charged, the other goes on", func() error { return m.up(ctx, 1, 1) })
	// sleep: the second talks longer, which its bill has to show
	time.Sleep(3 * time.Second)
	twins[1].bye(t, ctx)
	talked[1] = time.Now()
	eventually(t, ctx, "both calls are charged", func() error { return m.up(ctx, 0, 2) })
	for _, c := range []*phone.Call{first, second} {
		select {
		case <-c.Done():
		case <-ctx.Done():
			t.Error("the carrier was not told that a call is over")
		}
	}
	page, err := m.statement(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range page.Movements[len(page.Movements)-2:] {
		if off := time.Duration(v.TalkMS)*time.Millisecond - talked[i].Sub(began[i]); off.Abs() > time.Second {
			t.Errorf("call %d is charged %d ms, it talked %v", i+1, v.TalkMS, talked[i].Sub(began[i]))
		}
	}
	if b := m.balance(t, ctx); b.HeldMicros != 0 {
		t.Errorf("%d is held still", b.HeldMicros)
	}
}

func (m *money) statement(ctx context.Context) (page balance.Page, err error) {
	raw, err := m.Request(ctx, "GET", api.PathBalanceStatement+"?account_id="+m.account, "", nil)
	if err == nil {
		err = json.Unmarshal(raw, &page)
	}
	return page, err
}

// up says what is amiss unless so many calls have their place, and so many were charged.
func (m *money) up(ctx context.Context, up, charged int) error {
	held, err := slots(ctx, m.Edge)
	if err != nil {
		return err
	}
	page, err := m.statement(ctx)
	if err != nil {
		return err
	}
	settled := 0
	for _, v := range page.Movements {
		if v.Kind == balance.Settle {
			settled++
		}
	}
	if len(held) != up || settled != charged {
		return fmt.Errorf("%d calls have a place, want %d; %d were charged, want %d", len(held), up, settled, charged)
	}
	return nil
}
