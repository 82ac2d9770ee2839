package door

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// maxAbandoned bounds the events that wait for the spool: more than the door gives up on within a second.
// Past it they are dropped and counted; the node's lists of live dialogs tell the brain the same later.
const maxAbandoned = 1024

// abandoned tells the brain of /route questions that reached a brain and whose decision nobody waited for
// any more: it may have admitted a call that Kamailio refuses by then. These are events of a boot of the
// door's own, and no answer waits for them.
type abandoned struct {
	spool   Spool // nil: nobody is told
	log     *slog.Logger
	boot    string
	seq     int64 // of the last event; run's alone
	waiting chan abandonedCall
	lost    atomic.Int64
	faults  logLimit
}

// abandonedCall is one event and the node that Kamailio named in its question.
type abandonedCall struct {
	node  string
	event api.Event
}

func newAbandoned(spool Spool, log *slog.Logger, now time.Time) *abandoned {
	return &abandoned{spool: spool, log: log, boot: fmt.Sprintf("door-%d", now.UnixMilli()), waiting: make(chan abandonedCall, maxAbandoned)}
}

// note queues the event of one question that no brain decided. Left out is what reached no brain, and what
// names no call: a question without node or Call-ID, or not in Kamailio's form.
func (a *abandoned) note(q *question, now time.Time) {
	if a.spool == nil || q.path != api.PathRoute || q.reached == nil || !q.reached.Load() {
		return
	}
	form, err := url.ParseQuery(string(q.body))
	callID := form.Get("call_id")
	if err != nil || callID == "" || len(callID) > maxEventField || !isName(form.Get("node")) {
		return
	}
	ev := api.Event{TimeMS: now.UnixMilli(), Type: api.EventDialogFailed, CallID: callID, SIPCode: http.StatusServiceUnavailable}
	if aor := "sip:" + form.Get("from_user") + "@" + form.Get("from_domain"); len(aor) <= maxEventField {
		ev.AOR = aor
	}
	select {
	case a.waiting <- abandonedCall{form.Get("node"), ev}:
	default:
		a.lost.Add(1)
	}
}

// run puts the events into the spool until ctx ends, and then what is left.
func (a *abandoned) run(ctx context.Context) {
	for {
		select {
		case c := <-a.waiting:
			a.spoolOne(c)
			continue
		case <-ctx.Done():
		}
		for {
			select {
			case c := <-a.waiting:
				a.spoolOne(c)
			default:
				return
			}
		}
	}
}

func (a *abandoned) spoolOne(c abandonedCall) {
	a.seq++
	c.event.Seq = a.seq
	if _, _, err := a.spool.Append(c.node, a.boot, []api.Event{c.event}); err != nil {
		a.lost.Add(1)
		a.faults.warn(a.log, "the brain is not told of an abandoned question", "call_id", c.event.CallID, "error", err)
	}
}
