package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/sipio/sipio/controller/journal"
	"github.com/sipio/sipio/internal/setting"
)

// BusConfig is everything an operator can set of `sipio-brain bus`, a member of the NATS cluster that holds the
// journal of several brains. Each setting is one flag and one variable: --client-listen is SIPIO_BUS_CLIENT_LISTEN.
type BusConfig struct {
	journal.BusConfig
	LogLevel slog.Level
}

// DefaultBusConfig is a member on loopback.
func DefaultBusConfig() BusConfig {
	return BusConfig{BusConfig: journal.BusConfig{
		Name: "bus-1", Dir: "/var/lib/sipio/bus", ClusterName: "sipio", ClientListen: "127.0.0.1:4222", ClusterListen: "127.0.0.1:6222",
	}}
}

// Settings lists every setting of c, in the order of the sample file.
func (c *BusConfig) Settings() setting.List {
	return setting.Of("SIPIO_BUS_",
		setting.Text("name", "name of this member, unique in the cluster and the same at each start", &c.Name),
		setting.Text("data-dir", "folder of this member's part of the store; belongs to it alone", &c.Dir),
		setting.Text("cluster-name", "the same in all members", &c.ClusterName),
		setting.Text("client-listen", "host:port for brains", &c.ClientListen),
		setting.Text("cluster-listen", "host:port for the other members", &c.ClusterListen),
		setting.Words("routes", "host:port of the members' cluster-listen, comma between; this member may be among them", &c.Routes),
		setting.Text("leaf-listen", "host:port for sipio cluster migrate; empty for closed", &c.LeafListen),
		setting.Text("user-file", "file whose first line is the name and the password that brains and members show; empty on loopback only", &c.UserFile),
		setting.Text("tls-cert-file", "PEM file of the certificate towards brains and members", &c.CertFile),
		setting.Text("tls-key-file", "PEM file of its key", &c.KeyFile),
		setting.Text("ca-file", "PEM file of the authority of the members' certificates", &c.CAFile),
		setting.LogLevel(&c.LogLevel),
	)
}

// SetFromEnv takes every setting whose variable is set, through lookup (os.LookupEnv).
func (c *BusConfig) SetFromEnv(lookup func(string) (string, bool)) error {
	return c.Settings().SetFromEnv(lookup)
}

// RunBus runs the member until ctx ends.
func RunBus(ctx context.Context, cfg BusConfig) error { return journal.RunBus(ctx, cfg.BusConfig) }

// SampleBusEnv is the sample of an environment file: every variable with its default.
func SampleBusEnv() string {
	c := DefaultBusConfig()
	return c.Settings().Sample("sipio-brain bus")
}

// MigrateConfig says where the journal of one machine is moved to.
type MigrateConfig struct {
	DataDir   string   // of the brain, which must be stopped
	BusURLs   []string // of the cluster
	LeafURLs  []string // of the cluster's leaf-listen
	CredsFile string
	CAFile    string
}

// Migrate moves the journal of one machine into a cluster; sequences, epochs and versions go on. The brain that had
// it open must be stopped. Afterwards the old folder is marked, and never opened again.
func Migrate(ctx context.Context, cfg MigrateConfig, progress func(string)) error {
	if cfg.DataDir == "" || len(cfg.BusURLs) == 0 || len(cfg.LeafURLs) == 0 {
		return errors.New("migrate needs the brain's data-dir, the cluster's URLs and those of its leaf-listen")
	}
	from := journalConfig(Config{DataDir: cfg.DataDir}, slog.Default())
	to := journal.Config{URLs: cfg.BusURLs, LeafURLs: cfg.LeafURLs, CredsFile: cfg.CredsFile, CAFile: cfg.CAFile}
	if err := journal.Migrate(ctx, from, to, progress); err != nil {
		return fmt.Errorf("nothing was switched over: %w", err)
	}
	return nil
}
