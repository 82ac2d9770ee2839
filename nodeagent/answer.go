package nodeagent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/nodeagent/flow"
	"github.com/sipio/sipio/nodeagent/guard"
	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/nodeagent/media"
	"github.com/sipio/sipio/nodeagent/op"
	"github.com/sipio/sipio/nodeagent/trunk"
)

// answering is the part of the agent that drives the node's FreeSWITCH. nil: the node has none.
type answering struct {
	cfg    Config
	log    *slog.Logger
	calls  *flow.Calls
	cache  *media.Cache
	client *esl.Client

	times times

	musicLaid bool // FreeSWITCH plays what was laid; keepMusic's own
	mu        sync.Mutex
	version   string // of FreeSWITCH, as of the last connection
}

// The platform's music on hold: its object, its file for FreeSWITCH below MediaDir, and its stream there.
const (
	musicKey    = "system/moh/default.wav"
	musicFile   = "moh/default.wav"
	musicStream = "moh"
)

// Pauses between two looks at the music.
const (
	musicRetry = 10 * time.Second // it is not there yet
	musicEvery = time.Hour
)

func newAnswering(cfg Config, report *reporter, kamailio *kam.Client, log *slog.Logger) (*answering, error) {
	password, err := readKey("media key", cfg.MediaKeyFile, "")
	if err != nil || password == "" {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.MediaDir) // FreeSWITCH has another working folder
	if err != nil {
		return nil, fmt.Errorf("media-dir: %w", err)
	}
	a := &answering{cfg: cfg, log: log}
	a.cache, err = media.Open(media.Config{Folder: filepath.Join(dir, "store"), MaxBytes: int64(cfg.MediaCacheMB) << 20, Log: log}, report)
	if err != nil {
		return nil, err
	}
	a.client = esl.NewClient(cfg.MediaESL, password, esl.Options{Log: log, OnConnect: a.connected})
	a.calls = flow.New(flow.Config{
		Node: cfg.Name, Listen: fromHere(cfg.MediaListen), Proxy: cfg.MediaProxy, Dir: filepath.Join(dir, "recordings"),
		Brain: report, Desk: report, Media: a.cache, Edge: kamailio, Switch: a, Log: log, Observe: a.times.observe,
	})
	return a, nil
}

// connected asks a FreeSWITCH that was just reached what it is.
func (a *answering) connected(ctx context.Context, c *esl.Conn) error {
	version, err := c.API(ctx, "version short")
	if err != nil {
		return err
	}
	if err := c.Subscribe(ctx, "BACKGROUND_JOB"); err != nil { // before the first job, so that it need not wait for it
		return err
	}
	a.mu.Lock()
	a.version = version
	a.mu.Unlock()
	a.log.Info("freeswitch answers", "version", version)
	return nil
}

// API runs a command of FreeSWITCH that belongs to no call.
func (a *answering) API(ctx context.Context, command string) (string, error) {
	c, ok := a.client.Conn()
	if !ok {
		return "", errors.New("FreeSWITCH is away")
	}
	return c.API(ctx, command)
}

// Job runs a command of FreeSWITCH that takes long, so that others need not wait for it.
func (a *answering) Job(ctx context.Context, command string) (string, error) {
	c, ok := a.client.Conn()
	if !ok {
		return "", errors.New("FreeSWITCH is away")
	}
	return c.BgAPI(ctx, command)
}

// fromHere is a listening address as FreeSWITCH, on the same machine, reaches it.
func fromHere(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// keepMusic lays the platform's music where FreeSWITCH's stream is, and again when it has changed.
func (a *answering) keepMusic(ctx context.Context) {
	for {
		next := musicEvery
		if err := a.layMusic(ctx); err != nil && ctx.Err() == nil {
			a.log.Debug("no music on hold yet", "error", err)
			next = musicRetry
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return
		}
	}
}

func (a *answering) layMusic(ctx context.Context) error {
	from, err := a.cache.Fetch(ctx, api.MediaRef{Key: musicKey})
	if err != nil {
		return err
	}
	music, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	to := filepath.Join(a.cfg.MediaDir, musicFile)
	if old, err := os.ReadFile(to); err != nil || !bytes.Equal(old, music) {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to+".new", music, 0o644); err != nil {
			return err
		}
		if err := os.Rename(to+".new", to); err != nil {
			return err
		}
		a.musicLaid = false
	}
	if a.musicLaid {
		return nil
	}
	// A stream that found nothing to play when FreeSWITCH started does not run, and cannot be told to read again.
	if _, err = a.API(ctx, "local_stream reload "+musicStream); err != nil {
		_, err = a.API(ctx, "local_stream start "+musicStream)
	}
	a.musicLaid = err == nil
	return err
}

