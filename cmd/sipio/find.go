package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/client"
)

// removes completes a command that takes something away: the verb is rm, and whoever types another one is understood.
func removes(cmd *cobra.Command) *cobra.Command {
	cmd.Aliases = []string{"remove", "delete"}
	return cmd
}

// findID turns the name of a resource into its id, within an account when one is given. What looks like an id of the kind is one.
func findID(ctx context.Context, c *client.Client, kind brain.Kind, account, name string) (string, error) {
	if strings.HasPrefix(name, kind.IDPrefix()+"_") {
		return name, nil
	}
	all, err := c.List(ctx, kind, account)
	if err != nil {
		return "", err
	}
	all = slices.DeleteFunc(all, func(r brain.Resource) bool { return brain.NameOf(r) != name })
	switch len(all) {
	case 1:
		return all[0].ResourceID(), nil
	case 0:
		return "", fmt.Errorf("no %s is called %q: sipio get %s lists them", kind, name, kind)
	}
	return "", fmt.Errorf("%d of the kind %s are called %q: say which by --account or by id; sipio get %s lists them", len(all), kind, name, kind)
}

// checkNode refuses the name of a node that the brain does not know.
func checkNode(ctx context.Context, c *client.Client, name string) error {
	all, err := c.List(ctx, brain.KindNode, "")
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(r brain.Resource) bool { return brain.NameOf(r) == name }) {
		return fmt.Errorf("no node is called %q: sipio get node lists them", name)
	}
	return nil
}
