package edge

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
)

func portAfter(p int) int {
	if p == 0 {
		return 0
	}
	return p + 1
}

// freePorts returns n ports that are free for UDP and TCP on ip at this moment.
func freePorts(ip string, n int) ([]int, error) {
	var ports []int
	var held []interface{ Close() error }
	defer func() {
		for _, h := range held {
			_ = h.Close()
		}
	}()
	for tries := 0; len(ports) < n && tries < 100; tries++ {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			return nil, fmt.Errorf("find a free port on %s: %w", ip, err)
		}
		held = append(held, l)
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip), Port: port})
		if err != nil {
			continue
		}
		held = append(held, u)
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, errors.New("no free ports")
	}
	return ports, nil
}

// rtpRanges picks 1,000 ports for rtpengine, and the first of 500 for the media server, below the ephemeral range and
// apart from each other; at random, so that parallel runs rarely meet.
func rtpRanges() (lo, hi, media int) {
	var b [2]byte
	_, _ = rand.Read(b[:])
	lo = 10000 + int(b[0]%20)*1000
	return lo, lo + 999, 30000 + int(b[1]%5)*500
}

func freePortString() string {
	ports, err := freePorts("127.0.0.1", 1)
	if err != nil {
		return "0"
	}
	return fmt.Sprint(ports[0])
}
