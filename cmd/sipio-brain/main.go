// Command sipio-brain is the brain: it answers what the node agents ask for Kamailio, and serves the
// configuration under /v1.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/sipio/sipio/controller"
	"github.com/sipio/sipio/internal/setting"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit status: 0 after a graceful stop, 1 otherwise.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, bus := controller.DefaultConfig(), controller.DefaultBusConfig()
	cmd := command(&cfg, stderr)
	cmd.AddCommand(busCommand(&bus, stderr))
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if err := errors.Join(cfg.SetFromEnv(os.LookupEnv), bus.SetFromEnv(os.LookupEnv)); err != nil {
		fmt.Fprintln(stderr, "sipio-brain:", err)
		return 1
	}
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "sipio-brain:", err)
		return 1
	}
	return 0
}

// command makes the command line of a configuration. A flag wins over its variable.
func command(cfg *controller.Config, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "sipio-brain",
		Short:         "Decide what every call, registration and event of the edge means",
		Args:          cobra.NoArgs,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Version = version()
			cfg.Log = slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
			slog.SetDefault(cfg.Log)
			if err := serviceManager(cfg); err != nil {
				return err
			}
			return controller.Run(cmd.Context(), *cfg)
		},
	}
	addFlags(cmd, cfg.Settings())
	return cmd
}

func addFlags(cmd *cobra.Command, settings setting.List) {
	for _, s := range settings {
		f := cmd.Flags().VarPF(s, s.Name, "", s.Doc+" [$"+s.Env()+"]")
		if s.Type() == "bool" {
			f.NoOptDefVal = "true"
		}
	}
}

// busCommand runs a member of the NATS cluster instead of a brain.
func busCommand(cfg *controller.BusConfig, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bus",
		Short: "Run a member of the cluster that holds the journal of several brains",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Log = slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
			slog.SetDefault(cfg.Log)
			cfg.Ready = func() {
				cfg.Log.Info("bus answers", "name", cfg.Name, "clients", cfg.ClientListen, "cluster", cfg.ClusterListen)
				if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
					cfg.Log.Warn("cannot notify the service manager", "err", err)
				}
			}
			return controller.RunBus(cmd.Context(), *cfg)
		},
	}
	addFlags(cmd, cfg.Settings())
	return cmd
}

// serviceManager connects the configuration's hooks to systemd, which says by the environment whether
// it is there.
func serviceManager(cfg *controller.Config) error {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("systemd watchdog: %w", err)
	}
	cfg.WatchdogEvery = every
	cfg.Notify = func(state string) error {
		_, err := daemon.SdNotify(false, state)
		return err
	}
	return nil
}

// version is the module version of the build, or the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "dev"
	}
	return info.Main.Version
}
