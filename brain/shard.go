package brain

import "strings"

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

// Marks in the ids of live objects that are a part of an account: ACCOUNT/call/TOKEN, ACCOUNT/locks, ACCOUNT/wallet.
const (
	callMark   = "/call/"
	lockMark   = "/locks"
	walletMark = "/wallet"
)

// CallObject is the live object of a call that the platform answers.
func CallObject(accountID, token string) string { return accountID + callMark + token }

// LocksObject is the live object that counts the wrong PINs of an account.
func LocksObject(accountID string) string { return accountID + lockMark }

// WalletObject is the live object that is the wallet of an account.
func WalletObject(accountID string) string { return accountID + walletMark }

// IsCallObject tells whether a live object is a call that the platform answers, and of which account.
func IsCallObject(id string) (accountID string, ok bool) {
	accountID, _, ok = strings.Cut(id, callMark)
	return accountID, ok && strings.HasPrefix(id, accountPrefix)
}

// IsLocksObject tells whether a live object counts the wrong PINs of an account.
func IsLocksObject(id string) bool {
	return strings.HasPrefix(id, accountPrefix) && strings.HasSuffix(id, lockMark) && strings.Count(id, "/") == 1
}

// IsWalletObject tells whether a live object is a wallet, and of which account.
func IsWalletObject(id string) (accountID string, ok bool) {
	accountID, ok = strings.CutSuffix(id, walletMark)
	return accountID, ok && strings.HasPrefix(id, accountPrefix) && strings.Count(id, "/") == 1
}

// GuardObject is the one live object that is the guard of the platform: its bans and its allow list.
const GuardObject = "platform/guard"

const accountPrefix = "acc_"

// ShardOfObject is the shard of a live object: that of its account when it is a part of one, else that of its own id.
func ShardOfObject(id string) int {
	if accountID, ok := IsCallObject(id); ok {
		return ShardOf(accountID)
	}
	if IsLocksObject(id) {
		return ShardOf(strings.TrimSuffix(id, lockMark))
	}
	if accountID, ok := IsWalletObject(id); ok {
		return ShardOf(accountID)
	}
	return ShardOf(id)
}
