package kamailio

import (
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// Who may have one Contact has the last one: a PBX that comes back at another port is called there at once, and nowhere else; it may take that one
// back, and then is not there.
func TestOutLookup_TheLastContactCounts(t *testing.T) {
	t.Parallel()
	name := user("pbx")
	shared.door.onAuth(name, says(api.AuthReply{Action: api.ActionAccept, AccountID: "acme", MaxContacts: 1, AOR: "sip:" + name + "@acme.test"}))
	old, last := newSet(t, shared, "udp", name), newSet(t, shared, "udp", name)
	a, backup := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "tb")
	over1 := over(last, "ta")
	over1.Trunk.Lookup, over1.URI = "sip:"+name+"@acme.test", "sip:+4930123@acme.test"
	for i, p := range []*set{old, last, last} {
		p.regCSeq = 10 * i
		r := registration{}
		if i == 2 {
			r.expires = "0"
		}
		if m := p.register(r); m.Code != 200 || len(m.All("Contact")) != 1-i/2 {
			t.Fatalf("REGISTER %d: %s", i, m.raw)
		}
		shared.door.plan(a.user, outward(over1), outward(over(backup, "tb")), reject(486, "Busy Here", 0))
		call := a.newCall("+4930123").dial()
		if i == 2 {
			p = backup
		}
		invite := p.request("INVITE")
		p.reject(invite, 486)
		if i < 2 {
			backup.reject(backup.request("INVITE"), 486)
		}
		call.ended(486)
	}
	old.quiet()
}
