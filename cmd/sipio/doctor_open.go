package main

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain/doctor"
	"github.com/sipio/sipio/nodeagent/tunnel"
)

// listen is a socket of Kamailio in node.cfg.
var listen = regexp.MustCompile(`(?m)^listen=(?:udp|tcp|tls):\S*:(\d+)`)

// sipPorts are those on which node.cfg has Kamailio listen.
func sipPorts(text string) (ports []uint16) {
	for _, found := range listen.FindAllStringSubmatch(text, -1) {
		if n, err := strconv.ParseUint(found[1], 10, 16); err == nil && !slices.Contains(ports, uint16(n)) {
			ports = append(ports, uint16(n))
		}
	}
	return ports
}

// learning is how rtpengine.conf has rtpengine learn.
var learning = regexp.MustCompile(`(?m)^\s*endpoint-learning\s*=\s*(\S+)`)

func (e *exam) learning(text string) {
	e.facts.Learning = &doctor.Learning{Path: e.at.rtpengine}
	if found := learning.FindStringSubmatch(text); found != nil {
		e.facts.Learning.Value = found[1]
	}
}

// tunnel looks at the page of cloudflared, where a tunnel is set up.
func (e *exam) tunnel() {
	if there(e.at.tunnelKey) {
		e.listener("cloudflared's own page", "metrics of cloudflared's file", "tcp", tunnel.DefaultMetrics)
	}
}

// nets looks at the networks that a brain lets in, and that its guard spares.
func (e *exam) nets() {
	e.facts.Nets = append(e.facts.Nets,
		doctor.Nets{What: "who may ask the brain", Setting: "SIPIO_BRAIN_ALLOW_PEERS", List: e.brain.AllowPeers, Widest: [2]int{8, 16}},
		doctor.Nets{What: "networks that the guard spares", Setting: "SIPIO_BRAIN_OPERATOR_NETS", List: e.brain.OperatorNets, Widest: [2]int{8, 16}})
}

// Ports of every machine that are no finding: ssh; and where UDP is media, or a socket of a moment (ip_local_port_range begins at 32768).
const (
	portSSH   = 22
	firstRTP  = 30000
	sipioBus  = 4222
	sipioBus2 = 6222
)

// sockets looks for those that other machines reach and that are no port of sipio.
func (e *exam) sockets() {
	known := map[uint16]bool{portSSH: true, sipioBus: e.bus != nil || e.brain != nil, sipioBus2: e.bus != nil}
	for _, port := range e.sip {
		known[port] = true
	}
	for _, l := range e.facts.Listeners { // judged there
		known[l.Port] = true
	}
	if e.brain != nil {
		known[portNumber(e.brain.TLSListen)], known[portNumber(e.brain.NodeListen)] = true, true
	}
	if e.node != nil {
		known[portNumber(e.node.OpTLSListen)] = true
	}
	for _, network := range []string{"tcp", "udp"} {
		state := map[string]string{"tcp": stateListen, "udp": stateOpen}[network]
		for _, table := range []string{network, network + "6"} {
			text, err := os.ReadFile("/proc/self/net/" + table)
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
				e.unread("ports that are not sipio's", err)
				return
			}
			for _, at := range listening(string(text), state) {
				s := doctor.Socket{Network: network, At: at}
				if !at.Addr().Unmap().IsLoopback() && !known[at.Port()] && !(network == "udp" && at.Port() >= firstRTP) && !slices.Contains(e.facts.Sockets, s) {
					e.facts.Sockets = append(e.facts.Sockets, s)
				}
			}
		}
	}
	e.facts.Scanned = true
}

// portNumber is the port of an address, 0 when there is none.
func portNumber(address string) uint16 {
	if at, err := netip.ParseAddrPort(address); err == nil {
		return at.Port()
	}
	n, _ := strconv.ParseUint(address[strings.LastIndexByte(address, ':')+1:], 10, 16)
	return uint16(n)
}
