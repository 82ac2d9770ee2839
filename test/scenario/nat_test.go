package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
)

// natted is a home network of the test's own: a phone's namespace behind a router's namespace that masquerades,
// joined to the node by a link that only exists here.
//
//	node 198.18.7.1 ── 198.18.7.2 router (masquerade) 192.168.77.1 ── 192.168.77.2 phone
type natted struct{ router, phone string }

const natNode = "198.18.7.1"

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s(needs root and iproute2)", args, err, out)
	}
}

func newNAT(t *testing.T) natted {
	t.Helper()
	n := natted{router: "sipio-router", phone: "sipio-phone"}
	drop := func() {
		_ = exec.Command("ip", "netns", "del", n.router).Run()
		_ = exec.Command("ip", "netns", "del", n.phone).Run()
		_ = exec.Command("ip", "link", "del", "sipio-wan").Run()
	}
	drop() // of a run that was killed
	t.Cleanup(drop)
	for _, args := range []string{
		"netns add " + n.router, "netns add " + n.phone,
		"link add sipio-wan type veth peer name wan netns " + n.router,
		"addr add " + natNode + "/24 dev sipio-wan", "link set sipio-wan up",
		"-n " + n.router + " addr add 198.18.7.2/24 dev wan", "-n " + n.router + " link set wan up", "-n " + n.router + " link set lo up",
		"-n " + n.router + " link add lan type veth peer name eth0 netns " + n.phone,
		"-n " + n.router + " addr add 192.168.77.1/24 dev lan", "-n " + n.router + " link set lan up",
		"-n " + n.phone + " addr add 192.168.77.2/24 dev eth0", "-n " + n.phone + " link set eth0 up", "-n " + n.phone + " link set lo up",
		"-n " + n.phone + " route add default via 192.168.77.1",
	} {
		ip(t, args)
	}
	forward := exec.Command("ip", "netns", "exec", n.router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
	if out, err := forward.CombinedOutput(); err != nil {
		t.Fatalf("let the router forward: %v\n%s", err, out)
	}
	nft := exec.Command("ip", "netns", "exec", n.router, "nft", "-f", "-")
	nft.Stdin = strings.NewReader("table ip nat {\nchain post {\ntype nat hook postrouting priority 100;\noifname \"wan\" masquerade random;\n}\n}\n")
	if out, err := nft.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	return n
}

// A phone behind a masquerading router registers, is called and calls: audio is heard both ways, though the
// addresses in its SIP and SDP are useless to anybody outside.
func TestNAT_PhoneBehindARouterIsHeardBothWays(t *testing.T) {
	n := newNAT(t)
	e := start(t, edge.Options{Config: acme, IP: natNode})
	bin, err := edge.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 60*time.Second)
	outside := registered(t, e, "1001")

	t.Run("is called", func(t *testing.T) {
		cmd, out := n.testphone(ctx, bin, "listen", e, "1002", "--answer", "--tone", "620", "--hear", "440", "--for", "20s")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, "the phone behind NAT to be reachable", func() error {
			c, err := outside.Call(ctx, "1002")
			if err != nil {
				return err
			}
			c.SendTone(440)
			if _, err := c.HearTone(ctx, 620); err != nil {
				t.Errorf("the phone outside hears nothing: %v", err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("the phone behind NAT: %v\n%s", err, out)
			}
			_ = c.Bye(ctx)
			return nil
		})
	})
	t.Run("calls", func(t *testing.T) {
		up := answering(ctx, outside)
		cmd, out := n.testphone(ctx, bin, "call", e, "1002", "1001", "--tone", "620", "--hear", "440", "--for", "10s")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c, ok := <-up
		if !ok {
			t.Fatalf("no call arrived\n%s", out)
		}
		c.SendTone(440)
		if _, err := c.HearTone(ctx, 620); err != nil {
			t.Errorf("the phone outside hears nothing: %v", err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the phone behind NAT: %v\n%s", err, out)
		}
		if !json.Valid(bytes.TrimSpace(out.Bytes())) {
			t.Errorf("report of the phone: %s", out)
		}
	})
}

// testphone is the test phone's program inside the phone's namespace.
func (n natted) testphone(ctx context.Context, bin, verb string, e *edge.Edge, user string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	argv := []string{"netns", "exec", n.phone, filepath.Join(bin, "testphone"), verb}
	argv = append(argv, args...)
	argv = append(argv, "--user", user, "--password", "secret-"+user, "--domain", "acme.test", "--proxy", e.SIP, "--local", "192.168.77.2")
	cmd := exec.CommandContext(ctx, "ip", argv...)
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}
