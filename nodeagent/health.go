package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/dialogs"
	"github.com/sipio/sipio/nodeagent/door"
	"github.com/sipio/sipio/nodeagent/guard"
	"github.com/sipio/sipio/nodeagent/spool"
)

// Health is the answer of GET /health on OpListen.
type Health struct {
	Status    string       `json:"status"` // ok; degraded when something below is not well
	Node      string       `json:"node"`
	Version   string       `json:"version"`
	Door      door.Stats   `json:"door"`
	Spool     spool.Stats  `json:"spool"`
	Kamailio  DaemonStatus `json:"kamailio"`
	RTPEngine DaemonStatus `json:"rtpengine"`
	Brain     BrainStatus  `json:"brain"`

	FreeSWITCH *DaemonStatus `json:"freeswitch,omitempty"` // absent on a node without
	Answered   int           `json:"answered_calls"`       // that this agent drives now

	// Steps of answered calls: digit, from the event of the digit that ended a command to the first order of the
	// next; command, from the brain's answer to the first order; brain, a question.
	Steps map[string]StepTimes `json:"steps,omitempty"`

	Connections guard.Connections `json:"connections"` // to the SIP ports; degraded when they are not limited

	Reaped int64 `json:"media_sessions_reaped"` // since start

	Reports  dialogs.Stats `json:"dialog_reports"`
	Nameless int           `json:"nameless_dialogs"` // in the last list of Kamailio: of no call that the brain let in
}

func (a *agent) health() Health {
	h := Health{
		Status: "ok", Node: a.cfg.Name, Version: a.cfg.Version,
		Door: a.door.Stats(), Spool: a.spool.Stats(), Reaped: a.reaper.Reaped(),
		Reports: a.lists.Stats(), Nameless: a.lister.Nameless(),
	}
	h.Kamailio, h.RTPEngine, h.Brain = a.probes.status()
	if a.answer != nil {
		status := a.answer.status()
		h.FreeSWITCH, h.Answered, h.Steps = &status, a.answer.calls.Count(), a.answer.times.show()
	}
	h.Connections = a.guard.Connections()
	well := h.Connections.Error == "" && (h.FreeSWITCH == nil || h.FreeSWITCH.Healthy) && h.Kamailio.Healthy && h.RTPEngine.Healthy && h.Brain.Reported
	for _, b := range h.Door.Brains {
		well = well && !b.Open
	}
	if !well {
		h.Status = "degraded"
	}
	return h
}

// serveOp answers operators on loopback until ctx ends.
func (a *agent) serveOp(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.PathHealth, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(a.health()); err != nil {
			a.log.Debug("health not delivered", "error", err)
		}
	})
	mux.Handle(api.PathOp, a.ops)
	return a.serveUntil(ctx, ln, mux)
}

// serveUntil answers from h until ctx ends or the listener fails.
func (a *agent) serveUntil(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler: h, ReadTimeout: opReadTimeout, WriteTimeout: opReadTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		end, cancel := context.WithTimeout(context.Background(), opDrainTimeout)
		defer cancel()
		if srv.Shutdown(end) != nil {
			_ = srv.Close()
		}
	})
	err := srv.Serve(ln)
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("%s: %w", ln.Addr(), err)
}
