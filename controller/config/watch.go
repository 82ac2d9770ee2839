package config

import (
	"cmp"
	"slices"

	"github.com/sipio/sipio/brain"
)

// ActiveTrunks lists the trunks in use of every account that may call, sorted by id, of one view of the configuration.
// nil when the view is not this package's.
func ActiveTrunks(dir brain.Directory) []*brain.SIPTrunk {
	s, ok := dir.(*state)
	if !ok {
		return nil
	}
	var list []*brain.SIPTrunk
	for _, t := range s.tenants {
		if t.config == nil {
			continue
		}
		for _, trunk := range t.config.Trunks {
			if trunk.Status == brain.StatusActive && t.config.Account.Status == brain.StatusActive {
				list = append(list, trunk)
			}
		}
	}
	slices.SortFunc(list, func(a, b *brain.SIPTrunk) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
