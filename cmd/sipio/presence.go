package main

import (
	"strconv"

	"github.com/spf13/cobra"
)

func newPresence(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "presence", Short: "Look at who is registered and in calls"}
	cmd.AddCommand(newPresenceShow(s))
	return cmd
}

func newPresenceShow(s *server) *cobra.Command {
	var account string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the users of an account with a registration, a call or an agent's status",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			state, err := c.Presence(cmd.Context(), id)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), state)
			}
			t := newTable("USER", "REACHABLE", "CALLS", "STATUS", "STATE", "BUCKET")
			for _, u := range state.Users {
				t.row(u.UserID, yesNo(u.Reachable), strconv.Itoa(u.Calls), u.Status, u.State, u.Bucket)
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().BoolVar(&asJSON, "json", false, "show devices too, as JSON")
	return cmd
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
