package phone

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/test/phone/tone"
)

// Proves address, payload types, telephone-event and direction are read, and the stream's own win over the session's.
func TestParseSDP_ReadsTheAudioStream(t *testing.T) {
	d, err := parseSDP([]byte("v=0\r\nc=IN IP4 192.0.2.1\r\na=inactive\r\nm=audio 4000 RTP/AVP 9 8 0 97\r\nc=IN IP4 192.0.2.2\r\n" +
		"a=rtpmap:97 telephone-event/8000\r\na=sendonly\r\nm=video 4002 RTP/AVP 96\r\na=recvonly\r\n"))
	if err != nil || d.addr != "192.0.2.2:4000" || d.event != 97 || d.dir != sendonly {
		t.Errorf("%+v, %v", d, err)
	}
	if law, ok := d.firstLaw([]tone.Law{tone.PCMU, tone.PCMA}); !ok || law != tone.PCMA {
		t.Errorf("chose %v, %v; the offerer prefers PCMA", law, ok)
	}
	for _, bad := range []string{"", "v=0\r\n", "v=0\r\nm=audio 1 RTP/AVP 0\r\n", "v=0\r\nc=IN IP4 192.0.2.1\r\nm=video 1 RTP/AVP 0\r\n"} {
		if d, err := parseSDP([]byte(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, d)
		}
	}
}

// Proves what a phone writes reads back the same.
func TestWriteSDP_ReadsBack(t *testing.T) {
	d, err := parseSDP(setDirection(writeSDP(1, 2, "127.0.0.1", 4000, []tone.Law{tone.PCMA}, 101, sendrecv), recvonly))
	if err != nil || d.addr != "127.0.0.1:4000" || len(d.payloads) != 2 || d.event != 101 || d.dir != recvonly {
		t.Errorf("%+v, %v", d, err)
	}
}

// Proves the answerer sends only where the offerer receives (RFC 3264 section 6.1).
func TestDirection_AnswererSendsOnlyWhereOffererReceives(t *testing.T) {
	for offer, answer := range map[direction]direction{sendrecv: sendrecv, sendonly: recvonly, recvonly: sendonly, inactive: inactive} {
		if got := offer.mirror(); got != answer {
			t.Errorf("%s is answered %s, want %s", offer, got, answer)
		}
	}
}

// Proves a browser phone writes its default candidate into c= and m=: rtpengine takes pion's 0.0.0.0 for hold.
func TestWebRTC_OfferNamesItsDefaultCandidate(t *testing.T) {
	m, err := newWebRTC("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	offer, err := m.offer(sendrecv)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := parseSDP(offer); err != nil || !strings.HasPrefix(d.addr, "127.0.0.1:") || d.addr == "127.0.0.1:9" {
		t.Errorf("%+v, %v", d, err)
	}
}

// Proves a stream offered outside any BUNDLE group, as by rtpengine, is accepted, and the answer invents no group.
func TestWebRTC_AnswersAnOfferWithoutBundle(t *testing.T) {
	offerer, err := newWebRTC("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer offerer.close()
	answerer, err := newWebRTC("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer answerer.close()
	offer, err := offerer.offer(sendrecv)
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.Replace(string(offer), "a=group:BUNDLE 0\r\n", "", 1)
	if plain == string(offer) {
		t.Fatal("the offer had no group to take away")
	}
	answer, err := answerer.answer([]byte(plain), sendrecv)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := parseSDP(answer); err != nil || strings.HasSuffix(d.addr, ":0") || strings.Contains(string(answer), "BUNDLE") {
		t.Errorf("%v\n%s", err, answer)
	}
}
