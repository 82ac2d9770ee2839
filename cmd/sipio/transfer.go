package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
)

// transferLong is the long help of call transfer.
const transferLong = "Sends a caller elsewhere who talks to an agent of a queue, or to somebody whom a flow has called. USER is who is on the other side:\n" +
	"his phone is hung up, and rung again should the target not answer. Calls between two phones are transferred by the phones.\n\n" +
	"    1003                  a number, as it is dialed inside the account\n" +
	"    user/ann              a user, by name or id\n" +
	"    queue/support         a queue, by name or id: the caller waits there\n" +
	"    pstn/4930123456       a number outside\n\n" +
	"--mode attended has the target talk to USER first, while the caller hears music. Again it says how far that is: ringing, talking or\n" +
	"joined. Then, without a TARGET:\n\n" +
	"    --mode complete       the caller and the target talk, and USER is let go\n" +
	"    --mode cancel         the target is let go, and the caller is back\n" +
	"    --mode 3way           all three hear each other\n\n" +
	"sipio cac show --slots lists the tokens of calls; sipio queue show NAME --json those of a queue."

func newCallTransfer(s *server) *cobra.Command {
	var account, from, mode string
	cmd := &cobra.Command{
		Use:   "transfer TOKEN [TARGET] --from USER",
		Short: "Send the caller of a talk elsewhere, at once or after asking there",
		Long:  transferLong,
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				return errors.New("--from is missing: the user on the other side of the call")
			}
			target, err := transferArgs(mode, args[1:])
			if err != nil {
				return err
			}
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			reply, err := c.Transfer(cmd.Context(), id, api.TransferRequest{Token: args[0], FromUserID: from, Target: target, Mode: mode})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "call %s %s\n", reply.Token, transferred(mode, &reply))
			return err
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().StringVar(&from, "from", "", "user who transfers, by name or id")
	cmd.Flags().StringVar(&mode, "mode", api.TransferBlind, "blind, attended, complete, cancel or 3way")
	return cmd
}

// transferArgs reads the target that a mode has, or has not.
func transferArgs(mode string, args []string) (target api.TransferTarget, err error) {
	switch mode {
	case api.TransferBlind, api.TransferAttended:
		if len(args) == 0 {
			return target, fmt.Errorf("TARGET is missing: --mode %s needs whom the caller gets", mode)
		}
		return transferTarget(args[0]), nil
	case api.TransferComplete, api.TransferCancel, api.TransferThreeWay:
		if len(args) > 0 {
			return target, fmt.Errorf("--mode %s takes no TARGET: it is about whom --mode attended has asked", mode)
		}
		return target, nil
	}
	return target, fmt.Errorf("--mode %q: must be blind, attended, complete, cancel or 3way", mode)
}

// transferred says what became of a call.
func transferred(mode string, reply *api.TransferReply) string {
	target := reply.Target.Kind + " " + reply.Target.ID
	switch mode {
	case api.TransferAttended:
		return "is offered to " + target + ": " + reply.State
	case api.TransferThreeWay:
		return "has three who talk: " + reply.State
	case api.TransferComplete:
		return "goes to who was asked"
	case api.TransferCancel:
		return "stays with user " + reply.FromUserID
	}
	return "goes to " + target
}

// transferTarget reads KIND/ID; without a kind it is a number.
func transferTarget(text string) api.TransferTarget {
	kind, id, named := strings.Cut(text, "/")
	if !named {
		return api.TransferTarget{Kind: api.TransferNumber, ID: text}
	}
	return api.TransferTarget{Kind: kind, ID: id}
}
