// Package nodeagent is the process sipio-node on an edge node: the door that Kamailio asks, the spool
// of events behind it, and the eye on Kamailio and rtpengine. It decides nothing; the brain does.
package nodeagent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/internal/keyfile"
	"github.com/sipio/sipio/nodeagent/bus"
	"github.com/sipio/sipio/nodeagent/dialogs"
	"github.com/sipio/sipio/nodeagent/door"
	"github.com/sipio/sipio/nodeagent/guard"
	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/nodeagent/keepalive"
	"github.com/sipio/sipio/nodeagent/ng"
	"github.com/sipio/sipio/nodeagent/op"
	"github.com/sipio/sipio/nodeagent/spool"
	"github.com/sipio/sipio/nodeagent/trunk"
)

// Bounds of the agent's own questions.
const (
	probeTimeout   = time.Second      // to Kamailio or rtpengine
	listTimeout    = 10 * time.Second // for Kamailio's list of 100,000 dialogs; 36,000 take half a second
	greetTimeout   = 2 * time.Second  // of the first heartbeat, before the door opens
	opReadTimeout  = 5 * time.Second
	opDrainTimeout = time.Second
)

// agent is the parts of a running node agent.
type agent struct {
	cfg     Config
	log     *slog.Logger
	own     *keyfile.Pair // nil: the node has none
	spool   *spool.Spool
	door    *door.Door
	probes  *probes
	reaper  *ng.Reaper
	lister  *kam.Lister
	lists   *dialogs.Reporter
	report  *reporter
	trunks  *trunks
	uac     *kam.UAC
	keeper  *trunk.Keeper
	guard   *guard.Guard
	callers *keepalive.Watcher // nil: nobody's call is ended
	answer  *answering         // nil: no media server
	ops     *op.Handler
	bus     bus.Config // without URLs: none

	opened []func() error // what closes the parts
}

