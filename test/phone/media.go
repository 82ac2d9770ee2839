package phone

// media is the audio of one call: plain RTP or WebRTC. offer/accept and answer are the two roles of RFC 3264;
// each may come again for a re-INVITE. want is the direction this phone asks for or grants at most.
type media interface {
	offer(want direction) ([]byte, error)
	accept(answer []byte) error
	answer(offer []byte, want direction) ([]byte, error)
	hears() *ear
	speaks() *mouth
	remote() string // host:port of the remote side as negotiated, "" before
	law() string
	close()
}

// Stats is what is known of a call's RTP. The difference between RemoteSource and the other phone's own address
// is the proof that a relay stood between them.
type Stats struct {
	PacketsSent     uint64
	PacketsReceived uint64
	RemoteSource    string // address the newest packet really came from
	RemoteSDP       string // address negotiated in SDP (WebRTC: the selected ICE candidate)
	Codec           string // PCMU or PCMA as negotiated
}

// Stats may be asked at any time, also after the end of the call.
func (c *Call) Stats() Stats {
	e := c.media.hears()
	e.mu.Lock()
	defer e.mu.Unlock()
	return Stats{
		PacketsSent: c.media.speaks().sent.Load(), PacketsReceived: e.received,
		RemoteSource: e.source, RemoteSDP: c.media.remote(), Codec: c.media.law(),
	}
}
