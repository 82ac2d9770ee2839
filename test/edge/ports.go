package edge

import (
	"fmt"
	"math/rand/v2"
	"net"
)

func portAfter(p int) int {
	if p == 0 {
		return 0
	}
	return p + 1
}

// freePorts returns n ports that are free for UDP and TCP on ip at this moment. They lie above the range from which the
// kernel gives ports to connections, so that none takes one while its owner is being restarted.
func freePorts(ip string, n int) ([]int, error) {
	const first, last = 61000, 65500
	var ports []int
	var held []interface{ Close() error }
	defer func() {
		for _, h := range held {
			_ = h.Close()
		}
	}()
	for tries := 0; len(ports) < n && tries < 1000; tries++ {
		port := first + rand.IntN(last-first)
		l, err := net.Listen("tcp", net.JoinHostPort(ip, fmt.Sprint(port)))
		if err != nil {
			continue
		}
		held = append(held, l)
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip), Port: port})
		if err != nil {
			continue
		}
		held = append(held, u)
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, fmt.Errorf("no free ports on %s", ip)
	}
	return ports, nil
}

// rtpRanges picks 1,000 ports for rtpengine, and the first of 500 for the media server, below the ephemeral range and
// apart from each other; at random, so that parallel runs rarely meet.
func rtpRanges() (lo, hi, media int) {
	lo = 10000 + rand.IntN(20)*1000
	return lo, lo + 999, 30000 + rand.IntN(5)*500
}

func freePortString() string {
	ports, err := freePorts("127.0.0.1", 1)
	if err != nil {
		return "0"
	}
	return fmt.Sprint(ports[0])
}
