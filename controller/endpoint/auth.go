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

// auth answers POST /auth: does this REGISTER come from the device it names.
func (s *Server) auth(r *http.Request, _ brain.APIKey) (any, error) {
	began := time.Now()
	var req api.AuthRequest
	if err := decode(r, &authFields, &req); err != nil {
		return nil, err
	}
	reply := register(s.Config.Directory(), &req)
	s.countAuth(&reply)
	s.logAuth(r.Context(), &req, &reply, began)
	return &reply, nil
}

// register decides a registration. An unknown user, a wrong password and a foreign address-of-record
// get the same answer; only Why, which no phone sees, tells them apart.
func register(dir brain.Directory, req *api.AuthRequest) api.AuthReply {
	res := auth.Check(dir, req.Method, auth.Digest(req.Digest))
	if !res.OK {
		return api.AuthReply{Action: api.ActionReject, ConfigVersion: dir.Version(), Refusal: forbidden(res.Why)}
	}
	if !auth.MayRegister(res.Account, res.Device, res.User, req.ToUser, req.ToDomain) {
		return api.AuthReply{Action: api.ActionReject, ConfigVersion: dir.Version(),
			Refusal: forbidden("the device may not register this address-of-record")}
	}
	return api.AuthReply{Action: api.ActionAccept, AccountID: res.Account.Account.ID, UserID: res.User.ID,
		DeviceID: res.Device.ID, AOR: res.Device.AOR(), MaxContacts: MaxContacts, ConfigVersion: dir.Version()}
}

// forbidden is the one refusal of whoever is not known to be allowed: no oracle for what exists.
func forbidden(why string) api.Refusal {
	return api.Refusal{SIPCode: 403, Reason: "Forbidden", Why: why}
}
