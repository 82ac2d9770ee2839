package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
	"github.com/sipio/sipio/controller/client"
)

func newBalance(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "balance", Short: "Look at the money of accounts, and change it by hand"}
	cmd.AddCommand(newBalanceShow(s), newStatement(s),
		newBalanceChange(s, api.PathBalanceTopUp, "topup AMOUNT", "Add money to the balance of an account"),
		newBalanceChange(s, api.PathBalanceAdjust, "adjust AMOUNT", "Correct the balance of an account by an amount of either sign, such as 2.50 or -2.50"),
		newBalanceChange(s, api.PathBalanceLimit, "limit AMOUNT", "Set how far below zero calls may take the balance of an account"))
	return cmd
}

func newBalanceShow(s *server) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show what an account has, what is held for its calls, and what is available",
		Args:  cobra.NoArgs,
	}
	return showsAccount(s, cmd, "show it as JSON, in micro-units", func(ctx context.Context, c *client.Client, account string, _ []string) (api.BalanceState, error) {
		return c.Balance(ctx, account)
	}, func(cmd *cobra.Command, b api.BalanceState) error {
		t := newTable("BALANCE", "HELD", "LIMIT", "AVAILABLE", "CURRENCY", "CALLS", "RATE PLAN")
		t.row(balance.FormatMicros(b.BalanceMicros), balance.FormatMicros(b.HeldMicros), balance.FormatMicros(b.LimitMicros),
			balance.FormatMicros(b.AvailableMicros), b.Currency, strconv.Itoa(b.Calls), cmp.Or(b.RatePlan, "(free of charge)"))
		return t.write(cmd.OutOrStdout())
	})
}

func newBalanceChange(s *server, path, use, short string) *cobra.Command {
	var account, note, id string
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  short + ". The amount is decimal, such as 25 or 12.50, in the currency of the account. A change whose answer was lost is asked for again with the --id that was printed: it is done once.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			micros, err := balance.ParseMicros(args[0])
			if err != nil {
				return fmt.Errorf("%q %w", args[0], err)
			}
			c, of, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			change := api.BalanceChange{ID: cmp.Or(id, newChangeID(time.Now())), Micros: micros, Note: note}
			if change.AskedMS, err = askedAt(change.ID); err != nil {
				return err
			}
			done, err := c.ChangeBalance(cmd.Context(), path, of, change)
			if err != nil {
				return fmt.Errorf("change %s: %w", change.ID, err)
			}
			again := ""
			if done.Repeated {
				again = ", done before"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "balance %s, available %s (change %s%s)\n",
				balance.FormatMicros(done.BalanceMicros), balance.FormatMicros(done.AvailableMicros), change.ID, again)
			return err
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().StringVar(&note, "note", "", "why, for the statement")
	cmd.Flags().StringVar(&id, "id", "", "of the change that was printed, to ask for it again; absent: a new one")
	return cmd
}

// newChangeID names a change by the time at which it is asked for first: that is a part of it, and stays when it is asked for again.
func newChangeID(now time.Time) string {
	return strconv.FormatInt(now.UnixMilli(), 10) + "-" + rand.Text()
}

// askedAt is the time in the name of a change, epoch milliseconds.
func askedAt(id string) (int64, error) {
	text, _, _ := strings.Cut(id, "-")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms <= 0 {
		return 0, fmt.Errorf("--id %q is not that of a change, such as %s", id, newChangeID(time.Now()))
	}
	return ms, nil
}

// statementPage is how many movements one question gets.
const statementPage = 500

func newStatement(s *server) *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "statement",
		Short: "List the movements of a balance, oldest first",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringVar(&since, "since", "", "from then on: how long ago, such as 7d, or a date (UTC); absent: as far as movements are kept one by one")
	return showsAccount(s, cmd, "show them as JSON, in micro-units", func(ctx context.Context, c *client.Client, account string, _ []string) (all []balance.Movement, err error) {
		fromMS := int64(0)
		at, err := parseSince(since, time.Now())
		if err != nil {
			return nil, err
		}
		if !at.IsZero() {
			fromMS = at.UnixMilli()
		}
		for after, more := int64(0), true; more; {
			page, err := c.Statement(ctx, account, after, fromMS, statementPage)
			if err != nil {
				return nil, err
			}
			all = append(all, page.Movements...)
			after, more, fromMS = page.Next, page.More, 0
		}
		return all, nil
	}, func(cmd *cobra.Command, all []balance.Movement) error {
		t := newTable("TIME", "KIND", "AMOUNT", "BALANCE", "TO", "TALK", "BILLED", "CALL-ID, OR BY WHOM AND WHY")
		for _, m := range all {
			talk, billed := "", ""
			if m.Kind == balance.Settle {
				talk, billed = (time.Duration(m.TalkMS) * time.Millisecond).String(), strconv.FormatInt(m.BilledSec, 10)+"s"
			}
			t.row(utc(m.TimeMS), m.Kind, balance.FormatMicros(m.Micros), balance.FormatMicros(m.AfterMicros), m.To, talk, billed, cmp.Or(m.CallID, m.Text))
		}
		return t.write(cmd.OutOrStdout())
	})
}
