package guard

import (
	"net/netip"
	"time"
)

// Ban is an address that is banned here.
type Ban struct {
	Addr    netip.Prefix
	Tier    string
	Left    time.Duration
	Packets int64 // dropped in the kernel
}

// Kernel is the table of bans in the kernel. An error that is fs.ErrNotExist says that somebody has removed it.
type Kernel interface {
	Remake() error // makes it anew, with nothing in it
	Ban(bans []Ban) error
	Lift(addr netip.Prefix, grace time.Duration) error
	Known(addrs []netip.Prefix) error
	Protect(nets []netip.Prefix) error
	List() ([]Ban, error)
	Caught() ([]netip.Prefix, error)
	// Connections counts those to the SIP ports, by source; Refuse keeps new ones of sources, and of all who are unknown, out for some seconds;
	// Refused is how many packets that has dropped; Close ends so many of each source.
	Connections() (map[netip.Prefix]int, error)
	Refuse(sources []netip.Prefix, strangers bool) error
	Refused() (int64, error)
	Close(excess map[netip.Prefix]int) error
}

// noKernel is a node that bans in Kamailio alone.
type noKernel struct{}

func (noKernel) Remake() error                          { return nil }
func (noKernel) Ban([]Ban) error                        { return nil }
func (noKernel) Lift(netip.Prefix, time.Duration) error { return nil }
func (noKernel) Known([]netip.Prefix) error             { return nil }
func (noKernel) Protect([]netip.Prefix) error           { return nil }
func (noKernel) List() ([]Ban, error)                   { return nil, nil }
func (noKernel) Caught() ([]netip.Prefix, error)        { return nil, nil }

func (noKernel) Connections() (map[netip.Prefix]int, error) { return nil, nil }
func (noKernel) Refuse([]netip.Prefix, bool) error          { return nil }
func (noKernel) Refused() (int64, error)                    { return 0, nil }
func (noKernel) Close(map[netip.Prefix]int) error           { return nil }
