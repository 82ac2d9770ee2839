package route

import (
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Walk plays a call whose every attempt fails, as an edge does: what is decided at first, and what when the trunk of the last
// directive answered code, until the call is refused or phones of the account ring. It is for people who want to see the order of
// the trunks, and for tests. The longest is as long as the hops of a call allow.
func Walk(dir brain.Directory, caller Caller, req api.RouteRequest, code int) []api.Directive {
	d := Decide(dir, caller, req)
	all := []api.Directive{d}
	for len(all) <= brain.MaxHops*maxLines {
		if len(d.Routes) == 0 || d.Routes[0].Trunk == nil {
			return all
		}
		Failed(&req, &d, code)
		d = Decide(dir, caller, req)
		all = append(all, d)
	}
	return all
}

// Failed makes the question of a call what an edge asks when the trunk of the last directive answered code.
func Failed(req *api.RouteRequest, last *api.Directive, code int) {
	id := last.Routes[0].Trunk.ID
	if req.At != last.Call.At {
		req.Tried, req.Answered = "", 0
	}
	if !strings.HasSuffix(","+req.Tried, ","+id) {
		req.Tried, req.Answered = strings.TrimPrefix(req.Tried+","+id, ","), 0
	}
	req.At, req.Hops, req.Trunk, req.FailedCode, req.Challenge = last.Call.At, last.Call.Hops, id, code, ""
}

// Reached makes the question of a call what an edge asks when its walk over phones reaches a step that asks; code is the last
// final response.
func Reached(req *api.RouteRequest, d *api.Directive, step, code int) {
	for i := range d.Routes {
		if d.Routes[i].Step == step {
			req.At = d.Routes[i].Ask
		}
	}
	req.Hops, req.FailedCode, req.Trunk, req.Tried, req.Challenge, req.Answered = d.Call.Hops, code, "", "", "", 0
}
