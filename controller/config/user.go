package config

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/sipio/sipio/brain"
)

// maxBearer bounds a token of a console user in bytes.
const maxBearer = 2048

// UserByEmail finds a console user by the address it logs in with, in any spelling; nil when there is none. Nobody may change it.
func (s *Store) UserByEmail(email string) *brain.ConsoleUser {
	if !strings.Contains(email, "@") {
		return nil // it might be an id
	}
	return s.state.Load().users[brain.NormalEmail(email)]
}

// PasswordMark stands in the tokens of a console user for its password: another password, another mark. It tells nothing of either.
func PasswordMark(u *brain.ConsoleUser) string {
	sum := sha256.Sum256([]byte("password mark\x00" + u.PasswordHash))
	return hex.EncodeToString(sum[:8])
}

// userByBearer finds the console user whose token it is, as the key that the token is as good as: what the user may do now, not
// what it might when it logged in.
func (s *Store) userByBearer(token string) (brain.APIKey, bool) {
	if s.Bearer == nil || len(token) > maxBearer {
		return brain.APIKey{}, false
	}
	id, mark, ok := s.Bearer(token)
	if !ok {
		return brain.APIKey{}, false
	}
	u := s.state.Load().users[id]
	if u == nil || u.ID != id || u.Status != brain.StatusActive || u.PasswordHash == "" || PasswordMark(u) != mark {
		return brain.APIKey{}, false
	}
	return u.Key(), true
}

// user gives a console user the hash of its password: of the password, as given, or that which it had.
func (p PINs) user(old, r *brain.ConsoleUser) []brain.RowError {
	given := r.Password
	r.Password = ""
	switch {
	case given == "" && r.PasswordHash != "":
	case given == "" && old == nil:
		return fieldFault(r, "password", "is required for a new console user")
	case given == "":
		r.PasswordHash = old.PasswordHash
	case brain.CheckUserPassword(given) != "":
		return fieldFault(r, "password", brain.CheckUserPassword(given))
	case p.Seal == nil:
		return fieldFault(r, "password", "cannot be kept by this program")
	case old != nil && p.Check(old.PasswordHash, given):
		r.PasswordHash = old.PasswordHash
	default:
		r.PasswordHash = p.Seal(given)
	}
	return nil
}
