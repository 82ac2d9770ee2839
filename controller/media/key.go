package media

import (
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
)

// MaxKey bounds a key in bytes.
const MaxKey = 512

// Prefixes of what belongs to the platform and no account.
const (
	systemPrefix = "system/" // prompts and music
	spokenPrefix = "tts/"    // texts that were spoken
)

// DefaultMusic is the key of the platform's music on hold.
const DefaultMusic = systemPrefix + "moh/default.wav"

// CheckKey says what is wrong with a key: parts of letters, digits and _ . - between slashes, none of them
// empty or beginning with a dot. So no key leaves the store's folder, and none is a file of the store's own.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return brain.Errorf(brain.EInvalid, "a key has 1 to %d bytes", MaxKey)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part[0] == '.' || strings.Contains(part, "..") || strings.ContainsFunc(part, notOfKey) {
			return brain.Errorf(brain.EInvalid, "key %.100q: parts of a-z A-Z 0-9 _ . - between slashes, none empty or with a dot at its start", key)
		}
	}
	return nil
}

func notOfKey(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '.' && r != '-'
}

// Owner is the account that a key belongs to, "" for one of the platform.
func Owner(key string) string {
	if strings.HasPrefix(key, systemPrefix) || strings.HasPrefix(key, spokenPrefix) {
		return ""
	}
	account, _, _ := strings.Cut(key, "/")
	return account
}

// recordings is the prefix of an account's recordings. Below it come days, then files.
func recordings(accountID string) string { return accountID + "/rec/" }

// recordingDay is the day, in UTC, that a recording's key names.
func recordingDay(key string) (time.Time, bool) {
	parts := strings.Split(key, "/")
	if len(parts) < 4 || parts[1] != "rec" {
		return time.Time{}, false
	}
	day, err := time.Parse(time.DateOnly, parts[2])
	return day, err == nil
}
