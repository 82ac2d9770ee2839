package fsim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sipio/sipio/test/phone/tone"
)

// description is what we read of the other side's SDP: its first audio stream.
type description struct {
	addr  netip.AddrPort
	laws  []tone.Law // G.711 payload types in its order
	event uint8      // telephone-event, 0 = not offered
	dir   string     // sendrecv, sendonly, recvonly, inactive
}

var errNoCodec = errors.New("no G.711 in the SDP")

func parseSDP(body string) (description, error) {
	d := description{dir: "sendrecv"}
	host, number, inAudio := "", 0, false
	for line := range strings.SplitSeq(body, "\n") {
		kind, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		fields := strings.Fields(value)
		if kind == "m" {
			if inAudio {
				break
			}
			if len(fields) < 4 || fields[0] != "audio" {
				continue
			}
			inAudio = true
			n, err := strconv.ParseUint(fields[1], 10, 16)
			if err != nil {
				return d, fmt.Errorf("RTP port %q: %w", fields[1], err)
			}
			number = int(n)
			for _, f := range fields[3:] {
				if f == "0" || f == "8" {
					d.laws = append(d.laws, tone.Law(f[0]-'0'))
				}
			}
			continue
		}
		switch {
		case kind == "c" && len(fields) == 3:
			host = fields[2]
		case kind == "a" && slices.Contains([]string{"sendrecv", "sendonly", "recvonly", "inactive"}, value):
			d.dir = value
		case kind == "a" && inAudio && len(fields) == 2 && strings.EqualFold(fields[1], "telephone-event/8000"):
			if pt, err := strconv.ParseUint(strings.TrimPrefix(fields[0], "rtpmap:"), 10, 7); err == nil {
				d.event = uint8(pt)
			}
		}
	}
	if !inAudio || len(d.laws) == 0 {
		return d, errNoCodec
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return d, fmt.Errorf("SDP address: %w", err)
	}
	if d.addr = netip.AddrPortFrom(ip, uint16(number)); ip.IsUnspecified() {
		d.dir = "inactive"
	}
	return d, nil
}

// theySend and theyReceive read the direction from the other side's view.
func (d description) theySend() bool { return d.dir == "sendrecv" || d.dir == "sendonly" }
func (d description) theyReceive() bool {
	return (d.dir == "sendrecv" || d.dir == "recvonly") && d.addr.Port() != 0
}

// mirrored is the direction that answers it.
func (d description) mirrored() string {
	switch d.dir {
	case "sendonly":
		return "recvonly"
	case "recvonly":
		return "sendonly"
	}
	return d.dir
}

// ourSDP writes FreeSWITCH's kind of SDP: its own name in o= and s=, whatever address the media has.
func (s *Server) ourSDP(session, version uint64, at netip.AddrPort, laws []tone.Law, event uint8, dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=FreeSWITCH %d %d IN IP4 %s\r\ns=FreeSWITCH\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP", session, version, s.opt.RTPIP, at.Addr(), at.Port())
	for _, l := range laws {
		fmt.Fprintf(&b, " %d", l)
	}
	if event != 0 {
		fmt.Fprintf(&b, " %d", event)
	}
	b.WriteString("\r\n")
	for _, l := range laws {
		fmt.Fprintf(&b, "a=rtpmap:%d %s/8000\r\n", l, l)
	}
	if event != 0 {
		fmt.Fprintf(&b, "a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-15\r\n", event, event)
	}
	fmt.Fprintf(&b, "a=ptime:20\r\na=%s\r\n", dir)
	return b.String()
}
