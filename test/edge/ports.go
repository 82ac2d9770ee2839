package edge

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

func portAfter(p int) int {
	if p == 0 {
		return 0
	}
	return p + 1
}

// FreePorts returns n ports of 127.0.0.1 that are free for UDP and TCP, and nobody else's soon.
func FreePorts(n int) ([]int, error) { return freePorts("127.0.0.1", n) }

// Addresses returns n addresses on 127.0.0.1 with such ports.
func Addresses(n int) ([]string, error) {
	ports, err := FreePorts(n)
	list := make([]string, len(ports))
	for i, port := range ports {
		list[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	return list, err
}

// ports of this process: a block of those above the range from which the kernel gives ports to connections, so that none
// takes one while its owner is being restarted. They are handed out in turn, so that one that was found free and is not bound yet is
// not found again.
var ports struct {
	mu    sync.Mutex
	held  *os.File // nobody else on this machine has the block while it is open: until this process ends
	first int
	next  int
}

const (
	firstPort  = 61000
	blockPorts = 300
	blocks     = 15
)

// freePorts returns n ports that are free for UDP and TCP on ip at this moment, and nobody else's soon.
func freePorts(ip string, n int) (free []int, err error) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	start := rand.IntN(blocks)
	for i := 0; ports.held == nil && i < blocks; i++ {
		ports.first = firstPort + (start+i)%blocks*blockPorts
		ports.held, err = lock(fmt.Sprintf("sipio-ports-%d.lock", ports.first))
	}
	if ports.held == nil {
		return nil, fmt.Errorf("no block of ports is free: %w", err)
	}
	for range blockPorts {
		port := ports.first + ports.next
		ports.next = (ports.next + 1) % blockPorts
		if isFree(ip, port) {
			free = append(free, port)
		}
		if len(free) == n {
			return free, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports on %s", n, ip)
}

// Listen listens on a TCP address, also where a listener of this process has just been closed: a process that is being started has its
// parent's sockets until its exec, and nobody else has the address so long.
func Listen(addr string) (l net.Listener, err error) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if l, err = net.Listen("tcp", addr); !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return l, err
		}
	}
}

func isFree(ip string, port int) bool {
	syscall.ForkLock.RLock() // no process that is being started has what is closed here
	defer syscall.ForkLock.RUnlock()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, fmt.Sprint(port)))
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip), Port: port})
	if err != nil {
		return false
	}
	return u.Close() == nil
}

// rtpRanges takes 1,000 ports for rtpengine, and the 500 after them, of which media is the first, for the media server, below the
// ephemeral range. They are nobody else's on this machine until held is closed: two of rtpengine would bind the same ports
// without an error, and mix up their calls. When all are taken it waits for one, that long at most.
func rtpRanges(patience time.Duration) (lo, hi, media int, held *os.File, err error) {
	const ranges, ofRTP, width = 15, 1000, 1500
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		first := rand.IntN(ranges)
		for i := range ranges {
			lo = 10000 + (first+i)%ranges*width
			if held, err = lock(fmt.Sprintf("sipio-rtp-%d.lock", lo)); err == nil {
				return lo, lo + ofRTP - 1, lo + ofRTP, held, nil
			}
		}
		if time.Now().After(deadline) {
			return 0, 0, 0, nil, fmt.Errorf("no range of RTP ports is free: %w", err)
		}
	}
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
