package v1

import "github.com/sipio/sipio/brain"

// hideSecrets takes the credentials off a resource before a body is laid over it. What is there afterwards
// was given; where nothing is, the store keeps what it has.
func hideSecrets(r brain.Resource) {
	switch r := r.(type) {
	case *brain.SIPDevice:
		*r = *r.Redacted()
	case *brain.Voicemail:
		*r = *r.Redacted()
	case *brain.Secret:
		*r = *r.Redacted()
	case *brain.ConsoleUser:
		*r = *r.Redacted()
	case *brain.Conference:
		*r = *r.Redacted()
	}
}

// twoSecrets refuses a body that gives a secret and what is made of it: one of them would be ignored.
func twoSecrets(r brain.Resource) []brain.FieldError {
	if mistake := brain.TwoSecrets(r); mistake != nil {
		return []brain.FieldError{*mistake}
	}
	return nil
}
