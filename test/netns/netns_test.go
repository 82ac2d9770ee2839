package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestReexec_RunsTheTestInANamespaceOfItsOwn(t *testing.T) {
	// Proves that the test sees another namespace than the program that started it, with loopback alone, and up.
	if home, err := os.Readlink("/proc/self/ns/net"); err != nil {
		t.Fatal(err)
	} else if !Inside() {
		t.Setenv("NETNS_TEST_HOME", home)
	} else if home == os.Getenv("NETNS_TEST_HOME") {
		t.Fatal("still in the namespace of the program that started this one")
	}
	if Reexec(t) {
		return
	}
	links, err := net.Interfaces()
	if err != nil || len(links) != 1 || links[0].Flags&net.FlagUp == 0 {
		t.Fatalf("links %v, %v: want loopback alone, up", links, err)
	}
}

func TestReexec_PassesFailureSkipAndLogOn(t *testing.T) {
	// Proves that the end of the other process is told apart, by running tests that fail, skip and log on purpose.
	for _, row := range []struct{ name, want string }{{"fail", "FAIL"}, {"skip", "SKIP"}, {"log", "PASS"}, {"exit", "FAIL"}} {
		t.Run(row.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestReexec_Sample$", "-test.v")
			cmd.Env = append(os.Environ(), "NETNS_TEST_SAMPLE="+row.name)
			out, _ := cmd.CombinedOutput()
			if os.Getuid() != 0 {
				t.Skip("needs root")
			}
			if !strings.Contains(string(out), "--- "+row.want+": TestReexec_Sample ") || !strings.Contains(string(out), "the sample says "+row.name) {
				t.Errorf("want %s, and what the sample said:\n%s", row.want, out)
			}
		})
	}
}

func TestReexec_Sample(t *testing.T) {
	// Proves nothing alone: it is what the test above runs.
	want := os.Getenv("NETNS_TEST_SAMPLE")
	if want == "" || Reexec(t) {
		return
	}
	t.Log("the sample says " + want)
	switch want {
	case "fail":
		t.Fail()
	case "skip":
		t.SkipNow()
	case "exit":
		os.Exit(0)
	}
}

func TestBridge_JoinsNamespacesByTheirAddresses(t *testing.T) {
	// Proves that sockets and commands inside a namespace have its addresses, by packets to and fro, v4 and v6, and that those who have
	// talked still reach the bridge when others have joined.
	if Reexec(t) {
		return
	}
	bridge := NewBridge(t, "10.9.0.1/24", "fd09::1/64")
	join := func(first int) {
		for k := range 12 {
			bridge.Join(t, fmt.Sprintf("10.9.0.%d/24", first+k))
		}
	}
	join(10)
	other := bridge.Join(t, "10.9.0.2/24", "10.9.0.3/24", "fd09::2/64")
	greet(t, other, "10.9.0.1:0", "10.9.0.3:0")
	greet(t, other, "[fd09::1]:0", "[fd09::2]:0")
	join(30)
	greet(t, other, "10.9.0.1:0", "10.9.0.3:0")
	greet(t, other, "[fd09::1]:0", "[fd09::2]:0")
	out, err := other.Output(context.Background(), "ip", "-br", "addr")
	if err != nil || !strings.Contains(string(out), "10.9.0.2/24") || strings.Contains(string(out), "10.9.0.1/24") {
		t.Fatalf("addresses inside: %v\n%s", err, out)
	}
}

// greet sends a packet from an address of a namespace to one of the test's own.
func greet(t *testing.T, ns *NS, at, from string) {
	t.Helper()
	addr, err := net.ResolveUDPAddr("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	home, err := net.ListenUDP("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	conn, err := ns.ListenUDP(from)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.WriteTo([]byte("hello"), home.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	_ = home.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 16)
	n, sender, err := home.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "hello" || sender.String() != conn.LocalAddr().String() {
		t.Fatalf("%q from %v, %v", buf[:n], sender, err)
	}
}
