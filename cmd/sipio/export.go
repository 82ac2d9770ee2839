package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newExport(s *server) *cobra.Command {
	var account, out string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the configuration as YAML that apply reads",
		Long: "Writes the configuration in the form that sipio apply reads; applying it again changes nothing.\n" +
			"API keys and the devices' credentials are not in it: a new brain needs the passwords written in.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			doc, err := c.Export(cmd.Context(), id)
			if err != nil {
				return err
			}
			if out == "" || out == "-" {
				_, err = cmd.OutOrStdout().Write(doc)
				return err
			}
			return writeWhole(out, doc)
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write, readable by its owner only; standard output when not given")
	return cmd
}

// writeWhole replaces a file in one step: whoever reads it finds the old text or the new one.
func writeWhole(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".sipio-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // nothing is left to remove once it is renamed
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
