package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

func newTrunk(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "trunk", Short: "Look at trunks: do they answer, where are we registered"}
	cmd.AddCommand(newTrunkList(s), newTrunkShow(s), newTrunkPing(s), newTrunkTest(s))
	return cmd
}

func newTrunkList(s *server) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the trunks of an account with their state",
		Args:  cobra.NoArgs,
	}
	return showsAccount(s, cmd, "list as JSON", func(ctx context.Context, c *client.Client, account string, _ []string) (api.TrunkList, error) {
		return c.Trunks(ctx, account)
	}, func(cmd *cobra.Command, list api.TrunkList) error {
		t := newTable("ID", "NAME", "STATUS", "DIRECTION", "PROXY", "NODES", "REGISTERED")
		for i := range list.Trunks {
			tr := &list.Trunks[i]
			t.row(tr.ID, tr.Name, tr.Status, tr.Direction, tr.Proxy, upOf(tr), registeredAt(tr))
		}
		return t.write(cmd.OutOrStdout())
	})
}

// oldMS is after how long what a node has told is no longer counted: it tells every few seconds as long as it lives.
const oldMS = 60_000

// upOf says at how many of the nodes that have told of a trunk lately it answers.
func upOf(t *api.TrunkState) string {
	if t.Proxy == "" {
		return "not pinged"
	}
	up, all := 0, 0
	for _, n := range t.Nodes {
		if n.AgeMS > oldMS {
			continue
		}
		all++
		if n.State == api.TrunkUp {
			up++
		}
	}
	return fmt.Sprintf("%d of %d up", up, all)
}

// peerAt says whether a trunk that registers here has.
func peerAt(t *api.TrunkState) string {
	if t.Peer == nil {
		return "its peer has not registered here"
	}
	return "its peer here, at " + cmpText(t.Peer.Node, "some node")
}

// registeredAt says where we are registered at a trunk, or why not, or whether it has registered here; "" when nobody registers.
func registeredAt(t *api.TrunkState) string {
	switch r := t.Registration; {
	case !t.Register && t.InboundAuth == string(brain.InboundRegister):
		return peerAt(t)
	case !t.Register:
		return ""
	case r == nil:
		return "no: no node has asked to"
	case !stands(r):
		return "no: " + cmpText(r.LastError, "not yet")
	case r.LastError != "":
		return "at " + r.Target + ", not refreshed: " + r.LastError
	default:
		return "at " + r.Target + " by " + cmpText(r.Node, "nobody now")
	}
}

// stands tells whether a registration has not run out.
func stands(r *api.TrunkLease) bool { return r.Target != "" && r.ExpiresMS > time.Now().UnixMilli() }

func cmpText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func newTrunkShow(s *server) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show TRUNK",
		Short: "Show what each node finds of a trunk, and its registration",
		Args:  cobra.ExactArgs(1),
	}
	return showsAccount(s, cmd, "show as JSON", func(ctx context.Context, c *client.Client, account string, args []string) (*api.TrunkState, error) {
		return findTrunk(ctx, c, account, args[0])
	}, func(cmd *cobra.Command, t *api.TrunkState) error { return writeTrunk(cmd.OutOrStdout(), t) })
}

// findTrunk finds a trunk of an account by id or name.
func findTrunk(ctx context.Context, c *client.Client, account, name string) (*api.TrunkState, error) {
	list, err := c.Trunks(ctx, account)
	if err != nil {
		return nil, err
	}
	for i := range list.Trunks {
		if t := &list.Trunks[i]; t.ID == name || t.Name == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("the account has no trunk %q: sipio trunk list shows them", name)
}

func writeTrunk(w io.Writer, t *api.TrunkState) error {
	fmt.Fprintf(w, "trunk %s (%s), %s, %s, proxy %s\n", t.Name, t.ID, t.Status, t.Direction, cmpText(t.Proxy, "-"))
	if at := registeredAt(t); at != "" {
		fmt.Fprintf(w, "registered: %s\n", at)
	}
	if r := t.Registration; r != nil && stands(r) {
		fmt.Fprintf(w, "contact %s until %s\n", r.Contact, utc(r.ExpiresMS))
	}
	table := newTable("NODE", "STATE", "SINCE", "CODE", "RTT", "TARGET", "PINGS", "FAILED", "TOLD", "ERROR")
	for _, n := range t.Nodes {
		table.row(n.Node, n.State, utc(n.SinceMS), someNumber(n.Code), fmt.Sprintf("%d ms", n.RTTMS), n.Target,
			strconv.FormatInt(n.Pings, 10), strconv.FormatInt(n.Failed, 10), fmt.Sprintf("%d s ago", n.AgeMS/1000), n.LastError)
	}
	return table.write(w)
}

func someNumber(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func newTrunkPing(s *server) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ping TRUNK",
		Short: "Have every node send OPTIONS to a trunk now",
		Args:  cobra.ExactArgs(1),
	}
	return showsAccount(s, cmd, "show as JSON", func(ctx context.Context, c *client.Client, account string, args []string) (found api.TrunkPinged, err error) {
		t, err := findTrunk(ctx, c, account, args[0])
		if err != nil {
			return found, err
		}
		return c.PingTrunk(ctx, account, t.ID)
	}, func(cmd *cobra.Command, found api.TrunkPinged) error { return writePinged(cmd.OutOrStdout(), found) })
}

