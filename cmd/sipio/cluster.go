package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller"
	"github.com/sipio/sipio/controller/client"
)

func newCluster(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Look at the brains of a cluster, and grow from one machine to one"}
	cmd.AddCommand(newClusterStatus(s), newClusterMigrate())
	return cmd
}

func newClusterStatus(s *server) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the brains, who owns how many shards, and where the configuration stands",
		Args:  cobra.NoArgs,
	}
	return shows(s, cmd, "show it as JSON, with the owner of each shard", func(ctx context.Context, c *client.Client, _ []string) (api.ClusterState, error) {
		return c.Cluster(ctx)
	}, func(cmd *cobra.Command, state api.ClusterState) error {
		t := newTable("BRAIN", "LIVE", "SILENT", "SHARDS")
		for _, b := range state.Brains {
			t.row(b.Name, yesNo(b.Live), (time.Duration(b.SilentMS) * time.Millisecond).String(), strconv.Itoa(b.Shards))
		}
		if err := t.write(cmd.OutOrStdout()); err != nil {
			return err
		}
		var ownerless []string
		for _, shard := range state.Shards {
			if shard.Owner == "" {
				ownerless = append(ownerless, strconv.Itoa(shard.Shard))
			}
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: configuration %d, %.12s\n", state.Name, state.ConfigVersion, state.ConfigDigest)
		if len(ownerless) > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "without an owner: shards %s\n", strings.Join(ownerless, " "))
			return exitCode(exitFailed)
		}
		return nil
	})
}

func newClusterMigrate() *cobra.Command {
	var cfg controller.MigrateConfig
	cmd := &cobra.Command{
		Use:   "migrate --data-dir DIR --bus-urls URLS --leaf-urls URLS",
		Short: "Move the journal of one machine into a cluster of buses; stop its brain first",
		Long: "Copies the journal into the cluster, compares both, and switches over: sequences, epochs and versions go on. The brain must be\n" +
			"stopped; nodes keep its calls up and spool their events meanwhile. Then start the brains with --bus-urls and --peers. The old\n" +
			"folder is kept, and marked so that no brain opens it again.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return controller.Migrate(cmd.Context(), cfg, func(text string) { fmt.Fprintln(cmd.OutOrStdout(), text) })
		},
	}
	cmd.Flags().StringVar(&cfg.DataDir, "data-dir", controller.DefaultConfig().DataDir, "of the brain")
	cmd.Flags().StringSliceVar(&cfg.BusURLs, "bus-urls", nil, "of the cluster, for example tls://10.0.0.1:4222")
	cmd.Flags().StringSliceVar(&cfg.LeafURLs, "leaf-urls", nil, "of the cluster's leaf-listen, for example tls://10.0.0.1:7422")
	cmd.Flags().StringVar(&cfg.CredsFile, "bus-creds-file", "", "credentials for the cluster")
	cmd.Flags().StringVar(&cfg.CAFile, "bus-ca-file", "", "PEM file of the authority of its certificates")
	return cmd
}
