package ban

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
)

// family is what the table has for one version of IP.
type family struct {
	version int

	ban     *nftables.Set // dropped
	flood   *nftables.Set // a meter for each address
	caught  *nftables.Set // banned by the kernel, and not yet seen by us
	grace   *nftables.Set // just lifted
	known   *nftables.Set // with devices
	crowd   *nftables.Set // open no more connections
	protect *nftables.Set // intervals
}

// Lives of what is in the sets unless an element has its own, and how many elements of one message fit into an
// attribute of netlink, whose length has 16 bits.
const (
	meterTerm  = 5 * time.Second // of a meter that nobody feeds: full again after two, and a place for the next of many forged addresses
	caughtTerm = time.Minute     // of what nobody looked at: the list of bans has it
	maxMeters  = 65536
	maxMessage = 400
)

func newFamily(table *nftables.Table, version int) family {
	kind, suffix := nftables.TypeIPAddr, "4"
	if version == 6 {
		kind, suffix = nftables.TypeIP6Addr, "6"
	}
	timed := func(name string, life time.Duration) *nftables.Set {
		return &nftables.Set{Table: table, Name: name + suffix, KeyType: kind, HasTimeout: true, Timeout: life, Dynamic: true, Size: maxMeters}
	}
	f := family{
		version: version, ban: timed("ban", FloodTerm), flood: timed("flood", meterTerm), caught: timed("caught", caughtTerm),
		grace: timed("grace", time.Minute), known: timed("known", KnownTerm), crowd: timed("crowd", refuseTerm),
		protect: &nftables.Set{Table: table, Name: "protect" + suffix, KeyType: kind, Interval: true},
	}
	f.ban.Counter, f.ban.Size = true, MaxBans
	return f
}

// staying are the sets that outlive the process.
func (f family) staying() []*nftables.Set { return []*nftables.Set{f.ban, f.known, f.grace} }

func (f family) sets() []*nftables.Set {
	return []*nftables.Set{f.ban, f.flood, f.caught, f.grace, f.known, f.crowd, f.protect}
}

// key is how a set holds an address.
func key(addr netip.Prefix) []byte { return addr.Addr().AsSlice() }

// prefix is the address of a key.
func (f family) prefix(key []byte) netip.Prefix {
	addr, _ := netip.AddrFromSlice(key)
	return Of(addr)
}

// elements reads a set. The kernel begins anew when it changes under the reading, which is bounded. google/nftables v0.3.0 keeps no
// more than the text of an error here, so that of a set which is not there is made again from it.
func (t *Table) elements(set *nftables.Set) (elements []nftables.SetElement, err error) {
	for range 5 {
		if elements, err = t.conn.GetSetElements(set); err == nil {
			break
		}
		if strings.HasSuffix(err.Error(), syscall.ENOENT.Error()) {
			return nil, fmt.Errorf("set %s: %w", set.Name, syscall.ENOENT)
		}
	}
	return slices.DeleteFunc(elements, func(e nftables.SetElement) bool { return len(e.Key) == 0 }), err
}

// replace puts elements into a set, the time of each beginning anew: kernels up to 6.11 keep the old time of one that is
// there. Adding it first makes it surely there to be deleted. Of two with the same key the last counts.
func (t *Table) replace(set *nftables.Set, elements []nftables.SetElement) error {
	last := map[string]int{}
	for i, e := range elements {
		last[string(e.Key)] = i
	}
	var fresh, old []nftables.SetElement
	for i, e := range elements {
		if last[string(e.Key)] == i {
			fresh, old = append(fresh, e), append(old, nftables.SetElement{Key: e.Key})
		}
	}
	for i := 0; i < len(fresh); i += maxMessage {
		end := min(i+maxMessage, len(fresh))
		if err := errors.Join(t.conn.SetAddElements(set, fresh[i:end]), t.conn.SetDeleteElements(set, old[i:end]), t.conn.SetAddElements(set, fresh[i:end])); err != nil {
			return err
		}
		if err := t.conn.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// remove takes elements out of a set, in one transaction; one that is not there is well. The kernel refuses a transaction with one
// of those: then they are added first, so that they are surely there to be deleted.
func (t *Table) remove(set *nftables.Set, keys [][]byte) error {
	var elements []nftables.SetElement
	for _, key := range keys {
		elements = append(elements, nftables.SetElement{Key: key})
	}
	change := func(with ...func(*nftables.Set, []nftables.SetElement) error) error {
		for part := range slices.Chunk(elements, maxMessage) {
			for _, do := range with {
				if err := do(set, part); err != nil {
					return err
				}
			}
		}
		return t.conn.Flush()
	}
	err := change(t.conn.SetDeleteElements)
	if errors.Is(err, syscall.ENOENT) && len(keys) == 1 {
		return nil
	}
	if errors.Is(err, syscall.ENOENT) {
		return change(t.conn.SetAddElements, t.conn.SetDeleteElements)
	}
	return err
}

// add puts any number of elements into the transaction.
func (t *Table) add(set *nftables.Set, elements []nftables.SetElement) error {
	for part := range slices.Chunk(elements, maxMessage) {
		if err := t.conn.SetAddElements(set, part); err != nil {
			return err
		}
	}
	return nil
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// intervals are the elements of a set of intervals that covers the networks of one version, and loopback: each begins
// at a key and ends before another. None overlaps or touches the next, which the kernel would refuse.
func intervals(version int, nets []netip.Prefix) []nftables.SetElement {
	var list []netip.Prefix
	for _, p := range slices.Concat(loopback, nets) {
		if p = p.Masked(); p.IsValid() && p.Addr().Is4() == (version == 4) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits() // the wider first
	})
	var out []nftables.SetElement
	var end netip.Addr // of the last interval, the first address behind it; invalid: it has none
	for _, p := range list {
		after := last(p).Next()
		switch {
		case len(out) > 0 && (!end.IsValid() || p.Addr().Less(end)):
			continue // inside the last one
		case len(out) > 0 && p.Addr() == end:
			out = out[:len(out)-1] // it goes on
		default:
			out = append(out, nftables.SetElement{Key: p.Addr().AsSlice()})
		}
		if end = after; end.IsValid() {
			out = append(out, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return out
}

// last is the last address of a network.
func last(p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}
