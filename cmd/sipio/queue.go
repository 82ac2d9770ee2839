package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

func newQueue(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "queue", Short: "Look into queues: who waits, who serves, figures; move callers, hear talks"}
	cmd.AddCommand(newQueueList(s), newQueueShow(s), newQueueWatch(s), newQueueMove(s), newQueueSend(s))
	cmd.AddCommand(newQueueSupervise(s)...)
	return cmd
}

func newQueueList(s *server) *cobra.Command {
	period := period{last: defaultPeriod}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the queues of an account with how they stand and their figures",
		Args:  cobra.NoArgs,
	}
	period.addFlag(cmd)
	return showsAccount(s, cmd, "list as JSON", func(ctx context.Context, c *client.Client, account string, _ []string) (list api.QueueList, err error) {
		asked, err := period.ask()
		if err != nil {
			return list, err
		}
		list, _, err = c.Queues(ctx, account, client.QueueQuery{Period: asked})
		return list, err
	}, func(cmd *cobra.Command, list api.QueueList) error {
		return queueTable(list.Queues, len(list.Queues)).write(cmd.OutOrStdout())
	})
}

// queueTable is the first rows of the queues.
func queueTable(queues []api.QueueState, rows int) *table {
	t := newTable("QUEUE", "WAITING", "LONGEST", "EWT", "SERVED", "READY", "SIGNED IN", "OFFERED", "ANSWERED", "ABANDONED", "ASA", "SERVICE LEVEL")
	for _, q := range queues[:min(rows, len(queues))] {
		longest, ewt := "", ""
		if q.Waiting > 0 {
			longest = clock(q.LongestMS)
		}
		if q.EWTMS >= 0 {
			ewt = clock(q.EWTMS)
		}
		t.row(q.Name, strconv.Itoa(q.Waiting), longest, ewt, strconv.Itoa(q.Served), strconv.Itoa(q.AgentsReady), strconv.Itoa(q.AgentsSigned),
			count(q.Figures.Offered), count(q.Figures.Answered), count(q.Figures.Abandoned), mean(q.Figures.ASAMS), percent(q.Figures.ServiceLevel))
	}
	return t
}

func newQueueShow(s *server) *cobra.Command {
	period := period{last: defaultPeriod}
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show who waits in a queue, who serves it, and its figures",
		Long: "Shows a queue, named by name or id: its callers in the order in which they would be served, its agents, its figures.\n" +
			"IN QUEUE is the time since a caller joined, FOR the time since an agent's bucket is what it is. Agents that are not signed in\n" +
			"to the queue are left out: sipio agent list has them.",
		Args: cobra.ExactArgs(1),
	}
	period.addFlag(cmd)
	return showsAccount(s, cmd, "show as JSON", func(ctx context.Context, c *client.Client, account string, args []string) (view queueView, err error) {
		asked, err := period.ask()
		if err != nil {
			return view, err
		}
		queue, err := queueID(ctx, c, account, args[0])
		if err != nil {
			return view, err
		}
		return lookAtQueue(ctx, c, account, queue, asked)
	}, func(cmd *cobra.Command, view queueView) error {
		if err := view.write(cmd.OutOrStdout(), allRows); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout())
		return writeFigures(cmd.OutOrStdout(), period.last, view.Queue.Figures)
	})
}

// queueID turns the name or id of a queue into its id.
func queueID(ctx context.Context, c *client.Client, accountID, name string) (string, error) {
	list, _, err := c.Queues(ctx, accountID, client.QueueQuery{})
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(list.Queues))
	for _, q := range list.Queues {
		if q.QueueID == name || q.Name == name {
			return q.QueueID, nil
		}
		names = append(names, q.Name)
	}
	return "", fmt.Errorf("no queue is called %q; there %s", name, thereAre(names))
}

// maxNamed is how many names an error lists.
const maxNamed = 10

