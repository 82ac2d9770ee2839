package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/client"
)

func newFlowPublish(s *server) *cobra.Command {
	var account, file string
	cmd := &cobra.Command{
		Use:   "publish NAME",
		Short: "Have new calls run a flow as it is drawn",
		Long: "Without -f the graph that the brain has as a draft is published. With -f the flow NAME of FILE is checked, sent and published\n" +
			"in one change; FILE is read as sipio flow validate does, what it refers to is named as in a document of the configuration.\n" +
			"Calls that are up go on with the version they began with.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			f, owner, err := findFlow(cmd.Context(), c, account, args[0])
			if err != nil {
				return err
			}
			if file != "" {
				if err := sendFlow(cmd, c, owner, f, file); err != nil {
					return err
				}
			}
			return publish(cmd, c, f)
		},
	}
	addAccountFlag(cmd, &account)
	cmd.Flags().StringVarP(&file, "file", "f", "", "file of the flow, or - for standard input")
	return cmd
}

// findFlow finds a flow by name or id, and its account.
func findFlow(ctx context.Context, c *client.Client, account, name string) (*brain.CallFlow, *brain.Account, error) {
	id, err := accountID(ctx, c, account)
	if err != nil {
		return nil, nil, err
	}
	all, err := c.List(ctx, brain.KindCallFlow, id)
	if err != nil {
		return nil, nil, err
	}
	var found *brain.CallFlow
	for _, r := range all {
		f := r.(*brain.CallFlow)
		if f.ID != name && f.Name != name {
			continue
		}
		if found != nil {
			return nil, nil, fmt.Errorf("more than one account has a flow %q: name one with --account", name)
		}
		found = f
	}
	if found == nil {
		return nil, nil, fmt.Errorf("no flow is called %q: sipio get call_flow lists them; sipio apply makes new ones", name)
	}
	owner, err := c.Get(ctx, brain.KindAccount, found.AccountID)
	if err != nil {
		return nil, nil, fmt.Errorf("find the account of the flow: %w", err)
	}
	return found, owner.(*brain.Account), nil
}

// sendFlow checks the flow of a file and applies it, published.
func sendFlow(cmd *cobra.Command, c *client.Client, owner *brain.Account, f *brain.CallFlow, file string) error {
	source, err := readFlows(file, cmd.InOrStdin())
	if err != nil {
		return err
	}
	if _, err := source.compile(cmd.ErrOrStderr()); err != nil {
		return err
	}
	graph, err := source.named(f.Name)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(map[string]any{"kind": brain.KindCallFlow, "account": owner.Name, "name": f.Name,
		"spec": map[string]any{"status": brain.StatusPublished, "graph": graph}})
	if err != nil {
		return fmt.Errorf("write the flow: %w", err)
	}
	_, _, err = c.Apply(cmd.Context(), doc, brain.ApplyOptions{AccountID: owner.ID})
	if e, ok := errors.AsType[*brain.Error](err); ok && len(e.Fields) > 0 {
		for i := range e.Fields {
			e.Fields[i].Line = 0 // of the document sent, which nobody has seen
		}
		return (&document{files: []fileStart{{name: file}}}).complain(cmd.ErrOrStderr(), e)
	}
	return err
}

// named is the graph of a flow in a file: a graph without a name is any flow's.
func (s *flowSource) named(name string) (*brain.FlowGraph, error) {
	for i := range s.flows {
		if s.flows[i].name == name || s.bare && len(s.flows) == 1 {
			return &s.flows[i].graph, nil
		}
	}
	return nil, fmt.Errorf("%s has no flow %q", s.file, name)
}

// publish makes the drawn graph the one that calls run, and says under which version.
func publish(cmd *cobra.Command, c *client.Client, was *brain.CallFlow) error {
	now, err := c.Publish(cmd.Context(), was.ID)
	if err != nil {
		return (&document{files: []fileStart{{name: was.Name}}}).complain(cmd.ErrOrStderr(), err)
	}
	return sayPublished(cmd.OutOrStdout(), was, now)
}

func sayPublished(w io.Writer, was, now *brain.CallFlow) error {
	if now.Version == was.Version {
		_, err := fmt.Fprintf(w, "%s: version %d, as before: nothing has changed\n", now.Name, now.Version)
		return err
	}
	_, err := fmt.Fprintf(w, "%s: version %d is published; calls that are up keep theirs\n", now.Name, now.Version)
	return err
}
