package journal

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sipio/sipio/internal/keyfile"
)

// BusConfig of a NATS server that is a member of a cluster, in a process of its own (`sipio-brain bus`): then the death
// of a brain is never the death of the server that leads the journal.
type BusConfig struct {
	Name          string   // of this server, unique in the cluster and the same at each start
	Dir           string   // of its part of the store; belongs to this process alone
	ClusterName   string   // the same in all members
	ClientListen  string   // host:port for brains
	ClusterListen string   // host:port for the other members
	Routes        []string // host:port of the members, itself may be among them
	LeafListen    string   // host:port for `sipio cluster migrate`; "" = closed
	Domain        string   // JetStream's domain; "" = "sipio". It must be another than that of a store to be moved in
	UserFile      string   // first line "name password": what brains and members show; "" only on loopback
	CertFile      string   // TLS towards brains and members, with KeyFile; required where a port is not on loopback
	KeyFile       string
	CAFile        string // who signs the members' certificates; members must show one
	Ready         func() // called once the server is up; the cluster may not have a leader yet
	Log           *slog.Logger
}

// Domains of JetStream: a store of one machine and a cluster must have different ones, so that one can be moved into the other.
const (
	soloDomain    = "sipio-solo"
	clusterDomain = "sipio"
)

// lameDuck is how long a server that stops lets its clients go elsewhere.
const lameDuck = 2 * time.Second

// RunBus runs the server until ctx ends. It fails with ErrMode, before the store is touched, when the folder holds the store
// of one machine or of another cluster.
func RunBus(ctx context.Context, cfg BusConfig) error {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	opts, err := cfg.options()
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	f, err := openFolder(cfg.Dir, modeCluster+" "+cfg.ClusterName)
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	srv, err := startServer(opts, cfg.Log)
	if err != nil {
		return errors.Join(fmt.Errorf("bus: %w", err), f.Close())
	}
	if cfg.Ready != nil {
		cfg.Ready()
	}
	<-ctx.Done()
	srv.LameDuckShutdown() // hands over what it leads, and returns when it is down
	srv.WaitForShutdown()
	return f.Close()
}

// options turns the configuration into the server's, and refuses what would stand open to the network.
func (c BusConfig) options() (*server.Options, error) {
	if c.Name == "" || c.Dir == "" || c.ClusterName == "" || c.ClientListen == "" || c.ClusterListen == "" {
		return nil, errors.New("name, folder, cluster name and both addresses to listen on are required")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("a certificate and its key go together")
	}
	o := baseOptions(c.Dir)
	o.ServerName, o.Cluster.Name, o.JetStreamDomain = c.Name, c.ClusterName, c.Domain
	if o.JetStreamDomain == "" {
		o.JetStreamDomain = clusterDomain
	}
	o.LameDuckDuration, o.LameDuckGracePeriod = lameDuck, lameDuck/10
	var err error
	for _, l := range []struct {
		address string
		host    *string
		port    *int
	}{{c.ClientListen, &o.Host, &o.Port}, {c.ClusterListen, &o.Cluster.Host, &o.Cluster.Port}, {c.LeafListen, &o.LeafNode.Host, &o.LeafNode.Port}} {
		if l.address == "" {
			continue
		}
		if *l.host, *l.port, err = c.listen(l.address); err != nil {
			return nil, err
		}
	}
	if err := c.secure(o); err != nil {
		return nil, err
	}
	for _, r := range c.Routes {
		if _, _, err := net.SplitHostPort(r); err != nil {
			return nil, fmt.Errorf("route %q: %w", r, err)
		}
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: r, User: userInfo(o.Cluster.Username, o.Cluster.Password)})
	}
	return o, nil
}

func userInfo(name, password string) *url.Userinfo {
	if name == "" {
		return nil
	}
	return url.UserPassword(name, password)
}

// listen splits an address. Beyond loopback it demands a user and TLS.
func (c BusConfig) listen(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		return "", 0, fmt.Errorf("address %q: %w", address, err)
	}
	if host == "" {
		return "", 0, fmt.Errorf("address %q: name the host; 0.0.0.0 is all", address)
	}
	ip := net.ParseIP(host)
	if host == "localhost" || ip != nil && ip.IsLoopback() {
		return host, port, nil
	}
	if c.CertFile == "" || c.UserFile == "" {
		return "", 0, fmt.Errorf("address %s is open to the network: it needs a certificate and a file with a user", address)
	}
	return host, port, nil
}

// secure sets who may connect, and how.
func (c BusConfig) secure(o *server.Options) error {
	if c.UserFile != "" {
		name, password, err := readUser(c.UserFile)
		if err != nil {
			return err
		}
		o.Username, o.Password = name, password
		o.Cluster.Username, o.Cluster.Password = name, password
		o.LeafNode.Username, o.LeafNode.Password = name, password
	}
	if c.CertFile == "" {
		return nil
	}
	cert, err := keyfile.LoadPair(c.CertFile, c.KeyFile)
	if err != nil {
		return fmt.Errorf("load the certificate: %w", err)
	}
	o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	o.LeafNode.TLSConfig = o.TLSConfig.Clone()
	route := o.TLSConfig.Clone()
	route.ClientAuth = tls.RequireAndVerifyClientCert
	if c.CAFile != "" {
		pool, err := readCA(c.CAFile)
		if err != nil {
			return err
		}
		route.RootCAs, route.ClientCAs = pool, pool
	}
	o.Cluster.TLSConfig = route
	o.TLSTimeout, o.Cluster.TLSTimeout, o.LeafNode.TLSTimeout = 5, 5, 5
	return nil
}

func readCA(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	return pool, nil
}
