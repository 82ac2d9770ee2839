package route

import (
	"net/netip"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
)

// Shared finds whose call it is that comes from an address of a wholesale carrier, which several accounts may name: that of the account
// which has the number called, over its own trunk of that address. acct and t are the first of them. It stays theirs when nobody
// of them has the number: then it is refused as always, and the carrier learns nothing of other accounts.
func Shared(dir brain.Directory, acct *brain.AccountConfig, t *brain.SIPTrunk, req *api.RouteRequest) (*brain.AccountConfig, *brain.SIPTrunk) {
	if !t.Wholesale() {
		return acct, t
	}
	for i, user := range []string{req.RURIUser, req.CalledParty, req.ToUser} {
		for _, e164 := range append(number.Readings([]string{E164(user)}, acct.Account.Country, user), number.Received(acct.Account.Country, user)) {
			owner, did := dir.ByDID(e164)
			if e164 == "" || did == nil {
				continue
			}
			own := trunkAt(owner, req.SourceIP)
			switch {
			case own == nil:
			case i == 0, own.DoRegister && own.RegisteredUser() == unescape(req.RURIUser): // see Meant
				return owner, own
			}
		}
	}
	return acct, t
}

// trunkAt is the wholesale carrier's trunk of an account that has an address, nil for none.
func trunkAt(acct *brain.AccountConfig, ip string) (found *brain.SIPTrunk) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return nil
	}
	addr = addr.Unmap().WithZone("")
	for _, t := range acct.Trunks {
		if t.Wholesale() && t.In() && t.Names(addr) && (found == nil || t.ID < found.ID) {
			found = t
		}
	}
	return found
}
