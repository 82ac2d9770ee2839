package route

import (
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// The flag strings that the edge hands to rtpengine, by what the receiver of the SDP speaks. They were
// measured with rtpengine 10.5.3.5 in both directions. The edge chooses among them and reads none.
//
// What each flag is for:
//
//	replace-origin              the o= line shows rtpengine's address, not the phone's
//	replace-session-connection  so does the session's c= line: media comes to rtpengine even from phones
//	                            that look nowhere else
//	RTP/AVP, RTP/SAVPF          the transport profile the receiver is offered: plain RTP, or SRTP with feedback
//	ICE=remove, ICE=force       take candidates out for a phone that has no use for them; offer rtpengine's
//	                            own to a browser, which insists on them
//	DTLS=off, DTLS=passive      no keys on plain RTP; for a browser rtpengine waits for its handshake
//	SDES-off                    never keys in the SDP: plain RTP has none and WebRTC forbids them
//	rtcp-mux-demux              towards plain RTP: RTCP on its own port, whatever the other side does
//	rtcp-mux-offer, -accept     towards WebRTC: offer one port for RTP and RTCP; in an answer, agree to it
//	generate-mid                a=mid on each medium, which browsers want in an offer to bundle it
const (
	flagsToRTP = "replace-origin replace-session-connection RTP/AVP ICE=remove DTLS=off SDES-off rtcp-mux-demux"

	flagsToWebRTCOffer  = "replace-origin replace-session-connection RTP/SAVPF ICE=force DTLS=passive SDES-off rtcp-mux-offer generate-mid"
	flagsToWebRTCAnswer = "replace-origin replace-session-connection RTP/SAVPF ICE=force DTLS=passive SDES-off rtcp-mux-accept generate-mid"
)

// The flags that say whose RTP a leg is, by who has sent the SDP. rtpengine learns where he sends from by his packets, for 3 s after each
// offer and answer of the call and then by the first packet that comes; docs/edge.md has what was measured. None goes with an SDP with
// DTLS: there packets without its keys are dropped before they are looked at.
//
//	endpoint-learning-heuristic  of all who have sent meanwhile he is the one at the address and port of the SDP, else at its address, else
//	                             at its port, else the newest: a stranger is nobody once the phone has sent
//	strict-source                later packets from elsewhere are dropped. A phone that moves says so by a re-INVITE, which begins anew
//	SIP-source-address           the address of the SDP is the one that its SIP came from
//	endpoint-learning-off        nothing is learned, the SDP is right: of our own media server alone, as a phone may send from another port
//
// A trunk is not held to its address: carriers go on from another machine without a word.
const (
	flagsFromPhone = "endpoint-learning-heuristic strict-source"
	flagsFromNAT   = "SIP-source-address endpoint-learning-heuristic strict-source"
	flagsFromTrunk = "endpoint-learning-heuristic"
	flagsFromMedia = "endpoint-learning-off strict-source"
)

func media() *api.Media {
	return &api.Media{ToRTP: flagsToRTP, ToWebRTCOffer: flagsToWebRTCOffer, ToWebRTCAnswer: flagsToWebRTCAnswer,
		FromPhone: flagsFromPhone, FromNAT: flagsFromNAT, FromTrunk: flagsFromTrunk, FromMedia: flagsFromMedia}
}

// flagsToTrunk are the flags of an offer to a trunk: plain RTP, or SRTP with keys in the SDP (SDES), or both at the choice of the
// other side (OSRTP, RFC 8643); of the caller's codecs those that the trunk is to see, in its order.
func flagsToTrunk(t *brain.SIPTrunk) string {
	flags := flagsToRTP
	switch t.SRTP {
	case brain.SRTPRequired:
		flags = "replace-origin replace-session-connection RTP/SAVP ICE=remove DTLS=off rtcp-mux-demux"
	case brain.SRTPOptional:
		flags = "replace-origin replace-session-connection RTP/AVP OSRTP-offer ICE=remove DTLS=off rtcp-mux-demux"
	}
	if len(t.Codecs) == 0 {
		return flags
	}
	var b strings.Builder
	b.WriteString(flags + " codec-strip-all")
	for _, c := range t.Codecs {
		b.WriteString(" codec-offer-" + c)
	}
	if !slices.ContainsFunc(t.Codecs, func(c string) bool { return strings.EqualFold(c, "telephone-event") }) {
		b.WriteString(" codec-offer-telephone-event") // digits are no codec to choose
	}
	return b.String()
}
