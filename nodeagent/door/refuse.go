package door

import (
	"encoding/json"
	"net/http"

	"github.com/sipio/sipio/brain/api"
)

// refuse makes the answer that Kamailio turns into a SIP refusal: HTTP 200, in the shape of the
// path that was asked.
func refuse(path string, why api.Refusal) reply {
	var v any = api.AuthReply{Action: api.ActionReject, Refusal: why}
	if path == api.PathRoute {
		v = api.RouteReply{RTJSON: api.Directive{Action: api.ActionReject, Version: api.Version, Refusal: why}}
	}
	body, err := json.Marshal(v)
	if err != nil { // these types always marshal
		return reply{http.StatusInternalServerError, []byte(`{"error":"cannot encode a refusal"}`)}
	}
	return reply{http.StatusOK, body}
}

// clip returns the beginning of a foreign body, short enough for a log line or a reason.
func clip(b []byte) string {
	const most = 200
	if len(b) > most {
		b = b[:most]
	}
	return string(b)
}

// isObject is a cheap look at whether a body can be a JSON object; Kamailio parses it in full.
func isObject(b []byte) bool {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == ' ') {
		b = b[:len(b)-1]
	}
	return len(b) >= 2 && b[0] == '{' && b[len(b)-1] == '}'
}
