package edge

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

func portAfter(p int) int {
	if p == 0 {
		return 0
	}
	return p + 1
}

// Addresses returns n addresses on 127.0.0.1, each free for UDP and TCP at this moment; see freePorts.
func Addresses(n int) ([]string, error) {
	ports, err := freePorts("127.0.0.1", n)
	list := make([]string, len(ports))
	for i, port := range ports {
		list[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	return list, err
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

// rtpRanges takes 1,000 ports for rtpengine, and picks the first of 500 for the media server, below the ephemeral range and
// apart from each other. Those of rtpengine are nobody else's on this machine until held is closed: two of them would
// bind the same ports without an error, and mix up their calls.
func rtpRanges() (lo, hi, media int, held *os.File, err error) {
	const ranges = 20
	first := rand.IntN(ranges)
	for i := range ranges {
		lo = 10000 + (first+i)%ranges*1000
		if held, err = lock(fmt.Sprintf("sipio-rtp-%d.lock", lo)); err == nil {
			return lo, lo + 999, 30000 + rand.IntN(5)*500, held, nil
		}
	}
	return 0, 0, 0, nil, fmt.Errorf("no range of RTP ports is free: %w", err)
}

// lock holds a file of the temporary folder until it is closed, or this process ends.
func lock(name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), name), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

func freePortString() string {
	ports, err := freePorts("127.0.0.1", 1)
	if err != nil {
		return "0"
	}
	return fmt.Sprint(ports[0])
}
