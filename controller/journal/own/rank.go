package own

import (
	"cmp"
	"slices"
)

// Rank orders the names of brains by who should own a shard, the first one first. It is rendezvous hashing: when a brain
// goes, only its own shards move. The order is the same on every brain, and part of the running cluster's agreement.
func Rank(shard int, names []string) []string {
	ranked := slices.Clone(names)
	slices.SortFunc(ranked, func(a, b string) int {
		return cmp.Or(cmp.Compare(weight(shard, b), weight(shard, a)), cmp.Compare(a, b))
	})
	return ranked
}

// weight is FNV-1a over the name, mixed with the shard by the finalizer of MurmurHash3.
func weight(shard int, name string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h ^= uint64(shard+1) * 0x9e3779b97f4a7c15
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
