package freeswitch

import (
	"context"
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

// pressInBand sends keys as tones in the audio: 120 ms each, and as much silence around them.
func pressInBand(t *testing.T, ear *phone.Call, keys string) {
	t.Helper()
	m := mediaAddress.FindStringSubmatch(ear.ReceivedSDP())
	if m == nil {
		t.Fatalf("no address in the SDP %q", ear.ReceivedSDP())
	}
	c, err := net.Dial("udp", net.JoinHostPort(m[1], m[2]))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const pause = tone.Rate * 12 / 100
	audio := make([]int16, pause)
	for _, key := range keys {
		for i := range pause {
			at := 2 * math.Pi * float64(i) / tone.Rate
			audio = append(audio, int16(8000*(math.Sin(at*dual[key][0])+math.Sin(at*dual[key][1]))))
		}
		audio = append(audio, make([]int16, pause)...)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i+160 <= len(audio); i += 160 {
		p := rtp.Packet{Payload: tone.PCMA.Encode(audio[i : i+160]), Header: rtp.Header{
			Version: 2, PayloadType: uint8(tone.PCMA), SSRC: 77, SequenceNumber: uint16(i / 160), Timestamp: uint32(i)}}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		<-tick.C
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
