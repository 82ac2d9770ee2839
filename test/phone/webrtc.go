package phone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/sipio/sipio/test/phone/tone"
)

// gatherTimeout bounds the gathering of ICE candidates; they are local addresses only.
const gatherTimeout = 5 * time.Second

// webRTC is the media of a browser: ICE, DTLS-SRTP, one audio stream in PCMU, all candidates in the SDP (no
// trickle). Hold is only written into the SDP and obeyed here; the peer connection always stays sendrecv.
type webRTC struct {
	pc    *webrtc.PeerConnection
	track *webrtc.TrackLocalStaticRTP
	ear   ear
	mouth *mouth
	stop  context.CancelFunc

	mu   sync.Mutex
	want direction
}

func newWebRTC(ip string) (*webRTC, error) {
	api, err := webRTCAPI(net.ParseIP(ip))
	if err != nil {
		return nil, err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, fmt.Errorf("peer connection: %w", err)
	}
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: tone.Rate}, "audio", "phone")
	if err == nil {
		_, err = pc.AddTrack(track)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("audio track: %w", err), pc.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &webRTC{pc: pc, track: track, stop: cancel, want: sendrecv}
	m.mouth = newMouth(m.transmit)
	pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { m.read(remote) })
	go m.mouth.speak(ctx)
	return m, nil
}

// webRTCAPI knows PCMU alone and candidates of ip alone. Loopback candidates are off by default in pion; a peer that
// sends before its SDP names an SSRC (rtpengine) needs the other switch. pion would not use a path for a second that the peer's
// check has shown before its SDP did, and would repeat a lost DTLS flight after a second only: browsers do not wait, and repeat
// after 50 ms, and a prompt of 600 ms that begins with the answer would be over.
func webRTCAPI(ip net.IP) (*webrtc.API, error) {
	codecs := &webrtc.MediaEngine{}
	err := codecs.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: tone.Rate},
		PayloadType:        webrtc.PayloadType(tone.PCMU),
	}, webrtc.RTPCodecTypeAudio)
	if err != nil {
		return nil, fmt.Errorf("register PCMU: %w", err)
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetHandleUndeclaredSSRCWithoutAnswer(true)
	settings.SetPrflxAcceptanceMinWait(0)
	settings.SetDTLSRetransmissionInterval(50 * time.Millisecond)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetIPFilter(ip.Equal)
	return webrtc.NewAPI(webrtc.WithMediaEngine(codecs), webrtc.WithSettingEngine(settings)), nil
}

func (m *webRTC) transmit(p *rtp.Packet) error {
	if m.pc.ConnectionState() != webrtc.PeerConnectionStateConnected {
		return errors.New("not connected yet")
	}
	return m.track.WriteRTP(p)
}

func (m *webRTC) read(remote *webrtc.TrackRemote) {
	for {
		p, _, err := remote.ReadRTP()
		if err != nil {
			return
		}
		m.ear.packet(p, m.remote())
	}
}

func (m *webRTC) offer(want direction) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.want = want
	offer, err := m.pc.CreateOffer(nil)
	if err != nil {
		return nil, fmt.Errorf("create offer: %w", err)
	}
	return m.local(offer, want)
}

// local applies our own description and returns it once every candidate is in it.
func (m *webRTC) local(d webrtc.SessionDescription, dir direction) ([]byte, error) {
	gathered := webrtc.GatheringCompletePromise(m.pc)
	if err := m.pc.SetLocalDescription(d); err != nil {
		return nil, fmt.Errorf("set local description: %w", err)
	}
	select {
	case <-gathered:
	case <-time.After(gatherTimeout):
		return nil, fmt.Errorf("ICE gathering took more than %v", gatherTimeout)
	}
	return setDirection(defaultCandidate([]byte(m.pc.LocalDescription().SDP)), dir), nil
}

// defaultCandidate puts the first candidate into c= and m=, as browsers do once they have gathered (RFC 8839 section
// 4.2.1). pion leaves 0.0.0.0 there, which rtpengine takes for hold and sends nothing.
func defaultCandidate(body []byte) []byte {
	for line := range strings.SplitSeq(string(body), "\r\n") {
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasPrefix(line, "a=candidate:") {
			continue
		}
		return []byte(strings.NewReplacer(
			"c=IN IP4 0.0.0.0\r\n", "c=IN IP4 "+fields[4]+"\r\n",
			"m=audio 9 ", "m=audio "+fields[5]+" ",
		).Replace(string(body)))
	}
	return body
}

// accept takes an answer once; the same answer again (183, then 200) changes nothing.
func (m *webRTC) accept(answer []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := parseSDP(answer)
	if err != nil {
		return fmt.Errorf("read SDP answer: %w", err)
	}
	if m.pc.SignalingState() == webrtc.SignalingStateHaveLocalOffer {
		err := m.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(setDirection(answer, sendrecv))})
		if err != nil {
			return fmt.Errorf("set remote answer: %w", err)
		}
	}
	m.mouth.negotiate(tone.PCMU, 0, d.dir.receives() && m.want == sendrecv)
	return nil
}

func (m *webRTC) answer(offer []byte, want direction) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := parseSDP(offer)
	if err != nil {
		return nil, fmt.Errorf("read SDP offer: %w", err)
	}
	m.want = want
	bundled, added := withBundle(string(setDirection(offer, sendrecv)))
	err = m.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: bundled})
	if err != nil {
		return nil, fmt.Errorf("set remote offer: %w", err)
	}
	answer, err := m.pc.CreateAnswer(nil)
	if err != nil {
		return nil, fmt.Errorf("create answer: %w", err)
	}
	allowed := d.dir.mirror()
	body, err := m.local(answer, directionOf(want.sends() && allowed.sends(), want.receives() && allowed.receives()))
	if err != nil {
		return nil, err
	}
	m.mouth.negotiate(tone.PCMU, 0, allowed.sends() && want == sendrecv)
	if added != "" {
		body = []byte(strings.Replace(string(body), added, "", 1))
	}
	return body, nil
}

// withBundle adds a BUNDLE group to an offer without one, and returns the line added. pion rejects a stream that is not
// in a group (port 0); a browser does not, and rtpengine's offers have none.
func withBundle(offer string) (sdp, added string) {
	_, mid, found := strings.Cut(offer, "\r\na=mid:")
	if !found || strings.Contains(offer, "\r\na=group:BUNDLE") {
		return offer, ""
	}
	mid, _, _ = strings.Cut(mid, "\r\n")
	added = "a=group:BUNDLE " + mid + "\r\n"
	return strings.Replace(offer, "\r\nm=", "\r\n"+added+"m=", 1), added
}

func (m *webRTC) hears() *ear    { return &m.ear }
func (m *webRTC) speaks() *mouth { return m.mouth }
func (m *webRTC) law() string    { return tone.PCMU.String() }

func (m *webRTC) remote() string {
	for _, s := range m.pc.GetSenders() {
		transport := s.Transport()
		if transport == nil || transport.ICETransport() == nil {
			continue
		}
		if pair, err := transport.ICETransport().GetSelectedCandidatePair(); err == nil && pair != nil {
			return net.JoinHostPort(pair.Remote.Address, fmt.Sprint(pair.Remote.Port))
		}
	}
	return ""
}

func (m *webRTC) close() {
	m.stop()
	go m.pc.Close() // waits for its own goroutines; the caller may be one of them
}
