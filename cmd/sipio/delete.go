package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newDelete(s *server) *cobra.Command {
	return &cobra.Command{
		Use:   "delete KIND ID",
		Short: "Delete one resource",
		Long:  "Deletes one resource. What others still refer to is not deleted; the refusal names them.",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := kindOf(args[0])
			if err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			if err := c.Delete(cmd.Context(), kind, args[1]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "deleted %s %s\n", kind, args[1])
			return nil
		},
	}
}
