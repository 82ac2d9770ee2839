package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Bounds of /presence/stream.
const (
	maxStreams   = 1000             // at once at one brain
	streamCheck  = 20 * time.Second // asks the owner for what may have been missed, and keeps its feed going
	streamWrite  = 10 * time.Second // a reader slower than this is cut off; it resumes by id
	streamBuffer = 256              // deltas waiting for a reader
)

// eventState is the type of the event that carries the whole state: the watcher forgets what it knew.
const eventState = "state"

// stream answers GET /presence/stream: server-sent events, first the whole state or, with Last-Event-ID, what
// followed it, then every change. An event's id resumes after it.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	defer s.survive(w, r)
	key, err := s.admit(r, forCalls)
	if err == nil && r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		err = badBody(http.StatusMethodNotAllowed, countBadMethod, "use GET")
	}
	var account string
	if err == nil {
		account, err = s.account(r, key)
	}
	if err == nil && s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		err = brain.Errorf(brain.EUnavailable, "more than %d streams", maxStreams)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer s.streams.Add(-1)
	if err := s.watch(w, r, account); err != nil {
		s.refuse(w, r, err)
	}
}

// watch runs one stream. An error is only returned while nothing was written.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, account string) error {
	news := make(chan api.Numbered, streamBuffer)
	overflow := make(chan struct{}, 1)
	stop, err := s.Presence.Subscribe(account, func(d api.Numbered) {
		select {
		case news <- d:
		default:
			select {
			case overflow <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	first, err := s.Presence.Watch(r.Context(), account, r.Header.Get("Last-Event-ID"))
	if err != nil {
		return err
	}
	out := &eventWriter{w: w, control: http.NewResponseController(w)}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out.watched(first)
	check := time.NewTicker(streamCheck)
	defer check.Stop()
	for out.err == nil {
		select {
		case d := <-news:
			if d.ID == out.last {
				continue
			}
			if api.NextDeltaID(out.last) == d.ID {
				out.delta(d)
				continue
			}
			s.catchUp(r.Context(), out, account) // one was missed, or the owner changed
		case <-overflow:
			s.catchUp(r.Context(), out, account)
		case <-check.C:
			s.catchUp(r.Context(), out, account)
			out.comment()
		case <-r.Context().Done():
			return nil
		case <-s.Done:
			return nil
		}
	}
	return nil
}

// catchUp asks the owner for what followed the last event written. While nobody can tell the stream waits.
func (s *Server) catchUp(ctx context.Context, out *eventWriter, account string) {
	if w, err := s.Presence.Watch(ctx, account, out.last); err == nil {
		out.watched(w)
	}
}

// eventWriter writes server-sent events (WHATWG HTML, section 9.2) until the first error.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	last    string // id of the last event written
	err     error
}

func (o *eventWriter) watched(w api.Watched) {
	if w.State != nil {
		o.event(w.ID, eventState, w.State)
		return
	}
	for _, d := range w.Deltas {
		o.delta(d)
	}
	if len(w.Deltas) == 0 {
		o.last = w.ID
		o.comment()
	}
}

func (o *eventWriter) delta(d api.Numbered) { o.event(d.ID, "delta", d.Data) }

func (o *eventWriter) event(id, kind string, data []byte) {
	o.print(fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", id, kind, data))
	o.last = id
}

func (o *eventWriter) comment() { o.print(":\n\n") }

func (o *eventWriter) print(text string) {
	if o.err != nil {
		return
	}
	_, err := o.w.Write([]byte(text))
	o.err = errors.Join(o.control.SetWriteDeadline(time.Now().Add(streamWrite)), err, o.control.Flush())
}
