package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/client"
	"github.com/sipio/sipio/internal/keyfile"
)

// defaultServer is where a brain listens on its own machine.
const defaultServer = "http://127.0.0.1:8080"

// server says which brain to ask and with which key: a flag beats its variable.
type server struct{ url, keyFile string }

func addServerFlags(root *cobra.Command) *server {
	s := &server{}
	root.PersistentFlags().StringVar(&s.url, "server", "", "address of the brain (SIPIO_SERVER; "+defaultServer+")")
	root.PersistentFlags().StringVar(&s.keyFile, "key-file", "", "file that holds the API key (SIPIO_KEY_FILE; or the key itself in SIPIO_KEY)")
	return s
}

// client connects nothing yet; it makes the client and reads the key.
func (s *server) client() (*client.Client, error) {
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	return client.New(cmp.Or(s.url, os.Getenv("SIPIO_SERVER"), defaultServer), key)
}

func (s *server) key() (string, error) {
	path := cmp.Or(s.keyFile, os.Getenv("SIPIO_KEY_FILE"))
	if s.keyFile == "" && os.Getenv("SIPIO_KEY") != "" {
		return strings.TrimSpace(os.Getenv("SIPIO_KEY")), nil
	}
	if path == "" {
		return "", nil // the brain says that it needs one
	}
	key, err := keyfile.Text(path, brain.OwnerReads)
	if err != nil {
		return "", fmt.Errorf("read the API key: %w", err)
	}
	return key, nil
}

// addAccountFlag is for commands that a key of the platform may hold to one account.
func addAccountFlag(cmd *cobra.Command, account *string) {
	cmd.Flags().StringVar(account, "account", "", "only this account, by name or id; for keys of the platform")
}

// account is the client and the id of the account that a command is about; "" = the key's own.
func (s *server) account(ctx context.Context, name string) (*client.Client, string, error) {
	c, err := s.client()
	if err != nil {
		return nil, "", err
	}
	id, err := accountID(ctx, c, name)
	return c, id, err
}

// accountID turns an account's name into its id; "" stays.
func accountID(ctx context.Context, c *client.Client, account string) (string, error) {
	if account == "" || strings.HasPrefix(account, brain.KindAccount.IDPrefix()+"_") {
		return account, nil
	}
	all, err := c.List(ctx, brain.KindAccount, "")
	if err != nil {
		return "", fmt.Errorf("find account %s: %w", account, err)
	}
	for _, r := range all {
		if a := r.(*brain.Account); a.Name == account {
			return a.ID, nil
		}
	}
	return "", fmt.Errorf("no account is called %q: sipio get account lists them", account)
}
