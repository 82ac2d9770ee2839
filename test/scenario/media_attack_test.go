package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/netns"
	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

// Addresses of the network of media attacks: public ones, so that a phone with a private address is behind NAT.
const (
	mediaNode  = "198.18.9.1"
	aliceAt    = "198.18.9.50"
	bobAt      = "198.18.9.51"
	attackerAt = "198.18.9.66"
	behindNAT  = "192.168.77.2"
)

// Tones of a call under attack. Each has a whole number of waves in a frame of 20 ms.
const (
	aliceSays   = 450
	bobSays     = 650
	attackSays  = 1300
	rtpFrame    = tone.Rate / 50
	frameOf     = 20 * time.Millisecond
	frameIsLoud = -25 // dBFS; a phone's own tones are at -10
)

// attacked is a node on a network where somebody sprays RTP.
type attacked struct {
	*edge.Edge
	t     *testing.T
	net   *netns.Bridge
	rogue *netns.NS
}

func attackedEdge(t *testing.T, opt edge.Options) *attacked {
	t.Helper()
	a := &attacked{t: t, net: netns.NewBridge(t, mediaNode+"/24")}
	a.rogue = a.net.Join(t, attackerAt+"/24")
	opt.IP, opt.SIPPort, opt.WSSPort, opt.Children, opt.LogDecisions = mediaNode, 5060, 8443, 4, true
	opt.Config = acme + opt.Config
	e, err := edge.Start(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	tails(t, e)
	a.Edge = e
	return a
}

// natHome is a namespace whose phone has a private address behind a router that gives each of its ports another one.
func (a *attacked) natHome(public string) *netns.NS {
	a.t.Helper()
	ns := a.net.Join(a.t, public+"/24")
	for _, args := range [][]string{
		{"ip", "addr", "add", behindNAT + "/32", "dev", "lo"},
		{"nft", "table ip nat { chain post { type nat hook postrouting priority 100; meta l4proto udp ip saddr " + behindNAT + " masquerade to :40000-49999 random; }; }"},
	} {
		if out, err := ns.Output(a.t.Context(), args[0], args[1:]...); err != nil {
			a.t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	return ns
}

// relayPorts are the ports of the relay on which it takes RTP of a call, in no order.
func (a *attacked) relayPorts(callIDs ...string) []int {
	a.t.Helper()
	var ports []int
	for _, id := range callIDs {
		for _, n := range portsOf(a.t, a.Edge, id) {
			if n%2 == 0 && !slices.Contains(ports, n) {
				ports = append(ports, n)
			}
		}
	}
	if len(ports) == 0 {
		a.t.Fatalf("the relay knows no ports of %s", callIDs)
	}
	return ports
}

// learned waits until the relay has made up its mind where both sides of a call send from.
func (a *attacked) learned(callID string, streams int) {
	a.t.Helper()
	eventually(a.t, within(a.t, 20*time.Second), "the end of the learning", func() error {
		answer := asked(a.t, a.Edge, callID)
		if n := strings.Count(answer, "9:confirmed"); n < streams {
			return fmt.Errorf("%d streams are confirmed\n%s", n, answer)
		}
		return nil
	})
}

// spray is RTP with a tone of its own, sent to ports of the relay until the test ends or stop is called.
type spray struct {
	mu    sync.Mutex
	heard map[float64]int // frames by the tone that is in them; 0: all
	sent  int
	stop  context.CancelFunc
}

// spray sends a frame to each of the ports every 20 ms, and listens.
func (a *attacked) spray(ports []int) *spray {
	a.t.Helper()
	ctx, cancel := context.WithCancel(a.t.Context())
	s := &spray{heard: map[float64]int{}, stop: cancel}
	for _, port := range ports {
		conn, err := a.rogue.ListenUDP(attackerAt + ":0")
		if err != nil {
			a.t.Fatal(err)
		}
		a.t.Cleanup(func() { _ = conn.Close() })
		go s.listen(conn)
		go s.send(ctx, conn, &net.UDPAddr{IP: net.ParseIP(mediaNode), Port: port})
	}
	return s
}

func (s *spray) send(ctx context.Context, conn *net.UDPConn, to *net.UDPAddr) {
	p := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: rand.Uint32(), Timestamp: rand.Uint32(), SequenceNumber: uint16(rand.Uint32())}}
	sound := tone.NewGenerator(attackSays)
	tick := time.NewTicker(frameOf)
	defer tick.Stop()
	for {
		p.Payload = tone.PCMU.Encode(sound.Next(rtpFrame))
		if raw, err := p.Marshal(); err == nil {
			_, _ = conn.WriteToUDP(raw, to)
			s.mu.Lock()
			s.sent++
			s.mu.Unlock()
		}
		p.SequenceNumber++
		p.Timestamp += rtpFrame
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *spray) listen(conn *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		var p rtp.Packet
		if p.Unmarshal(buf[:n]) != nil {
			continue
		}
		samples := tone.PCMU.Decode(p.Payload)
		s.mu.Lock()
		s.heard[0]++
		for _, hz := range []float64{aliceSays, bobSays, attackSays} {
			s.heard[hz] += framesOf(samples, hz)
		}
		s.mu.Unlock()
	}
}

// reaches waits until each port has been sprayed.
func (s *spray) reaches(a *attacked) {
	a.t.Helper()
	eventually(a.t, a.t.Context(), "the first packets of the attack", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.sent < 20 {
			return fmt.Errorf("%d packets", s.sent)
		}
		return nil
	})
}

