package endpoint

import (
	"net/http"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/auth"
	"github.com/sipio/sipio/brain/route"
)

// route answers POST /route: who calls, and where does the call go.
func (s *Server) route(r *http.Request, _ brain.APIKey) (any, error) {
	began := time.Now()
	var req api.RouteRequest
	if err := decode(r, &routeFields, &req); err != nil {
		return nil, err
	}
	reply := &api.RouteReply{RTJSON: direct(s.Config.Directory(), &req)}
	s.countRoute(&reply.RTJSON)
	s.logRoute(r.Context(), &req, &reply.RTJSON, began)
	return reply, nil
}

// direct decides a call. A caller who is not known gets the same refusal whatever was dialed.
func direct(dir brain.Directory, req *api.RouteRequest) api.Directive {
	res := auth.Check(dir, req.Method, auth.Digest(req.Digest))
	if !res.OK {
		return api.Directive{Action: api.ActionReject, Version: api.Version, ConfigVersion: dir.Version(),
			Refusal: forbidden(res.Why)}
	}
	return route.Decide(dir, route.Caller{Account: res.Account, User: res.User, Device: res.Device}, *req)
}
