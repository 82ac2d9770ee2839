package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
)

func newKey(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Make, list and delete API keys"}
	cmd.AddCommand(newKeyCreate(s), newKeyList(s), newKeyRemove(s))
	return cmd
}

func newKeyCreate(s *server) *cobra.Command {
	var account, node string
	var scopes []string
	cmd := &cobra.Command{
		Use:   "create NAME --scope SCOPE,... | --node NODE",
		Short: "Make an API key and print it, this once",
		Long:  "Makes an API key and prints it to standard output; the brain keeps only a hash of it.\nA key never gets a scope that its maker lacks. Scopes: " + scopeNames() + ".\nA key for a node is made when the node is in the configuration.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, key, err := makeKey(cmd.Context(), s, account, node, args[0], scopes)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), token)
			fmt.Fprintf(cmd.ErrOrStderr(), "This is the key %s (%s). It is not shown again: keep it in a file that only its user can read.\n", key.Name, key.ID)
			return nil
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "account that the key belongs to, by name or id; for keys of the platform, which else make another such key")
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "what the key may do")
	cmd.Flags().StringVar(&node, "node", "", "the only node that the key speaks for: it has the scope node and no other")
	cmd.MarkFlagsMutuallyExclusive("node", "scope")
	cmd.MarkFlagsMutuallyExclusive("node", "account")
	return cmd
}

func makeKey(ctx context.Context, s *server, account, node, name string, scopes []string) (string, brain.APIKey, error) {
	if node != "" {
		c, err := s.client()
		if err != nil {
			return "", brain.APIKey{}, err
		}
		if err := checkNode(ctx, c, node); err != nil {
			return "", brain.APIKey{}, err
		}
		return c.NewNodeKey(ctx, name, node)
	}
	want, err := scopesOf(scopes)
	if err != nil {
		return "", brain.APIKey{}, err
	}
	c, id, err := s.account(ctx, account)
	if err != nil {
		return "", brain.APIKey{}, err
	}
	return c.NewKey(ctx, id, name, want)
}

func newKeyList(s *server) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List API keys and their scopes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			all, err := c.List(cmd.Context(), brain.KindAPIKey, id)
			if err != nil {
				return err
			}
			t := newTable("ID", "ACCOUNT", "NAME", "SCOPES", "NODE")
			for _, r := range all {
				key := r.(*brain.APIKey)
				t.row(key.ID, key.AccountID, key.Name, joinScopes(key.Scopes), key.Node)
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	addAccountFlag(cmd, &account)
	return cmd
}

func newKeyRemove(s *server) *cobra.Command {
	var account string
	cmd := removes(&cobra.Command{
		Use:   "rm NAME|ID",
		Short: "Delete an API key: it is refused from then on",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.remove(cmd, brain.KindAPIKey, account, args[0])
		},
	})
	addAccountFlag(cmd, &account)
	return cmd
}

func scopesOf(names []string) ([]brain.Scope, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("say what the key may do with --scope; there are %s", scopeNames())
	}
	var scopes []brain.Scope
	for _, name := range names {
		if !slices.Contains(brain.Scopes, brain.Scope(name)) {
			return nil, fmt.Errorf("no scope is called %q; there are %s", name, scopeNames())
		}
		scopes = append(scopes, brain.Scope(name))
	}
	return scopes, nil
}

func scopeNames() string { return strings.ReplaceAll(joinScopes(brain.Scopes), ",", ", ") }

func joinScopes(scopes []brain.Scope) string {
	var names []string
	for _, scope := range scopes {
		names = append(names, string(scope))
	}
	return strings.Join(names, ",")
}
