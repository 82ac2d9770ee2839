package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

func newCAC(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "cac", Short: "Look at admission: what calls take, and of what there is how much"}
	cmd.AddCommand(newCACShow(s), newCACReset(s))
	return cmd
}

func newCACShow(s *server) *cobra.Command {
	var slots bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show what is taken of each limit of an account, and by which calls",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&slots, "slots", false, "list the calls instead")
	return showsAccount(s, cmd, "show both as JSON", func(ctx context.Context, c *client.Client, account string, _ []string) (api.CACState, error) {
		return c.CAC(ctx, account)
	}, func(cmd *cobra.Command, state api.CACState) error {
		if slots {
			return writeSlots(cmd, state)
		}
		t := newTable("DIMENSION", "ID", "USED", "LIMIT")
		for _, u := range state.Usage {
			limit := "none"
			if u.Limit > 0 {
				limit = strconv.Itoa(u.Limit)
			}
			t.row(u.Dimension, u.ID, strconv.Itoa(u.Used), limit)
		}
		return t.write(cmd.OutOrStdout())
	})
}

func writeSlots(cmd *cobra.Command, state api.CACState) error {
	t := newTable("TOKEN", "NODE", "ADMITTED", "ANSWERED", "LEASE", "TAKES", "CALL-ID")
	for _, slot := range state.Slots {
		var takes []string
		for _, take := range slot.Takes {
			takes = append(takes, strings.TrimSuffix(take.Dimension+":"+take.ID, ":"))
		}
		answered := ""
		if slot.AnsweredMS > 0 {
			answered = utc(slot.AnsweredMS)
		}
		t.row(slot.Token, slot.Node, utc(slot.AdmittedMS), answered, utc(slot.LeaseMS), strings.Join(takes, " "), slot.CallID)
	}
	return t.write(cmd.OutOrStdout())
}

func newCACReset(s *server) *cobra.Command {
	var account string
	var all bool
	cmd := &cobra.Command{
		Use:   "reset {TOKEN... | --all}",
		Short: "Release slots by hand; no call is ended, and one that is up is counted again by its node's next reports",
		RunE: func(cmd *cobra.Command, tokens []string) error {
			if all == (len(tokens) > 0) {
				return errors.New("give either tokens (sipio cac show --slots lists them) or --all")
			}
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			n, err := c.ResetCAC(cmd.Context(), id, tokens)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d released\n", n)
			return nil
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().BoolVar(&all, "all", false, "every slot of the account")
	return cmd
}
