package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/client"
	"github.com/sipio/sipio/internal/keyfile"
)

// maxValueRead bounds in bytes what is read of a value; brain.CheckSecretValue allows less.
const maxValueRead = 64 << 10

func newSecret(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "secret", Short: "Set, list and remove passwords and keys that others name; change the keys they are sealed with"}
	cmd.AddCommand(newSecretSet(s), newSecretList(s), newSecretRemove(s), newSecretRotate(s), newSecretKey())
	return cmd
}

func newSecretSet(s *server) *cobra.Command {
	var account, from string
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Give a secret a value, read from standard input or a file; make it when it is new",
		Long: "Gives a secret a value, and makes it when it is new. The value is read from standard input or a file, never from the command line, which\n" +
			"other users of the machine can see; one line end after it is not part of it. Nothing shows it afterwards.\n\n" +
			"    read -rs V; printf %s \"$V\" | sipio secret set carrier --account acme; unset V",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := readValue(cmd.InOrStdin(), from)
			if err != nil {
				return err
			}
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			secret, made, err := setSecret(cmd.Context(), c, id, args[0], value)
			if err != nil {
				return err
			}
			verb := "updated"
			if made {
				verb = "created"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s secret %s (%s)\n", verb, secret.Name, secret.ID)
			return err
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().StringVar(&from, "from-file", "", "file that holds the value; absent: standard input")
	return cmd
}

// setSecret gives the secret of that name the value, and says whether it was made for it.
func setSecret(ctx context.Context, c *client.Client, accountID, name, value string) (secret *brain.Secret, made bool, err error) {
	switch secret, err = findSecret(ctx, c, accountID, name); {
	case err != nil:
		return nil, false, err
	case secret == nil:
		secret, err = c.NewSecret(ctx, accountID, name, value)
		return secret, true, err
	}
	secret, err = c.GiveSecret(ctx, secret.ID, value)
	return secret, false, err
}

// findSecret finds a secret by its name, nil when there is none.
func findSecret(ctx context.Context, c *client.Client, accountID, name string) (*brain.Secret, error) {
	all, err := c.Secrets(ctx, accountID)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(secret *brain.Secret) bool { return secret.Name != name })
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0], nil
	}
	return nil, fmt.Errorf("%d accounts have a secret %q: say which with --account", len(all), name)
}

// readRaw reads a file, which may be open to others as the documents with passwords may; without a path standard input.
func readRaw(stdin io.Reader, path string) ([]byte, error) {
	if path != "" {
		return keyfile.Read(path, maxValueRead, brain.EverybodyReads)
	}
	if f, ok := stdin.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&fs.ModeCharDevice != 0 {
			return nil, errors.New("it is read from standard input, and a terminal would show it: pipe it in, or name a file with --from-file")
		}
	}
	return io.ReadAll(io.LimitReader(stdin, maxValueRead))
}

// readValue reads the value of a secret. An error shows nothing of it.
func readValue(stdin io.Reader, path string) (string, error) {
	raw, err := readRaw(stdin, path)
	if err != nil {
		return "", fmt.Errorf("read the value: %w", err)
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	if text := brain.CheckSecretValue(value); text != "" {
		return "", fmt.Errorf("the value %s", text)
	}
	if !utf8.ValidString(value) {
		return "", errors.New("the value is not UTF-8: base64 would be")
	}
	return value, nil
}

func newSecretList(s *server) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the names of secrets; nothing shows their values",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			all, err := c.Secrets(cmd.Context(), id)
			if err != nil {
				return err
			}
			t := newTable("ID", "ACCOUNT", "NAME")
			for _, secret := range all {
				t.row(secret.ID, secret.AccountID, secret.Name)
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	addAccountFlag(cmd, &account)
	return cmd
}

func newSecretRemove(s *server) *cobra.Command {
	var account string
	cmd := removes(&cobra.Command{
		Use:   "rm NAME",
		Short: "Delete a secret that nothing names any more",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			secret, err := findSecret(cmd.Context(), c, id, args[0])
			if err == nil && secret == nil {
				err = fmt.Errorf("no secret is called %q: sipio secret list has them", args[0])
			}
			if err != nil {
				return err
			}
			if err := c.Delete(cmd.Context(), brain.KindSecret, secret.ID); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted secret %s (%s)\n", secret.Name, secret.ID)
			return err
		},
	})
	addAccountFlag(cmd, &account)
	return cmd
}

func newSecretRotate(s *server) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Seal every secret with the key that is first in the brain's key file",
		Long: "Seals every secret of every account anew, with the key that is first in the brain's key file (see sipio secret key). Values stay, calls go on.\n" +
			"Exit status 1 when some cannot be opened: they stay as they are.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			done, err := c.RotateSecrets(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d secrets sealed anew with key %s, %d were already\n", done.Resealed, done.Key, done.Already)
			if done.Failed == 0 {
				return nil
			}
			for _, failed := range done.Which {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", failed.AccountID, failed.Why)
			}
			return fmt.Errorf("%d secrets could not be opened, and stay as they are", done.Failed)
		},
	}
}
