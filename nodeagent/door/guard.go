package door

import (
	"net/http"
)

// pathGuard is where Kamailio's guard tells of offences and known addresses, a form a line. Nothing is kept: it tries once.
const (
	pathGuard    = "/guard"
	maxGuardBody = 256 << 10
)

func (d *Door) guard(req *request) reply {
	if d.cfg.Guard == nil {
		return errorReply(http.StatusNotFound, "no guard on this node")
	}
	if err := d.cfg.Guard(req.body); err != nil {
		d.eventLog.warn(d.cfg.Log, "lines of the guard refused", "error", err)
		return errorReply(http.StatusBadRequest, err.Error())
	}
	return reply{http.StatusOK, []byte("{}")}
}
