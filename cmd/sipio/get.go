package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
)

func newGet(s *server) *cobra.Command {
	var account string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "get KIND [ID]",
		Short: "List the resources of a kind, or show one",
		Long:  "Lists the resources of a kind, or shows one as JSON.\nKinds: " + kindNames() + ".",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := kindOf(args[0])
			if err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			if len(args) == 2 {
				r, err := c.Get(cmd.Context(), kind, args[1])
				if err != nil {
					return err
				}
				return writeJSON(cmd.OutOrStdout(), r)
			}
			id, err := accountID(cmd.Context(), c, account)
			if err != nil {
				return err
			}
			all, err := c.List(cmd.Context(), kind, id)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), append([]brain.Resource{}, all...))
			}
			return resourceTable(all).write(cmd.OutOrStdout())
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().BoolVar(&asJSON, "json", false, "list as JSON")
	return cmd
}

func resourceTable(all []brain.Resource) *table {
	t := newTable("ID", "ACCOUNT", "NAME")
	for _, r := range all {
		t.row(r.ResourceID(), r.OwnerID(), brain.NameOf(r))
	}
	return t
}

// kindOf takes a kind, or its plural.
func kindOf(name string) (brain.Kind, error) {
	for _, kind := range brain.Kinds {
		if name == string(kind) || name == string(kind)+"s" {
			return kind, nil
		}
	}
	return "", fmt.Errorf("no kind is called %q; there are %s", name, kindNames())
}

func kindNames() string {
	var names []string
	for _, kind := range brain.Kinds {
		names = append(names, string(kind))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
