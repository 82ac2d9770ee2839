package guard

import (
	"fmt"
	"net/netip"
)

// offenderBits is how much of an IPv6 address an offender is known by: whoever has one address of a /64 has all of them.
const offenderBits = 64

// KeyOf is what is banned when an address offends: one IPv4 address, or the /64 of an IPv6 address. The text may also be what
// Name makes of it. Not an address, or one that nobody sends from (loopback, multicast, unspecified), is an error.
func KeyOf(text string) (netip.Prefix, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		p, perr := netip.ParsePrefix(text)
		if perr != nil || p != p.Masked() || p.Addr().Is4In6() || p.Bits() != keyBits(p.Addr()) {
			return netip.Prefix{}, fmt.Errorf("%q is no IPv4 or IPv6 address", text)
		}
		addr = p.Addr()
	}
	addr = addr.Unmap().WithZone("")
	if addr.IsLoopback() || addr.IsMulticast() || addr.IsUnspecified() {
		return netip.Prefix{}, fmt.Errorf("%s is loopback, multicast or nobody's address: it is never banned", addr)
	}
	return netip.PrefixFrom(addr, keyBits(addr)).Masked(), nil
}

func keyBits(addr netip.Addr) int {
	if addr.Is4() {
		return addr.BitLen()
	}
	return offenderBits
}

// Name is a key as it is written: an IPv4 address bare, an IPv6 /64 as a prefix.
func Name(key netip.Prefix) string {
	if key.Addr().Is4() {
		return key.Addr().String()
	}
	return key.String()
}

// compareKeys is the order of lists: IPv4 first, then by address.
func compareKeys(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// Net is a network that is never banned, and what it is: "trunk", "node", "operator".
type Net struct {
	Prefix netip.Prefix
	What   string
}

// Nets finds which of many networks a key overlaps.
type Nets struct {
	list   []Net
	within map[netip.Prefix]string // by the network itself
	inside map[netip.Prefix]string // by the key that holds a narrower network
	bits   [2][]int                // lengths that there are, IPv4 and IPv6
}

// NewNets makes it of networks, which stay in their order. IPv4 networks that are written as IPv6 count as what they are.
func NewNets(list []Net) *Nets {
	n := &Nets{within: map[netip.Prefix]string{}, inside: map[netip.Prefix]string{}}
	var seen [2][129]bool
	for _, v := range list {
		p := unmapped(v.Prefix)
		if !p.IsValid() {
			continue
		}
		v.Prefix = p
		n.list = append(n.list, v)
		if most := keyBits(p.Addr()); p.Bits() > most {
			key := netip.PrefixFrom(p.Addr(), most).Masked()
			n.inside[key] = v.String()
			continue
		}
		n.within[p] = v.String()
		family := familyOf(p.Addr())
		if !seen[family][p.Bits()] {
			seen[family][p.Bits()] = true
			n.bits[family] = append(n.bits[family], p.Bits())
		}
	}
	return n
}

func unmapped(p netip.Prefix) netip.Prefix {
	if !p.IsValid() {
		return p
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return netip.PrefixFrom(p.Addr().WithZone(""), p.Bits()).Masked()
}

func familyOf(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}

// String is the network with what it is.
func (n Net) String() string {
	text := n.Prefix.String()
	if n.Prefix.IsSingleIP() {
		text = n.Prefix.Addr().String()
	}
	if n.What == "" {
		return text
	}
	return n.What + " " + text
}

// List is the networks.
func (n *Nets) List() []Net { return n.list }

// Shield names a network that overlaps a key, "" when none does.
func (n *Nets) Shield(key netip.Prefix) string {
	if n == nil {
		return ""
	}
	for _, b := range n.bits[familyOf(key.Addr())] {
		if what := n.within[netip.PrefixFrom(key.Addr(), b).Masked()]; what != "" {
			return what
		}
	}
	return n.inside[key]
}
