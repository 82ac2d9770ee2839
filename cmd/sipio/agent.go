package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

func newAgent(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "agent", Short: "Look at the agents of queues, and change what they want"}
	cmd.AddCommand(newAgentList(s), newAgentSet(s), newAgentLogout(s))
	return cmd
}

func newAgentList(s *server) *cobra.Command {
	var account string
	var asJSON bool
	period := period{last: defaultPeriod}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the agents of an account: what they do, since when, in which queues",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asked, err := period.ask()
			if err != nil {
				return err
			}
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			list, at, err := c.Agents(cmd.Context(), id, asked)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), list)
			}
			queues, _, err := c.Queues(cmd.Context(), id, client.QueueQuery{})
			if err != nil {
				return err
			}
			return writeAgents(cmd.OutOrStdout(), at.UnixMilli(), list.Agents, queues.Queues)
		},
	}
	addAccountFlag(cmd, &account)
	period.addFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "list as JSON")
	return cmd
}

func writeAgents(w io.Writer, atMS int64, agents []api.AgentState, queues []api.QueueState) error {
	names := map[string]string{}
	for _, q := range queues {
		names[q.QueueID] = q.Name
	}
	t := newTable("AGENT", "NAME", "BUCKET", "FOR", "STATUS", "REASON", "QUEUES", "ANSWERED", "MISSED", "AHT", "OCCUPANCY", "UTILIZATION")
	for _, a := range agents {
		var in []string
		for _, id := range a.Queues {
			in = append(in, dash(names[id]))
		}
		slices.Sort(in)
		t.row(agentName(a), a.Name, a.Bucket, since(atMS, a.SinceMS), a.Status, a.Reason, strings.Join(in, ","),
			count(a.Figures.Answered), count(a.Figures.Missed), mean(a.Figures.AHTMS), percent(a.Figures.Occupancy), percent(a.Figures.Utilization))
	}
	return t.write(w)
}

// agentName is what an agent is called on the command line: the username, or the id of a user without one.
func agentName(a api.AgentState) string {
	if a.Username == "" {
		return a.UserID
	}
	return a.Username
}

// agentAction is a word of sipio agent set, with what the API calls it.
type agentAction struct {
	word, action  string
	queue, reason bool // a queue has to be named, a reason may be
}

var agentActions = []agentAction{
	{word: "available", action: "available"},
	{word: "break", action: "break", reason: true},
	{word: "login", action: "login"},
	{word: "wrapup-end", action: "wrapup_end"},
	{word: "queue-join", action: "queue_join", queue: true},
	{word: "queue-leave", action: "queue_leave", queue: true},
}

func newAgentSet(s *server) *cobra.Command {
	var account, reason string
	cmd := &cobra.Command{
		Use:   "set USER {available | break | login | wrapup-end | queue-join QUEUE | queue-leave QUEUE}",
		Short: "Change what an agent wants, as the agent's own feature codes do",
		Long: "Changes what an agent wants and shows the agent then. Users and queues are named by name or id.\n\n" +
			"    available             calls of the queues, please; logs in first if need be\n" +
			"    break                 no calls for now; logs in first if need be\n" +
			"    login                 be there; without auto_ready_on_login it takes available to get calls\n" +
			"    wrapup-end            the work after the call is done\n" +
			"    queue-join QUEUE      serve a queue that the agent is assigned to; logs in first if need be\n" +
			"    queue-leave QUEUE     serve it no more; mandatory ones cannot be left",
		Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := agentRequest(args[1:], reason)
			if err != nil {
				return err
			}
			return s.changeAgent(cmd, account, args[0], req)
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().StringVar(&reason, "reason", "", "of a break, for example lunch")
	return cmd
}

// agentRequest reads ACTION [QUEUE]; the queue is as it was named.
func agentRequest(args []string, reason string) (api.AgentRequest, error) {
	var req api.AgentRequest
	i := slices.IndexFunc(agentActions, func(a agentAction) bool { return a.word == args[0] })
	switch {
	case args[0] == "logout":
		return req, errors.New("set does not sign out: sipio agent logout does")
	case i < 0:
		var words []string
		for _, a := range agentActions {
			words = append(words, a.word)
		}
		return req, fmt.Errorf("no action is called %q; there %s", args[0], thereAre(words))
	}
	a := agentActions[i]
	switch {
	case a.queue && len(args) < 2:
		return req, fmt.Errorf("%s: name the queue", a.word)
	case !a.queue && len(args) > 1:
		return req, fmt.Errorf("%s is not about one queue: name none", a.word)
	case reason != "" && !a.reason:
		return req, errors.New("--reason belongs to break")
	case a.queue:
		req.QueueID = args[1]
	}
	req.Action, req.Reason = a.action, reason
	return req, nil
}

func newAgentLogout(s *server) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "logout USER",
		Short: "Sign an agent out of all queues; a call that is up goes on",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.changeAgent(cmd, account, args[0], api.AgentRequest{Action: "logout"})
		},
	}
	addAccountFlag(cmd, &account)
	return cmd
}

// changeAgent has the brain do what is asked for the agent of that name, and shows the agent then.
func (s *server) changeAgent(cmd *cobra.Command, account, user string, req api.AgentRequest) error {
	ctx := cmd.Context()
	c, id, err := s.account(ctx, account)
	if err != nil {
		return err
	}
	if req.UserID, err = agentID(ctx, c, id, user); err != nil {
		return err
	}
	if req.QueueID != "" {
		if req.QueueID, err = queueID(ctx, c, id, req.QueueID); err != nil {
			return err
		}
	}
	agent, err := c.ChangeAgent(ctx, id, req)
	if err != nil {
		return err
	}
	queues, at, err := c.Queues(ctx, id, client.QueueQuery{})
	if err != nil {
		return fmt.Errorf("it is done, but: %w", err)
	}
	return writeAgents(cmd.OutOrStdout(), at.UnixMilli(), []api.AgentState{agent}, queues.Queues)
}

// agentID turns the username or id of an agent into the id.
func agentID(ctx context.Context, c *client.Client, accountID, name string) (string, error) {
	list, _, err := c.Agents(ctx, accountID, client.Period{})
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(list.Agents))
	for _, a := range list.Agents {
		if a.UserID == name || a.Username == name {
			return a.UserID, nil
		}
		names = append(names, agentName(a))
	}
	return "", fmt.Errorf("no agent is called %q; there %s", name, thereAre(names))
}