// frames is how much of the call the attacker has heard so far.
func (s *spray) frames() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[aliceSays] + s.heard[bobSays]
}

// framesOf counts the frames of 20 ms in which a tone is.
func framesOf(samples []int16, hz float64) (n int) {
	for f := range slices.Chunk(samples, rtpFrame) {
		if len(f) == rtpFrame && tone.LevelAt(f, hz) > frameIsLoud {
			n++
		}
	}
	return n
}

// hears is what each phone of a call hears within a time, in frames: of the other, of the attacker; and what the other has sent.
type hears struct{ other, attacker, sent int }

// well tells that most of what the other has sent is heard.
func (h hears) well() bool { return h.other > 0 && h.other >= h.sent*3/5 }

func listenFor(ctx context.Context, d time.Duration, a, b *phone.Call) (atA, atB hears) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var wg sync.WaitGroup
	listen := func(c, other *phone.Call, hz float64, into *hears) {
		defer wg.Done()
		before := other.Stats().PacketsSent
		kept, _ := c.Listen(ctx, 5*d) // ends with the time: several may be heard at once
		*into = hears{framesOf(kept, hz), framesOf(kept, attackSays), int(other.Stats().PacketsSent - before)}
	}
	wg.Add(2)
	go listen(a, b, bobSays, &atA)
	go listen(b, a, aliceSays, &atB)
	wg.Wait()
	return atA, atB
}

// The moments at which an attack begins: before the phones have sent anything, or when they hear each other.
const (
	noAttack = iota
	whileItRings
	asTheyTalk
)

// talked is a call of two phones that speak, and who sprays at it.
type talked struct {
	a, b  *phone.Call
	spray *spray
}

// call has alice call, bob answer and both speak, with an attack on all ports of the call, or on those that it is not told by
// the relay's SDP: the media server's.
func (a *attacked) call(ctx context.Context, alice, bob *phone.Phone, user string, moment int, hidden bool) talked {
	a.t.Helper()
	out := talked{spray: &spray{heard: map[float64]int{}}}
	var err error
	if out.a, err = alice.Dial(ctx, user); err != nil {
		a.t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- out.a.Wait(ctx) }()
	var in *phone.Incoming
	select {
	case in = <-bob.Incoming():
	case err := <-answered:
		a.t.Fatalf("%s does not ring: %v", user, err)
	}
	_ = in.Ring()
	ids := slices.Compact([]string{out.a.CallID(), in.Header("Call-ID")})
	toBob := audioPort.FindStringSubmatch(in.InviteRequest())
	if moment == whileItRings && !hidden {
		out.spray = a.spray(a.relayPorts(ids...))
		out.spray.reaches(a)
	}
	if out.b, err = in.Answer(ctx); err != nil {
		a.t.Fatal(err)
	}
	if err := <-answered; err != nil {
		a.t.Fatal(err)
	}
	out.a.SendTone(aliceSays)
	out.b.SendTone(bobSays)
	if moment == asTheyTalk || hidden {
		hearBoth(a.t, ctx, out)
		told := append(toBob[1:], audioPort.FindStringSubmatch(out.a.ReceivedSDP())[1:]...)
		out.spray = a.spray(slices.DeleteFunc(a.relayPorts(ids...), func(p int) bool { return hidden && slices.Contains(told, strconv.Itoa(p)) }))
	}
	return out
}

