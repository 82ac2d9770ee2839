package config

import (
	"context"
	"slices"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that what only a table knows, as that there is no such time zone or dial plan, is told together with the other
// mistakes of the same resource, and once a field.
func TestApply_TellsAllMistakesOfAResourceTogether(t *testing.T) {
	s := acmeStore(t)
	_, _, err := s.Apply(context.Background(), "me", []byte(`[{kind: account, name: other, spec: {timezone: Berlin, country: XX, language: "?", max_in: -1}},
  {kind: account, name: third, spec: {timezone: "/x", country: xyz}}]`), brain.ApplyOptions{})
	var got []string
	for _, f := range err.(*brain.Error).Fields {
		got = append(got, f.Path)
	}
	slices.Sort(got)
	want := []string{`account "other": spec.country`, `account "other": spec.language`, `account "other": spec.max_in`, `account "other": spec.timezone`,
		`account "third": spec.country`, `account "third": spec.timezone`}
	if !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
}
