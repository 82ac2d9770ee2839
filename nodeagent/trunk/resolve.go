package trunk

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Bounds of a trunk's targets.
const (
	maxTargets  = 4               // tried one after the other
	resolveTime = 2 * time.Second // for all questions to the DNS
)

// Resolver asks the DNS. *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// targets lists where a proxy's requests may go, host:port with an address, in the order to try them (RFC 3263): a host
// with a port is looked up by address; one without by SRV, then by address with the usual port. NAPTR is not asked: the
// trunk says its transport.
func targets(ctx context.Context, r Resolver, proxy, transport string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	host, port, err := net.SplitHostPort(proxy)
	if err != nil {
		host = trimBrackets(proxy)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []string{net.JoinHostPort(addr.String(), orUsual(port, transport))}, nil
	}
	if port == "" {
		if list := bySRV(ctx, r, host, transport); len(list) > 0 {
			return list, nil
		}
	}
	return byAddress(ctx, r, host, orUsual(port, transport))
}

func bySRV(ctx context.Context, r Resolver, host, transport string) (list []string) {
	service, proto := "sip", transport
	if transport == "tls" {
		service, proto = "sips", "tcp"
	}
	_, records, err := r.LookupSRV(ctx, service, proto, host) // by priority, shuffled by weight
	if err != nil {
		return nil
	}
	for _, srv := range records {
		found, err := byAddress(ctx, r, srv.Target, strconv.Itoa(int(srv.Port)))
		if err == nil {
			list = append(list, found...)
		}
	}
	return list[:min(len(list), maxTargets)]
}

func byAddress(ctx context.Context, r Resolver, host, port string) (list []string, err error) {
	found, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for _, addr := range found[:min(len(found), maxTargets)] {
		list = append(list, net.JoinHostPort(addr.Unmap().String(), port))
	}
	return list, nil
}

func orUsual(port, transport string) string {
	switch {
	case port != "":
		return port
	case transport == "tls":
		return "5061"
	}
	return "5060"
}

func trimBrackets(host string) string {
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}
