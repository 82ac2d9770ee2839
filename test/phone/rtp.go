package phone

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/pion/rtp"

	"github.com/sipio/sipio/test/phone/tone"
)

// plainRTP is RTP/AVP over UDP: one even port for RTP, sent and received on the same socket (symmetric), and the
// odd one above it, which takes RTCP and throws it away.
type plainRTP struct {
	rtp, rtcp *net.UDPConn
	keys      *sdes // nil: nothing is encrypted; within mu
	ear       ear
	mouth     *mouth
	stop      context.CancelFunc

	mu      sync.Mutex
	id      uint64
	version uint64
	laws    []tone.Law
	events  uint8 // payload type of telephone-event to offer; 0: no events, whatever the other side offers
	chosen  tone.Law
	want    direction
	peer    netip.AddrPort
}

func newPlainRTP(cfg *Config, laws []tone.Law, events uint8) (*plainRTP, error) {
	ctx, cancel := context.WithCancel(context.Background())
	m := &plainRTP{laws: laws, events: events, id: uint64(rand.Uint32()), stop: cancel, want: sendrecv}
	if err := m.bind(cfg); err != nil {
		cancel()
		return nil, err
	}
	if cfg.SDES {
		var err error
		if m.keys, err = newSDES(); err != nil {
			m.close()
			return nil, err
		}
	}
	m.mouth = newMouth(m.transmit)
	go m.mouth.speak(ctx)
	go m.read()
	go drain(m.rtcp)
	return m, nil
}

// bind takes a free pair of ports, even and odd.
func (m *plainRTP) bind(cfg *Config) error {
	ip := net.ParseIP(cfg.LocalIP)
	var lastErr error
	for range 50 {
		even, err := cfg.ListenUDP(&net.UDPAddr{IP: ip})
		if err != nil {
			return fmt.Errorf("bind RTP port on %s: %w", ip, err)
		}
		port := even.LocalAddr().(*net.UDPAddr).Port
		if port%2 == 0 {
			odd, err := cfg.ListenUDP(&net.UDPAddr{IP: ip, Port: port + 1})
			if err == nil {
				m.rtp, m.rtcp = even, odd
				return nil
			}
			lastErr = err
		}
		even.Close()
	}
	return fmt.Errorf("no free pair of RTP ports on %s: %w", ip, lastErr)
}

func drain(conn *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		if _, _, err := conn.ReadFromUDPAddrPort(buf); err != nil {
			return
		}
	}
}

func (m *plainRTP) read() {
	buf := make([]byte, 2048)
	for {
		n, from, err := m.rtp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		var p rtp.Packet
		if !m.expected(from) {
			continue
		}
		if packet := m.opened(buf[:n]); packet != nil && p.Unmarshal(packet) == nil && p.Version == 2 {
			m.ear.packet(&p, from.String())
		}
	}
}

// expected says that a packet comes from where the other side's SDP says. Others are of a call that had this port before
// and was never ended, and would be heard between those that count.
func (m *plainRTP) expected(from netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) == m.peer
}

// opened is a packet without its encryption, nil when it was not encrypted with the key that the other side has told.
func (m *plainRTP) opened(packet []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys == nil {
		return packet
	}
	if m.keys.in == nil {
		return nil
	}
	plain, err := m.keys.in.DecryptRTP(nil, packet, nil)
	if err != nil {
		return nil
	}
	return plain
}

func (m *plainRTP) transmit(p *rtp.Packet) error {
	raw, err := p.Marshal()
	if err != nil {
		return err
	}
	m.mu.Lock()
	peer := m.peer
	if m.keys != nil {
		raw, err = m.keys.out.EncryptRTP(nil, raw, nil)
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = m.rtp.WriteToUDPAddrPort(raw, peer)
	return err
}

func (m *plainRTP) offer(want direction) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.want = want
	return m.local(m.laws, m.events, want), nil
}

func (m *plainRTP) local(laws []tone.Law, event uint8, dir direction) []byte {
	m.version++
	addr := m.rtp.LocalAddr().(*net.UDPAddr)
	sdp := writeSDP(m.id, m.version, addr.IP.String(), addr.Port, laws, event, dir)
	if m.keys != nil {
		return m.keys.protect(sdp)
	}
	return sdp
}

func (m *plainRTP) accept(answer []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := parseSDP(answer)
	if err != nil {
		return fmt.Errorf("read SDP answer: %w", err)
	}
	return m.agree(d, d.dir.mirror(), m.want)
}

func (m *plainRTP) answer(offer []byte, want direction) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := parseSDP(offer)
	if err != nil {
		return nil, fmt.Errorf("read SDP offer: %w", err)
	}
	if m.events == 0 {
		d.event = 0
	}
	m.want = want
	allowed := d.dir.mirror()
	mine := directionOf(want.sends() && allowed.sends(), want.receives() && allowed.receives())
	if err := m.agree(d, allowed, want); err != nil {
		return nil, err
	}
	return m.local([]tone.Law{m.chosen}, d.event, mine), nil
}

// agree points the sender at the remote side d. It speaks only on an active call: on hold by either side it is quiet.
func (m *plainRTP) agree(d description, allowed, want direction) error {
	law, ok := d.firstLaw(m.laws)
	if !ok {
		return fmt.Errorf("no codec in common: the other side has payload types %v", d.payloads)
	}
	if m.keys != nil {
		if err := m.keys.take(&d); err != nil {
			return err
		}
	}
	host, port, _ := net.SplitHostPort(d.addr)
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("RTP port %q: %w", port, err)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return fmt.Errorf("RTP address: %w", err)
	}
	m.chosen, m.peer = law, netip.AddrPortFrom(ip, uint16(number))
	m.ear.mu.Lock()
	m.ear.event = d.event
	m.ear.mu.Unlock()
	reachable := number != 0 && !ip.IsUnspecified()
	m.mouth.negotiate(law, d.event, reachable && allowed.sends() && want == sendrecv)
	return nil
}

func (m *plainRTP) hears() *ear    { return &m.ear }
func (m *plainRTP) speaks() *mouth { return m.mouth }

func (m *plainRTP) remote() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.peer.IsValid() {
		return ""
	}
	return m.peer.String()
}

func (m *plainRTP) law() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.chosen.String()
}

func (m *plainRTP) close() {
	m.stop()
	m.rtp.Close()
	m.rtcp.Close()
}
