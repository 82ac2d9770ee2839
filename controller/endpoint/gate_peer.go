package endpoint

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

const headerForwarded = "X-Forwarded-For"

// maxForwarded bounds the addresses in the header that are looked at: proxies behind one another, not a list of anybody's making.
const maxForwarded = 16

// peer is the address at the other end of the connection, the zero Addr when it has none.
func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return plain(ap.Addr())
}

// plain is an address in its one spelling: IPv4 that is written as IPv6 is IPv4, and a zone says nothing of who it is.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// Unproxied gives h each question as it was asked. What a proxy brings that is trusted comes from the address that it names: the
// rightmost in X-Forwarded-For that is no such proxy, for whatever stands left of it is anybody's word. The proxy's certificate is
// not the asker's and is taken away. A question with a list that cannot be read, or without one, comes from nowhere, which no gate
// lets in. Without proxies the header is not read.
func Unproxied(proxies []netip.Prefix, h http.Handler) http.Handler {
	if len(proxies) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if within(proxies, peer(r)) {
			given := strings.Join(r.Header.Values(headerForwarded), ",")
			r = r.WithContext(r.Context()) // a copy
			r.TLS, r.RemoteAddr = nil, ""
			if addr := asker(proxies, strings.Split(given, ",")); addr.IsValid() {
				r.RemoteAddr = netip.AddrPortFrom(addr, 0).String()
			}
		}
		h.ServeHTTP(w, r)
	})
}

// asker is the rightmost address that is no proxy, else the leftmost; the zero Addr when one on the way is none.
func asker(proxies []netip.Prefix, list []string) (addr netip.Addr) {
	for n, item := range slices.Backward(list) {
		addr = named(strings.TrimSpace(item))
		if !addr.IsValid() || len(list)-n > maxForwarded {
			return netip.Addr{}
		}
		if !within(proxies, addr) {
			return addr
		}
	}
	return addr
}

// named is an address as proxies write it, with or without a port.
func named(text string) netip.Addr {
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return plain(addr)
	}
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return plain(ap.Addr())
	}
	return netip.Addr{}
}

func (s *Server) allowed(addr netip.Addr) bool { return within(s.Allow, addr) }

func within(nets []netip.Prefix, addr netip.Addr) bool {
	for _, p := range nets {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
