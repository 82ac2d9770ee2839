package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

func newPresence(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "presence", Short: "Look at who is registered and in calls"}
	cmd.AddCommand(newPresenceShow(s))
	return cmd
}

func newPresenceShow(s *server) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the users of an account with a registration, a call or an agent's status",
		Args:  cobra.NoArgs,
	}
	return showsAccount(s, cmd, "show devices too, as JSON", func(ctx context.Context, c *client.Client, account string, _ []string) (api.PresenceState, error) {
		return c.Presence(ctx, account)
	}, func(cmd *cobra.Command, state api.PresenceState) error {
		t := newTable("USER", "REACHABLE", "CALLS", "STATUS", "STATE", "BUCKET")
		for _, u := range state.Users {
			t.row(u.UserID, yesNo(u.Reachable), strconv.Itoa(u.Calls), u.Status, u.State, u.Bucket)
		}
		return t.write(cmd.OutOrStdout())
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
