package freeswitch

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

// dual are the two frequencies of each key of a telephone.
var dual = map[rune][2]float64{
	'1': {697, 1209}, '2': {697, 1336}, '3': {697, 1477}, '4': {770, 1209}, '5': {770, 1336}, '6': {770, 1477},
	'7': {852, 1209}, '8': {852, 1336}, '9': {852, 1477}, '*': {941, 1209}, '0': {941, 1336}, '#': {941, 1477},
}

var mediaAddress = regexp.MustCompile(`(?s)c=IN IP4 ([0-9.]+).*m=audio ([0-9]+) `)

// speaker is a caller made of bare sockets, for audio that the test phone cannot make. It sends from the address that
// its SDP names.
type speaker struct {
	rtp  *net.UDPConn
	sent uint16
}

// speaks makes a call from bare sockets and returns it with its agent once it is answered.
func (s *site) speaks(t *testing.T) (*agent, *speaker) {
	t.Helper()
	raw, err := phone.DialRaw("", s.sip)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	sp := &speaker{}
	if sp.rtp, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sp.rtp.Close() })
	token := rand.Text()
	sdp := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 8\r\n", sp.rtp.LocalAddr().(*net.UDPAddr).Port)
	head := func(method, to string) string {
		return fmt.Sprintf("%s sip:4930@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%s\r\nFrom: <sip:9@%s>;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nMax-Forwards: 70\r\nContact: <sip:9@%s>\r\n",
			method, s.sip, raw.LocalAddr(), method, token, raw.LocalAddr(), token[:8], to, token, method, raw.LocalAddr())
	}
	if err := raw.Send([]byte(head("INVITE", "<sip:4930@"+s.sip+">") + fmt.Sprintf("X-Sipio-Call: %s\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", token, len(sdp), sdp))); err != nil {
		t.Fatal(err)
	}
	a := s.agents.wait(t, token)
	a.begin(t)
	a.runs(t, "answer", "")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		m, err := raw.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Code != 200 {
			continue
		}
		if err := raw.Send([]byte(head("ACK", m.Header("To")) + "Content-Length: 0\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		sp.aim(t, string(m.Body))
		t.Cleanup(func() {
			_, _ = a.API(context.Background(), "uuid_kill "+a.uuid) // an error: it is over
			a.Close()
		})
		return a, sp
	}
}

// aim connects the audio to the address of an SDP.
func (sp *speaker) aim(t *testing.T, sdp string) {
	t.Helper()
	m := mediaAddress.FindStringSubmatch(sdp)
	if m == nil {
		t.Fatalf("no address in the SDP %q", sdp)
	}
	local := sp.rtp.LocalAddr().(*net.UDPAddr)
	sp.rtp.Close()
	remote, err := net.ResolveUDPAddr("udp", net.JoinHostPort(m[1], m[2]))
	if err != nil {
		t.Fatal(err)
	}
	if sp.rtp, err = net.DialUDP("udp", local, remote); err != nil {
		t.Fatal(err)
	}
}

// press sends keys as tones in the audio: 120 ms each, and as much silence around them. All of a key leaves at once: a pause of the
// machine then cuts none in two, and nothing is made up for behind it that the other side would have no room for.
func (sp *speaker) press(t *testing.T, keys string) {
	t.Helper()
	const pause = tone.Rate * 12 / 100
	sp.say(t, make([]int16, pause))
	for _, key := range keys {
		spoken(t, 120*time.Millisecond)
		audio := make([]int16, 0, 2*pause)
		for i := range pause {
			at := 2 * math.Pi * float64(i) / tone.Rate
			audio = append(audio, int16(8000*(math.Sin(at*dual[key][0])+math.Sin(at*dual[key][1]))))
		}
		sp.say(t, append(audio, make([]int16, pause)...))
		spoken(t, 240*time.Millisecond)
	}
}

// say sends samples as RTP.
func (sp *speaker) say(t *testing.T, audio []int16) {
	t.Helper()
	for i := 0; i+160 <= len(audio); i += 160 {
		sp.sent++
		p := rtp.Packet{Payload: tone.PCMA.Encode(audio[i : i+160]), Header: rtp.Header{
			Version: 2, PayloadType: uint8(tone.PCMA), SSRC: 77, SequenceNumber: sp.sent, Timestamp: 160 * uint32(sp.sent)}}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sp.rtp.Write(b); err != nil {
			t.Fatal(err)
		}
	}
}

// pressByINFO sends one key as a SIP INFO of the phone's call (application/dtmf-relay).
func pressByINFO(t *testing.T, c *call, key string, sequence int) {
	t.Helper()
	_, address, _ := strings.Cut(mediaServer(c.ear), "@")
	raw, err := phone.DialRaw("", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	invite, err := phone.ParseRaw([]byte(c.ear.InviteRequest()))
	if err != nil {
		t.Fatal(err)
	}
	body := "Signal=" + key + "\r\nDuration=160\r\n"
	msg := fmt.Sprintf("INFO %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKinfo%d%d\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d INFO\r\nMax-Forwards: 70\r\nContact: <%s>\r\nContent-Type: application/dtmf-relay\r\nContent-Length: %d\r\n\r\n%s",
		mediaServer(c.ear), raw.LocalAddr(), time.Now().UnixNano(), sequence, invite.Header("From"), c.ear.RemoteHeaders()["To"][0], c.ear.CallID(), sequence, c.phone.Contact(), len(body), body)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := raw.Exchange(ctx, []byte(msg))
	if err != nil || res.Code != 200 {
		t.Fatalf("INFO: %v, %v", res, err)
	}
}

// mediaServer is the URI of the other side's Contact, without parameters.
func mediaServer(ear *phone.Call) string {
	contact := strings.Join(ear.RemoteHeaders()["Contact"], "")
	uri := contact[strings.Index(contact, "sip:"):]
	if end := strings.IndexAny(uri, ";>"); end >= 0 {
		uri = uri[:end]
	}
	return uri
}
