package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
)

func newBan(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "ban", Short: "Look at the addresses that the edge has banned, lift bans, and ban by hand"}
	cmd.AddCommand(newBanList(s), newBanShow(s), newBanLift(s), newBanAdd(s))
	return cmd
}

func newBanList(s *server) *cobra.Command {
	var node string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the bans in force",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			bans, err := c.Bans(cmd.Context(), node)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), bans)
			}
			t := newTable("ADDRESS", "TIER", "UNTIL", "NODE", "EVIDENCE")
			for i := range bans {
				b := &bans[i]
				t.row(b.Addr, b.Tier, utc(b.UntilMS), nodeOf(b), cmp.Or(b.Evidence, b.Why))
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "only those that this node enforces")
	cmd.Flags().BoolVar(&asJSON, "json", false, "list as JSON")
	return cmd
}

// nodeOf says which node caught an address, or who banned it.
func nodeOf(b *api.Ban) string {
	if b.Tier == api.TierOperator {
		return "by " + cmpText(b.Actor, "an operator")
	}
	return b.Node
}

func newBanShow(s *server) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ADDR",
		Short: "Show why an address is banned, or why it is not, and since when",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			found, err := c.Ban(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), found)
			}
			return writeBan(cmd.OutOrStdout(), args[0], &found)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "show as JSON")
	return cmd
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
		t.row("last offence", about.LastKind+" at "+utc(about.LastOffenceMS))
		t.row("bans before", strconv.Itoa(about.Count))
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
	if len(done.Nodes) == 0 {
		t.row("no node is registered", what, done.Addr)
	}
	if err := t.write(w); err != nil {
		return err
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
	cmd.Flags().DurationVar(&term, "for", 0, "how long, for example 2h")
	cmd.Flags().StringVar(&why, "why", "", "why, for whoever finds the ban")
	return cmd
}
