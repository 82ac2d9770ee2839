package brain

// Shards is how many parts the accounts are spread over. Fixed: the journal of an installation is laid out by it.
const Shards = 64

// ShardOf is the shard of an account: FNV-1a over its id. An account's presence, wallet and calls share a shard.
func ShardOf(accountID string) int {
	h := uint32(2166136261)
	for i := range len(accountID) {
		h = (h ^ uint32(accountID[i])) * 16777619
	}
	return int(h % Shards)
}
