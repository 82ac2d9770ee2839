// Package ban is the guard in the kernel: one nftables table that drops what banned addresses send to the SIP ports
// before any socket sees it, bans an address by itself when it floods them, and refuses it new connections when it holds too
// many. The table outlives the process: bans hold while the node agent is being replaced. It is the door of google/nftables, and needs CAP_NET_ADMIN alone.
package ban

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"

	"github.com/sipio/sipio/brain/api"
)

// FloodRate and FloodBurst bound the packets of one address to the guarded ports, each second and at once. An address
// beyond is banned for FloodTerm by the kernel itself, unless it is known or has just been lifted: then the excess is dropped.
const (
	FloodRate  = 200
	FloodBurst = 400
	FloodTerm  = time.Hour
)

// RTPRate and RTPBurst bound the packets to one port of RTP, each second and at once, from whomever: rtpengine reads a port no more, until the
// call is over, at which 50 packets have waited five times in a row (docs/edge.md). Video in high definition has some 300 a second.
const (
	RTPRate  = 1000
	RTPBurst = 200
)

// PortRange is from First to Last, both in it; the zero value is none.
type PortRange struct{ First, Last uint16 }

// String is what ParsePortRange reads.
func (r PortRange) String() string {
	if r == (PortRange{}) {
		return ""
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// ParsePortRange reads "30000-39999", or "" as none.
func ParsePortRange(s string) (r PortRange, err error) {
	if s == "" {
		return r, nil
	}
	first, last, _ := strings.Cut(s, "-")
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	if errA != nil || errB != nil || a == 0 || a > b {
		return r, fmt.Errorf("%q is no range of ports as 30000-39999 is", s)
	}
	return PortRange{uint16(a), uint16(b)}, nil
}

// KnownTerm is how long an address stays known after Known, the time that Kamailio keeps it (table known): an hour behind the
// last that was told, which is told every ten minutes.
const KnownTerm = 70 * time.Minute

// MaxBans bounds the banned addresses of each IP version; a ban beyond is refused.
const MaxBans = 65536

// Ban is an address that the kernel drops.
type Ban struct {
	Addr    netip.Prefix // as Of writes it
	Tier    string       // an api.Tier constant
	Left    time.Duration
	Packets int64 // dropped since the ban began
}

// Of is what is banned for an address: itself, or the /64 of an IPv6 address, since its neighbours there are the same customer.
func Of(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return netip.PrefixFrom(addr, 32)
	}
	return netip.PrefixFrom(addr, 64).Masked()
}

// Table is the node's table in the kernel.
type Table struct {
	mu    sync.Mutex // one transaction at a time
	conn  *nftables.Conn
	table *nftables.Table
	ports []uint16
	media PortRange
	v4    family
	v6    family

	shut    *nftables.Set // ports at which only known addresses open connections
	refused *nftables.CounterObj
	rtp     *nftables.Set // a meter for each port of RTP
}

// Open makes the table of family inet, in one transaction, in place of its former self, whose bans, known addresses and
// graces stay with their rest of time. ports are the TCP and UDP ports that it guards, media those of RTP, at which it bounds bursts. The error
// says what the process or the kernel lacks.
func Open(name string, ports []uint16, media PortRange) (*Table, error) {
	if name == "" || len(ports) == 0 {
		return nil, errors.New("nftables: no name of a table, or no port to guard")
	}
	conn, err := nftables.New(nftables.WithSockOptions(roomy))
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	t := &Table{conn: conn, table: &nftables.Table{Name: name, Family: nftables.TableFamilyINet}, ports: ports, media: media}
	t.v4, t.v6 = newFamily(t.table, 4), newFamily(t.table, 6)
	t.shut = &nftables.Set{Table: t.table, Name: "shut", KeyType: nftables.TypeInetService, HasTimeout: true, Timeout: refuseTerm, Dynamic: true, Size: maxMeters}
	t.refused = &nftables.CounterObj{Table: t.table, Name: "refused"}
	t.rtp = &nftables.Set{Table: t.table, Name: "rtp", KeyType: nftables.TypeInetService, HasTimeout: true, Timeout: meterTerm, Dynamic: true, Size: maxMeters}
	old, err := t.former()
	if err == nil {
		err = t.make(old)
	}
	return t, explain(name, err)
}

// Remake makes the table anew, with nothing in its sets, after somebody has removed it: nft flush ruleset, or a firewall
// that was started again. The other methods then say fs.ErrNotExist.
func (t *Table) Remake() error { return explain(t.table.Name, t.make(nil)) }

// roomy makes room in a socket for a transaction with all prefixes that may be protected.
func roomy(c *netlink.Conn) error {
	return errors.Join(c.SetWriteBuffer(16<<20), c.SetReadBuffer(4<<20))
}

// explain adds to an error what an operator can do about it.
func explain(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("nftables table %s: %w: sipio-node needs CAP_NET_ADMIN for it (AmbientCapabilities= of its unit), or --ban-table= to do without bans in the kernel", name, err)
	case errors.Is(err, syscall.EPROTONOSUPPORT), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("nftables table %s: %w: this kernel lacks nf_tables; load it, or set --ban-table= to do without bans in the kernel", name, err)
	}
	return fmt.Errorf("nftables table %s: %w", name, err)
}

