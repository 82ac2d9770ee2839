package brain

import "testing"

func TestShardOfObject_PartsOfAnAccountAreInItsShard(t *testing.T) {
	// Proves that an account's calls and locks are in its shard whatever the token is, and that the shards of accounts and nodes are
	// what they were before calls had objects: a journal is laid out by them.
	for _, account := range []string{"acc_1", "acc_01hzzzzzzzzzzzzzzzzzzzzzzz"} {
		for _, token := range []string{"t", "", "a/b", "/call/", "/locks", "x/locks"} {
			id := CallObject(account, token)
			if got, ok := IsCallObject(id); !ok || got != account || ShardOfObject(id) != ShardOf(account) || IsLocksObject(id) {
				t.Errorf("%q is of account %q %v, in shard %d; want %d", id, got, ok, ShardOfObject(id), ShardOf(account))
			}
		}
		if got, ok := IsWalletObject(WalletObject(account)); !ok || got != account || ShardOfObject(WalletObject(account)) != ShardOf(account) {
			t.Errorf("the wallet of account %q is not in its shard", account)
		}
		if id := LocksObject(account); !IsLocksObject(id) || ShardOfObject(id) != ShardOf(account) {
			t.Errorf("%q is in shard %d; want %d", id, ShardOfObject(id), ShardOf(account))
		}
	}
	for _, id := range []string{"acc_1", "node/edge1", "node/a/call/b", "node/x/locks", ""} {
		if _, ok := IsCallObject(id); ok || IsLocksObject(id) || ShardOfObject(id) != ShardOf(id) {
			t.Errorf("%q is not where it was", id)
		}
	}
	if ShardOf("acc_1") != 42 {
		t.Errorf("acc_1 is in shard %d; want 42: the hash must never change", ShardOf("acc_1"))
	}
}
