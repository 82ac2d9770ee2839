package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
)

func newRecording(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "recording", Short: "Record a live call, or stop and pause it"}
	for _, c := range []struct{ action, short string }{
		{"start", "Begin to record an answered call"},
		{"pause", "Record silence from now on: card data is about to be said"},
		{"resume", "Go on after a pause"},
		{"stop", "End the recording; the call goes on"},
	} {
		cmd.AddCommand(newRecordingChange(s, c.action, c.short))
	}
	return cmd
}

func newRecordingChange(s *server, action, short string) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   action + " TOKEN",
		Short: short,
		Long:  short + ".\nThe call must be one that the platform answers. sipio cac show --slots lists the tokens of calls.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			reply, err := c.ChangeRecording(cmd.Context(), id, api.RecordingRequest{Token: args[0], Action: action})
			if err != nil {
				return err
			}
			if reply.Key != "" {
				fmt.Fprintln(cmd.OutOrStdout(), reply.Key)
			}
			return nil
		},
	}
	addAccountFlag(cmd, &account)
	return cmd
}
