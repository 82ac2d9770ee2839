package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
)

func newApply(s *server) *cobra.Command {
	var files []string
	var account string
	var opt brain.ApplyOptions
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIRECTORY...",
		Short: "Make the brain's configuration what the files say",
		Long: "Reads YAML documents, checks all of them, prints the plan, and makes every change in one transaction.\n" +
			"With mistakes it prints each as file:line: path: text and changes nothing.",
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, version, err := s.apply(cmd, append(files, args...), account, opt)
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), plan)
			told(cmd, plan, version, opt.DryRun)
			return nil
		},
	}
	addFileFlag(cmd, &files)
	addAccountFlag(cmd, &account)
	cmd.Flags().BoolVar(&opt.DryRun, "dry-run", false, "print the plan and change nothing")
	cmd.Flags().BoolVar(&opt.Prune, "prune", false, "delete what the files' accounts have and the files do not name")
	return cmd
}

// apply sends the files and returns the plan; mistakes are written with their places.
func (s *server) apply(cmd *cobra.Command, files []string, account string, opt brain.ApplyOptions) (brain.Plan, int64, error) {
	doc, err := load(files, cmd.InOrStdin())
	if err != nil {
		return brain.Plan{}, 0, err
	}
	c, err := s.client()
	if err != nil {
		return brain.Plan{}, 0, err
	}
	if opt.AccountID, err = accountID(cmd.Context(), c, account); err != nil {
		return brain.Plan{}, 0, err
	}
	plan, version, err := c.Apply(cmd.Context(), doc.text, opt)
	return plan, version, doc.complain(cmd.ErrOrStderr(), err)
}

// told ends a plan with what became of it.
func told(cmd *cobra.Command, plan brain.Plan, version int64, dryRun bool) {
	switch {
	case dryRun:
		fmt.Fprintln(cmd.OutOrStdout(), "dry run: nothing was changed")
	case len(plan.Items) > 0:
		fmt.Fprintf(cmd.OutOrStdout(), "the configuration is now version %d\n", version)
	}
}
