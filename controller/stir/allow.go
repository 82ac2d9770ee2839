package stir

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// allowed reads an x5u and tells whether it may be asked: https on port 443 or 8443 at a host of the allow list, no
// credentials, no fragment. An address in place of a name is never allowed.
func (f *Fetcher) allowed(x5u string) (*url.URL, error) {
	if len(x5u) > maxURL {
		return nil, fmt.Errorf("x5u is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(x5u)
	if err != nil {
		return nil, errors.New("x5u is no URL")
	}
	port := u.Port()
	switch {
	case u.Host == "" || u.Opaque != "":
		return nil, errors.New("x5u is no URL")
	case u.Scheme != "https":
		return nil, errors.New("x5u is not https")
	case u.User != nil || u.Fragment != "":
		return nil, errors.New("x5u has credentials or a fragment")
	case port != "" && port != "443" && port != "8443":
		return nil, fmt.Errorf("x5u has port %s, not 443 or 8443", port)
	}
	host := strings.ToLower(u.Hostname())
	if !isName(host) || !f.listed(host) {
		return nil, fmt.Errorf("host %q is not in the allow list", host)
	}
	if u.Host = host; port == "8443" {
		u.Host += ":" + port
	}
	return u, nil
}

// listed tells whether a host is in the allow list, by itself or below a name with a dot.
func (f *Fetcher) listed(host string) bool {
	for _, h := range f.hosts {
		if host == h || strings.HasPrefix(h, ".") && strings.HasSuffix(host, h) {
			return true
		}
	}
	return false
}

// isName tells whether a host is a DNS name with at least two labels, and no address.
func isName(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || len(host) > 253 || !strings.Contains(host, ".") {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}
