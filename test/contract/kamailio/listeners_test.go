package kamailio

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// listeners are the TCP sockets in state LISTEN and the UDP sockets without a peer that processes of a group
// have open, each as "tcp host:port" or "udp host:port", sorted; IPv4 and IPv6.
func listeners(group int) ([]string, error) {
	inodes, err := socketInodes(group)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		b, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			return nil, fmt.Errorf("read the socket table: %w", err)
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			f := strings.Fields(line)
			if len(f) < 10 || !inodes[f[9]] {
				continue
			}
			tcp := strings.HasPrefix(table, "tcp")
			listening := tcp && f[3] == "0A" || !tcp && strings.HasSuffix(f[2], ":0000")
			addr, err := address4(f[1])
			if err != nil {
				return nil, err
			}
			if listening {
				out = append(out, table+" "+addr)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// socketInodes are the inodes of the sockets of every process in a process group.
func socketInodes(group int) (map[string]bool, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	inodes := map[string]bool{}
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // the process has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest) // state, parent, group, …
		if len(f) < 3 || f[2] != strconv.Itoa(group) {
			continue
		}
		fds, err := filepath.Glob(filepath.Join(filepath.Dir(stat), "fd", "*"))
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			if link, err := os.Readlink(fd); err == nil {
				if inode, ok := strings.CutPrefix(link, "socket:["); ok {
					inodes[strings.TrimSuffix(inode, "]")] = true
				}
			}
		}
	}
	if len(inodes) == 0 {
		return nil, fmt.Errorf("no sockets of process group %d", group)
	}
	return inodes, nil
}

// address4 reads an address of /proc/net: hexadecimal words in the byte order of the machine (here
// little-endian), then the port. IPv6 stays as it is; nobody should have one.
func address4(s string) (string, error) {
	ip, port, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", s, err)
	}
	b, err := hex.DecodeString(ip)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", s, err)
	}
	if len(b) == 4 {
		slices.Reverse(b)
		ip = net.IP(b).String()
	}
	return fmt.Sprintf("%s:%d", ip, n), nil
}
