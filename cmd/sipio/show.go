package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/controller/client"
)

// shows completes a command that asks the brain one thing and shows the answer: write does it for people, --json for programs.
func shows[T any](s *server, cmd *cobra.Command, asJSON string, ask func(ctx context.Context, c *client.Client, args []string) (T, error), write func(cmd *cobra.Command, answer T) error) *cobra.Command {
	var wantJSON bool
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.client()
		if err != nil {
			return err
		}
		answer, err := ask(cmd.Context(), c, args)
		if err != nil {
			return err
		}
		if wantJSON {
			return writeJSON(cmd.OutOrStdout(), answer)
		}
		return write(cmd, answer)
	}
	cmd.Flags().BoolVar(&wantJSON, "json", false, asJSON)
	return cmd
}

// showsAccount is shows for what is an account's, by --account; ask gets its id, "" for the key's own.
func showsAccount[T any](s *server, cmd *cobra.Command, asJSON string, ask func(ctx context.Context, c *client.Client, account string, args []string) (T, error), write func(cmd *cobra.Command, answer T) error) *cobra.Command {
	var account string
	addAccountFlag(cmd, &account)
	return shows(s, cmd, asJSON, func(ctx context.Context, c *client.Client, args []string) (answer T, err error) {
		id, err := accountID(ctx, c, account)
		if err != nil {
			return answer, err
		}
		return ask(ctx, c, id, args)
	}, write)
}
