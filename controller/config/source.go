package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sipio/sipio/brain"
)

// Shortest prefixes that a trunk may name. A wider one would take half the internet for a carrier.
const (
	minPrefix4 = 8
	minPrefix6 = 16
)

// source is one network that a trunk's calls come from.
type source struct {
	network      netip.Prefix
	owner, trunk string // ids
}

// sources finds trunks by address. No network in the list lies in another one.
type sources struct {
	list  []source // sorted by network
	texts []string // every network as CIDR, sorted, each once
}

// sourcesOf gathers the networks of all trunks that are known by them and whose calls are taken.
func sourcesOf(s *state) sources {
	var all sources
	for owner, t := range s.tenants {
		for _, r := range t.rows[brain.KindSIPTrunk] {
			trunk := r.(*brain.SIPTrunk)
			if !trunk.In() || trunk.InboundAuth != brain.InboundIP {
				continue
			}
			for _, text := range trunk.InboundACL {
				if network, err := readNetwork(text); err == nil {
					all.list = append(all.list, source{network, owner, trunk.ID})
					all.texts = append(all.texts, network.String())
				}
			}
		}
	}
	slices.Sort(all.texts)
	all.texts = slices.Compact(all.texts)
	slices.SortFunc(all.list, compareSources)
	var last netip.Prefix
	all.list = slices.DeleteFunc(all.list, func(s source) bool {
		if last.IsValid() && last.Overlaps(s.network) {
			return true // another line of the same trunk has it already: the wider one stands first; or another account's, of the same carrier
		}
		last = s.network
		return false
	})
	return all
}

func compareSources(a, b source) int {
	return cmp.Or(a.network.Addr().Compare(b.network.Addr()), cmp.Compare(a.network.Bits(), b.network.Bits()),
		cmp.Compare(a.owner, b.owner), cmp.Compare(a.trunk, b.trunk))
}

// find returns the zero source when no trunk has the address.
func (s *sources) find(ip string) source {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return source{}
	}
	addr = addr.Unmap().WithZone("")
	i, exact := slices.BinarySearchFunc(s.list, addr, func(s source, a netip.Addr) int { return s.network.Addr().Compare(a) })
	if !exact {
		i--
	}
	if i < 0 || !s.list[i].network.Contains(addr) {
		return source{}
	}
	return s.list[i]
}

// readNetwork reads an address or a network (RFC 4632), which must stand in its one spelling: no host bits.
func readNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if addr, notNetwork := netip.ParseAddr(text); notNetwork == nil && addr.Zone() == "" {
		network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	shortest := minPrefix4
	if network.Addr().Is6() {
		shortest = minPrefix6
	}
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is no address and no network such as 192.0.2.0/24", cut(text))
	case network.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is an IPv4 address: write it as one", cut(text))
	case network.Masked() != network:
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its prefix: write %s", cut(text), network.Masked())
	case network.Bits() < shortest:
		return netip.Prefix{}, fmt.Errorf("%q is too wide: /%d or longer", cut(text), shortest)
	}
	return network, nil
}

// checkSources reads every network of the trunks that change, and wants no address to be of two trunks,
// whoever owns them and whatever their status. Accounts may share the networks of a wholesale carrier: the number called tells whose
// call it is (route.Shared). A network that lies in another one is no shared one.
func checkSources(d *draft) []brain.RowError {
	type line struct {
		source
		row  *brain.SIPTrunk
		path string
	}
	var lines []line
	var faults []brain.RowError
	fault := func(r *brain.SIPTrunk, path, text string, taken bool) {
		faults = append(faults, brain.RowError{Resource: r, Taken: taken, FieldError: brain.FieldError{Path: path, Text: text}})
	}
	d.each(brain.KindSIPTrunk, func(r brain.Resource) {
		trunk := r.(*brain.SIPTrunk)
		for i, text := range trunk.InboundACL {
			path := fmt.Sprintf("inbound_acl[%d]", i)
			network, err := readNetwork(text)
			if err != nil {
				fault(trunk, path, err.Error(), false)
				continue
			}
			lines = append(lines, line{source{network, trunk.AccountID, trunk.ID}, trunk, path})
		}
	})
	slices.SortFunc(lines, func(a, b line) int { return compareSources(a.source, b.source) })
	for i := range lines { // networks overlap only by one lying in the other, and the wider one stands first
		for j := i + 1; j < len(lines) && lines[i].network.Overlaps(lines[j].network); j++ {
			a, b := lines[i], lines[j]
			if a.trunk == b.trunk || a.network == b.network && a.owner != b.owner && a.row.Wholesale() && b.row.Wholesale() {
				continue
			}
			if d.base.get(brain.KindSIPTrunk, b.owner, b.trunk) == brain.Resource(b.row) {
				a, b = b, a // the one that changes is at fault
			}
			fault(b.row, b.path, fmt.Sprintf("%s overlaps with a network of another trunk", b.network), true)
		}
	}
	return faults
}
