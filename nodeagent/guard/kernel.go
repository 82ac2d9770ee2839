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
