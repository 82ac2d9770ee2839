package config

import (
	"bytes"
	"log/slog"

	"github.com/sipio/sipio/brain"
)

// Sealer encrypts the values of secrets, each for its account and name alone. Without Seal, a change that gives a value
// is refused.
type Sealer struct {
	Seal func(accountID, name string, value []byte) (sealed string, err error)
	// Open, when it is set, tells a value that is given once more, which changes nothing, and refuses a sealed text that
	// was not sealed for the secret.
	Open func(accountID, name, sealed string) (value []byte, err error)
}

// forgetfulSealer is for a view of a document alone, which has no use for values.
var forgetfulSealer = Sealer{Seal: func(string, string, []byte) (string, error) { return "forgotten", nil }}

// seal makes of a secret's value what is kept of it: sealed anew, given as it was sealed, or that which it had.
func (s Sealer) seal(before brain.Resource, r *brain.Secret) []brain.RowError {
	old, _ := before.(*brain.Secret)
	given := r.Value
	r.Value = ""
	switch {
	case given != "":
		return s.value(old, r, given)
	case r.Sealed != "" && (old == nil || r.Sealed != old.Sealed):
		return s.sealed(r)
	case old == nil:
		return fieldFault(r, "value", "is required for a new secret")
	case r.Name != old.Name:
		return fieldFault(r, "value", "is required when the name changes: it is sealed under the name")
	}
	r.Sealed = old.Sealed
	return nil
}

// value seals a value that is given, unless it is the one that is there.
func (s Sealer) value(old, r *brain.Secret, given string) []brain.RowError {
	if text := brain.CheckSecretValue(given); text != "" {
		return fieldFault(r, "value", text)
	}
	if s.Seal == nil {
		return fieldFault(r, "value", "cannot be kept by this program")
	}
	if old != nil && old.Name == r.Name && s.Open != nil {
		if is, err := s.Open(old.AccountID, old.Name, old.Sealed); err == nil && bytes.Equal(is, []byte(given)) {
			r.Sealed = old.Sealed
			return nil
		}
	}
	sealed, err := s.Seal(r.AccountID, r.Name, []byte(given))
	if err != nil {
		slog.Error("seal a secret", "account", r.AccountID, "name", r.Name, "err", err)
		return fieldFault(r, "value", "cannot be sealed by this brain now; its log says why")
	}
	r.Sealed = sealed
	return nil
}

// sealed looks at a text that is given as what a value was sealed to.
func (s Sealer) sealed(r *brain.Secret) []brain.RowError {
	if s.Open == nil {
		return nil
	}
	if _, err := s.Open(r.AccountID, r.Name, r.Sealed); err != nil {
		return fieldFault(r, "sealed", "was not sealed for this account and name by a key that the brain has")
	}
	return nil
}
