package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
)

// ringsFirst is said of what is done now, and of what it is for one who has to answer first.
const ringsFirst = "the phones of %s ring for the talk of caller %s on %s; who listens already is only heard as wanted\n"

// superviseWords are the commands about talks of a queue, what the API calls them, and what is said then.
var superviseWords = []struct{ word, mode, short, said string }{
	{"listen", api.OpListen, "Hear the talk of a caller and his agent; nobody hears the supervisor", ringsFirst},
	{"whisper", api.OpWhisper, "Hear a talk and be heard by the agent alone", ringsFirst},
	{"barge", api.OpBarge, "Hear a talk and be heard by both", ringsFirst},
	{"leave", api.SuperviseStop, "Let a supervisor go; the talk goes on", "%s leaves the talk of caller %s on %s\n"},
}

// newQueueSupervise are sipio queue listen, whisper, barge and leave.
func newQueueSupervise(s *server) []*cobra.Command {
	var list []*cobra.Command
	for _, w := range superviseWords {
		var account, user string
		cmd := &cobra.Command{
			Use:   w.word + " ENTRY --as USER",
			Short: w.short,
			Long: w.short + ".\n\n" +
				"ENTRY is a caller whose STATE is in_call: sipio queue show NAME --json lists entry_id. USER, by name or id, is the supervisor, whose\n" +
				"phones are rung. Who listens already is not rung again: only who hears him changes. The queue has to allow it (allow_listen,\n" +
				"allow_whisper, allow_barge).",
			Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				if user == "" {
					return errors.New("--as is missing: the supervisor")
				}
				c, id, err := s.account(cmd.Context(), account)
				if err != nil {
					return err
				}
				reply, err := c.Supervise(cmd.Context(), id, api.SuperviseRequest{EntryID: args[0], UserID: user, Mode: w.mode})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), w.said, user, reply.EntryID, reply.Node)
				return err
			},
		}
		addAccountFlag(cmd, &account)
		cmd.Flags().StringVar(&user, "as", "", "the supervisor, by name or id")
		list = append(list, cmd)
	}
	return list
}