// former reads what stays of the table's former self, by the name of the set.
func (t *Table) former() (map[string][]nftables.SetElement, error) {
	tables, err := t.conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(tables, func(old *nftables.Table) bool { return old.Name == t.table.Name }) {
		return nil, nil
	}
	stays := map[string][]nftables.SetElement{}
	for _, set := range slices.Concat(t.v4.staying(), t.v6.staying()) {
		elements, err := t.elements(set)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a table of another making
		}
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if e.Expires > 0 {
				stays[set.Name] = append(stays[set.Name], nftables.SetElement{Key: e.Key, Timeout: e.Expires, Comment: e.Comment})
			}
		}
	}
	return stays, nil
}

// of is the part of the table for an address.
func (t *Table) of(addr netip.Addr) family {
	if addr.Is4() {
		return t.v4
	}
	return t.v6
}

// Ban drops what addresses send while Left lasts, each instead of an earlier ban of any length. Tier is remembered with it.
// Bans of one call go in together: one transaction takes the kernel some 10 ms, whatever is in it.
func (t *Table) Ban(bans ...Ban) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range []family{t.v4, t.v6} {
		var elements []nftables.SetElement
		for _, b := range bans {
			if t.of(b.Addr.Addr()).version == f.version {
				elements = append(elements, nftables.SetElement{Key: key(b.Addr), Timeout: b.Left, Comment: b.Tier})
			}
		}
		if err := t.replace(f.ban, elements); err != nil {
			return fmt.Errorf("ban %d addresses in the kernel: %w", len(elements), err)
		}
	}
	return nil
}

// Lift ends the ban of an address, if there is one. For the grace time the kernel does not ban it by itself again.
func (t *Table) Lift(addr netip.Prefix, grace time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.of(addr.Addr())
	var err error
	if grace > 0 {
		err = t.replace(f.grace, []nftables.SetElement{{Key: key(addr), Timeout: grace}})
	}
	for _, set := range []*nftables.Set{f.flood, f.caught, f.ban} {
		err = errors.Join(err, t.remove(set, [][]byte{key(addr)}))
	}
	if err != nil {
		return fmt.Errorf("lift %s in the kernel: %w", addr, err)
	}
	return nil
}

// Known tells that devices have authenticated from addresses: for KnownTerm the kernel does not ban them by itself.
func (t *Table) Known(addrs ...netip.Prefix) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range []family{t.v4, t.v6} {
		var elements []nftables.SetElement
		for _, a := range addrs {
			if t.of(a.Addr()).version == f.version {
				elements = append(elements, nftables.SetElement{Key: key(a), Timeout: KnownTerm})
			}
		}
		if err := t.replace(f.known, elements); err != nil {
			return fmt.Errorf("%d known addresses in the kernel: %w", len(elements), err)
		}
	}
	return nil
}

// Protect makes nets, and loopback, those that nothing is dropped of whatever they send, instead of the former ones, in
// one step.
func (t *Table) Protect(nets []netip.Prefix) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range []family{t.v4, t.v6} {
		t.conn.FlushSet(f.protect)
		if err := t.add(f.protect, intervals(f.version, nets)); err != nil {
			return fmt.Errorf("protected networks in the kernel: %w", err)
		}
	}
	if err := t.conn.Flush(); err != nil {
		return fmt.Errorf("protected networks in the kernel: %w", err)
	}
	return nil
}

// List returns every ban that the kernel enforces, by address.
func (t *Table) List() ([]Ban, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var bans []Ban
	for _, f := range []family{t.v4, t.v6} {
		elements, err := t.elements(f.ban)
		if err != nil {
			return nil, fmt.Errorf("list bans of the kernel: %w", err)
		}
		for _, e := range elements {
			b := Ban{Addr: f.prefix(e.Key), Tier: e.Comment, Left: e.Expires}
			if b.Tier == "" { // made by the kernel
				b.Tier = api.TierNft
			}
			if e.Counter != nil {
				b.Packets = int64(e.Counter.Packets)
			}
			bans = append(bans, b)
		}
	}
	slices.SortFunc(bans, func(a, b Ban) int { return a.Addr.Addr().Compare(b.Addr.Addr()) })
	return bans, nil
}

// Caught returns the addresses that the kernel has banned by itself since the last call. It costs what was caught, not
// what is banned.
func (t *Table) Caught() ([]netip.Prefix, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var caught []netip.Prefix
	for _, f := range []family{t.v4, t.v6} {
		elements, err := t.elements(f.caught)
		if err != nil {
			return caught, fmt.Errorf("list floods of the kernel: %w", err)
		}
		var keys [][]byte
		for _, e := range elements {
			keys = append(keys, e.Key)
		}
		if err := t.remove(f.caught, keys); err != nil {
			return caught, fmt.Errorf("list floods of the kernel: %w", err)
		}
		for _, key := range keys {
			caught = append(caught, f.prefix(key))
		}
	}
	return caught, nil
}
