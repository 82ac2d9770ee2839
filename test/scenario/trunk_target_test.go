package scenario

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/netns"
)

// house has a trunk with a name, which is not pinged, and one behind it.
const house = `
{kind: account, name: kontor, spec: {country: DE, default_cid_number: "4930900100"}}
---
{kind: sip_domain, account: kontor, name: kontor.test, spec: {is_primary: true}}
---
{kind: sip_user, account: kontor, name: "1001", spec: {display_name: Karla}}
---
{kind: sip_device, account: kontor, name: 1001@kontor.test, spec: {user_id: "1001", password: secret-1001}}
---
{kind: sip_trunk, account: kontor, name: named, spec: {direction: outbound, proxy: carrier.test, silent_ms: 6000, max_channels: 1, options_ping_sec: 0}}
---
{kind: sip_trunk, account: kontor, name: other, spec: {direction: outbound, proxy: OTHER, options_ping_sec: 0}}
---
{kind: outbound_route, account: kontor, name: all, spec: {trunks: [{trunk_id: named, priority: 1}, {trunk_id: other, priority: 2}]}}
---
{kind: did, account: kontor, name: "4930900100", spec: {dest_kind: user, dest_id: "1001"}}
`

// A trunk is known by a name whose SRV records name two targets. The first says nothing: the second has the call within the trunk's
// silent_ms, on one channel of the trunk, and both hear each other; the next call goes there at once, because the node has learned it. When
// that one says 503 and the first still nothing, the next trunk has the call.
func TestTrunk_DeadTargetOfANameIsPassedOver(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	live, other := newCarrier(t, "live"), newCarrier(t, "other")
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	serveNames(t, map[string][]string{"_sip._udp.carrier.test": {dead.LocalAddr().String(), live.address()}})
	e := start(t, edge.Options{Config: strings.Replace(house, "OTHER", other.address(), 1), LogDecisions: true, NodeFlags: []string{"--heartbeat-interval=500ms"}})
	karla := registered(t, e, "1001", realm("kontor.test"))
	ctx := within(t, 40*time.Second)
	account, err := e.AccountID(ctx, "kontor")
	if err != nil {
		t.Fatal(err)
	}
	o := &office{Edge: e, alpha: live, beta: other, gamma: other}
	eventually(t, ctx, "the node to know the targets", func() error {
		if !strings.Contains(e.Tails(400), fmt.Sprintf("[%q,%q]", dead.LocalAddr().String(), live.address())) {
			return fmt.Errorf("it has not said so")
		}
		return nil
	})

	began := time.Now()
	ours, theirs := o.answered(t, ctx, karla, "0305551234", live)
	if took := time.Since(began); took < 2700*time.Millisecond || took > 5500*time.Millisecond {
		t.Errorf("the silent target was left after %v, want half of 6 s", took)
	}
	if in := live.calls()[0]; !strings.HasPrefix(in.RequestURI(), "sip:+49305551234@carrier.test") {
		t.Errorf("called as %s", in.RequestURI())
	}
	if raw, err := taken(ctx, e, account); err != nil || strings.Count(raw, `"used":1,"limit":1`) != 1 {
		t.Errorf("channels: %v, %s", err, raw)
	}
	talk(t, ctx, ours, theirs)
	hangUp(t, ctx, e, ours, theirs)
	noTrunkTaken(t, ctx, e, account)

	eventually(t, ctx, "the node to learn of it", func() error {
		if !strings.Contains(e.Tails(400), "did not take a call") {
			return fmt.Errorf("it has not said so")
		}
		return nil
	})
	began = time.Now()
	ours, theirs = o.answered(t, ctx, karla, "0305551234", live)
	if took := time.Since(began); took > 2700*time.Millisecond { // the silent one was not asked
		t.Errorf("the next call took %v", took)
	}
	hangUp(t, ctx, e, theirs, ours)
	noTrunkTaken(t, ctx, e, account)

	live.now(refuses(503))
	ours, theirs = o.answered(t, ctx, karla, "0305551234", other)
	talk(t, ctx, ours, theirs)
	if len(live.calls()) != 1 || len(other.calls()) != 1 {
		t.Errorf("%d and %d calls", len(live.calls()), len(other.calls()))
	}
	hangUp(t, ctx, e, ours, theirs)
	if want := fmt.Sprintf("sip:%s=503,sip:%s=408", live.address(), dead.LocalAddr()); !strings.Contains(e.Tails(400), want) {
		t.Errorf("nothing was recorded of %s", want)
	}
}

