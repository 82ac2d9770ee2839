package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// answers has a caller answer every request inside his call with a code, as long as the test runs; the answer to his own BYE is sent to said.
func (w *twin) answers(t *testing.T, ctx context.Context, code int) (said <-chan int) {
	own := make(chan int, 8)
	go func() {
		for {
			m, err := w.Read(ctx)
			switch {
			case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
				return
			case err != nil:
				continue
			case m.Code >= 200 && strings.HasSuffix(m.Header("CSeq"), "BYE"):
				own <- m.Code
			case m.Code != 0 || m.Method == "ACK":
			default:
				text := fmt.Sprintf("SIP/2.0 %d Said\r\n", code)
				for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
					for _, v := range m.All(name) {
						text += name + ": " + v + "\r\n"
					}
				}
				_ = w.Send([]byte(text + "Content-Length: 0\r\n\r\n"))
			}
		}
	}()
	return own
}

// The call of a caller who is gone is ended and charged within the time that the node is told: the one who is gone for good, and the one who
// has begun anew and knows of no call. Whoever answers keeps his call, whatever he answers, though he sends no media at all; so does a caller
// who is gone while no node agent runs.
func TestWallet_CallersWhoAreGonePayNoLonger(t *testing.T) {
	const gone = 10 * time.Second
	m := &money{office: newOffice(t, func(o *edge.Options) { o.Media = true; o.NodeFlags = []string{"--caller-gone-after=" + gone.String()} })}
	ctx := within(t, 150*time.Second)
	if err := m.Apply(ctx, charged); err != nil {
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
	m.topup(t, ctx, 10_000*cent)

	far, said := map[int]*phone.Call{}, map[int]<-chan int{}
	callers := map[int]*twin{}
	for _, code := range []int{0, 481, 200, 405, 501, 500} { // 0: he closes his socket
		w := newTwin(t, m.office, "", fmt.Sprint("tag", code))
		w.callID = fmt.Sprint("vanish-", code)
		if got := w.dial(t, ctx); got != 200 {
			t.Fatalf("call of who will answer %d: %d", code, got)
		}
		select {
		case far[code] = <-m.alpha.up:
		case far[code] = <-m.beta.up:
		case far[code] = <-m.gamma.up:
		case <-ctx.Done():
			t.Fatal("no carrier has the call")
		}
		if callers[code] = w; code == 0 {
			_ = w.Close()
			continue
		}
		said[code] = w.answers(t, ctx, code)
	}
	began := time.Now()
	for _, code := range []int{0, 481} {
		select {
		case <-far[code].Done():
			t.Logf("the call of who answers %d ended after %v", code, time.Since(began))
		case <-time.After(4 * gone):
			t.Fatalf("the carrier of who answers %d has no BYE after %v", code, time.Since(began))
		}
	}
	eventually(t, ctx, "two calls are charged, four go on", func() error { return m.up(ctx, 4, 2) })
	// sleep: those who answer are asked several times more
	time.Sleep(gone)
	if err := m.up(ctx, 4, 2); err != nil {
		t.Error(err)
	}
	if err := m.Node.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = callers[200].Close()
	for code := range said {
		if code == 200 || code == 481 {
			continue
		}
		w := callers[code]
		if err := w.Send(w.write("BYE", w.target, 3, "bye-"+w.tag, w.routes, "")); err != nil {
			t.Error(err)
		}
		select {
		case got := <-said[code]:
			if got != 200 {
				t.Errorf("BYE of who answers %d: %d", code, got)
			}
		case <-ctx.Done():
			t.Errorf("the BYE of who answers %d is not answered", code)
		}
	}
	select {
	case <-far[200].Done():
		t.Error("without a node agent a call was ended")
	case <-time.After(2 * gone):
	}
}
