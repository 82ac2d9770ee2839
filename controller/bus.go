package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sipio/sipio/controller/journal"
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
func (c *BusConfig) Settings() []Setting {
	list := []Setting{
		text("name", "name of this member, unique in the cluster and the same at each start", &c.Name),
		text("data-dir", "folder of this member's part of the store; belongs to it alone", &c.Dir),
		text("cluster-name", "the same in all members", &c.ClusterName),
		text("client-listen", "host:port for brains", &c.ClientListen),
		text("cluster-listen", "host:port for the other members", &c.ClusterListen),
		list("routes", "host:port of the members' cluster-listen, comma between; this member may be among them", &c.Routes),
		text("leaf-listen", "host:port for sipio cluster migrate; empty for closed", &c.LeafListen),
		text("user-file", "file whose first line is the name and the password that brains and members show; empty on loopback only", &c.UserFile),
		text("tls-cert-file", "PEM file of the certificate towards brains and members", &c.CertFile),
		text("tls-key-file", "PEM file of its key", &c.KeyFile),
		text("ca-file", "PEM file of the authority of the members' certificates", &c.CAFile),
		{"log-level", "debug, info, warn or error", "string",
			func() string { return strings.ToLower(c.LogLevel.String()) },
			func(s string) error { return c.LogLevel.UnmarshalText([]byte(s)) }, ""},
	}
	for i := range list {
		list[i].prefix = "SIPIO_BUS_"
	}
	return list
}

// SetFromEnv takes every setting whose variable is set, through lookup (os.LookupEnv).
func (c *BusConfig) SetFromEnv(lookup func(string) (string, bool)) error {
	return setFromEnv(c.Settings(), lookup)
}

// RunBus runs the member until ctx ends.
func RunBus(ctx context.Context, cfg BusConfig) error { return journal.RunBus(ctx, cfg.BusConfig) }

// SampleBusEnv is the sample of an environment file: every variable with its default.
func SampleBusEnv() string {
	c := DefaultBusConfig()
	return sampleEnv("sipio-brain bus", c.Settings())
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
