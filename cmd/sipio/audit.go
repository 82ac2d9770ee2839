package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
)

// maxAuditShown bounds what one command lists.
const maxAuditShown = 10_000

func newAudit(s *server) *cobra.Command {
	var account string
	var since string
	var limit int
	var asJSON bool
	var q brain.AuditQuery
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who did what: changes, logins, bans, balances; newest first",
		Long: "Shows the audit log, newest first: who did what to what, and from where. A key of an account with the scope audit:read sees what is of its\n" +
			"account; a key of the platform with the scope platform sees all. The log keeps the newest 20000 entries of each account,\n" +
			"200000 of the platform, and of each 20000 failed logins.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > maxAuditShown {
				return fmt.Errorf("--limit must be from 1 to %d", maxAuditShown)
			}
			at, err := parseSince(since, time.Now())
			if err != nil {
				return err
			}
			if !at.IsZero() {
				q.SinceMS = at.UnixMilli()
			}
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			q.AccountID = id
			rows, more, err := c.Audit(cmd.Context(), q, limit)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), append([]brain.AuditRow{}, rows...))
			}
			t := newTable("TIME", "ACTOR", "PEER", "ACTION", "OBJECT", "ACCOUNT", "DETAIL")
			for _, r := range rows {
				t.row(utc(r.TimeMS), strings.TrimSpace(r.Actor+" "+r.ActorName), r.Peer, r.Action, r.Object, r.AccountID, r.Detail)
			}
			if err := t.write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if more {
				fmt.Fprintln(cmd.ErrOrStderr(), "There may be more: ask with a higher --limit.")
			}
			return nil
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().StringVar(&since, "since", "", "only what is not older: how long ago, such as 1h or 7d, or a date (UTC); absent: all there is")
	cmd.Flags().StringVar(&q.Actor, "actor", "", "only what this key or console user did, by id")
	cmd.Flags().StringVar(&q.Action, "action", "", "only this action, such as ban.add, or all that begin with it and a dot, such as ban")
	cmd.Flags().StringVar(&q.Object, "object", "", "only what was done to something with this in its name")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many, 1 to 10000")
	cmd.Flags().BoolVar(&asJSON, "json", false, "list as JSON")
	return cmd
}
