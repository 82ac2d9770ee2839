package config

import "github.com/sipio/sipio/brain"

// seal makes what is kept of the secrets that a document gives. Offline a document may do without some.
func (p *planner) seal(doc *document, before brain.Resource) {
	if both := brain.TwoSecrets(doc.resource); both != nil { // a secret beside what is made of it
		place, line := doc.fieldPlace(both.Path)
		p.file.mistakes.add(place, line, "%s", both.Text)
		return
	}
	var faults []brain.RowError
	switch r := doc.resource.(type) {
	case *brain.SIPDevice:
		old, _ := before.(*brain.SIPDevice)
		if p.offline && old == nil && r.Password == "" {
			return
		}
		faults = seal(old, r)
	case *brain.Secret:
		if p.offline && r.Value == "" {
			return
		}
		faults = p.sealer.seal(before, r)
	case *brain.Node:
		faults = p.sealer.sealNode(before, r)
		if p.offline && r.Reach == brain.ReachCloudflared && r.AccessSecretSealed == "" {
			r.AccessSecretSealed = "forgotten"
		}
	case *brain.ConsoleUser:
		old, _ := before.(*brain.ConsoleUser)
		if p.offline && old == nil && r.Password == "" || !p.mayTouch(doc, old, r) {
			return
		}
		faults = p.pins.user(old, r)
	default:
		faults = p.pins.seal(before, r)
	}
	for _, fault := range faults {
		p.tell(fault)
	}
}

// mayTouch tells whether whoever gives the document may make a console user of that role, or change one.
func (p *planner) mayTouch(doc *document, old, r *brain.ConsoleUser) bool {
	isTouched := old == nil || r.Password+r.PasswordHash != "" || r.Role != old.Role || r.Status != old.Status
	grant := p.opt.Users
	if grant == nil || !isTouched {
		return true
	}
	text := grant.Refuse(r.AccountID, r.Role)
	if text == "" && old != nil {
		text = grant.Refuse(r.AccountID, old.Role)
	}
	if text != "" {
		p.add(doc, "spec.role", "%s", text)
	}
	return text == ""
}
