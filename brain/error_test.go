package brain

import "testing"

// Proves that an error says each mistake once, also when its text is the only mistake there is.
func TestError_SaysAMistakeOnce(t *testing.T) {
	one := FieldError{Path: "plan", Text: "is missing"}
	for want, e := range map[string]*Error{
		"plan: is missing":                           {Text: "plan: is missing", Fields: []FieldError{one}},
		"invalid\nplan: is missing":                  {Text: "invalid", Fields: []FieldError{one}},
		"plan: is missing\nline 7: prefix: is wrong": {Fields: []FieldError{one, {Path: "prefix", Line: 7, Text: "is wrong"}}},
		"away": {Text: "away"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
