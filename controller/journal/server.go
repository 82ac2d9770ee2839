package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/internal/keyfile"
)

// readyTimeout is how long a server may take to read its store at the start.
const readyTimeout = 60 * time.Second

// baseOptions are those of every server of ours: nothing is acknowledged before it is on the disk.
func baseOptions(dir string) *server.Options {
	return &server.Options{
		JetStream: true, StoreDir: dir, SyncAlways: true, MaxPayload: MaxPayload,
		JetStreamMaxMemory: 64 << 20, DisableJetStreamBanner: true, NoSigs: true,
	}
}

// embed opens the folder and starts the server inside the process. It listens on no port but the one for nodes, if there is one.
func (b *Bus) embed() (err error) {
	if b.folder, err = openFolder(b.cfg.Dir, modeSolo); err != nil {
		return err
	}
	if b.marks, err = openMarks(b.cfg.Dir); err != nil {
		return err
	}
	opts := baseOptions(b.cfg.Dir)
	opts.ServerName, opts.DontListen = "sipio", true
	if b.cfg.NodeListen != "" {
		if err := b.nodes.listenForNodes(opts, b.cfg.NodeListen, b.cfg.NodeTLS); err != nil {
			return err
		}
	}
	b.srv, err = startServer(opts, b.log)
	return err
}

// startServer starts a server and waits until it answers.
func startServer(opts *server.Options, log *slog.Logger) (*server.Server, error) {
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("make the NATS server: %w", err)
	}
	fatal := &serverLog{log: log, fatal: make(chan string, 1), port: opts.CustomClientAuthentication != nil}
	srv.SetLoggerV2(fatal, false, false, false)
	srv.Start()
	ready := srv.ReadyForConnections(readyTimeout)
	select {
	case text := <-fatal.fatal:
		srv.Shutdown()
		return nil, fmt.Errorf("start the NATS server: %s", text)
	default:
	}
	if !ready || !srv.JetStreamEnabled() {
		srv.Shutdown()
		return nil, errors.New("the NATS server or its store does not start; its log says why")
	}
	return srv, nil
}

// serverLog hands what the server complains about to the process's log, and drops the chatter.
type serverLog struct {
	log   *slog.Logger
	fatal chan string
	port  bool // that nodes connect to
}

func (s *serverLog) text(format string, v []any) string { return fmt.Sprintf(format, v...) }

// Noticef and the rest are what the server asks of a logger.
func (s *serverLog) Noticef(format string, v ...any) {
	s.log.Debug("nats", "text", s.text(format, v))
}
func (s *serverLog) Warnf(format string, v ...any) { s.log.Warn("nats", "text", s.text(format, v)) }
func (s *serverLog) Errorf(format string, v ...any) {
	text, level := s.text(format, v), slog.LevelError
	if s.port && ofNode(text) {
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, "nats", "text", text)
}
func (s *serverLog) Fatalf(format string, v ...any) {
	text := s.text(format, v)
	s.log.Error("nats", "text", text)
	select {
	case s.fatal <- text:
	default:
	}
}
func (s *serverLog) Debugf(string, ...any) {}
func (s *serverLog) Tracef(string, ...any) {}

// connect connects to the server inside the process, or to the cluster.
func connect(cfg Config, srv *server.Server) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("sipio-brain"), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.Timeout(5 * time.Second),
		nats.ReconnectBufSize(-1), // what cannot be sent now fails now
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2), nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			cfg.Log.Warn("nats", "err", err, "subject", subject)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				cfg.Log.Warn("connection to the NATS cluster lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			cfg.Log.Info("connection to the NATS cluster is back", "server", nc.ConnectedServerName())
		}),
	}
	if srv != nil {
		nc, err := nats.Connect("", append(opts, nats.InProcessServer(srv))...)
		if err != nil {
			return nil, fmt.Errorf("connect to the NATS server inside the process: %w", err)
		}
		return nc, nil
	}
	if cfg.CAFile != "" {
		opts = append(opts, nats.RootCAs(cfg.CAFile))
	}
	creds, err := credentials(cfg.CredsFile)
	if err != nil {
		return nil, err
	}
	if creds != nil {
		opts = append(opts, creds)
	}
	nc, err := nats.Connect(strings.Join(cfg.URLs, ","), opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to the NATS cluster %s: %w", strings.Join(cfg.URLs, ", "), err)
	}
	return nc, nil
}

// credentials is the option for a file of credentials; nil without one.
func credentials(file string) (nats.Option, error) {
	if file == "" {
		return nil, nil
	}
	name, password, err := readUser(file)
	if errors.Is(err, errDecorated) {
		return nats.UserCredentials(file), nil
	}
	if err != nil {
		return nil, err
	}
	return nats.UserInfo(name, password), nil
}

// errDecorated: the file is one of NATS's own, with a JWT and a key.
var errDecorated = errors.New("is a NATS credentials file")

// maxCredentials bounds a file of credentials in bytes; NATS's own hold a JWT.
const maxCredentials = 64 << 10

// readUser reads the first line of a file: a name and a password, with a space between.
func readUser(file string) (name, password string, err error) {
	text, err := keyfile.Read(file, maxCredentials, brain.GroupReads)
	if err != nil {
		return "", "", fmt.Errorf("credentials of NATS: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if strings.HasPrefix(line, "-----BEGIN") {
		return "", "", fmt.Errorf("%s: %w", file, errDecorated)
	}
	name, password, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok || name == "" || password == "" {
		return "", "", fmt.Errorf("credentials of NATS: the first line of %s must be a name, a space and a password", file)
	}
	return name, password, nil
}