// thereAre says which names exist, the first of them when they are many.
func thereAre(names []string) string {
	slices.Sort(names)
	switch n := len(names); {
	case n == 0:
		return "is none"
	case n == 1:
		return "is only " + names[0]
	case n > maxNamed:
		return fmt.Sprintf("are %s and %d more", strings.Join(names[:maxNamed], ", "), n-maxNamed)
	}
	return "are " + strings.Join(names, ", ")
}

// queueView is one queue with the agents who are signed in to it, or busy with a call of it.
type queueView struct {
	Queue  api.QueueState   `json:"queue"`
	Agents []api.AgentState `json:"agents"`

	atMS int64 // brain's time
}

// lookAtQueue asks for one queue and its agents: two questions, so a change between them may show in one only.
func lookAtQueue(ctx context.Context, c *client.Client, accountID, id string, p client.Period) (queueView, error) {
	list, at, err := c.Queues(ctx, accountID, client.QueueQuery{QueueID: id, Entries: true, Period: p})
	if err != nil {
		return queueView{}, err
	}
	if len(list.Queues) == 0 {
		return queueView{}, brain.Errorf(brain.ENotFound, "there is no queue %s any more", id)
	}
	agents, _, err := c.Agents(ctx, accountID, p)
	if err != nil {
		return queueView{}, err
	}
	view := queueView{Queue: list.Queues[0], Agents: []api.AgentState{}, atMS: at.UnixMilli()}
	for _, a := range agents.Agents {
		if slices.Contains(a.Queues, id) || a.QueueID == id {
			view.Agents = append(view.Agents, a)
		}
	}
	return view, nil
}

// allRows is more than any table has.
const allRows = acd.MaxEntries

// write writes the queue in a line, the first rows of its callers and the first rows of its agents.
func (v *queueView) write(w io.Writer, rows int) error {
	q := &v.Queue
	fmt.Fprintf(w, "%s: %d waiting, %d served, %d of %d agents ready, expected wait %s\n",
		q.Name, q.Waiting, q.Served, q.AgentsReady, q.AgentsSigned, expected(q.EWTMS))
	if len(q.Entries) > 0 {
		fmt.Fprintln(w)
		if err := v.callers(rows).write(w); err != nil {
			return err
		}
		leftOut(w, len(q.Entries), rows)
	}
	if len(v.Agents) > 0 {
		fmt.Fprintln(w)
		if err := v.agents(rows).write(w); err != nil {
			return err
		}
		leftOut(w, len(v.Agents), rows)
	}
	return nil
}

func (v *queueView) callers(rows int) *table {
	names := map[string]string{}
	for _, a := range v.Agents {
		names[a.UserID] = agentName(a)
	}
	t := newTable("POSITION", "CALLER", "NAME", "STATE", "IN QUEUE", "PRIORITY", "AGENT")
	for _, e := range v.Queue.Entries[:min(rows, len(v.Queue.Entries))] {
		position, agent := "", e.UserID
		if e.Position > 0 {
			position = strconv.Itoa(e.Position)
		}
		if name := names[e.UserID]; name != "" {
			agent = name
		}
		t.row(position, e.CallerNumber, e.CallerName, e.State, since(v.atMS, e.EnqueuedMS), strconv.Itoa(e.Priority), agent)
	}
	return t
}

func (v *queueView) agents(rows int) *table {
	numbers := map[string]string{}
	for _, e := range v.Queue.Entries {
		numbers[e.EntryID] = e.CallerNumber
	}
	t := newTable("AGENT", "NAME", "BUCKET", "FOR", "REASON", "CALLER")
	for _, a := range v.Agents[:min(rows, len(v.Agents))] {
		t.row(agentName(a), a.Name, a.Bucket, since(v.atMS, a.SinceMS), a.Reason, numbers[a.EntryID])
	}
	return t
}

// leftOut says how many of n there are beyond the rows that are shown.
func leftOut(w io.Writer, n, rows int) {
	if n > rows {
		fmt.Fprintf(w, "… and %d more\n", n-rows)
	}
}
