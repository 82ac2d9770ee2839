package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func newRollback(s *server) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "rollback REVISION",
		Short: "Go back to an earlier revision of the configuration",
		Long:  "Makes the configuration what it was at a revision that sipio revisions lists, and prints the plan.\nThat is a new revision itself, so it can be undone in the same way.\nPasswords of devices and API keys stay as they are now.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rev, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || rev < 0 {
				return fmt.Errorf("%q is not a revision: sipio revisions lists them", args[0])
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			plan, version, err := c.Rollback(cmd.Context(), rev, dryRun)
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), plan)
			told(cmd, plan, version, dryRun)
			return nil
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the plan and change nothing")
	return cmd
}
