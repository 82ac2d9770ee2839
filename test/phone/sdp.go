package phone

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/sipio/sipio/test/phone/tone"
)

// direction is the media direction of RFC 3264, seen from the one who writes the SDP.
type direction string

const (
	sendrecv direction = "sendrecv"
	sendonly direction = "sendonly"
	recvonly direction = "recvonly"
	inactive direction = "inactive"
)

func (d direction) sends() bool    { return d == sendrecv || d == sendonly }
func (d direction) receives() bool { return d == sendrecv || d == recvonly }

// mirror is what the answerer may do at most: it sends where the offerer receives.
func (d direction) mirror() direction { return directionOf(d.receives(), d.sends()) }

func directionOf(sends, receives bool) direction {
	switch {
	case sends && receives:
		return sendrecv
	case sends:
		return sendonly
	case receives:
		return recvonly
	}
	return inactive
}

// eventPayload is the dynamic payload type the phones offer for RFC 4733 telephone-event.
const eventPayload = 101

// description is the little of an SDP a phone with one audio stream needs.
type description struct {
	addr     string // host:port of the audio stream
	payloads []uint8
	event    uint8 // payload type of telephone-event at 8 kHz, 0 if there is none
	dir      direction
	profile  string   // RTP/AVP, RTP/SAVP …
	crypto   []string // values of a=crypto
}

// parseSDP reads the first audio stream. Session-level c= and direction apply when the stream has none.
func parseSDP(body []byte) (description, error) {
	d := description{dir: sendrecv}
	var host, port string
	inAudio := false
	for line := range strings.SplitSeq(string(body), "\n") {
		kind, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if !found {
			continue
		}
		fields := strings.Fields(value)
		switch {
		case kind == "m" && inAudio:
			return d.at(host, port)
		case kind == "m" && len(fields) >= 4 && fields[0] == "audio":
			inAudio, port, d.profile = true, fields[1], fields[2]
			for _, f := range fields[3:] {
				if pt, err := strconv.ParseUint(f, 10, 7); err == nil {
					d.payloads = append(d.payloads, uint8(pt))
				}
			}
		case kind == "c" && len(fields) == 3:
			host = fields[2]
		case kind == "a":
			d.attribute(value)
		}
	}
	if !inAudio {
		return d, fmt.Errorf("SDP has no audio stream")
	}
	return d.at(host, port)
}

func (d *description) attribute(value string) {
	switch direction(value) {
	case sendrecv, sendonly, recvonly, inactive:
		d.dir = direction(value)
	}
	if line, ok := strings.CutPrefix(value, "crypto:"); ok {
		d.crypto = append(d.crypto, line)
	}
	if mapping, ok := strings.CutPrefix(value, "rtpmap:"); ok {
		number, name, _ := strings.Cut(mapping, " ")
		if pt, err := strconv.ParseUint(number, 10, 7); err == nil && strings.EqualFold(strings.TrimSpace(name), "telephone-event/8000") {
			d.event = uint8(pt)
		}
	}
}

// at completes the description. The address 0.0.0.0 is the old way (RFC 2543) to say hold in plain RTP.
func (d description) at(host, port string) (description, error) {
	if host == "" {
		return d, fmt.Errorf("SDP has no connection address")
	}
	d.addr = net.JoinHostPort(host, port)
	return d, nil
}

// firstLaw is the first payload type of offered that is in allowed.
func (d description) firstLaw(allowed []tone.Law) (tone.Law, bool) {
	for _, pt := range d.payloads {
		if slices.Contains(allowed, tone.Law(pt)) {
			return tone.Law(pt), true
		}
	}
	return 0, false
}

// writeSDP is the plain RTP session of one phone.
func writeSDP(id, version uint64, ip string, port int, laws []tone.Law, event uint8, dir direction) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- %d %d IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP", id, version, ip, ip, port)
	for _, l := range laws {
		fmt.Fprintf(&b, " %d", l)
	}
	if event != 0 {
		fmt.Fprintf(&b, " %d", event)
	}
	b.WriteString("\r\n")
	for _, l := range laws {
		fmt.Fprintf(&b, "a=rtpmap:%d %s/%d\r\n", l, l, tone.Rate)
	}
	if event != 0 {
		fmt.Fprintf(&b, "a=rtpmap:%d telephone-event/%d\r\na=fmtp:%d 0-15\r\n", event, tone.Rate, event)
	}
	fmt.Fprintf(&b, "a=ptime:20\r\na=%s\r\n", dir)
	return []byte(b.String())
}

// setDirection rewrites the direction of every stream of an SDP text.
func setDirection(body []byte, dir direction) []byte {
	lines := strings.Split(string(body), "\r\n")
	for i, line := range lines {
		if value, ok := strings.CutPrefix(line, "a="); ok {
			switch direction(value) {
			case sendrecv, sendonly, recvonly, inactive:
				lines[i] = "a=" + string(dir)
			}
		}
	}
	return []byte(strings.Join(lines, "\r\n"))
}
