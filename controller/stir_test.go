package controller

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	brainstir "github.com/sipio/sipio/brain/stir"
	"github.com/sipio/sipio/controller/session"
	"github.com/sipio/sipio/controller/stir"
)

func TestStir_CertificatesAreGuardedLikeTheRequestsOfFlows(t *testing.T) {
	// Proves that one guard serves both: a listed name of a repository that leads inside, as after a change of its DNS, is refused
	// when the connection is made, and an operator may allow it.
	f, err := stir.NewFetcher(stir.Options{Hosts: []string{"cr.example.org"}, Guard: session.Guard(nil)})
	if err != nil {
		t.Fatal(err)
	}
	old := net.DefaultResolver
	defer func() { net.DefaultResolver = old }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go answerNames(far, func(string) netip.Addr { return netip.MustParseAddr("127.0.0.1") })
		return near, nil
	}}
	_, refusal := f.Fetch(t.Context(), "https://cr.example.org:8443/x")
	if refusal == nil || refusal.Reason != brainstir.X5URefused || !strings.Contains(refusal.Text, "127.0.0.1") {
		t.Errorf("%v", refusal)
	}
	if err := session.Guard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})("tcp", "127.0.0.1:443", nil); err != nil {
		t.Errorf("allowed by the operator: %v", err)
	}
}

// answerNames is a name server over a stream that says where every name leads, and nothing else.
func answerNames(conn net.Conn, address func(name string) netip.Addr) {
	defer conn.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		q := make([]byte, int(size[0])<<8|int(size[1]))
		if _, err := io.ReadFull(conn, q); err != nil {
			return
		}
		end, labels := 12, []string(nil)
		for q[end] != 0 {
			labels = append(labels, string(q[end+1:end+1+int(q[end])]))
			end += int(q[end]) + 1
		}
		end += 5
		answer := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
		if q[end-3] == 1 { // type A
			answer[7] = 1
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			answer = append(answer, address(strings.ToLower(strings.Join(labels, "."))).AsSlice()...)
		}
		if _, err := conn.Write(append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...)); err != nil {
			return
		}
	}
}
