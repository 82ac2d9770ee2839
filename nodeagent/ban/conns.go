package ban

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
)

// Numbers of sock_diag(7), linux/inet_diag.h and linux/tcp_states.h.
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	sockDestroy      = 21
	familyV4         = 2
	familyV6         = 10
	tcpEstablished   = 1
	tcpCloseWait     = 8

	diagRequest = 56 // bytes of struct inet_diag_req_v2
	diagAnswer  = 72 // bytes of struct inet_diag_msg
	diagID      = 52 // and up to the end of what names the socket
)

// refuseTerm is how long new connections are refused after Refuse: who asks for it no more, or is gone, refuses nobody.
const refuseTerm = 5 * time.Second

// Connections counts the TCP connections to the guarded ports that a program here holds, by source as Of writes it, from sock_diag(7). What
// a handshake has not made yet is none, so nobody is counted who was only forged.
func (t *Table) Connections() (map[netip.Prefix]int, error) {
	counts := map[netip.Prefix]int{}
	err := t.connections(func(_ *netlink.Conn, from netip.Prefix, _ []byte) error {
		counts[from]++
		return nil
	})
	return counts, err
}

// CountsConnections says why this kernel does not tell its connections, nil if it does.
func CountsConnections() error {
	_, err := (&Table{}).Connections()
	return err
}

// Close ends so many of the connections of each source that the table does not know (Known), whichever: both ends hear of it.
// errors.ErrUnsupported: the kernel is built without (CONFIG_INET_DIAG_DESTROY).
func (t *Table) Close(excess map[netip.Prefix]int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := maps.Clone(excess)
	for _, f := range []family{t.v4, t.v6} {
		known, err := t.elements(f.known)
		if err != nil {
			return fmt.Errorf("close connections: %w", err)
		}
		for _, e := range known {
			delete(left, f.prefix(e.Key))
		}
	}
	return t.connections(func(conn *netlink.Conn, from netip.Prefix, answer []byte) error {
		if left[from] == 0 {
			return nil
		}
		left[from]--
		req := make([]byte, diagRequest)
		req[0], req[1] = answer[0], protoTCP
		copy(req[8:], answer[4:diagID])
		_, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: sockDestroy, Flags: netlink.Request | netlink.Acknowledge}, Data: req})
		if errors.Is(err, fs.ErrNotExist) {
			return nil // closed meanwhile
		}
		return err
	})
}

// connections hands on each connection to the guarded ports.
func (t *Table) connections(each func(conn *netlink.Conn, from netip.Prefix, answer []byte) error) error {
	conn, err := netlink.Dial(netlinkSockDiag, nil)
	if err != nil {
		return fmt.Errorf("sock_diag: %w", err)
	}
	defer func() { _ = conn.Close() }()
	for _, family := range []byte{familyV4, familyV6} {
		req := make([]byte, diagRequest)
		req[0], req[1] = family, protoTCP
		binary.NativeEndian.PutUint32(req[4:], 1<<tcpEstablished|1<<tcpCloseWait)
		answers, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | netlink.Dump}, Data: req})
		if err != nil {
			return fmt.Errorf("sock_diag: %w", err)
		}
		for _, a := range answers {
			port, from, ok := readConnection(a.Data)
			if !ok || !slices.Contains(t.ports, port) {
				continue
			}
			if err := each(conn, Of(from), a.Data); err != nil {
				return fmt.Errorf("sock_diag: %w", err)
			}
		}
	}
	return nil
}

// readConnection reads the port here and the address there.
func readConnection(b []byte) (port uint16, from netip.Addr, ok bool) {
	if len(b) < diagAnswer {
		return 0, from, false
	}
	there := b[4+4+16:][:16]
	if b[0] == familyV4 {
		there = there[:4]
	}
	from, ok = netip.AddrFromSlice(there)
	return binary.BigEndian.Uint16(b[4:]), from, ok
}

// Refuse drops what begins a new TCP connection of sources and, when strangers is set, of every address that is not known, for refuseTerm.
// Connections that there are go on. Nothing of a protected address is dropped.
func (t *Table) Refuse(sources []netip.Prefix, strangers bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range []family{t.v4, t.v6} {
		var elements []nftables.SetElement
		for _, s := range sources {
			if t.of(s.Addr()).version == f.version && len(elements) < maxMeters {
				elements = append(elements, nftables.SetElement{Key: key(s), Timeout: refuseTerm})
			}
		}
		if err := t.replace(f.crowd, elements); err != nil {
			return fmt.Errorf("refuse connections in the kernel: %w", err)
		}
	}
	var ports []nftables.SetElement
	for _, port := range t.guarded() {
		ports = append(ports, nftables.SetElement{Key: port.Key, Timeout: refuseTerm})
	}
	if !strangers {
		return nil
	}
	if err := t.replace(t.shut, ports); err != nil {
		return fmt.Errorf("refuse connections in the kernel: %w", err)
	}
	return nil
}

// Refused is how many packets that begin a connection were dropped because of Refuse, since the table was made.
func (t *Table) Refused() (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	obj, err := t.conn.GetObject(t.refused)
	if err != nil {
		return 0, fmt.Errorf("count refused connections: %w", err)
	}
	counter, ok := obj.(*nftables.CounterObj)
	if !ok {
		return 0, errors.New("count refused connections: the kernel has another object of that name")
	}
	return int64(counter.Packets), nil
}

// makeDoor adds what Refuse needs: chain open4 and open6.
func (t *Table) makeDoor(f family, guard *nftables.Chain) {
	open := t.conn.AddChain(&nftables.Chain{Table: t.table, Name: f.name("open")})
	drop := slices.Concat([]expr.Any{&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: t.refused.Name}}, verdict(expr.VerdictDrop))
	t.rule(guard, metaIs(expr.MetaKeyL4PROTO, []byte{protoTCP}), begins(), []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: open.Name}})
	t.rule(open, f.source(), in(f.crowd), drop)
	t.rule(open, f.source(), in(f.known), verdict(expr.VerdictAccept))
	t.rule(open, []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}}, in(t.shut), drop)
}

// begins goes on for a packet that begins a connection: of SYN, ACK, RST and FIN the first alone (RFC 9293 section 3.1).
func begins() []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0x17}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0x02}},
	}
}
