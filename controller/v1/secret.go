package v1

import "github.com/sipio/sipio/brain"

// twoSecrets refuses a body that gives a secret and what is made of it: one of them would be ignored.
func twoSecrets(r brain.Resource) []brain.FieldError {
	if mistake := brain.TwoSecrets(r); mistake != nil {
		return []brain.FieldError{*mistake}
	}
	return nil
}
