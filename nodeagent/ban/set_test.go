package ban

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"
)

func TestOf_IsOneAddressOrTheWholeSite(t *testing.T) {
	// Proves what is banned for an address, by table.
	for _, row := range []struct{ addr, want string }{
		{"192.0.2.7", "192.0.2.7/32"},
		{"::ffff:192.0.2.7", "192.0.2.7/32"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
	} {
		if got := Of(netip.MustParseAddr(row.addr)); got.String() != row.want {
			t.Errorf("%s is banned as %s, want %s", row.addr, got, row.want)
		}
	}
}

func TestIntervals_CoverExactlyTheNetworks(t *testing.T) {
	// Proves that nested, equal and touching networks become intervals apart from each other that hold the same addresses, by
	// chance networks in a small space, each address of it asked.
	rng := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		var nets []netip.Prefix
		for range rng.IntN(12) {
			bits := 24 + rng.IntN(9)
			nets = append(nets, netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, byte(rng.IntN(256))}), bits))
		}
		elements := intervals(4, nets)
		for i := 1; i < len(elements); i++ {
			if bytes.Compare(elements[i-1].Key, elements[i].Key) >= 0 || elements[i-1].IntervalEnd == elements[i].IntervalEnd {
				t.Fatalf("%v: elements %v are not apart", nets, describe(elements))
			}
		}
		for last := range 256 {
			addr := netip.AddrFrom4([4]byte{255, 255, 255, byte(last)})
			want := slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(addr) })
			if got := covers(elements, addr); got != want {
				t.Fatalf("%v: %s covered %t, want %t by %v", nets, addr, got, want, describe(elements))
			}
		}
	}
}

// covers asks elements as the kernel does: the last key that is not behind the address counts.
func covers(elements []nftables.SetElement, addr netip.Addr) bool {
	inside := false
	for _, e := range elements {
		if bytes.Compare(e.Key, addr.AsSlice()) <= 0 {
			inside = !e.IntervalEnd
		}
	}
	return inside
}

func describe(elements []nftables.SetElement) (list []string) {
	for _, e := range elements {
		list = append(list, fmt.Sprintf("%v end=%t", e.Key, e.IntervalEnd))
	}
	return list
}
