package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
)

func newDelete(s *server) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:     "delete KIND NAME|ID",
		Aliases: []string{"rm", "remove"},
		Short:   "Delete one resource",
		Long:    "Deletes one resource, by its id, or by its name when only one of the kind has it. What others still refer to is not deleted; the refusal names them.",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := kindOf(args[0])
			if err != nil {
				return err
			}
			return s.remove(cmd, kind, account, args[1])
		},
	}
	addAccountFlag(cmd, &account)
	return cmd
}

// remove deletes one resource, by id or name.
func (s *server) remove(cmd *cobra.Command, kind brain.Kind, account, name string) error {
	c, of, err := s.account(cmd.Context(), account)
	if err != nil {
		return err
	}
	id, err := findID(cmd.Context(), c, kind, of, name)
	if err != nil {
		return err
	}
	if err := c.Delete(cmd.Context(), kind, id); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted %s %s\n", kind, name)
	return err
}
