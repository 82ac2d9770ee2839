package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/ca"
)

const defaultCADir = "sipio-ca" // in the working folder

func newCA() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Make certificates that say who nodes, brains and operators are, offline",
		Long: "Makes and keeps the platform's own small certificate authority, in a folder. Nothing is asked of a brain. The folder's ca.key is worth as much\n" +
			"as every key of the platform: keep it on a machine that is neither brain nor node. Others are given ca.pem, and holders their two files.",
	}
	dir := cmd.PersistentFlags().String("dir", defaultCADir, "folder of the authority")
	cmd.AddCommand(newCAInit(dir), newCAIssue(dir, api.IdentityNode, "Make the certificate of a node: it speaks to brains for that node alone, and answers their orders", true),
		newCAIssue(dir, api.IdentityBrain, "Make the certificate of a brain: it answers nodes over https, and gives them orders", true),
		newCAIssue(dir, api.IdentityOperator, "Make the certificate of an operator: he may do what the scope platform may", false),
		newCAList(dir), newCARenew(dir), newCARevoke(dir))
	return cmd
}

func newCAInit(dir *string) *cobra.Command {
	life := ca.Life
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make the authority: ca.pem and ca.key in a new folder",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				*dir = args[0]
			}
			if err := ca.Init(*dir, life, time.Now()); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "made the authority in %s, until %s\n", *dir, time.Now().Add(life).Format(time.DateOnly))
			return err
		},
	}
	addLife(cmd, &life)
	return cmd
}

func newCAIssue(dir *string, kind, short string, reached bool) *cobra.Command {
	life, hosts := ca.LeafLife, []string(nil)
	cmd := &cobra.Command{
		Use: kind + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			authority, err := ca.Open(*dir, time.Now())
			if err != nil {
				return err
			}
			leaf, err := authority.Issue(api.Identity{Kind: kind, Name: args[0]}, hosts, life)
			if err != nil {
				return err
			}
			return tellLeaf(cmd, "made", *dir, leaf)
		},
	}
	addLife(cmd, &life)
	if reached {
		cmd.Flags().StringSliceVar(&hosts, "host", nil, "names and addresses by which it is reached, comma between; a brain needs those of its https address")
	}
	return cmd
}

func newCAList(dir *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the certificates in the folder, and those that have no file there, with when they end", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			authority, err := ca.Open(*dir, time.Now())
			if err != nil {
				return err
			}
			leaves, err := authority.List()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), append([]ca.Leaf{}, leaves...))
			}
			t := newTable("KIND", "NAME", "UNTIL", "STATE", "HOSTS", "SERIAL")
			t.row("authority", "", authority.Until().Format(time.DateOnly), stateAt(authority.Until(), false), "", "")
			for _, leaf := range leaves {
				state := stateAt(leaf.Until, leaf.Revoked)
				if leaf.File == "" {
					state += ", no file"
				}
				t.row(leaf.Kind, leaf.Name, leaf.Until.Format(time.DateOnly), state, strings.Join(leaf.Hosts, ","), leaf.Serial)
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON for programs")
	return cmd
}

// renewSoon is how long before its end a certificate is shown as ending.
const renewSoon = 30 * 24 * time.Hour

func stateAt(until time.Time, revoked bool) string {
	switch left := time.Until(until); {
	case revoked:
		return "revoked"
	case left <= 0:
		return "expired"
	case left < renewSoon:
		return "ends soon"
	}
	return "good"
}

func newCARenew(dir *string) *cobra.Command {
	life := ca.LeafLife
	cmd := &cobra.Command{
		Use: "renew KIND NAME", Short: "Sign a certificate anew, for the same key: only its .pem is to be copied again",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			authority, err := ca.Open(*dir, time.Now())
			if err != nil {
				return err
			}
			leaf, err := authority.Renew(args[0]+"-"+args[1]+".pem", life)
			if err != nil {
				return err
			}
			return tellLeaf(cmd, "renewed", *dir, leaf)
		},
	}
	addLife(cmd, &life)
	return cmd
}

func newCARevoke(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "revoke {KIND NAME | NAME | SERIAL}", Short: "Take a certificate back: copy ca.pem to every brain and node afterwards",
		Long: "By its name everything goes that was ever signed for a holder, by a serial number (sipio ca list) that one certificate alone. Its file need not be\n" +
			"here: the folder's file issued has every serial number. Copy ca.pem to every brain and node afterwards.",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			authority, err := ca.Open(*dir, time.Now())
			if err != nil {
				return err
			}
			word := args[0]
			if len(args) == 2 {
				word = args[0] + "-" + args[1] + ".pem"
			}
			leaf, err := authority.Revoke(word)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "revoked %s, serial %s: copy %s/ca.pem to every brain and node\n", leaf.URI(), leaf.Serial, *dir)
			return err
		},
	}
}

func addLife(cmd *cobra.Command, life *time.Duration) {
	addTerm(cmd.Flags(), life, "life", "how long it is good, for example 365d; not longer than the authority")
}

func tellLeaf(cmd *cobra.Command, done, dir string, leaf ca.Leaf) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s/%s, until %s\n", done, leaf.URI(), dir, leaf.File, leaf.Until.Format(time.DateOnly))
	return err
}
