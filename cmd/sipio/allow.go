package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

func newAllow(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "allow", Short: "Keep the list of networks that the edge never bans"}
	cmd.AddCommand(newAllowAdd(s), newAllowList(s), newAllowRemove(s))
	return cmd
}

func newAllowAdd(s *server) *cobra.Command {
	var note string
	var term time.Duration
	cmd := &cobra.Command{
		Use:   "add NET",
		Short: "Put a network or an address on the list; its bans are lifted",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if term < 0 || term > 0 && term < time.Second {
				return fmt.Errorf("--for: at least 1s; absent: for good")
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			list, err := c.Allow(cmd.Context(), api.AllowRequest{Net: args[0], Note: note, ForSec: int(term / time.Second)})
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "allowed: %s\n", args[0])
			for _, addr := range list.Lifted {
				fmt.Fprintf(out, "ban lifted: %s\n", addr)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "whose it is, for whoever reads the list")
	addTerm(cmd.Flags(), &term, "for", "how long, for example 24h or 60d; 0 = for good")
	return cmd
}

func newAllowList(s *server) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the networks that are never banned by this list",
		Args:  cobra.NoArgs,
	}
	return shows(s, cmd, "list as JSON", func(ctx context.Context, c *client.Client, _ []string) (api.AllowList, error) {
		return c.Allowed(ctx)
	}, func(cmd *cobra.Command, list api.AllowList) error {
		t := newTable("NET", "UNTIL", "SINCE", "BY", "NOTE")
		for _, a := range list.Allowed {
			until := "for good"
			if a.UntilMS > 0 {
				until = utc(a.UntilMS)
			}
			t.row(a.Net, until, utc(a.SinceMS), a.Who, a.Note)
		}
		return t.write(cmd.OutOrStdout())
	})
}

func newAllowRemove(s *server) *cobra.Command {
	return removes(&cobra.Command{
		Use:   "rm NET",
		Short: "Take a network off the list",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if _, err := c.Disallow(cmd.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed: %s\n", args[0])
			return err
		},
	})
}
