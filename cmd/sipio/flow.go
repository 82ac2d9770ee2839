package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/flow"
	"github.com/sipio/sipio/controller/config"
)

func newFlow(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "flow", Short: "Check, draw, try and publish call flows"}
	cmd.AddCommand(newFlowValidate(), newFlowGraph(), newFlowTest(), newFlowPublish(s))
	return cmd
}

func newFlowValidate() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check call flows as a brain does when they are saved",
		Long: "FILE has a graph, or documents of kind call_flow, as YAML or JSON; - is standard input. References to other resources are\n" +
			"checked only with --config, which names the YAML files of the account.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(files) > 0 {
				return validateWithin(cmd, args[0], files)
			}
			source, err := readFlows(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			if _, err := source.compile(cmd.ErrOrStderr()); err != nil {
				return err
			}
			for _, f := range source.flows {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %d steps, no mistakes\n", f.name, len(f.graph.Nodes))
			}
			fmt.Fprintln(cmd.OutOrStdout(), "references to other resources were not checked: name the account's files with --config")
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&files, "config", nil, "YAML file or directory of the account that the flows belong to; may be repeated")
	return cmd
}

// validateWithin checks documents of flows together with those of their account.
func validateWithin(cmd *cobra.Command, file string, files []string) error {
	source, err := readFlows(file, cmd.InOrStdin())
	switch {
	case err != nil:
		return err
	case source.bare || file == "-":
		return fmt.Errorf("%s: with --config the flow has to be a file of call_flow documents, with its account and name", file)
	}
	doc, err := load(append(slices.Clone(files), file), cmd.InOrStdin())
	if err != nil {
		return err
	}
	if _, mistakes := config.FromYAML(doc.text); len(mistakes) > 0 {
		doc.list(cmd.ErrOrStderr(), mistakes)
		return exitCode(exitFailed)
	}
	for _, f := range source.flows {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d steps, no mistakes, all references are there\n", f.name, len(f.graph.Nodes))
	}
	return nil
}

func newFlowGraph() *cobra.Command {
	return &cobra.Command{
		Use:   "graph FILE",
		Short: "Draw a call flow as Mermaid text",
		Long:  "Reads FILE as sipio flow validate does and draws its first flow. Paste the text into anything that shows Mermaid.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := readFlows(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			graphs, err := source.compile(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), flow.Mermaid(graphs[source.flows[0].name]))
			return err
		},
	}
}

// trial is a flow and what happens to a call in it.
type trial struct {
	events []string
	update bool
}

func newFlowTest() *cobra.Command {
	var t trial
	cmd := &cobra.Command{
		Use:   "test FILE [--event LINE]...",
		Short: "Play scripted events on a call flow and show what it does",
		Long: "Runs the production interpreter offline: nothing is called, said or asked. FILE is read as sipio flow validate does; its first\n" +
			"flow is played, the others may be entered from it by name. Events are lines such as\n\n" +
			"    call caller_number=4930123     a call begins (may be left out for the first)\n" +
			"    digits 12                      any outcome of a command: done, digit 1, timeout, answered, busy, no_answer, recorded key=x …\n" +
			"    http 200 {\"a\": 1}              the answer to an http step: a status and a body, error, or timeout\n" +
			"    hours SCHEDULE holiday         what a schedule says from here on: in_hours, out_of_hours, holiday\n" +
			"    at 2026-03-02T09:00:00Z        the time of the next event\n" +
			"    hangup                         the caller hangs up\n\n" +
			"Without --event FILE is a golden file: the flow (others after lines of \"== NAME\"), a line of --------, events, a line of --------,\n" +
			"what is expected. Exit status 1 when it is not what happens; --update writes what happens into the file.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return t.run(cmd, args[0]) },
	}
	cmd.Flags().StringArrayVar(&t.events, "event", nil, "one event; may be repeated")
	cmd.Flags().BoolVar(&t.update, "update", false, "write what happens into the golden file")
	return cmd
}

func (t *trial) run(cmd *cobra.Command, file string) error {
	source, err := readFlows(file, cmd.InOrStdin())
	if err != nil {
		return err
	}
	events := strings.Join(t.events, "\n")
	switch {
	case len(t.events) == 0 && !source.golden:
		return fmt.Errorf("%s has no line of %s and no events after it: give some with --event", file, strings.TrimSpace(flowDashes))
	case len(t.events) == 0:
		events = source.events
	}
	if t.update && (file == "-" || len(t.events) > 0 || !source.golden) {
		return errors.New("--update is for a golden file, without --event")
	}
	script, err := flow.ParseScript(events)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	graphs, err := source.compile(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	stage := &flow.Stage{Flows: graphs}
	got, err := stage.Run(source.flows[0].name, script, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	switch {
	case len(t.events) > 0:
		_, err = fmt.Fprint(cmd.OutOrStdout(), got)
		return err
	case t.update:
		return os.WriteFile(file, []byte(source.head+flowDashes+source.events+flowDashes+got), 0o644)
	case got != source.want:
		fmt.Fprint(cmd.OutOrStdout(), firstDifference(source.want, got))
		return exitCode(exitFailed)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: as expected\n", file)
	return nil
}

// firstDifference shows the first line that differs, with those before it that led there.
func firstDifference(want, got string) string {
	wanted, happened := strings.Split(want, "\n"), strings.Split(got, "\n")
	n := 0
	for n < len(wanted) && n < len(happened) && wanted[n] == happened[n] {
		n++
	}
	var b strings.Builder
	for _, line := range happened[max(0, n-5):n] {
		b.WriteString("  " + line + "\n")
	}
	for _, side := range []struct {
		sign  string
		lines []string
	}{{"-", wanted}, {"+", happened}} {
		for _, line := range side.lines[n:min(n+3, len(side.lines))] {
			b.WriteString(side.sign + " " + line + "\n")
		}
	}
	return b.String() + fmt.Sprintf("line %d of what is expected (-) is not what happened (+)\n", n+1)
}

// compile checks all flows of a source and lists the mistakes of all of them.
func (s *flowSource) compile(w interface{ Write([]byte) (int, error) }) (map[string]*flow.Graph, error) {
	graphs := make(map[string]*flow.Graph, len(s.flows))
	var mistakes []brain.FieldError
	for _, f := range s.flows {
		g, errs := flow.Compile(f.graph)
		graphs[f.name] = g
		for _, e := range errs {
			e.Path = f.name + ": " + e.Path
			mistakes = append(mistakes, e)
		}
	}
	if len(mistakes) == 0 {
		return graphs, nil
	}
	(&document{files: []fileStart{{name: s.file}}}).list(w, mistakes)
	return nil, exitCode(exitFailed)
}