// Run is the node agent from start to end: it returns nil after a graceful stop by ctx, or the error
// that kept it from answering. No daemon and no brain need be there yet.
func Run(ctx context.Context, cfg Config) (err error) {
	a := &agent{cfg: cfg, log: cfg.Log}
	if a.log == nil {
		a.log = slog.Default()
	}
	if err := cfg.Check(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.open(); err != nil {
		return err
	}
	return a.run(ctx)
}

// close closes what open has opened, the last first.
func (a *agent) close() (err error) {
	for _, c := range slices.Backward(a.opened) {
		err = errors.Join(err, c())
	}
	return err
}

// open makes the parts. Those that another one needs come first.
func (a *agent) open() error {
	key, err := a.cfg.key()
	if err != nil {
		return err
	}
	if a.own, err = openCertificate(a.cfg, a.log); err != nil {
		return err
	}
	tlsConfig, err := brainTLS(a.cfg.BrainCAFile, a.own)
	if err != nil {
		return err
	}
	a.report = newReporter(a.cfg.BrainURLs, key, tlsConfig)
	kamailio, rtpengine, err := a.openEdge()
	if err != nil {
		return err
	}
	a.reaper = ng.NewReaper(kamailio, rtpengine, a.log)
	a.lists = dialogs.New(dialogs.Config{
		Node: a.cfg.Name, Interval: a.cfg.ReportInterval, Kamailio: a.lister, Media: mediaSessions{rtpengine}, Post: a.report.postDialogs, Log: a.log,
	})
	if a.callers, err = a.newCallers(); err != nil {
		return err
	}
	if a.door, err = a.newDoor(key, tlsConfig); err != nil {
		return err
	}
	if a.answer, err = newAnswering(a.cfg, a.report, kamailio, a.log); err != nil {
		return err
	}
	if a.ops, err = newOps(a.cfg, a.answer, a.keeper, a.guard, kamailio, a.log); err != nil {
		return err
	}
	a.bus = bus.Config{URLs: a.cfg.BusURLs, Node: a.cfg.Name, Key: key, TLS: tlsConfig.Clone(), Handler: a.ops, Log: a.log}
	return nil
}

// openEdge opens the spool, the ways to the daemons of the edge, and who uses them.
func (a *agent) openEdge() (kamailio *kam.Client, rtpengine *ng.Client, err error) {
	if a.spool, err = spool.Open(a.cfg.SpoolDir, spool.Options{MaxBytes: int64(a.cfg.SpoolMaxMB) << 20, Log: a.log}); err != nil {
		return nil, nil, err
	}
	a.opened = append(a.opened, a.spool.Close)
	if kamailio, err = kam.Open(a.cfg.KamailioSocket, a.cfg.KamailioClient, probeTimeout); err != nil {
		return nil, nil, err
	}
	a.opened = append(a.opened, kamailio.Close)
	if rtpengine, err = ng.Dial(a.cfg.RTPEngineNG, probeTimeout); err != nil {
		return nil, nil, err
	}
	a.opened = append(a.opened, rtpengine.Close)
	var closePart func() error
	if a.lister, closePart, err = openLister(a.cfg); err != nil {
		return nil, nil, err
	}
	a.opened = append(a.opened, closePart)
	a.probes = &probes{kamailio: kamailio, rtpengine: rtpengine, log: a.log}
	if a.uac, closePart, err = openUAC(a.cfg); err != nil {
		return nil, nil, err
	}
	a.opened = append(a.opened, closePart)
	a.keeper = newKeeper(a.cfg, a.uac, a.report, a.probes, a.log)
	a.trunks = &trunks{path: a.cfg.TrunkFile, kamailio: kamailio, up: a.probes.kamailioUp, log: a.log}
	if a.guard, closePart, err = newGuard(a.cfg, a.report, a.trunks, a.log); err != nil {
		return nil, nil, err
	}
	a.opened = append(a.opened, closePart)
	return kamailio, rtpengine, nil
}

func (a *agent) newDoor(key string, tlsConfig *tls.Config) (*door.Door, error) {
	return door.New(door.Config{
		Brains: a.cfg.BrainURLs, Key: key, TLS: tlsConfig, Deadline: a.cfg.Deadline, StallAfter: a.cfg.StallAfter,
		MaxInFlight: a.cfg.MaxInFlight, HedgeAfter: a.cfg.HedgeAfter, RetryAfterSec: a.cfg.RetryAfterSec,
		Spool: a.spool, OnEvents: func(evs []api.Event) { a.reaper.Note(evs); a.lists.Note(evs); a.keeper.Note(evs) }, Survival: a.cfg.survival(a.report), Log: a.log,
		Guard:  a.guard.Take,
		Trunks: door.Trunks{Hints: a.keeper.Hints, Failed: a.keeper.CallFailed, Targets: a.keeper.TargetsFailed},
	})
}

// survival is what the door needs to answer without a brain, if it is to.
func (c *Config) survival(report *reporter) door.Survival {
	s := door.Survival{Node: c.Name, File: filepath.Join(c.SpoolDir, "survival.bin"), Refresh: c.SurvivalRefresh, MaxAge: c.SurvivalMaxAge}
	if c.Survival {
		s.Fetch = report.survival
	}
	return s
}

// openLister makes the lister of Kamailio's dialogs, on a socket and with a file of its own beside the
// agent's other socket.
func openLister(cfg Config) (*kam.Lister, func() error, error) {
	client, err := kam.Open(cfg.KamailioSocket, cfg.KamailioClient+".list", listTimeout)
	if err != nil {
		return nil, nil, err
	}
	path, err := filepath.Abs(cfg.KamailioClient + ".dialogs") // Kamailio has another working folder
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("file of the list of dialogs: %w", err), client.Close())
	}
	return kam.NewLister(client, path), client.Close, nil
}

// mediaSessions is rtpengine as the dialog reports ask it.
type mediaSessions struct{ rtpengine *ng.Client }

// HasSession reports whether rtpengine relays the media of a call.
func (m mediaSessions) HasSession(ctx context.Context, callID string) (bool, error) {
	_, err := m.rtpengine.Query(ctx, callID)
	if errors.Is(err, ng.ErrUnknownCall) {
		return false, nil
	}
	return err == nil, err
}

// listeners are the agent's; orders and media are nil when it has none.
type listeners struct{ door, op, orders, media net.Listener }

func (a *agent) listen() (ln listeners, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeListener(ln.door), closeListener(ln.op), closeListener(ln.orders))
		}
	}()
	if ln.door, err = net.Listen("tcp", a.cfg.DoorListen); err != nil {
		return ln, fmt.Errorf("door-listen: %w", err)
	}
	if ln.op, err = net.Listen("tcp", a.cfg.OpListen); err != nil {
		return ln, fmt.Errorf("op-listen: %w", err)
	}
	if ln.orders, err = listenOp(a.cfg, a.own, a.log); err != nil {
		return ln, err
	}
	if a.answer != nil {
		if ln.media, err = net.Listen("tcp", a.cfg.MediaListen); err != nil {
			return ln, fmt.Errorf("media-listen: %w", err)
		}
	}
	return ln, nil
}

