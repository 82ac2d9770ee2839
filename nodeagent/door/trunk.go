package door

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain/api"
)

// Trunks is what the node knows of trunks: it is told to the brain with each question about a call, and hears of the
// calls that failed. The zero value knows nothing.
type Trunks struct {
	Hints  func() (down, via string)    // nil: nothing is told
	Failed func(trunk string, code int) // a trunk's attempt ended so; nil: nobody hears

	Targets func(trunk, targets string) // what became of its targets before; nil: nobody hears
}

// hinted is a question about a call as the brain gets it: what the edge may have put where the hints go is taken out. A
// question that is no form, or has nothing of either, stays as it is.
func (t *Trunks) hinted(q question) question {
	if q.path != api.PathRoute || t.Hints == nil || !strings.HasPrefix(q.contentType, "application/x-www-form-urlencoded") {
		return q
	}
	down, via := t.Hints()
	if down == "" && via == "" && !hasField(q.body, "down") && !hasField(q.body, "via") {
		return q
	}
	body := make([]byte, 0, len(q.body)+len(down)+len(via)+16)
	for pair := range bytes.SplitSeq(q.body, []byte("&")) {
		if name, _, _ := bytes.Cut(pair, []byte("=")); isHint(name) || len(pair) == 0 {
			continue
		}
		body = append(append(body, pair...), '&')
	}
	body = appendHint(appendHint(body, "down", down), "via", via)
	q.body = bytes.TrimSuffix(body, []byte("&"))
	return q
}

// isHint tells whether a name in a form, which Kamailio writes plainly, is that of a hint.
func isHint(name []byte) bool { return string(name) == "down" || string(name) == "via" }

func appendHint(body []byte, name, value string) []byte {
	if value == "" {
		return body
	}
	return append(append(append(append(body, name...), '='), url.QueryEscape(value)...), '&')
}

// heard takes the failure of a trunk's attempt that a question tells of.
func (t *Trunks) heard(q *question) {
	if q.path != api.PathRoute || t.Failed == nil || !hasField(q.body, "failed_code") {
		return
	}
	trunk, err := url.QueryUnescape(string(formValue(q.body, "trunk")))
	code, failed := strconv.Atoi(string(formValue(q.body, "failed_code")))
	if err == nil && failed == nil && trunk != "" {
		t.Failed(trunk, code)
	}
	if targets, bad := url.QueryUnescape(string(formValue(q.body, "targets"))); err == nil && bad == nil && targets != "" && t.Targets != nil {
		t.Targets(trunk, targets)
	}
}
