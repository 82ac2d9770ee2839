package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
)

func newCall(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "call", Short: "Look at live calls, and transfer them"}
	cmd.AddCommand(newCallList(s), newCallTransfer(s))
	return cmd
}

func newCallList(s *server) *cobra.Command {
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the live calls",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return fmt.Errorf("--limit %d: give 1 or more", limit)
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			calls, more, err := c.Calls(cmd.Context(), limit)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), append([]api.Call{}, calls...))
			}
			t := newTable("SINCE", "FROM", "TO", "NODE", "ACCOUNT", "CALL-ID")
			for _, call := range calls {
				t.row(utc(call.StartedMS), call.From, call.To, call.Node, call.AccountID, call.CallID)
			}
			if err := t.write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if more {
				fmt.Fprintf(cmd.ErrOrStderr(), "There are more: --limit shows more than %d.\n", limit)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "list as JSON")
	return cmd
}
