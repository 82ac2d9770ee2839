package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Nets is a setting with networks that are let in, or spared.
type Nets struct {
	What, Setting string
	List          []netip.Prefix
	Widest        [2]int // bits of the widest that is right, of IPv4 and of IPv6
}

// Ports are those of SIP on which Kamailio listens, and those that the guard guards.
type Ports struct {
	SIP, Guarded []uint16
}

// Learning is how rtpengine learns where a phone is, as its file says; "" = it does not say.
type Learning struct{ Path, Value string }

// Socket is one that is open to other machines, and no port of sipio.
type Socket struct {
	Network string // tcp, udp
	At      netip.AddrPort
}

// Mend is whether a daemon that runs has the library loaded without which strangers end it (docs/adr/0027-mends-of-debians-daemons.md).
type Mend struct {
	Program, Library string
	Loaded           bool
}

func (m Mend) examine() Finding {
	what := "mend of " + m.Program
	if !m.Loaded {
		return Finding{Fail, what, "it runs without " + m.Library + ": a stranger can end it", "start it by sipio's unit, or with the library in LD_PRELOAD (docs/operating.md)"}
	}
	return Finding{OK, what, m.Library + " is loaded", ""}
}

func (n Nets) examine() Finding {
	var wide []string
	for _, p := range n.List {
		bits := n.Widest[0]
		if !p.Addr().Is4() {
			bits = n.Widest[1]
		}
		if p.Bits() < bits {
			wide = append(wide, p.String())
		}
	}
	if len(wide) > 0 {
		return Finding{Fail, n.What, fmt.Sprintf("%s is wider than a /%d (IPv6: /%d)", strings.Join(wide, ", "), n.Widest[0], n.Widest[1]), "name the networks that are meant in " + n.Setting + " and restart the brain"}
	}
	return Finding{OK, n.What, n.Setting + " is no wider than it may be", ""}
}

func (p Ports) examine() Finding {
	const what = "ports that the guard guards"
	var bare []string
	for _, port := range p.SIP {
		if !slices.Contains(p.Guarded, port) {
			bare = append(bare, fmt.Sprint(port))
		}
	}
	if len(bare) > 0 {
		return Finding{Warn, what, "Kamailio listens on " + strings.Join(bare, ", ") + " too: there nobody is banned in the kernel", "add what is missing to SIPIO_NODE_BAN_PORTS and restart sipio-node"}
	}
	return Finding{OK, what, "all on which Kamailio listens", ""}
}

func (l Learning) examine() Finding {
	const what = "rtpengine's endpoint-learning"
	if l.Value != "heuristic" {
		return Finding{Warn, what, fmt.Sprintf("%q in %s: whoever sends to a port of a call first is taken for the phone", l.Value, l.Path), "endpoint-learning = heuristic there, and restart rtpengine"}
	}
	return Finding{OK, what, "heuristic", ""}
}

func examineSockets(list []Socket) Finding {
	const what, most = "ports that are not sipio's", 10
	if len(list) == 0 {
		return Finding{OK, what, "none is open to other machines", ""}
	}
	var names []string
	for _, s := range list[:min(len(list), most)] {
		names = append(names, s.Network+" "+s.At.String())
	}
	if more := len(list) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return Finding{Warn, what, strings.Join(names, ", "), "see whose they are (ss -lntup), and stop the programs, bind them to 127.0.0.1 or filter the ports"}
}
