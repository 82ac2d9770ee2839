package door

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of one batch of events from Kamailio.
const (
	maxEventBody  = 1 << 20 // above what Kamailio can build of 100 events: a refused batch would come again for ever
	maxEvents     = 500
	maxEventLine  = 8 << 10 // so that one event, however escaped, fits a body to the brain
	maxEventField = 2 << 10 // bytes of one decoded value
	maxBootName   = 64
)

// presenceEvent takes a batch into the spool. Only what is on disk is acknowledged.
func (d *Door) presenceEvent(req *request) reply {
	batch, bad, err := parseBatch(req.body)
	if err != nil {
		d.eventLog.warn(d.cfg.Log, "event batch refused", "error", err)
		return errorReply(http.StatusBadRequest, err.Error())
	}
	if len(bad) > 0 {
		d.badLines.Add(int64(len(bad)))
		d.eventLog.warn(d.cfg.Log, "malformed event lines dropped", "count", len(bad), "first", bad[0])
	}
	if d.cfg.Spool == nil {
		return errorReply(http.StatusServiceUnavailable, "no spool")
	}
	last, fresh, err := d.cfg.Spool.Append(batch.Node, batch.Boot, batch.Events)
	if err != nil {
		d.eventLog.warn(d.cfg.Log, "events not spooled: Kamailio keeps them", "error", err)
		return errorReply(http.StatusServiceUnavailable, "spool cannot be written")
	}
	d.events.Add(int64(len(fresh)))
	if d.cfg.OnEvents != nil && len(fresh) > 0 {
		d.cfg.OnEvents(fresh)
	}
	return reply{http.StatusOK, fmt.Appendf(nil, `{"last_seq":%d}`, last)}
}

func errorReply(status int, text string) reply {
	return reply{status, fmt.Appendf(nil, `{"error":%q}`, text)}
}

// parseBatch reads the text Kamailio posts: a form with node and boot on the first line, then one
// form a line for each event. bad holds an error for each line that is dropped; it never costs the
// other lines. An error is returned only when the batch as a whole makes no sense.
func parseBatch(body []byte) (batch api.EventBatch, bad []error, err error) {
	first, rest, _ := bytes.Cut(body, []byte("\n"))
	head, err := url.ParseQuery(string(bytes.TrimSpace(first)))
	if err != nil {
		return batch, nil, fmt.Errorf("first line: %w", err)
	}
	batch.Node, batch.Boot = head.Get("node"), head.Get("boot")
	if !isName(batch.Node) || !isName(batch.Boot) {
		return batch, nil, fmt.Errorf("first line: want node=…&boot=…, each 1 to %d visible characters", maxBootName)
	}
	for n := 2; len(rest) > 0; n++ {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		ev, err := parseEvent(line)
		if err == nil && len(batch.Events) >= maxEvents {
			err = fmt.Errorf("more than %d events in one batch", maxEvents)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		batch.Events = append(batch.Events, ev)
	}
	return batch, bad, nil
}

// isName reports whether s can be a node or boot name: visible ASCII, bounded.
func isName(s string) bool {
	return len(s) <= maxBootName && isToken([]byte(s))
}

// parseEvent reads one line. Unknown fields are ignored, so that an edge may say more than this
// agent knows.
func parseEvent(line []byte) (api.Event, error) {
	if len(line) > maxEventLine {
		return api.Event{}, fmt.Errorf("line longer than %d bytes", maxEventLine)
	}
	form, err := url.ParseQuery(string(line))
	if err != nil {
		return api.Event{}, fmt.Errorf("parse form: %w", err)
	}
	for name, values := range form {
		if len(values) != 1 || len(values[0]) > maxEventField {
			return api.Event{}, fmt.Errorf("field %.40q is given twice or longer than %d bytes", name, maxEventField)
		}
	}
	ev := api.Event{
		Type: form.Get("type"), AccountID: form.Get("account_id"), AOR: form.Get("aor"),
		Contact: form.Get("contact"), SourceIP: form.Get("source_ip"), Transport: form.Get("transport"),
		UserAgent: form.Get("user_agent"), CallID: form.Get("call_id"), Token: form.Get("token"),
		From: form.Get("from"), To: form.Get("to"), Trunk: form.Get("trunk"), Targets: form.Get("targets"),
	}
	numbers := numberReader{form: form}
	ev.Seq = numbers.read("seq", 63)
	ev.TimeMS = numbers.read("time_ms", 63)
	ev.ExpiresS = int(numbers.read("expires_sec", 31))
	ev.SIPCode = int(numbers.read("sip_code", 10))
	ev.Attempt = int(numbers.read("attempt", 20))
	switch {
	case numbers.err != nil:
		return api.Event{}, numbers.err
	case ev.Seq == 0:
		return api.Event{}, fmt.Errorf("seq is missing")
	case !isName(ev.Type):
		return api.Event{}, fmt.Errorf("type %.40q", ev.Type)
	}
	return ev, nil
}

// numberReader reads decimal fields and keeps the first error.
type numberReader struct {
	form url.Values
	err  error
}

// read returns the number of a field, 0 when it is absent or empty. bits bounds it.
func (r *numberReader) read(name string, bits int) int64 {
	text := r.form.Get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s %.40q is not a number in range", name, text)
	}
	return int64(n)
}