// run serves until ctx ends or a listener fails. The door closes first: what Kamailio still posts is
// in the spool before the spool closes.
func (a *agent) run(ctx context.Context) error {
	if err := a.greet(ctx); err != nil {
		return err
	}
	ln, err := a.listen()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 5)
	var serving, background sync.WaitGroup
	serving.Go(func() { failed <- a.door.Serve(ctx, ln.door) })
	serving.Go(func() { failed <- a.serveOp(ctx, ln.op) })
	if ln.orders != nil {
		serving.Go(func() { failed <- a.serveOrders(ctx, ln.orders) })
	}
	if len(a.bus.URLs) > 0 {
		serving.Go(func() { failed <- bus.Run(ctx, a.bus) })
	}
	if a.answer != nil {
		serving.Go(func() { failed <- a.answer.run(ctx, ln.media) })
	}
	behind, stopBehind := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBehind()
	background.Go(func() { a.spool.Forward(behind, a.report.postEvents) })
	background.Go(func() { a.reaper.Run(behind) })
	background.Go(func() { a.beat(behind) })
	background.Go(func() { a.lists.Run(behind) })
	background.Go(func() { a.keeper.Run(behind) })
	background.Go(func() { a.guard.Run(behind) })
	if a.callers != nil {
		background.Go(func() { a.callers.Run(behind) })
	}

	addrs := Addrs{Door: ln.door.Addr().String(), Op: ln.op.Addr().String()}
	if ln.orders != nil {
		addrs.OpTLS = ln.orders.Addr().String()
	}
	a.log.Info("node agent answers", "node", a.cfg.Name, "door", addrs.Door, "op", addrs.Op, "brains", a.cfg.BrainURLs)
	if a.cfg.Ready != nil {
		a.cfg.Ready(addrs)
	}
	a.tell("READY=1")
	background.Go(func() { a.watchdog(behind, addrs.Door) })
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	a.tell("STOPPING=1")
	stop()
	serving.Wait()
	stopBehind()
	background.Wait()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// greet tells a brain that is there of this node, and refuses to start under one whose protocol this
// agent cannot know. A brain that is away keeps nothing from starting.
func (a *agent) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	reply, err := a.report.postHeartbeat(ctx, a.heartbeat())
	a.probes.reported(reply.Version, err)
	if err != nil {
		return nil // logged; the door answers by fallback until a brain is there
	}
	return checkProtocol(reply.Version)
}

// beat probes the daemons and reports, at once and then every HeartbeatInterval.
func (a *agent) beat(ctx context.Context) {
	tick := time.NewTicker(a.cfg.HeartbeatInterval)
	defer tick.Stop()
	for {
		a.probes.probe(ctx)
		reply, err := a.report.postHeartbeat(ctx, a.heartbeat())
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = checkProtocol(reply.Version)
		}
		a.probes.reported(reply.Version, err)
		if err == nil {
			a.trunks.keep(ctx, reply.TrunkSources)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *agent) heartbeat() api.Heartbeat {
	beat := api.Heartbeat{
		Node: a.cfg.Name, Protocol: api.Version,
		Versions:      map[string]string{"sipio-node": a.cfg.Version},
		SpooledEvents: a.spool.Stats().Events,
	}
	stats := a.door.Stats()
	for _, b := range stats.Brains {
		beat.BreakerOpenedTotal += b.Opened
	}
	if stats.Survival != nil {
		beat.SurvivalAnswers = stats.Survival.Answers
	}
	a.probes.heartbeat(&beat)
	if a.answer != nil {
		status := a.answer.status()
		beat.Healthy["freeswitch"] = status.Healthy
		if status.Version != "" {
			beat.Versions["freeswitch"] = status.Version
		}
	}
	return beat
}

// tell reports a state to the service manager. It can do without us; Kamailio cannot.
func (a *agent) tell(state string) {
	if a.cfg.Notify == nil {
		return
	}
	if err := a.cfg.Notify(state); err != nil {
		a.log.Warn("cannot notify the service manager", "state", state, "error", err)
	}
}

// watchdog tells the service manager twice an interval that the door answers, each time after asking
// it over a new connection as Kamailio would. An agent whose door is deaf is restarted.
func (a *agent) watchdog(ctx context.Context, doorAddr string) {
	if a.cfg.Notify == nil || a.cfg.WatchdogEvery <= 0 {
		return
	}
	client := &http.Client{Timeout: a.cfg.WatchdogEvery / 2, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(a.cfg.WatchdogEvery / 2)
	defer tick.Stop()
	for {
		if err := askDoor(ctx, client, doorAddr); err == nil {
			a.tell("WATCHDOG=1")
		} else if ctx.Err() == nil {
			a.log.Error("the door does not answer itself", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func askDoor(ctx context.Context, client *http.Client, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+api.PathHealth, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("health answered %d", resp.StatusCode)
	}
	return nil
}
