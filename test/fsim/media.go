package fsim

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/test/phone/tone"
)

// ourEvent is the payload type of telephone-event that we offer.
const ourEvent = 101

// hasMedia says whether RTP was agreed on, early or answered.
func (c *channel) hasMedia() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.early.IsZero() || !c.answered.IsZero()
}

// openPort gives the channel its RTP port, once.
func (c *channel) openPort() error {
	c.s.studio.mu.Lock()
	has := c.track.port != nil
	c.s.studio.mu.Unlock()
	if has {
		return nil
	}
	p, err := c.s.bindPort()
	if err != nil {
		return err
	}
	c.s.studio.mu.Lock()
	c.track.port = p
	c.s.studio.tracks[c.track] = struct{}{}
	c.s.studio.mu.Unlock()
	go c.s.listen(p, func(digit byte, duration int) { c.press(press{digit, duration, "RTP"}) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vars.set("local_media_ip", c.s.opt.RTPIP)
	c.vars.set("local_media_port", strconv.Itoa(p.number()))
	c.vars.set("advertised_media_ip", c.s.opt.RTPIP)
	c.vars.set("rtp_use_ssrc", strconv.FormatUint(uint64(p.ssrc), 10))
	return nil
}

func (c *channel) localAddr() netip.AddrPort {
	ip, _ := netip.ParseAddr(c.s.opt.RTPIP) // checked when the server started
	return netip.AddrPortFrom(ip, uint16(c.track.port.number()))
}

// laws are the codecs to offer on this leg: of absolute_codec_string, else the originator's first.
func (c *channel) laws(originator *channel) []tone.Law {
	all := []tone.Law{tone.PCMU, tone.PCMA}
	if fixed := c.get("absolute_codec_string"); fixed != "" {
		var only []tone.Law
		for _, name := range strings.Split(fixed, ",") {
			for _, l := range all {
				if strings.EqualFold(strings.Split(name, "@")[0], l.String()) {
					only = append(only, l)
				}
			}
		}
		return only
	}
	if originator != nil && originator.get("read_codec") == tone.PCMA.String() {
		slices.Reverse(all)
	}
	return all
}

// agree sets RTP by the other side's SDP, be it offer or answer, and the variables that tell of it.
func (c *channel) agree(body string, allowed []tone.Law) (description, error) {
	d, err := parseSDP(body)
	if err != nil {
		return d, err
	}
	var law tone.Law
	found := false
	for _, l := range d.laws {
		if slices.Contains(allowed, l) {
			law, found = l, true
			break
		}
	}
	if !found {
		return d, fmt.Errorf("%w that this leg may use", errNoCodec)
	}
	c.s.studio.mu.Lock()
	p := c.track.port
	p.peer, p.law, p.event, p.sends = d.addr, law, d.event, d.theyReceive()
	c.s.studio.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vars.set("switch_r_sdp", body)
	c.vars.set("remote_audio_media_flow", d.dir)
	c.vars.set("audio_media_flow", d.mirrored())
	for _, way := range []string{"read", "write"} {
		c.vars.set(way+"_codec", law.String())
		c.vars.set(way+"_rate", "8000")
	}
	c.vars.set("rtp_use_codec_name", law.String())
	c.vars.set("rtp_use_codec_string", "PCMU,PCMA")
	c.vars.set("rtp_use_pt", strconv.Itoa(int(law)))
	c.vars.set("remote_media_ip", d.addr.Addr().String())
	c.vars.set("remote_media_port", strconv.Itoa(int(d.addr.Port())))
	if d.event == 0 {
		// Without telephone-event in the SDP the real one falls back to INFO.
		c.vars.set("dtmf_type", "info")
		return d, nil
	}
	c.vars.set("dtmf_type", "rfc2833")
	c.vars.set("rtp_2833_send_payload", strconv.Itoa(int(d.event)))
	c.vars.set("rtp_2833_recv_payload", strconv.Itoa(int(d.event)))
	return d, nil
}

// preAnswer sends 183 with SDP (once) and tells it. False: it could not, and the channel ended.
func (c *channel) preAnswer() bool {
	if c.hasMedia() {
		return true
	}
	if c.leg == nil || !c.inbound || !c.up() {
		return false
	}
	if err := c.leg.negotiate(); err != nil {
		c.s.log.Warn("no media for a call", "channel", c.id, "error", err)
		c.end("INCOMPATIBLE_DESTINATION", false)
		return false
	}
	c.leg.progress()
	c.markEarly()
	return true
}

func (c *channel) markEarly() {
	c.mu.Lock()
	again := !c.early.IsZero()
	if !again {
		c.early = time.Now()
	}
	c.vars.set("endpoint_disposition", "EARLY MEDIA")
	c.mu.Unlock()
	if !again {
		c.fire("CHANNEL_PROGRESS_MEDIA")
		c.call("EARLY")
	}
	c.mu.Lock()
	settles := c.earlyWins
	c.mu.Unlock()
	if settles && !c.inbound {
		c.settle.Do(func() { close(c.settled) })
	}
}

// answer sends 200 (once) and tells it.
func (c *channel) answer() bool {
	c.mu.Lock()
	already := !c.answered.IsZero()
	c.mu.Unlock()
	if already || !c.up() {
		return already
	}
	accepted := false
	if c.inbound {
		if err := c.leg.negotiate(); err != nil {
			c.s.log.Warn("no media for a call", "channel", c.id, "error", err)
			c.end("INCOMPATIBLE_DESTINATION", false)
			return false
		}
		c.markEarly()
		accepted = c.leg.accept()
	}
	live := c.markAnswered()
	if !live && accepted {
		c.leg.answeredTooLate()
	}
	return live
}

// markAnswered is false for a channel that has ended: its end knew of no answer.
func (c *channel) markAnswered() bool {
	c.mu.Lock()
	if c.cause != "" || !c.answered.IsZero() {
		defer c.mu.Unlock()
		return c.cause == ""
	}
	c.answered = time.Now()
	c.vars.set("endpoint_disposition", "ANSWER")
	c.mu.Unlock()
	c.fire("CHANNEL_ANSWER")
	c.call("ACTIVE")
	close(c.talking)
	c.settle.Do(func() { close(c.settled) })
	return true
}

// ringReady sends 180 (once) to the caller.
func (c *channel) ringReady() {
	c.mu.Lock()
	again := c.ringing || !c.early.IsZero() || !c.answered.IsZero()
	c.ringing = true
	c.mu.Unlock()
	if again || !c.up() {
		return
	}
	if c.inbound {
		c.leg.ring()
	}
	c.fire("CHANNEL_PROGRESS")
	c.call("RINGING")
}
