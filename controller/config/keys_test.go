package config

import (
	"fmt"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that an account has so many keys and no more, is told so, may make one for each that it deletes, and that the platform is
// not bound.
func TestNewKey_IsBoundedForAnAccount(t *testing.T) {
	s := acmeStore(t)
	owner := account(t, s, "acme.test").Account.ID
	make1 := func(owner string, i int) (brain.APIKey, error) {
		_, key, err := s.NewKey(t.Context(), "test", owner, fmt.Sprint("many ", i), []brain.Scope{brain.ScopeConfigRead})
		return key, err
	}
	var last brain.APIKey
	have, err := s.List(t.Context(), brain.KindAPIKey, owner, "", 500)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxKeys - len(have) {
		if last, err = make1(owner, i); err != nil {
			t.Fatal(err)
		}
	}
	_, err = make1(owner, maxKeys)
	wantCode(t, err, brain.EConflict, "the account has 100 keys, at most 100")
	mustChange(t, s, brain.OpDelete, &last)
	if _, err := make1(owner, maxKeys); err != nil {
		t.Errorf("after one is gone: %v", err)
	}
	if _, err := make1("", maxKeys); err != nil {
		t.Errorf("the platform's: %v", err)
	}
}
