package v1

import "github.com/sipio/sipio/brain"

// hideDigests takes the credentials off a device before a body is laid over it. What is there
// afterwards was given; where nothing is, the store keeps the digests that it has.
func hideDigests(r brain.Resource) {
	if d, ok := r.(*brain.SIPDevice); ok {
		d.Password, d.HA1MD5, d.HA1SHA256 = "", "", ""
	}
}

// shown is a resource as it may leave the brain.
func shown(r brain.Resource) brain.Resource {
	if d, ok := r.(*brain.SIPDevice); ok {
		return d.Redacted()
	}
	return r
}
