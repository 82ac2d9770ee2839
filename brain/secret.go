package brain

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
	}
	return r
}

// TwoSecrets says what is wrong with an input that gives a secret and what is made of it: one of them would
// be ignored. nil when nothing is.
func TwoSecrets(r Resource) *FieldError {
	switch r := r.(type) {
	case *SIPDevice:
		if r.Password != "" && (r.HA1MD5 != "" || r.HA1SHA256 != "") {
			return &FieldError{Path: "password", Text: "give either the password or its digests"}
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
