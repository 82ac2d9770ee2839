package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
)

// showUse has a command that is given too few or too many words say how it is used, and a group that is given one that is none of its
// commands say which there are.
func showUse(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		showUse(sub)
	}
	switch check := cmd.Args; {
	case isGroup(cmd):
		cmd.DisableFlagsInUseLine = true
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		}
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	case check != nil:
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fmt.Errorf("%w\nUsage: %s", err, cmd.UseLine())
			}
			return nil
		}
	}
}

// isGroup tells whether a command does nothing but lead to others.
func isGroup(cmd *cobra.Command) bool { return cmd.HasParent() && cmd.HasAvailableSubCommands() }

func unknownCommand(group *cobra.Command, word string) error {
	var names []string
	for _, sub := range group.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return fmt.Errorf("unknown command %q for %q: there are %s", word, group.CommandPath(), strings.Join(names, ", "))
}

// wrongFlag tells of a flag that there is not; of a group rather of the word before it, which is no command.
func wrongFlag(cmd *cobra.Command, err error) error {
	if words := cmd.Flags().Args(); isGroup(cmd) && len(words) > 0 {
		return unknownCommand(cmd, words[0])
	}
	return err
}

// inWords puts what the brain says of a request into words about the command line.
func inWords(cmd *cobra.Command, err error) error {
	e, ok := errors.AsType[*brain.Error](err)
	if !ok || cmd.Flags().Lookup("account") == nil {
		return err
	}
	for _, f := range e.Fields {
		if f.Path = strings.TrimPrefix(f.Path, "query."); f.Path == "account_id" && (strings.HasPrefix(f.Text, "is missing") || strings.HasPrefix(f.Text, "is required")) {
			return errors.New("say which account: --account NAME")
		}
	}
	return err
}

// amounts makes room for amounts of money below zero: -2.50 is no flag, wherever it stands but behind one that may want a value.
func amounts(args []string) []string {
	var out, below []string
	for i, arg := range args {
		switch {
		case arg == "--":
			return args
		case len(arg) > 1 && arg[0] == '-' && (arg[1] >= '0' && arg[1] <= '9' || arg[1] == '.') && (i == 0 || !strings.HasPrefix(args[i-1], "-")):
			below = append(below, arg)
		default:
			out = append(out, arg)
		}
	}
	if len(below) == 0 {
		return args
	}
	return append(append(out, "--"), below...)
}
