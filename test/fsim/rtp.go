package fsim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"

	"github.com/pion/rtp"

	"github.com/sipio/sipio/test/phone/tone"
)

const (
	// prefill is how many samples wait before a stream that begins is heard: three frames, so that the other side's
	// clock and ours may differ by two on a busy machine.
	prefill = 3 * frameSamples
	// mostWaiting bounds what waits; the oldest goes. What came in a stall of half a second stays: the beats that are due take it.
	mostWaiting = 50 * frameSamples
	// digitFrames is how long a digit lasts that we send, digitPause the quiet behind it, in frames.
	digitFrames, digitPause = 5, 3
)

// port is the RTP side of a channel. All but the sockets is guarded by the studio's lock.
type port struct {
	conn, rtcp *net.UDPConn
	peer       netip.AddrPort
	law        tone.Law
	event      uint8 // payload type of telephone-event, 0 = not agreed
	sends      bool  // by negotiation

	waiting []int16 // received and not heard yet
	playing bool    // prefill was reached
	lastTS  uint32  // of the last digit received
	digitOn bool    // lastTS is set
	packets uint64  // received

	pressed []byte // digits to send
	pressAt int
	pressTS uint32

	ssrc     uint32
	sequence uint16
	baseTS   uint32
	quiet    bool
}

// bindPort takes the next free pair of ports of the range.
func (s *Server) bindPort() (*port, error) {
	ip := net.ParseIP(s.opt.RTPIP)
	pairs := (s.opt.RTPMax - s.opt.RTPMin) / 2
	for range pairs {
		number := s.opt.RTPMin + s.opt.RTPMin%2 + 2*int(s.nextPort.Add(1)%uint64(pairs))
		even, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: number})
		if err != nil {
			continue
		}
		odd, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: number + 1})
		if err != nil {
			even.Close()
			continue
		}
		return &port{conn: even, rtcp: odd, ssrc: rand.Uint32(), sequence: uint16(rand.Uint32()), baseTS: rand.Uint32(), quiet: true}, nil
	}
	return nil, fmt.Errorf("no free pair of RTP ports from %d to %d on %s", s.opt.RTPMin, s.opt.RTPMax, ip)
}

func (p *port) number() int { return p.conn.LocalAddr().(*net.UDPAddr).Port }

func (p *port) close() {
	p.conn.Close()
	p.rtcp.Close()
}

// listen reads RTP until the port is closed. Digits (RFC 4733) go to pressed as they begin.
func (s *Server) listen(p *port, pressed func(digit byte, duration int)) {
	buf := make([]byte, 2048)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		var packet rtp.Packet
		if packet.Unmarshal(buf[:n]) != nil || packet.Version != 2 {
			continue
		}
		if digit, duration, ok := s.studio.receive(p, &packet, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())); ok {
			pressed(digit, duration)
		}
	}
}

// receive takes one packet; a digit is told when its last packets come, and once. What a stranger sends is dropped.
func (t *studio) receive(p *port, packet *rtp.Packet, from netip.AddrPort) (digit byte, duration int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from != p.peer {
		return 0, 0, false
	}
	p.packets++
	if p.event != 0 && packet.PayloadType == p.event {
		b := packet.Payload
		if len(b) < 4 || int(b[0]) >= len(digits) || b[1]&0x80 == 0 || p.digitOn && p.lastTS == packet.Timestamp {
			return 0, 0, false
		}
		p.digitOn, p.lastTS = true, packet.Timestamp
		return digits[b[0]], int(binary.BigEndian.Uint16(b[2:])), true
	}
	if law := tone.Law(packet.PayloadType); law == tone.PCMU || law == tone.PCMA {
		p.waiting = append(p.waiting, law.Decode(packet.Payload)...)
		if extra := len(p.waiting) - mostWaiting; extra > 0 {
			p.waiting = append(p.waiting[:0], p.waiting[extra:]...)
		}
	}
	return 0, 0, false
}

// pull takes the frame that is heard now; false is a frame in which nothing came.
func (p *port) pull(b *block) bool {
	clear(b[:])
	if !p.playing && len(p.waiting) < prefill {
		return false
	}
	p.playing = len(p.waiting) >= frameSamples
	if !p.playing {
		return false
	}
	copy(b[:], p.waiting)
	p.waiting = append(p.waiting[:0], p.waiting[frameSamples:]...)
	return true
}

// packet makes the packet of frame number n; nil when there is nothing to send.
func (p *port) packet(n uint32, b *block, loud bool) []byte {
	if !p.sends || !p.peer.IsValid() {
		p.quiet = true
		return nil
	}
	out := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: p.ssrc, Timestamp: p.baseTS + n*frameSamples, PayloadType: uint8(p.law), Marker: p.quiet}}
	switch {
	case len(p.pressed) > 0 && p.event != 0:
		if !p.press(&out) {
			p.quiet = true
			return nil
		}
	case loud:
		out.Payload = p.law.Encode(b[:])
	default:
		p.quiet = true
		return nil
	}
	p.sequence++
	out.SequenceNumber, p.quiet = p.sequence, false
	raw, err := out.Marshal()
	if err != nil {
		return nil
	}
	return raw
}

// press fills out with a piece of the first digit to send; false is a frame of quiet behind it.
func (p *port) press(out *rtp.Packet) bool {
	at := p.pressAt
	if p.pressAt++; p.pressAt == digitFrames+digitPause {
		defer func() { p.pressed, p.pressAt = p.pressed[1:], 0 }()
	}
	if at >= digitFrames {
		return false
	}
	if at == 0 {
		p.pressTS = out.Timestamp
	}
	end := byte(0)
	if at >= digitFrames-3 {
		end = 0x80
	}
	length := (min(at, digitFrames-3) + 1) * frameSamples
	code := 0
	for code < len(digits)-1 && digits[code] != p.pressed[0] {
		code++
	}
	out.Timestamp, out.Marker, out.PayloadType = p.pressTS, at == 0, p.event
	out.Payload = []byte{byte(code), end | 10, byte(length >> 8), byte(length)}
	return true
}
