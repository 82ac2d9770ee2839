package fsim

import (
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

func TestCall_OutboundSocketPlaysCollectsAndHangsUp(t *testing.T) {
	// Proves a call end to end: a phone calls, the agent answers it over the outbound socket, the phone hears a file,
	// its digits (RFC 4733) come as events, and the agent's hangup reaches it.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}})
	p := newPhone(t, s.SIP, "1001")
	call, err := p.Dial(ctx, "8084", phone.WithHeader("X-Sipio-Call", "tok-1"), phone.WithHeader("X-Sipio-App", "flow/flow_1"))
	if err != nil {
		t.Fatal(err)
	}
	c := a.take(t)
	for name, want := range map[string]string{"Variable_sip_h_x-Sipio-Call": "tok-1", "Variable_sip_h_x-Sipio-App": "flow/flow_1", "Caller-Destination-Number": "8084",
		"Answer-State": "ringing", "Channel-Call-State": "RINGING", "Variable_endpoint_disposition": "DELAYED NEGOTIATION"} {
		if !hasFold(c.data, name, want) {
			t.Errorf("connect reply: %s is not %q", name, want)
		}
	}
	c.perform(t, "answer", "")
	if err := call.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	c.execute(t, "playback", toneFile(t, 800, 2*time.Second), "Event-UUID: one")
	hears(ctx, t, call, 800)
	if err := call.SendDigits("42#"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4", "2", "#"} {
		c.event(t, "DTMF", "DTMF-Digit", want, "DTMF-Source", "RTP")
	}
	if e := c.event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", "one"); e["Application-Response"] != "FILE PLAYED" {
		t.Errorf("Application-Response is %q", e["Application-Response"])
	}
	c.execute(t, "hangup", "NORMAL_CLEARING")
	c.event(t, "CHANNEL_HANGUP_COMPLETE", "Hangup-Cause", "NORMAL_CLEARING")
	select {
	case <-call.Done():
	case <-time.After(patience):
		t.Fatal("the phone got no BYE")
	}
	for _, want := range []string{"linger", "disconnect" + goodbye} {
		if got := <-c.notices; got != want {
			t.Errorf("notice %q, want %q", got, want)
		}
	}
}

func hasFold(m map[string]string, name, want string) bool {
	for k, v := range m {
		if strings.EqualFold(k, name) && v == want {
			return true
		}
	}
	return false
}
