package controller

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of one connection. Decisions take microseconds; the longer ones are for /v1.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
	// drainTime is how long questions already asked may still be answered once the process must end.
	drainTime = 5 * time.Second
)

// serve listens as configured and answers from h until ctx ends or a listener fails.
func serve(ctx context.Context, cfg Config, log *slog.Logger, h http.Handler) error {
	secured, err := serverTLS(cfg, log)
	if err != nil {
		return err
	}
	open := newConns(&cfg)
	srv := &http.Server{
		TLSConfig: secured, ConnContext: open.context, ConnState: open.state,
		Handler: open.handler(h), MaxHeaderBytes: maxHeaderBytes, ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // broken connections of others
	}
	plain, secure, err := listen(cfg)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	addrs := Addrs{NodeBus: cfg.nodeBus}
	if plain != nil {
		addrs.Plain = plain.Addr().String()
		go func() { failed <- srv.Serve(open.listener(plain)) }()
	}
	if secure != nil {
		addrs.TLS = secure.Addr().String()
		go func() { failed <- srv.ServeTLS(open.listener(secure), "", "") }()
	}
	log.Info("brain answers", "plain", addrs.Plain, "tls", addrs.TLS)
	if cfg.Ready != nil {
		cfg.Ready(addrs)
	}
	tell(cfg, log, "READY=1")
	go watchdog(ctx, cfg, log, addrs)

	select {
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	tell(cfg, log, "STOPPING=1")
	return errors.Join(err, drain(srv, log))
}

// listen opens the configured listeners; nil for one that is not wanted.
func listen(cfg Config) (plain, secure net.Listener, err error) {
	if cfg.TLSListen != "" {
		if secure, err = net.Listen("tcp", cfg.TLSListen); err != nil {
			return nil, nil, fmt.Errorf("tls-listen: %w", err)
		}
	}
	if cfg.Listen != "" {
		if plain, err = net.Listen("tcp", cfg.Listen); err != nil {
			if secure != nil {
				_ = secure.Close()
			}
			return nil, nil, fmt.Errorf("listen: %w", err)
		}
	}
	return plain, secure, nil
}

// drain ends a server: no new questions, those already asked are answered for drainTime, then cut off.
func drain(srv *http.Server, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Warn("questions cut off at the end of the process", "after", drainTime)
		if err := srv.Close(); err != nil {
			return fmt.Errorf("close the server: %w", err)
		}
	}
	return nil
}

// tell reports a state to the service manager. It can do without us; we cannot do without answering calls.
func tell(cfg Config, log *slog.Logger, state string) {
	if cfg.Notify == nil {
		return
	}
	if err := cfg.Notify(state); err != nil {
		log.Warn("cannot notify the service manager", "state", state, "err", err)
	}
}

// watchdog tells the service manager twice an interval that the brain answers, each time after asking
// it over the network as anybody else does. A brain that no longer answers is restarted.
func watchdog(ctx context.Context, cfg Config, log *slog.Logger, addrs Addrs) {
	if cfg.Notify == nil || cfg.WatchdogEvery <= 0 {
		return
	}
	tick := time.NewTicker(cfg.WatchdogEvery / 2)
	defer tick.Stop()
	probe := newProbe(addrs, cfg.WatchdogEvery/2)
	for {
		if err := probe(ctx); err == nil {
			tell(cfg, log, "WATCHDOG=1")
		} else if ctx.Err() == nil {
			log.Warn("the brain does not answer itself", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// newProbe returns a question to our own /health.
func newProbe(addrs Addrs, timeout time.Duration) func(context.Context) error {
	url := "http://" + addrs.Plain + api.PathHealth
	if addrs.Plain == "" {
		url = "https://" + addrs.TLS + api.PathHealth
	}
	client := &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true, // a new connection each time: the listener is asked too
		// The certificate names our public name, not the address we call ourselves by; no secret is sent.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %s", url, res.Status)
		}
		return nil
	}
}