var audioPort = regexp.MustCompile(`m=audio (\d+) `)

func hearBoth(t *testing.T, ctx context.Context, c talked) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := c.b.HearTone(ctx, aliceSays); err != nil {
		t.Errorf("the callee: %v", err)
	}
	if _, err := c.a.HearTone(ctx, bobSays); err != nil {
		t.Errorf("the caller: %v", err)
	}
}

// window is longer than the relay learns after each offer and answer: 3 s, counted in whole seconds.
const window = 4500 * time.Millisecond

func TestMediaAttack_HearsNothingAndIsNotHeard(t *testing.T) {
	// Proves by ear that who sprays RTP at every port of a call, from before its first packet or as the phones talk, hears none of
	// it, that the phones hear each other all the while, and do not hear him once the relay has learned where they are; a leg of the
	// media server and one with DTLS not even before.
	if netns.Reexec(t) {
		return
	}
	a := attackedEdge(t, edge.Options{Media: true, Config: `
---
{kind: sip_user, account: acme, name: "1021", spec: {record_policy: all}}
---
{kind: sip_device, account: acme, name: 1021@acme.test, spec: {user_id: "1021", password: secret-1021}}
`})
	open, bobs := a.net.Join(t, aliceAt+"/24"), a.net.Join(t, bobAt+"/24")
	alice := registered(t, a.Edge, "1001", inside(open, aliceAt))
	home := registered(t, a.Edge, "1001", inside(a.natHome("198.18.9.52"), behindNAT))
	browser := registered(t, a.Edge, "1011", func(c *phone.Config) { c.Transport, c.WebRTC = "wss", true })
	bob, taped := registered(t, a.Edge, "1002", inside(bobs, bobAt)), registered(t, a.Edge, "1021", inside(bobs, bobAt))
	var all sync.WaitGroup
	for _, row := range []struct {
		name     string
		from, to *phone.Phone
		user     string
		moment   int
		hidden   bool // attacked are the legs of the media server alone
		never    bool // the callee does not even hear him while the relay learns: the caller's leg does not
	}{
		{"phone, while it rings", alice, bob, "1002", whileItRings, false, false},
		{"phone, as they talk", alice, bob, "1002", asTheyTalk, false, false},
		{"phone behind NAT, while it rings", home, bob, "1002", whileItRings, false, false},
		{"phone behind NAT, as they talk", home, bob, "1002", asTheyTalk, false, false},
		{"browser, while it rings", browser, bob, "1002", whileItRings, false, true},
		{"browser, as they talk", browser, bob, "1002", asTheyTalk, false, true},
		{"recorded call, its legs at the media server", alice, taped, "1021", asTheyTalk, true, true},
	} {
		ctx := within(t, 60*time.Second)
		c := a.call(ctx, row.from, row.to, row.user, row.moment, row.hidden)
		all.Add(1)
		go func() {
			defer all.Done()
			atA, atB := listenFor(ctx, window, c.a, c.b)
			thenA, thenB := listenFor(ctx, time.Second, c.a, c.b)
			c.spray.stop()
			report := fmt.Sprintf("%s: frames of 20 ms {of the other, of the attacker, sent by the other}: caller %v, callee %v; once learned %v, %v; the attacker by tone %v of %d sent",
				row.name, atA, atB, thenA, thenB, c.spray.heard, c.spray.sent)
			t.Log(report)
			if !atA.well() || !atB.well() || !thenA.well() || !thenB.well() {
				t.Errorf("the phones do not hear each other: %s", report)
			}
			if n := c.spray.frames(); n > 0 && row.moment != whileItRings || n > 5 { // until the phone's own first packet
				t.Errorf("the attacker hears the call: %s", report)
			}
			if thenA.attacker > 0 || thenB.attacker > 0 || row.never && atB.attacker > 0 || row.hidden && atA.attacker > 0 {
				t.Errorf("the attacker is heard: %s", report)
			}
			if c.spray.sent < 200 {
				t.Errorf("no attack: %s", report)
			}
		}()
	}
	all.Wait()
}

