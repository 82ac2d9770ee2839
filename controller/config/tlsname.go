package config

import (
	"fmt"

	"github.com/sipio/sipio/brain"
)

// tlsNamesOf gathers the trunks that are known by a certificate and whose calls are taken, by its name.
func tlsNamesOf(s *state) map[string]source {
	names := make(map[string]source)
	for owner, t := range s.tenants {
		for _, r := range t.rows[brain.KindSIPTrunk] {
			if trunk := r.(*brain.SIPTrunk); trunk.In() && trunk.InboundAuth == brain.InboundTLS {
				names[trunk.TLSName] = source{owner: owner, trunk: trunk.ID}
			}
		}
	}
	return names
}

// checkTLSNames wants no name to be of two trunks, whoever owns them and whatever their status. The fault is told of the
// one that changes.
func checkTLSNames(d *draft) []brain.RowError {
	var faults []brain.RowError
	holder := make(map[string]*brain.SIPTrunk)
	d.each(brain.KindSIPTrunk, func(r brain.Resource) {
		trunk := r.(*brain.SIPTrunk)
		other := holder[trunk.TLSName]
		if other == nil || trunk.TLSName == "" {
			holder[trunk.TLSName] = trunk
			return
		}
		if d.base.get(brain.KindSIPTrunk, trunk.AccountID, trunk.ID) == r {
			trunk = other
		}
		faults = append(faults, brain.RowError{Resource: trunk, Taken: true,
			FieldError: brain.FieldError{Path: "tls_name", Text: fmt.Sprintf("%q is the name of another trunk", trunk.TLSName)}})
	})
	return faults
}
