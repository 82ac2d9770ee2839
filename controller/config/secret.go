package config

import (
	"strings"

	"github.com/sipio/sipio/brain"
)

// PINs turns PINs, and the passwords of console users, into what is kept of them. Without Seal, a change that gives one is refused.
type PINs struct {
	Seal  func(pin string) (hash string)
	Check func(hash, pin string) bool // says whether the hash is that of the PIN
}

// forgetful is for a view of a document alone, which has no use for PINs.
var forgetful = PINs{Seal: func(string) string { return "" }, Check: func(string, string) bool { return false }}

// secrets seals what a resource is given as secrets, or keeps what it has of them.
func (p *preparation) secrets(before, r brain.Resource) {
	switch r := r.(type) {
	case *brain.SIPDevice:
		old, _ := before.(*brain.SIPDevice)
		p.faults = append(p.faults, seal(old, r)...)
	case *brain.APIKey:
		if old, ok := before.(*brain.APIKey); ok && r.Hash == "" {
			r.Hash = old.Hash
		}
	case *brain.Secret:
		p.faults = append(p.faults, p.sealer.seal(before, r)...)
	case *brain.Node:
		p.faults = append(p.faults, p.sealer.sealNode(before, r)...)
	default:
		p.faults = append(p.faults, p.pins.seal(before, r)...)
	}
}

// seal gives a device its digests: of the password, as given, or those of the device it was.
func seal(old, d *brain.SIPDevice) []brain.RowError {
	fault := func(text string) []brain.RowError {
		return []brain.RowError{{Resource: d, FieldError: brain.FieldError{Path: "password", Text: text}}}
	}
	if d.Password != "" {
		mistakes := brain.Validate(&brain.SIPDevice{Password: d.Password})
		for _, m := range mistakes {
			if m.Path == "password" {
				d.Password = ""
				return fault(m.Text)
			}
		}
		d.SealPassword()
		return nil
	}
	if old == nil {
		if d.HA1MD5 == "" && d.HA1SHA256 == "" {
			return fault("is required for a new device")
		}
		return nil
	}
	kept := d.HA1MD5 == "" && d.HA1SHA256 == "" || d.HA1MD5 == old.HA1MD5 && d.HA1SHA256 == old.HA1SHA256
	if kept {
		d.HA1MD5, d.HA1SHA256 = old.HA1MD5, old.HA1SHA256
		if d.AuthUsername != old.AuthUsername || !strings.EqualFold(d.Realm, old.Realm) {
			return fault("is required when auth_username or realm changes: the digests are made of them")
		}
	}
	return nil
}

// seal gives a mailbox or a conference the hashes of its PINs, a console user that of its password: as given, or those that it had.
func (p PINs) seal(before, r brain.Resource) []brain.RowError {
	switch r := r.(type) {
	case *brain.ConsoleUser:
		old, _ := before.(*brain.ConsoleUser)
		return p.user(old, r)
	case *brain.Voicemail:
		old, _ := before.(*brain.Voicemail)
		if old == nil {
			old = &brain.Voicemail{}
		}
		return p.one(r, "pin", &r.PIN, &r.PINHash, old.PINHash)
	case *brain.Conference:
		old, _ := before.(*brain.Conference)
		if old == nil {
			old = &brain.Conference{}
		}
		pin, moderator := r.PIN, r.ModeratorPIN
		faults := append(p.one(r, "pin", &r.PIN, &r.PINHash, old.PINHash), p.one(r, "moderator_pin", &r.ModeratorPIN, &r.ModeratorPINHash, old.ModeratorPINHash)...)
		if len(faults) == 0 && p.alike(r, pin, moderator) {
			return fieldFault(r, "moderator_pin", "must differ from pin")
		}
		return faults
	}
	return nil
}

// one seals one PIN. A PIN that is the one of the hash before leaves that hash, so that nothing changes.
func (p PINs) one(r brain.Resource, path string, pin, hash *string, before string) []brain.RowError {
	given := *pin
	*pin = ""
	switch text := brain.CheckPIN(given); {
	case text != "":
		return fieldFault(r, path, text)
	case given == brain.NoPIN:
		*hash = ""
	case given == "" && *hash == "":
		*hash = before
	case given == "":
	case p.Seal == nil:
		return fieldFault(r, path, "cannot be kept by this program")
	case before != "" && p.Check(before, given):
		*hash = before
	default:
		*hash = p.Seal(given)
	}
	return nil
}

// alike says whether a PIN just given to a conference is its other one too.
func (p PINs) alike(c *brain.Conference, pin, moderator string) bool {
	isGiven := func(s string) bool { return s != "" && s != brain.NoPIN }
	switch {
	case isGiven(pin) && isGiven(moderator):
		return pin == moderator
	case isGiven(pin):
		return c.ModeratorPINHash != "" && p.Check(c.ModeratorPINHash, pin)
	case isGiven(moderator):
		return c.PINHash != "" && p.Check(c.PINHash, moderator)
	}
	return false
}

func fieldFault(r brain.Resource, path, text string) []brain.RowError {
	return []brain.RowError{{Resource: r, FieldError: brain.FieldError{Path: path, Text: text}}}
}
