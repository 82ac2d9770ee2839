package endpoint

import (
	"net/http"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/auth"
)

// MaxContacts is how many contacts a device may have at once: one phone with a few addresses, not a crowd.
const MaxContacts = 10

// trunkContacts is how many contacts a trunk that registers may have: the last one is where it is.
const trunkContacts = 1

// auth answers POST /auth: does this REGISTER come from the device, or the trunk, that it names.
func (s *Server) auth(r *http.Request, key brain.APIKey) (any, error) {
	began := time.Now()
	var req api.AuthRequest
	if err := decode(r, &authFields, &req); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &req.Node); err != nil {
		return nil, err
	}
	reply := s.register(s.Config.Directory(), &req)
	if reply.Action == api.ActionAccept && s.Believed != nil {
		s.Believed(req.SourceIP)
	}
	s.countAuth(&reply)
	s.logAuth(r.Context(), &req, &reply, began)
	return &reply, nil
}

// register decides a registration. An unknown user, a wrong password and a foreign address-of-record
// get the same answer; only Why, which no phone sees, tells them apart.
func (s *Server) register(dir brain.Directory, req *api.AuthRequest) api.AuthReply {
	res := auth.Check(dir, req.Method, auth.Digest(req.Digest))
	if !res.OK {
		return s.registerTrunk(dir, req, res.Why)
	}
	if !auth.MayRegister(res.Account, res.Device, res.User, req.ToUser, req.ToDomain) {
		return refusedRegister(dir, "the device may not register this address-of-record")
	}
	return api.AuthReply{Action: api.ActionAccept, AccountID: res.Account.Account.ID, UserID: res.User.ID,
		DeviceID: res.Device.ID, AOR: res.Device.AOR(), MaxContacts: MaxContacts, ConfigVersion: dir.Version()}
}

// registerTrunk decides the registration of whoever is no device; noDevice is why. Everybody whom auth.Check refuses is
// looked for here too, so that all refusals cost the same.
func (s *Server) registerTrunk(dir brain.Directory, req *api.AuthRequest, noDevice string) api.AuthReply {
	if s.Password == nil {
		return refusedRegister(dir, noDevice)
	}
	acct, trunk, why := auth.CheckTrunk(dir, req.Method, auth.Digest(req.Digest), s.Password)
	switch {
	case why == auth.WhyUnknownTrunk || why == auth.WhyUnknownDomain: // what kept the device away says more
		return refusedRegister(dir, noDevice)
	case why != "":
		return refusedRegister(dir, why)
	case !auth.MayRegisterTrunk(acct, trunk, req.ToUser, req.ToDomain):
		return refusedRegister(dir, "the trunk does not register, or may not register this address-of-record")
	}
	return api.AuthReply{Action: api.ActionAccept, AccountID: acct.Account.ID, AOR: acct.TrunkAOR(trunk),
		MaxContacts: trunkContacts, ConfigVersion: dir.Version()}
}

func refusedRegister(dir brain.Directory, why string) api.AuthReply {
	return api.AuthReply{Action: api.ActionReject, ConfigVersion: dir.Version(), Refusal: disbelieved(why)}
}

// forbidden is the one refusal of whoever is not known to be allowed: no oracle for what exists.
func forbidden(why string) api.Refusal {
	return api.Refusal{SIPCode: 403, Reason: "Forbidden", Why: why}
}

// challenged has the edge ask for credentials, as it asks anybody whom it does not know.
func challenged(why string) api.Refusal {
	return api.Refusal{SIPCode: 407, Reason: "Proxy Authentication Required", Why: why}
}

// disbelieved is forbidden for credentials that were not believed. The edge's guard counts them alike, whether the account they name
// exists or not: what it then does is no oracle either.
func disbelieved(why string) api.Refusal {
	refusal := forbidden(why)
	refusal.Guard = api.OffenceAuthFail
	return refusal
}
