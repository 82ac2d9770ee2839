package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

func newBan(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "ban", Short: "Look at the addresses that the edge has banned, lift bans, and ban by hand"}
	cmd.AddCommand(newBanList(s), newBanShow(s), newBanLift(s), newBanAdd(s))
	return cmd
}

func newBanList(s *server) *cobra.Command {
	var node string
	var offenders bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the bans in force, or with --offenders who has offended, banned or not",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringVar(&node, "node", "", "only those that this node enforces")
	cmd.Flags().BoolVar(&offenders, "offenders", false, "list the addresses that have offended, with their last offence")
	cmd.MarkFlagsMutuallyExclusive("node", "offenders")
	return shows(s, cmd, "list as JSON", func(ctx context.Context, c *client.Client, _ []string) (any, error) {
		if offenders {
			return c.Offenders(ctx)
		}
		if node != "" {
			if err := checkNode(ctx, c, node); err != nil {
				return nil, err
			}
		}
		return c.Bans(ctx, node)
	}, func(cmd *cobra.Command, list any) error {
		t := newTable("ADDRESS", "LAST OFFENCE", "COUNT", "AT", "BANS BEFORE", "EVIDENCE")
		switch list := list.(type) {
		case []api.BanAbout:
			for i := range list {
				a := &list[i]
				t.row(a.Addr, a.LastKind, strconv.Itoa(a.LastCount), utc(a.LastOffenceMS), strconv.Itoa(a.Count), a.LastEvidence)
			}
		case []api.Ban:
			t = newTable("ADDRESS", "TIER", "UNTIL", "NODE", "EVIDENCE")
			for i := range list {
				b := &list[i]
				t.row(b.Addr, b.Tier, utc(b.UntilMS), nodeOf(b), cmp.Or(b.Evidence, b.Why))
			}
		}
		return t.write(cmd.OutOrStdout())
	})
}

// nodeOf says which node caught an address, or who banned it.
func nodeOf(b *api.Ban) string {
	if b.Tier == api.TierOperator {
		return "by " + cmpText(b.Actor, "an operator")
	}
	return b.Node
}

func newBanShow(s *server) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ADDR",
		Short: "Show why an address is banned, or why it is not, and since when",
		Args:  cobra.ExactArgs(1),
	}
	return shows(s, cmd, "show as JSON", func(ctx context.Context, c *client.Client, args []string) (api.BanList, error) {
		return c.Ban(ctx, args[0])
	}, func(cmd *cobra.Command, found api.BanList) error {
		return writeBan(cmd.OutOrStdout(), cmd.Flags().Arg(0), &found)
	})
}

func writeBan(w io.Writer, addr string, found *api.BanList) error {
	about := found.About
	if about == nil {
		about = &api.BanAbout{Addr: addr}
	}
	t := &table{}
	if len(found.Bans) == 0 {
		t.row(about.Addr, "is not banned")
	}
	for i := range found.Bans {
		b := &found.Bans[i]
		t.row(b.Addr, "is banned until "+utc(b.UntilMS))
		t.row("tier", b.Tier)
		t.row("why", b.Why)
		t.row("evidence", b.Evidence)
		t.row("since", utc(b.FromMS))
		t.row("caught by", nodeOf(b))
		t.row("enforced by", enforcedBy(b))
		t.row("bans before", strconv.Itoa(b.Count))
		for _, n := range b.Nodes {
			t.row("dropped by "+n.Node, fmt.Sprintf("%d packets", n.Packets))
		}
	}
	if about.Protected != "" {
		t.row("never banned", about.Protected)
	}
	if about.GraceUntilMS > 0 {
		t.row("lifted", "not banned again before "+utc(about.GraceUntilMS))
	}
	if len(found.Bans) == 0 && about.LastOffenceMS > 0 {
		t.row("last offence", fmt.Sprintf("%s (%d) at %s", about.LastKind, about.LastCount, utc(about.LastOffenceMS)))
		t.row("evidence", about.LastEvidence)
		t.row("bans before", strconv.Itoa(about.Count))
	}
	if len(found.Bans) == 0 && about.LastTier != "" && about.LastEndMS > 0 {
		t.row("last ban", fmt.Sprintf("tier %s, caught by %s, ended at %s", about.LastTier, about.LastNode, utc(about.LastEndMS)))
	}
	return t.write(w)
}

func enforcedBy(b *api.Ban) string {
	if b.Shared {
		return "every node"
	}
	return "the nodes that caught it"
}

func newBanLift(s *server) *cobra.Command {
	return &cobra.Command{
		Use:   "lift ADDR",
		Short: "Free an address in every tier on every node; exit status 1 when a node has not confirmed it",
		Long: "Free an address in every tier on every node, also when no ban of it is known here. It is not banned again for a minute. " +
			"A node that has not confirmed within two seconds is put right when it tells what it enforces, at most 30 s after it answers again. Exit status 1 then.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			done, err := c.LiftBan(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return writeConfirmed(cmd.OutOrStdout(), "lifted", &done)
		},
	}
}

// writeConfirmed prints a line for each node, and fails when one has not confirmed.
func writeConfirmed(w io.Writer, what string, done *api.BanReply) error {
	t := &table{}
	missing := 0
	for _, n := range done.Nodes {
		if n.OK {
			t.row(n.Node, what, done.Addr)
			continue
		}
		missing++
		t.row(n.Node, "not confirmed", cmp.Or(n.Error, "no answer"))
	}
	if err := t.write(w); err != nil {
		return err
	}
	if len(done.Nodes) == 0 {
		return fmt.Errorf("the brain has %s %s, and knows of no node to tell: each hears of it with its next complete report, at most 30 s after it reaches this brain", what, done.Addr)
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d nodes have not confirmed", missing, len(done.Nodes))
	}
	return nil
}

func newBanAdd(s *server) *cobra.Command {
	var term time.Duration
	var why string
	cmd := &cobra.Command{
		Use:   "add ADDR --for 2h --why TEXT",
		Short: "Ban an address on every node; exit status 1 when a node has not confirmed it",
		Long:  "Ban an address on every node, in the place of any other ban of it. Of an IPv6 address the /64 is banned. Trunks, nodes, networks of operators and the allow list are refused.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case !cmd.Flags().Changed("for"):
				return errors.New("--for is missing: how long, such as 2h or 7d")
			case term < time.Second || term > api.MaxBanForSec*time.Second:
				return fmt.Errorf("--for: from 1s to %dh", api.MaxBanForSec/3600)
			case why == "":
				return errors.New("--why is missing: whoever finds the ban wants to know")
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			done, err := c.AddBan(cmd.Context(), api.BanRequest{Addr: args[0], ForSec: int(term / time.Second), Why: why})
			if err != nil {
				return err
			}
			return writeConfirmed(cmd.OutOrStdout(), "banned", &done)
		},
	}
	addTerm(cmd.Flags(), &term, "for", "how long, for example 2h or 7d; required")
	cmd.Flags().StringVar(&why, "why", "", "why, for whoever finds the ban")
	return cmd
}
