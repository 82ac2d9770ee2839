package v1

import "github.com/sipio/sipio/brain"

// hideDigests takes the credentials off a device before a body is laid over it. What is there
// afterwards was given; where nothing is, the store keeps the digests that it has.
func hideDigests(r brain.Resource) {
	if d, ok := r.(*brain.SIPDevice); ok {
		d.Password, d.HA1MD5, d.HA1SHA256 = "", "", ""
	}
}

// bothSecrets refuses a body that gives a device a password and digests: one of them would be ignored.
func bothSecrets(r brain.Resource) []brain.FieldError {
	if d, ok := r.(*brain.SIPDevice); ok && d.Password != "" && (d.HA1MD5 != "" || d.HA1SHA256 != "") {
		return []brain.FieldError{{Path: "password", Text: "give either the password or its digests"}}
	}
	return nil
}

// shown is a resource as it may leave the brain.
func shown(r brain.Resource) brain.Resource {
	if d, ok := r.(*brain.SIPDevice); ok {
		return d.Redacted()
	}
	return r
}
