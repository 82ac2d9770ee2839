package endpoint

import (
	"net/http"
	"strconv"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// presenceEvent answers POST /presence/event once the events are applied. A batch that cannot be
// read is refused whole. One bad event in a readable batch is dropped and counted: refusing the
// batch for it would hold up every event spooled behind it.
func (s *Server) presenceEvent(r *http.Request, key brain.APIKey) (any, error) {
	var batch api.EventBatch
	if err := decodeBatch(r, &batch); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &batch.Node); err != nil {
		return nil, err
	}
	last := int64(0)
	if n := len(batch.Events); n > 0 {
		last = batch.Events[n-1].Seq
	}
	batch.Events = s.cleanEvents(batch.Events)
	batch.Events = s.takeSurvival(&batch)
	reply, err := s.Presence.Deliver(r.Context(), s.Config.Directory(), batch)
	if err != nil {
		return nil, err
	}
	s.counts.add(countEventsTaken)
	if s.Delivered != nil {
		s.Delivered(&batch)
	}
	reply.LastSeq = max(reply.LastSeq, last)
	return &reply, nil
}

// decodeBatch reads a batch and checks what holds for all of it.
func decodeBatch(r *http.Request, batch *api.EventBatch) error {
	if err := onlyJSON(r); err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if err := decodeJSON(body, batch); err != nil {
		return err
	}
	for name, v := range map[string]string{"node": batch.Node, "boot": batch.Boot} {
		if v == "" {
			return badField(countBadType, name, "is missing")
		}
		if err := checkText(name, v, maxID); err != nil {
			return err
		}
	}
	return nil
}

// cleanEvents returns the events that hold to their bounds; the others are counted and logged.
func (s *Server) cleanEvents(events []api.Event) []api.Event {
	clean := events[:0]
	for i, ev := range events {
		if err := checkEvent(&ev); err != nil {
			s.counts.add(countEventsBad)
			s.Log.Warn("event dropped", "seq", ev.Seq, "err", "events["+strconv.Itoa(i)+"]."+err.Error())
			continue
		}
		clean = append(clean, ev)
	}
	return clean
}

func checkEvent(ev *api.Event) error {
	switch ev.Type {
	case api.EventContactSaved, api.EventContactRemoved, api.EventContactExpired,
		api.EventDialogStart, api.EventDialogEnd, api.EventDialogFailed, api.EventSurvival:
	default:
		return badField(countBadType, "type", "%s is not an event type", quote(ev.Type))
	}
	for _, f := range [...]struct {
		name, value string
		max         int
	}{
		{"account_id", ev.AccountID, maxID}, {"aor", ev.AOR, maxText}, {"contact", ev.Contact, maxText},
		{"source_ip", ev.SourceIP, maxID}, {"transport", ev.Transport, maxID}, {"user_agent", ev.UserAgent, maxText},
		{"call_id", ev.CallID, maxID}, {"token", ev.Token, maxID}, {"from", ev.From, maxText}, {"to", ev.To, maxText},
	} {
		if err := checkText(f.name, f.value, f.max); err != nil {
			return err
		}
	}
	return nil
}
