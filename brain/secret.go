package brain

import "fmt"

// Redacted is a copy of the device without its credentials: what may be shown or logged.
func (d *SIPDevice) Redacted() *SIPDevice {
	shown := *d
	shown.Password, shown.HA1MD5, shown.HA1SHA256 = "", "", ""
	return &shown
}

// Redacted is a copy of the mailbox without its PIN: what may be shown or logged.
func (v *Voicemail) Redacted() *Voicemail {
	shown := *v
	shown.PIN, shown.PINHash = "", ""
	return &shown
}

// Redacted is a copy of the conference without its PINs: what may be shown or logged.
func (c *Conference) Redacted() *Conference {
	shown := *c
	shown.PIN, shown.PINHash, shown.ModeratorPIN, shown.ModeratorPINHash = "", "", "", ""
	return &shown
}

// Redacted is a copy of the secret without its value, sealed or not: what may be shown or logged.
func (s *Secret) Redacted() *Secret {
	shown := *s
	shown.Value, shown.Sealed = "", ""
	return &shown
}

// Redact returns a resource as it may be shown or logged: a copy without secrets when it has any. The hash
// of an API key is not in its JSON and stays.
func Redact(r Resource) Resource {
	switch r := r.(type) {
	case *SIPDevice:
		return r.Redacted()
	case *Voicemail:
		return r.Redacted()
	case *Conference:
		return r.Redacted()
	case *Secret:
		return r.Redacted()
	case *Node:
		return r.Redacted()
	case *ConsoleUser:
		return r.Redacted()
	}
	return r
}

// maxSecretBytes bounds the value of a secret: a private key with its certificates, not a file.
const maxSecretBytes = 16384

// CheckSecretValue says what is wrong with a value as somebody gives it, "" when nothing is.
func CheckSecretValue(value string) string {
	if value == "" || len(value) > maxSecretBytes {
		return fmt.Sprintf("must be 1 to %d bytes, not %d", maxSecretBytes, len(value))
	}
	return ""
}

// TwoSecrets says what is wrong with an input that gives a secret and what is made of it: one of them would
// be ignored. nil when nothing is.
func TwoSecrets(r Resource) *FieldError {
	switch r := r.(type) {
	case *SIPDevice:
		if r.Password != "" && (r.HA1MD5 != "" || r.HA1SHA256 != "") {
			return &FieldError{Path: "password", Text: "give either the password or its digests"}
		}
	case *Secret:
		if r.Value != "" && r.Sealed != "" {
			return &FieldError{Path: "value", Text: "give either the value or what it was sealed to"}
		}
	case *ConsoleUser:
		if r.Password != "" && r.PasswordHash != "" {
			return &FieldError{Path: "password", Text: "give either the password or its hash"}
		}
	case *Node:
		for _, s := range r.Secrets() {
			if *s.Given != "" && *s.Sealed != "" {
				return &FieldError{Path: s.Field, Text: "give either the value or what it was sealed to"}
			}
		}
	case *Voicemail:
		if r.PIN != "" && r.PINHash != "" {
			return &FieldError{Path: "pin", Text: "give either the PIN or its hash"}
		}
	case *Conference:
		if r.PIN != "" && r.PINHash != "" {
			return &FieldError{Path: "pin", Text: "give either the PIN or its hash"}
		}
		if r.ModeratorPIN != "" && r.ModeratorPINHash != "" {
			return &FieldError{Path: "moderator_pin", Text: "give either the PIN or its hash"}
		}
	}
	return nil
}

// GivesSecret tells whether an input gives a secret, or what is made of one.
func GivesSecret(r Resource) bool {
	switch r := r.(type) {
	case *SIPDevice:
		return r.Password+r.HA1MD5+r.HA1SHA256 != ""
	case *Secret:
		return r.Value+r.Sealed != ""
	case *Node:
		return r.AgentToken+r.AgentTokenSealed+r.AccessClientSecret+r.AccessSecretSealed != ""
	case *ConsoleUser:
		return r.Password+r.PasswordHash != ""
	case *Voicemail:
		return r.PIN+r.PINHash != ""
	case *Conference:
		return r.PIN+r.PINHash+r.ModeratorPIN+r.ModeratorPINHash != ""
	}
	return false
}
