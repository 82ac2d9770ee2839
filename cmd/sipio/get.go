package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/client"
)

func newGet(s *server) *cobra.Command {
	var account string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "get KIND [NAME|ID]",
		Short: "List the resources of a kind, or show one",
		Long:  "Lists the resources of a kind, or shows one as JSON, by its id, or by its name when only one of the kind has it.\nKinds: " + kindNames() + ".",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := kindOf(args[0])
			if err != nil {
				return err
			}
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			if len(args) == 2 {
				return writeOne(cmd, c, kind, id, args[1])
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

// writeOne shows a resource by id or name.
func writeOne(cmd *cobra.Command, c *client.Client, kind brain.Kind, account, name string) error {
	id, err := findID(cmd.Context(), c, kind, account, name)
	if err != nil {
		return err
	}
	r, err := c.Get(cmd.Context(), kind, id)
	if err != nil {
		return err
	}
	return writeJSON(cmd.OutOrStdout(), r)
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
