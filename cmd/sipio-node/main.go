// Command sipio-node is the node agent: Kamailio on this machine asks it, and it asks the brain.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/sipio/sipio/nodeagent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit status: 0 after a graceful stop, 1 otherwise.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg := nodeagent.DefaultConfig()
	cmd := command(&cfg, stderr)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if err := cfg.SetFromEnv(os.LookupEnv); err != nil {
		fmt.Fprintln(stderr, "sipio-node:", err)
		return 1
	}
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "sipio-node:", err)
		return 1
	}
	return 0
}

// command makes the command line of a configuration. A flag wins over its variable.
func command(cfg *nodeagent.Config, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "sipio-node",
		Short:         "Carry Kamailio's questions to the brain, and its events, whatever becomes of the brain",
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
			return nodeagent.Run(cmd.Context(), *cfg)
		},
	}
	for _, s := range cfg.Settings() {
		cmd.Flags().Var(s, s.Name, s.Doc+" [$"+s.Env()+"]")
	}
	return cmd
}

// serviceManager connects the configuration's hooks to systemd, which says by the environment whether
// it is there.
func serviceManager(cfg *nodeagent.Config) error {
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
