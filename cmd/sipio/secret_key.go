package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/controller/secret"
)

func newSecretKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Change the keys of a key file, offline",
		Long: "Changes the keys in the file that secrets are sealed with (the brain's secret-key-file). The first key seals, all of them open. To change the key\n" +
			"without a moment in which a brain cannot open something:\n\n" +
			"    sipio secret key add FILE        then copy the file to every brain\n" +
			"    sipio secret key use FILE ID     then copy it again\n" +
			"    sipio secret rotate\n" +
			"    sipio secret key rm FILE OLD     then copy it again; keep the old file with old backups",
	}
	cmd.AddCommand(
		keyCommand("list FILE", "List the ids of the keys in a file", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
			ids, err := secret.Keys(args[0])
			if err != nil {
				return err
			}
			t := newTable("KEY", "USE")
			for i, id := range ids {
				use := "opens"
				if i == 0 {
					use = "seals and opens"
				}
				t.row(id, use)
			}
			return t.write(cmd.OutOrStdout())
		}),
		keyCommand("add FILE", "Put a new key into a file, which opens only; make the file when it is not there", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
			id, err := secret.AddKey(args[0])
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "added key %s\n", id)
			}
			return err
		}),
		keyCommand("use FILE ID", "Have a key seal from now on", cobra.ExactArgs(2), func(cmd *cobra.Command, args []string) error {
			err := secret.UseKey(args[0], args[1])
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "key %s seals\n", args[1])
			}
			return err
		}),
		removes(keyCommand("rm FILE ID", "Take a key out of a file: what is sealed with it cannot be opened any more", cobra.ExactArgs(2), func(cmd *cobra.Command, args []string) error {
			err := secret.RemoveKey(args[0], args[1])
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed key %s\n", args[1])
			}
			return err
		})),
	)
	return cmd
}

func keyCommand(use, short string, args cobra.PositionalArgs, run func(*cobra.Command, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: run}
}