// fromElsewhere has what a namespace sends to the node's relay leave from another of its addresses, and what comes there arrive.
func (a *attacked) fromElsewhere(ns *netns.NS, is, shown string) {
	a.t.Helper()
	table := fmt.Sprintf("flush table ip elsewhere; table ip elsewhere { "+
		"chain out { type filter hook postrouting priority 300; ip saddr %s ip daddr %s udp dport > 10000 ip saddr set %s; }; "+
		"chain in { type filter hook prerouting priority -400; udp sport > 10000 ip daddr != %[1]s ip daddr set %[1]s; }; }", is, mediaNode, shown)
	if out, err := ns.Output(a.t.Context(), "nft", "table ip elsewhere; "+table); err != nil {
		a.t.Fatalf("nft: %v\n%s", err, out)
	}
}

func TestMediaAttack_HonestChangesAreHeard(t *testing.T) {
	// Proves by ear that what is refused to strangers is not refused to phones and trunks: one that sends from another address than
	// its SDP says, a trunk that changes it without a word, a phone behind NAT that moves and says so, one that was held in an attack.
	if netns.Reexec(t) {
		return
	}
	const carrierAt = "198.18.9.40"
	a := attackedEdge(t, edge.Options{Config: `
---
{kind: sip_trunk, account: acme, name: carrier, spec: {inbound_acl: [198.18.9.40]}}
---
{kind: did, account: acme, name: "493012345", spec: {dest_kind: user, dest_id: "1002"}}
`})
	if err := a.WaitTrunk(carrierAt, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 100*time.Second)
	open, away := a.net.Join(t, aliceAt+"/24"), a.net.Join(t, "198.18.9.53/24", "198.18.9.54/24")
	trunk := a.net.Join(t, carrierAt+"/24", "198.18.9.41/24", "198.18.9.42/24")
	nat := a.natHome("198.18.9.52")
	a.fromElsewhere(away, "198.18.9.53", "198.18.9.54")
	a.fromElsewhere(trunk, carrierAt, "198.18.9.41")
	bob := registered(t, a.Edge, "1002", inside(a.net.Join(t, bobAt+"/24"), bobAt))
	alice := registered(t, a.Edge, "1001", inside(open, aliceAt))

	elsewhere := a.call(ctx, registered(t, a.Edge, "1001", inside(away, "198.18.9.53")), bob, "1002", noAttack, false)
	moved := a.call(ctx, registered(t, a.Edge, "1001", inside(nat, behindNAT)), bob, "1002", noAttack, false)
	carried := a.call(ctx, newPhone(t, a.Edge, "4930555", inside(trunk, carrierAt), realm("carrier.test")), bob, "493012345", noAttack, false)
	held := a.call(ctx, alice, bob, "1002", noAttack, false)
	for _, c := range []talked{elsewhere, moved, carried, held} {
		hearBoth(t, ctx, c)
		a.learned(c.a.CallID(), 2)
		hearBoth(t, ctx, c)
	}

	a.fromElsewhere(trunk, carrierAt, "198.18.9.42")
	hearBoth(t, ctx, carried)

	for _, args := range []string{"addr del 198.18.9.52/24 dev eth0", "addr add 198.18.9.55/24 dev eth0"} {
		if out, err := nat.Output(ctx, "ip", strings.Fields(args)...); err != nil {
			t.Fatalf("ip %s: %v\n%s", args, err, out)
		}
	}
	// The kernel drops what it has translated for the old address a moment later: what leaves before goes in its name, and is answered there.
	eventually(t, ctx, "the router to forget its old address", func() error {
		table, err := nat.Output(ctx, "cat", "/proc/net/nf_conntrack")
		for line := range strings.Lines(string(table)) {
			if containsAll(line, "src="+behindNAT+" ", "dst=198.18.9.52 ") {
				return errors.New(line)
			}
		}
		return err
	})
	if err := moved.a.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	hearBoth(t, ctx, moved)
	a.learned(moved.a.CallID(), 2)
	hearBoth(t, ctx, moved)

	if err := held.a.Hold(ctx); err != nil {
		t.Fatal(err)
	}
	s := a.spray(a.relayPorts(held.a.CallID()))
	a.learned(held.a.CallID(), 2)
	if err := held.a.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	hearBoth(t, ctx, held)
	a.learned(held.a.CallID(), 2)
	hearBoth(t, ctx, held)
	atA, atB := listenFor(ctx, time.Second, held.a, held.b)
	t.Logf("held: %v %v, attacker %v", atA, atB, s.heard)
	if atA.attacker > 0 || atB.attacker > 0 {
		t.Errorf("after a hold the attacker is heard: caller %v, callee %v", atA, atB)
	}
}