func writePinged(w io.Writer, found api.TrunkPinged) error {
	t := newTable("NODE", "ANSWER", "RTT", "TARGET", "STATE")
	for _, n := range found.Nodes {
		switch {
		case n.Seen == nil:
			t.row(n.Node, n.Error, "", "", "")
		case n.Seen.LastError != "":
			t.row(n.Node, n.Seen.LastError, "", "", n.Seen.State)
		default:
			t.row(n.Node, someNumber(n.Seen.Code), fmt.Sprintf("%d ms", n.Seen.RTTMS), n.Seen.Target, n.Seen.State)
		}
	}
	return t.write(w)
}

func newTrunkTest(s *server) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "test TRUNK",
		Short: "Ping a trunk from every node and look at its registration; exit status 1 when something is wrong",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			t, err := findTrunk(cmd.Context(), c, id, args[0])
			if err != nil {
				return err
			}
			return testTrunk(cmd, c, id, t)
		},
	}
	addAccountFlag(cmd, &account)
	return cmd
}

// testTrunk pings a trunk, unless nothing ever does, and says what is wrong with it.
func testTrunk(cmd *cobra.Command, c *client.Client, account string, t *api.TrunkState) error {
	out := cmd.OutOrStdout()
	if t.Status != string(brain.StatusActive) {
		return fmt.Errorf("trunk %s is %s", t.Name, t.Status)
	}
	var wrong []error
	if t.Proxy == "" {
		fmt.Fprintf(out, "%s: not pinged\n", noProxy(t))
	} else {
		found, err := c.PingTrunk(cmd.Context(), account, t.ID)
		if err != nil {
			return err
		}
		if err := writePinged(out, found); err != nil {
			return err
		}
		wrong = unanswered(t, found)
	}
	if at := registeredAt(t); at != "" {
		fmt.Fprintf(out, "registered: %s\n", at)
	}
	return errors.Join(append(wrong, unregistered(t))...)
}

// noProxy says why there is nothing to ping.
func noProxy(t *api.TrunkState) string {
	if t.InboundAuth == string(brain.InboundRegister) {
		return "it registers here"
	}
	return "inbound only"
}

// unanswered says of each node what was wrong with its ping of a trunk.
func unanswered(t *api.TrunkState, found api.TrunkPinged) (wrong []error) {
	if len(found.Nodes) == 0 {
		wrong = append(wrong, errors.New("no node takes orders: nodes need an agent_url"))
	}
	for _, n := range found.Nodes {
		switch {
		case n.Seen == nil:
			wrong = append(wrong, errors.New(ofNode(n)))
		case n.Seen.LastError != "":
			wrong = append(wrong, fmt.Errorf("node %s: trunk %s does not answer: %s", n.Node, t.Name, n.Seen.LastError))
		}
	}
	return wrong
}

// ofNode says what a node, or the brain of it, said in place of a ping; the node is named once.
func ofNode(n api.TrunkPonged) string {
	said := cmpText(n.Error, "no answer")
	if rest, ok := strings.CutPrefix(said, "node "+n.Node); ok {
		return n.Node + rest
	}
	return n.Node + " " + said
}

// unregistered says what is wrong with the registration of a trunk, ours there or its here; nil when nothing is, or nobody registers.
func unregistered(t *api.TrunkState) error {
	if !t.Register && t.InboundAuth == string(brain.InboundRegister) && t.Peer == nil {
		return fmt.Errorf("trunk %s: %s", t.Name, peerAt(t))
	}
	if t.Register && (t.Registration == nil || !stands(t.Registration) || t.Registration.LastError != "") {
		return fmt.Errorf("registered: %s", registeredAt(t))
	}
	return nil
}
