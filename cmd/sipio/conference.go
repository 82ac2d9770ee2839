package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

func newConference(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "conference", Short: "Look into conferences and run them"}
	cmd.AddCommand(newConferenceShow(s))
	for _, c := range []struct{ action, short string }{
		{"mute", "Mute one member, or all"},
		{"unmute", "Let one member be heard again, or all"},
		{"kick", "Put one member out, or all"},
	} {
		cmd.AddCommand(newConferenceChange(s, c.action, c.action+" NAME {MEMBER | --all}", c.short, true))
	}
	cmd.AddCommand(newConferenceChange(s, "lock", "lock NAME", "Let nobody else in", false),
		newConferenceChange(s, "unlock", "unlock NAME", "Let callers in again", false))
	return cmd
}

func newConferenceShow(s *server) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show who is in a conference",
		Args:  cobra.ExactArgs(1),
	}
	return showsAccount(s, cmd, "show as JSON", func(ctx context.Context, c *client.Client, account string, args []string) (api.ConferenceState, error) {
		return c.Conference(ctx, account, args[0])
	}, func(cmd *cobra.Command, state api.ConferenceState) error {
		return writeConference(cmd, state)
	})
}

func writeConference(cmd *cobra.Command, state api.ConferenceState) error {
	if len(state.Members) == 0 {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "nobody is in %s\n", state.Name)
		return err
	}
	locked := ""
	if state.Locked {
		locked = ", locked"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s on %s%s\n", state.Name, state.Node, locked)
	t := newTable("MEMBER", "NUMBER", "NAME", "ROLE", "MUTED", "SINCE")
	for _, m := range state.Members {
		role, muted, since := "member", "no", ""
		if m.Moderator {
			role = "moderator"
		}
		if m.Muted {
			muted = "yes"
		}
		if m.JoinedMS > 0 {
			since = utc(m.JoinedMS)
		}
		t.row(m.ID, m.Number, m.Name, role, muted, since)
	}
	return t.write(cmd.OutOrStdout())
}

func newConferenceChange(s *server, action, use, short string, members bool) *cobra.Command {
	var account string
	var all bool
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := api.ConferenceRequest{ConferenceID: args[0], Action: action}
			if len(args) == 2 {
				req.Member = args[1]
			}
			switch {
			case !members && len(args) == 2:
				return fmt.Errorf("%s is about the whole conference: name no member", action)
			case members && all == (len(args) == 2):
				return fmt.Errorf("name either a member (sipio conference show %s lists them) or --all", args[0])
			}
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			state, err := c.ChangeConference(cmd.Context(), id, req)
			if err != nil {
				return err
			}
			return writeConference(cmd, state)
		},
	}
	addAccountFlag(cmd, &account)
	if members {
		cmd.Flags().BoolVar(&all, "all", false, "every member")
	}
	return cmd
}