// taken is what the calls of an account take.
func taken(ctx context.Context, e *edge.Edge, account string) (string, error) {
	raw, err := e.Request(ctx, "GET", api.PathCAC+"?account_id="+account, "", nil)
	return string(raw), err
}

// noTrunkTaken waits until no call of an account takes a channel of a trunk.
func noTrunkTaken(t *testing.T, ctx context.Context, e *edge.Edge, account string) {
	t.Helper()
	eventually(t, ctx, "the channels of calls that are over", func() error {
		if raw, err := taken(ctx, e, account); err != nil || strings.Contains(raw, `"dimension":"trunk"`) {
			return fmt.Errorf("%v, %s", err, raw)
		}
		return nil
	})
}

// serveNames is this namespace's DNS: SRV records of names, by priority, to targets that are addresses.
func serveNames(t *testing.T, records map[string][]string) {
	t.Helper()
	conf, _ := os.ReadFile("/etc/resolv.conf") // without one, or a server in it, this machine is asked (resolv.conf(5))
	_, server, _ := strings.Cut("\n"+string(conf), "\nnameserver ")
	server, _, _ = strings.Cut(server, "\n")
	if server = strings.TrimSpace(server); net.ParseIP(server) == nil {
		server = "127.0.0.1"
	}
	if !strings.HasPrefix(server, "127.") && server != "::1" {
		if out, err := exec.Command("ip", "addr", "add", server, "dev", "lo").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	conn, err := net.ListenPacket("udp", net.JoinHostPort(server, "53"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := answerName(buf[:n], records); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
}

// answerName answers a question of the DNS (RFC 1035 section 4.1). The name of a target is its place in the list, and leads to its address.
func answerName(q []byte, records map[string][]string) []byte {
	if len(q) < 17 {
		return nil
	}
	var labels []string
	at := 12
	for at < len(q) && q[at] != 0 && at+1+int(q[at]) < len(q) {
		labels = append(labels, string(q[at+1:at+1+int(q[at])]))
		at += 1 + int(q[at])
	}
	if at+5 > len(q) {
		return nil
	}
	question, name, typ := q[12:at+5], strings.ToLower(strings.Join(labels, ".")), binary.BigEndian.Uint16(q[at+1:])
	var answers [][]byte
	for of, targets := range records {
		for i, target := range targets {
			host, port, _ := net.SplitHostPort(target)
			own := "t" + strconv.Itoa(i) + ".targets"
			number, _ := strconv.Atoi(port)
			switch {
			case typ == 33 && name == of:
				answers = append(answers, append(binary.BigEndian.AppendUint16([]byte{0, byte(i), 0, 1}, uint16(number)), wireName(own)...))
			case typ == 1 && name == own:
				answers = append(answers, net.ParseIP(host).To4())
			}
		}
	}
	reply := []byte{q[0], q[1], 0x85, 0x80, 0, 1, 0, byte(len(answers)), 0, 0, 0, 0}
	if len(answers) == 0 {
		reply[3] |= 3 // no such name
	}
	if _, _, ok := strings.Cut(name, ".targets"); ok && typ == 28 {
		reply[3] &^= 3
	}
	reply = append(reply, question...)
	for _, a := range answers {
		reply = append(reply, 0xc0, 12)
		reply = binary.BigEndian.AppendUint16(reply, typ)
		reply = append(reply, 0, 1, 0, 0, 0, 1)
		reply = append(binary.BigEndian.AppendUint16(reply, uint16(len(a))), a...)
	}
	return reply
}

func wireName(name string) (wire []byte) {
	for label := range strings.SplitSeq(name, ".") {
		wire = append(append(wire, byte(len(label))), label...)
	}
	return append(wire, 0)
}