// status is FreeSWITCH as it is now.
func (a *answering) status() DaemonStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.client.Conn(); !ok {
		return DaemonStatus{Version: a.version, Error: "no connection to the event socket at " + a.cfg.MediaESL}
	}
	return DaemonStatus{Healthy: true, Version: a.version}
}

// maxSockets bounds the connections that FreeSWITCH opens: of callers, of agents who have answered them, and of callers
// who came back from a talk over another one.
const maxSockets = 12_000

// run takes calls until ctx ends or the listener fails.
func (a *answering) run(ctx context.Context, ln net.Listener) error {
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	parts.Go(func() { a.client.Run(ctx) })
	parts.Go(func() { a.cache.Run(ctx) })
	parts.Go(func() { a.calls.Keep(ctx) })
	parts.Go(func() { a.keepMusic(ctx) })
	return esl.Serve(ctx, ln, esl.Options{Log: a.log, MaxConns: maxSockets}, func(ctx context.Context, c *esl.Conn, channel *esl.Event) {
		a.calls.Run(ctx, channelConn{c}, channel)
	})
}

// channelConn is the event socket of one call, as its runner knows it.
type channelConn struct{ conn *esl.Conn }

func (c channelConn) Next(ctx context.Context) (flow.Event, error) {
	e, err := c.conn.Next(ctx)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (c channelConn) Send(ctx context.Context, command string) error {
	_, err := c.conn.Send(ctx, command)
	return err
}

func (c channelConn) API(ctx context.Context, command string) (string, error) {
	return c.conn.API(ctx, command)
}

func (c channelConn) Execute(ctx context.Context, app, arg, uuid string) error {
	return c.conn.Execute(ctx, "", app, arg, esl.Execute{EventUUID: uuid})
}

func (c channelConn) Follow(ctx context.Context, app, arg, uuid string) error {
	return c.conn.Execute(ctx, "", app, arg, esl.Execute{EventUUID: uuid, Lock: true})
}

// newOps is the handler of the brain's orders.
func newOps(cfg Config, a *answering, keeper *trunk.Keeper, watchman *guard.Guard, kamailio *kam.Client, log *slog.Logger) (*op.Handler, error) {
	key, err := readKey("op key", cfg.OpKeyFile, CredentialOp)
	if err != nil {
		return nil, err
	}
	lamp, err := kam.NewLamp(kamailio, "sipio.invalid")
	if err != nil {
		return nil, err
	}
	kinds := map[string]op.Func{api.OpMWI: func(ctx context.Context, o api.Op) (api.OpReply, error) {
		return api.OpReply{OK: true}, lamp.Set(ctx, o.AOR, o.New, o.Old)
	}, api.OpTrunkPing: func(ctx context.Context, o api.Op) (api.OpReply, error) {
		seen, err := keeper.Ping(ctx, o.TrunkID)
		return api.OpReply{OK: err == nil, Trunk: &seen}, err
	}}
	kinds[api.OpBan] = func(ctx context.Context, o api.Op) (api.OpReply, error) {
		if o.Guard == nil {
			return api.OpReply{}, errors.New("an order of the guard without its address")
		}
		return api.OpReply{OK: true}, watchman.Carry(ctx, *o.Guard)
	}
	kinds[api.OpEnd] = func(ctx context.Context, o api.Op) (api.OpReply, error) {
		return api.OpReply{OK: true}, kamailio.EndDialog(ctx, o.CallID)
	}
	if a != nil {
		kinds[api.OpConference], kinds[api.OpRecording], kinds[api.OpHangup] = a.calls.Conference, a.calls.Recording, a.calls.Hangup
		kinds[api.OpTransfer], kinds[api.OpConsult], kinds[api.OpThreeWay] = a.calls.Transfer, a.calls.Consult, a.calls.ThreeWay
		kinds[api.OpReturn], kinds[api.OpComplete] = a.calls.Return, a.calls.Complete
		kinds[api.OpDispatch], kinds[api.OpRescind], kinds[api.OpPosition], kinds[api.OpExit] = a.calls.Dispatch, a.calls.Rescind, a.calls.Position, a.calls.Exit
		kinds[api.OpListen], kinds[api.OpWhisper], kinds[api.OpBarge], kinds[api.OpLeave] = a.calls.Supervise, a.calls.Supervise, a.calls.Supervise, a.calls.StopSupervise
		kinds[api.OpCallback] = a.calls.Callback
	}
	access, err := readAccess(cfg.OpAccessFile)
	if err != nil {
		return nil, err
	}
	return op.New(op.Config{Key: key, Access: access, Kinds: kinds, Log: log}), nil
}
