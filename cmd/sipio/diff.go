package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
)

func newDiff(s *server) *cobra.Command {
	var files []string
	var account string
	opt := brain.ApplyOptions{DryRun: true}
	cmd := &cobra.Command{
		Use:   "diff -f FILE|DIRECTORY...",
		Short: "Show what apply would change",
		Long:  "Prints the plan of sipio apply and changes nothing.\nExit status: 0 no difference, 1 mistakes or failure, 2 a difference.",
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, _, err := s.apply(cmd, append(files, args...), account, opt)
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), plan)
			if len(plan.Items) > 0 {
				return exitCode(exitDiffers)
			}
			return nil
		},
	}
	addFileFlag(cmd, &files)
	addAccountFlag(cmd, &account)
	cmd.Flags().BoolVar(&opt.Prune, "prune", false, "count what the files do not name as a difference")
	return cmd
}
