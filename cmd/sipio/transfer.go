package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
)

func newCallTransfer(s *server) *cobra.Command {
	var account, from string
	cmd := &cobra.Command{
		Use:   "transfer TOKEN TARGET --from USER",
		Short: "Send the caller of a talk elsewhere, and hang the other side up",
		Long: "Sends a caller elsewhere who talks to an agent of a queue, or to somebody whom a flow has called. USER is who is on the other side:\n" +
			"his phone is hung up, and rung again should the target not answer. Calls between two phones are transferred by the phones.\n\n" +
			"    1003                  a number, as it is dialed inside the account\n" +
			"    user/ann              a user, by name or id\n" +
			"    queue/support         a queue, by name or id: the caller waits there\n" +
			"    pstn/4930123456       a number outside\n\n" +
			"sipio cac show --slots lists the tokens of calls; sipio queue show NAME --json those of a queue.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				return errors.New("--from is missing: the user on the other side of the call")
			}
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			reply, err := c.Transfer(cmd.Context(), id, api.TransferRequest{Token: args[0], FromUserID: from, Target: transferTarget(args[1]), Mode: api.TransferBlind})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "call %s goes to %s %s\n", reply.Token, reply.Target.Kind, reply.Target.ID)
			return err
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().StringVar(&from, "from", "", "user who transfers, by name or id")
	return cmd
}

// transferTarget reads KIND/ID; without a kind it is a number.
func transferTarget(text string) api.TransferTarget {
	kind, id, named := strings.Cut(text, "/")
	if !named {
		return api.TransferTarget{Kind: api.TransferNumber, ID: text}
	}
	return api.TransferTarget{Kind: kind, ID: id}
}
