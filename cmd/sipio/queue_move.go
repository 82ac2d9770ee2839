package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
)

// whoWaits says how a caller is named.
const whoWaits = "ENTRY is a caller who waits: sipio queue show NAME --json lists entry_id."

func newQueueMove(s *server) *cobra.Command {
	var account string
	place := 0
	cmd := &cobra.Command{
		Use:   "move ENTRY --place N",
		Short: "Put a caller who waits at another place of his queue",
		Long: "Puts a caller who waits at another place of his queue: 1 is next, more than there are is the last.\n\n" + whoWaits + " He is served as if he\n" +
			"had come when the one came whose place he takes, whatever their priorities. Who is rung for somebody is rung on; who is with an agent\n" +
			"cannot be moved. The place of somebody who has hung up and is to be called can.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if place < 1 {
				return errors.New("--place is missing: 1 is next")
			}
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			reply, err := c.MoveCaller(cmd.Context(), id, api.MoveRequest{EntryID: args[0], Place: place})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "caller %s is at place %d\n", reply.EntryID, reply.Place)
			return err
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().IntVar(&place, "place", 0, "where he stands then; 1 = next")
	return cmd
}

func newQueueSend(s *server) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "send ENTRY TARGET",
		Short: "Send a caller who waits elsewhere",
		Long: "Ends the waiting of a caller and sends his call elsewhere.\n\n" + whoWaits + " Who is with an agent is refused:\n" +
			"sipio call transfer. So is who has hung up and is to be called.\n\n" +
			"    1003                  a number, as it is dialed inside the account\n" +
			"    user/ann              a user, by name or id; so are the next\n" +
			"    queue/support         he waits there as any caller\n" +
			"    voicemail/support     a mailbox\n" +
			"    flow/main             a call flow\n" +
			"    conference/monday     a conference",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			reply, err := c.SendCaller(cmd.Context(), id, api.SendRequest{EntryID: args[0], Target: transferTarget(args[1])})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "caller %s goes to %s %s\n", reply.EntryID, reply.Target.Kind, reply.Target.ID)
			return err
		},
	}
	addAccountFlag(cmd, &account)
	return cmd
}
